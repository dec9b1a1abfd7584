"""The canvas: what mouse and keyboard do on a picture.

What is shown is left to `picture_view`, drawing with the left button to `gestures`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent

from ovsam_annotator.views import decorations
from ovsam_annotator.views.chip import CursorTag, EncodeChip
from ovsam_annotator.views.data import EncodeState, Tool
from ovsam_annotator.views.gestures import BoxGesture, PolygonGesture, StrokeGesture, VertexGesture
from ovsam_annotator.views.held_key import HeldKey
from ovsam_annotator.views.picture_view import PictureView
from ovsam_annotator.views.rest import Rest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from PySide6.QtGui import QFocusEvent, QMouseEvent, QPainter, QResizeEvent, QTransform, QWheelEvent
    from PySide6.QtWidgets import QWidget

    from ovsam_annotator.views.data import PictureImage
    from ovsam_annotator.views.gestures import Gesture

__all__ = ["Canvas"]

CURSOR_STEP = 8  # screen pixels that an arrow key moves the crosshair; 1 with Shift

_GESTURE_KEYS = frozenset(
    {Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Escape, Qt.Key.Key_Backspace, Qt.Key.Key_Delete}
)
_ARROWS = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, -1),
    Qt.Key.Key_Down: (0, 1),
}


class Canvas(PictureView):
    """Implements `protocols.CanvasView`."""

    point_added = Signal(float, float, bool)
    box_drawn = Signal(float, float, float, float)
    object_clicked = Signal(float, float, bool)
    object_activated = Signal(float, float)
    rested = Signal(float, float)
    rest_ended = Signal()
    pointer_moved = Signal(float, float)
    stroke_drawn = Signal(object, float, bool)
    polygon_drawn = Signal(object)
    vertices_edited = Signal(str, object)
    retry_asked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._configure()
        self._tool = Tool.PROMPT
        self._vertices = VertexGesture(self.vertices_edited.emit)
        self._brush = StrokeGesture(self.stroke_drawn.emit, erase=False)
        self._eraser = StrokeGesture(self.stroke_drawn.emit, erase=True)
        self._gestures: dict[Tool, Gesture] = {
            Tool.PROMPT: BoxGesture(self._clicked, self._dragged),
            Tool.BRUSH: self._brush,
            Tool.ERASER: self._eraser,
            Tool.POLYGON: PolygonGesture(self.polygon_drawn.emit),
            Tool.VERTICES: self._vertices,
        }
        self._pan_from: QPoint | None = None
        self._space = False
        self._right_from: QPointF | None = None
        self._cursor: QPointF | None = None  # keyboard crosshair in picture coordinates
        self._rest = Rest(self._begin_rest, self)
        self._rest.ended.connect(self.rest_ended)
        self._held = HeldKey(self)
        self._held.released.connect(lambda: self._set_hidden(hidden=False))
        self._moved = QTimer(self, singleShot=True, interval=16)
        self._moved.timeout.connect(self._tell_pointer)

        self._chip = EncodeChip(self)
        self._chip.retry_asked.connect(self.retry_asked)
        self._tag = CursorTag(self)

    def _configure(self) -> None:
        self.setAccessibleName(self.tr("Picture"))
        self.setAccessibleDescription(
            self.tr("Click on an object. Arrow keys move a crosshair, C clicks there, Shift+C clicks off the object.")
        )
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.NoContextMenu)

    # --- verbs ---------------------------------------------------------------------------------------------------

    def show_picture(self, picture: PictureImage | None) -> None:
        """Show a picture at fit zoom, without objects, prompts or suggestion; None empties the canvas."""
        for gesture in self._gestures.values():
            gesture.key(Qt.Key.Key_Escape)
        self._cursor = None
        self._vertices.set_rings("", ())
        super().show_picture(picture)

    def set_vertices(self, uid: str, rings: Sequence[NDArray[np.floating]] | None) -> None:
        """Offer the handles of one object's rings, or take them away."""
        self._vertices.set_rings(uid if rings else "", rings or ())
        self.viewport().update()

    def set_tool(self, tool: Tool) -> None:
        """Choose what the left button does; a half-done drawing is given up."""
        if tool is not self._tool and self._tool in self._gestures:
            self._gestures[self._tool].key(Qt.Key.Key_Escape)
        self._tool = tool
        self._set_cursor_shape()
        self.viewport().update()

    def set_brush_radius(self, radius: float) -> None:
        """Radius of brush and eraser in picture pixels."""
        self._brush.radius = self._eraser.radius = max(0.5, radius)
        self.viewport().update()

    def set_lock(self, name: str) -> None:
        """Show the locked class at the cursor; empty text takes it away."""
        self._tag.set_text(f"🔒 {name}" if name else "")
        if self._pointer is not None:
            self._tag.follow(self._pointer.x(), self._pointer.y())

    def set_encode_state(self, state: EncodeState, text: str = "", fraction: float | None = None) -> None:
        """Show the chip on the canvas: queued, running with its stage, failed with Retry; ready hides it."""
        self._chip.set_state(state, text, fraction)
        self._place_chip()

    def add_point_at_cursor(self, *, positive: bool) -> None:
        """Click at the keyboard crosshair, or at the pointer."""
        if self._cursor is not None:
            point = self._cursor
        elif self._pointer is not None:
            point = self.mapToScene(self._pointer)
        else:
            point = self.mapToScene(self.viewport().rect().center())
        self._add_point(point, positive=positive)

    def hide_while_held(self, key: int) -> None:
        """Hide all masks until a key is let go."""
        if self._held.hold(key):
            self._set_hidden(hidden=True)

    # --- painting ------------------------------------------------------------------------------------------------

    def paint_drawing(self, painter: QPainter, scale: float) -> None:
        """Paint the half-done drawing of the tool in use."""
        gesture = self._gestures.get(self._tool)
        if gesture is not None:
            gesture.paint(painter, scale)

    def paint_pointer(self, painter: QPainter, view: QTransform, area: QRectF) -> None:
        """Paint the keyboard's crosshair, or lines through the pointer."""
        if self._cursor is not None:
            decorations.paint_cross(painter, view.map(self._cursor), area, whole=self._options.crosshair)
        elif self._options.crosshair and self._pointer is not None:
            decorations.paint_cross(painter, QPointF(self._pointer), area, whole=True)

    # --- mouse ---------------------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Start a gesture, a pan, or a negative click."""
        self._rest.end()
        self._use_mouse()
        if self._picture.picture is None:
            return
        button, point = event.button(), self.mapToScene(event.position().toPoint())
        if button == Qt.MouseButton.MiddleButton or (button == Qt.MouseButton.LeftButton and self._space):
            self._pan_from = event.position().toPoint()
            self.viewport().setCursor(Qt.CursorShape.ClosedHandCursor)
        elif button == Qt.MouseButton.RightButton:
            self._right_from = event.position()
        elif button == Qt.MouseButton.LeftButton:
            self._left_press(event, point)

    def _left_press(self, event: QMouseEvent, point: QPointF) -> None:
        point = self._exact(event)
        control = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        if control or self._tool is Tool.SELECT:
            extend = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            self.object_clicked.emit(point.x(), point.y(), extend)
        else:
            self._gestures[self._tool].press(self._clamped(point, event), self.scale_now)
            self.viewport().update()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Pan, draw, and watch for a rest."""
        at = event.position().toPoint()
        if self._pan_from is not None:
            self.scroll_by(at - self._pan_from)
            self._pan_from = at
            return
        if self._pointer != at:
            self._use_mouse()
        self._rest.moved(at)
        before, self._pointer = self._pointer, at
        if self._tag.text():
            self._tag.follow(at.x(), at.y())
        held = bool(event.buttons() & Qt.MouseButton.LeftButton)
        gesture = self._gestures.get(self._tool)
        if gesture is not None and gesture.move(self._clamped(self._exact(event), event), held=held):
            self.viewport().update()
        elif self._options.crosshair:
            self._update_cross(before, at)
        if not event.buttons():
            self._rest.wait()
        if not self._moved.isActive():
            self._moved.start()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Finish what the press began."""
        button = event.button()
        if self._pan_from is not None:
            self._pan_from = None
            self._set_cursor_shape()
        elif button == Qt.MouseButton.RightButton and self._right_from is not None:
            moved = (event.position() - self._right_from).manhattanLength()
            self._right_from = None
            if moved < 12:
                self._add_point(self._exact(event), positive=False)
        elif button == Qt.MouseButton.LeftButton and self._tool in self._gestures:
            self._gestures[self._tool].release(self._clamped(self._exact(event), event))
            self.viewport().update()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """A second click is a click, except where a tool gives it a meaning."""
        point = self._exact(event)
        if event.button() != Qt.MouseButton.LeftButton or self._space:
            self.mousePressEvent(event)
        elif self._tool is Tool.SELECT or event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.object_activated.emit(point.x(), point.y())
        else:
            self._gestures[self._tool].double_click(self._clamped(point, event))
            self.viewport().update()

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        """Zoom at the pointer; Shift scrolls sideways, Alt up and down."""
        delta = event.angleDelta()
        turned = delta.y() or delta.x()
        if not turned:
            return
        self._rest.end()
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self.scroll_by(QPoint(turned // 2, 0))
        elif event.modifiers() & Qt.KeyboardModifier.AltModifier:
            self.scroll_by(QPoint(0, turned // 2))
        else:
            self.zoom_at(event.position(), 1.25 ** (turned / 120))
        event.accept()

    def leaveEvent(self, event: QEvent) -> None:  # noqa: N802
        """Forget the pointer."""
        self._rest.end()
        self._pointer = None
        self.viewport().update()
        super().leaveEvent(event)

    # --- keyboard ------------------------------------------------------------------------------------------------

    def event(self, event: QEvent) -> bool:
        """Claim the keys that a half-done drawing needs before the menus get them."""
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent):
            gesture = self._gestures.get(self._tool)
            claimed = event.key() in _GESTURE_KEYS and gesture is not None
            if claimed and (gesture.busy or (gesture is self._vertices and self._vertices.active)):  # type: ignore[union-attr]
                event.accept()
                return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """Arrows move the crosshair, Space pans, drawings get their keys."""
        gesture = self._gestures.get(self._tool)
        key = event.key()
        if gesture is not None and key in _GESTURE_KEYS and gesture.key(key):
            self.viewport().update()
        elif key in _ARROWS and not event.modifiers() & ~(
            Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.KeypadModifier
        ):
            dx, dy = _ARROWS[Qt.Key(key)]
            step = 1 if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else CURSOR_STEP
            self._move_cursor(dx * step, dy * step)
        elif key == Qt.Key.Key_Space and not event.isAutoRepeat():
            self._space = True
            self.viewport().setCursor(Qt.CursorShape.OpenHandCursor)
        else:
            event.ignore()

    def keyReleaseEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """Space ends the pan."""
        if event.key() == Qt.Key.Key_Space and not event.isAutoRepeat():
            self._space = False
            self._set_cursor_shape()
        else:
            event.ignore()

    def focusOutEvent(self, event: QFocusEvent) -> None:  # noqa: N802
        """A key that is let go elsewhere must not stay held here."""
        self._space = False
        self._set_cursor_shape()
        super().focusOutEvent(event)

    # --- inside --------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Keep the chip in its place."""
        super().resizeEvent(event)
        self._place_chip()

    def _exact(self, event: QMouseEvent) -> QPointF:
        return self.to_scene(event.position())

    def _clamped(self, point: QPointF, event: QMouseEvent) -> QPointF:
        """Keep a drag inside the picture; a fresh prompt click outside stays outside and is ignored later."""
        if event.type() == QEvent.Type.MouseButtonPress and self._tool is Tool.PROMPT:
            return point
        if self._tool is Tool.PROMPT and not self._gestures[Tool.PROMPT].busy:
            return point
        rect = self._picture.bounds
        return QPointF(min(max(point.x(), rect.left()), rect.right()), min(max(point.y(), rect.top()), rect.bottom()))

    def _clicked(self, point: QPointF) -> None:
        self._add_point(point, positive=True)

    def _dragged(self, rect: QRectF) -> None:
        box = rect.intersected(self._picture.bounds)
        if box.width() >= 1 and box.height() >= 1:
            self.box_drawn.emit(box.left(), box.top(), box.right(), box.bottom())

    def _add_point(self, point: QPointF, *, positive: bool) -> None:
        picture = self._picture.picture
        if picture is None or not (0 <= point.x() < picture.width and 0 <= point.y() < picture.height):
            return
        self._over.add_dot(point.x(), point.y(), positive=positive)
        self.viewport().update()
        self.point_added.emit(point.x(), point.y(), positive)

    def _move_cursor(self, dx: int, dy: int) -> None:
        if self._picture.picture is None:
            return
        if self._cursor is None:
            start = self._pointer if self._pointer is not None else self.viewport().rect().center()
            self._cursor = self.mapToScene(start)
        moved = self._cursor + QPointF(dx, dy) / self.scale_now
        rect = self._picture.bounds.adjusted(0, 0, -0.01, -0.01)
        self._cursor = QPointF(
            min(max(moved.x(), rect.left()), rect.right()), min(max(moved.y(), rect.top()), rect.bottom())
        )
        self._rest.wait()
        seen = self.mapToScene(self.viewport().rect()).boundingRect()
        if not seen.contains(self._cursor):
            self.set_scale(self.scale_now, self._cursor, QPointF(self.viewport().rect().center()))
        self.viewport().update()

    def _use_mouse(self) -> None:
        """The mouse has taken over from the keyboard crosshair."""
        if self._cursor is not None:
            self._cursor = None
            self.viewport().update()

    def _begin_rest(self) -> QPoint | None:
        point = self._cursor
        if point is None:
            if self._pointer is None:
                return None
            point = self.mapToScene(self._pointer)
        if not self._picture.bounds.contains(point) or self._tool is not Tool.PROMPT:
            return None
        self.rested.emit(point.x(), point.y())
        return self._pointer or QPoint()

    def _tell_pointer(self) -> None:
        if self._pointer is not None:
            point = self.mapToScene(self._pointer)
            if self._picture.bounds.contains(point):
                self.pointer_moved.emit(point.x(), point.y())

    def anchor(self) -> QPointF:
        """Zoom at the pointer, or the middle of the view."""
        return QPointF(self._pointer) if self._pointer is not None else super().anchor()

    def _update_cross(self, before: QPoint | None, now: QPoint) -> None:
        area = self.viewport().rect()
        for at in (before, now):
            if at is not None:
                self.viewport().update(at.x() - 2, 0, 5, area.height())
                self.viewport().update(0, at.y() - 2, area.width(), 5)

    def _set_cursor_shape(self) -> None:
        shape = Qt.CursorShape.ArrowCursor if self._tool in {Tool.SELECT, Tool.VERTICES} else Qt.CursorShape.CrossCursor
        self.viewport().setCursor(shape)

    def _place_chip(self) -> None:
        self._chip.move((self.width() - self._chip.width()) // 2, 10)
