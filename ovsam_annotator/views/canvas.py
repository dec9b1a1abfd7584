"""The canvas: a picture, its masks, the suggestion on show, and what mouse and keyboard do there.

Painting is left to the layers and to `foreground`, drawing with the left button to `gestures`, zoom and scrolling to
`zoom_view`. This class owns pointer and keyboard, and knows which of the parts is asked. Picture and stored masks are
the view's background, which is kept while only what lies over them changes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QPainter, QPalette, QTransform
from PySide6.QtWidgets import QGraphicsScene

from ovsam_annotator.views import decorations
from ovsam_annotator.views.chip import CursorTag, EncodeChip, NoteChip
from ovsam_annotator.views.data import DisplayOptions, EncodeState, Tool
from ovsam_annotator.views.foreground import Foreground
from ovsam_annotator.views.gestures import BoxGesture, PolygonGesture, StrokeGesture, VertexGesture
from ovsam_annotator.views.held_key import HeldKey
from ovsam_annotator.views.name_plates import NamePlates
from ovsam_annotator.views.overlay import OverlayLayer
from ovsam_annotator.views.rest import Rest
from ovsam_annotator.views.tiles import PictureLayer
from ovsam_annotator.views.zoom_view import ZoomView

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from PySide6.QtGui import QFocusEvent, QMouseEvent, QPaintEvent, QResizeEvent, QWheelEvent
    from PySide6.QtWidgets import QWidget

    from ovsam_annotator.model.shapes import MaskShape
    from ovsam_annotator.views.data import CanvasObject, PictureImage, PromptMarks, Rgb, Suggestion
    from ovsam_annotator.views.gestures import Gesture

__all__ = ["Canvas"]

NAMES_TRIED = 200  # masks that may carry their name, the largest in view
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


class Canvas(ZoomView):
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
    display_changed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._configure()
        self._picture = PictureLayer(self._layer_changed)
        self._overlay = OverlayLayer(self._layer_changed)
        self.destroyed.connect(self._overlay.close)  # tiles still being composed have nobody to hand them to
        self._names = NamePlates()

        self._options = DisplayOptions()
        self._over = Foreground()

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
        self._pointer: QPoint | None = None  # where the mouse is in the viewport, None outside
        self._cursor: QPointF | None = None  # keyboard crosshair in picture coordinates
        self._rest = Rest(self._begin_rest, self)
        self._rest.ended.connect(self.rest_ended)
        self._held = HeldKey(self)
        self._held.released.connect(lambda: self._set_hidden(hidden=False))
        self._moved = QTimer(self, singleShot=True, interval=16)
        self._moved.timeout.connect(self._tell_pointer)

        self._chip = EncodeChip(self)
        self._chip.retry_asked.connect(self.retry_asked)
        self._note = NoteChip(self)
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
        self._picture.set_picture(picture)
        self._overlay.set_size(picture.width if picture else 0, picture.height if picture else 0)
        self._over.clear()
        self._cursor = None
        self._vertices.set_rings("", ())
        self._tell_hidden()
        self.zoom_fit()

    def set_objects(self, objects: Sequence[CanvasObject]) -> None:
        """Replace all stored objects of the picture; later ones lie on top."""
        self._overlay.set_objects(objects)
        self._objects_changed()

    def put_objects(self, objects: Sequence[CanvasObject]) -> None:
        """Add objects, or replace those with the same uid; only their boxes are painted again."""
        self._overlay.put_objects(objects)
        self._objects_changed()

    def remove_objects(self, uids: Sequence[str]) -> None:
        """Remove objects; unknown uids are ignored."""
        self._overlay.remove_objects(uids)
        self._objects_changed()

    def set_selection(self, uids: Sequence[str]) -> None:
        """Mark objects as selected."""
        self._over.set_selection(uids)
        self._objects_changed()

    def set_marks(self, marks: PromptMarks) -> None:
        """Show the prompt of the object in work; takes over from the dots that clicks have left."""
        self._over.set_marks(marks)
        self.viewport().update()

    def set_suggestion(self, suggestion: Suggestion | None) -> None:
        """Show the chosen candidate with a dashed outline."""
        self._over.set_suggestion(suggestion)
        self.viewport().update()

    def set_hover(self, shape: MaskShape | None, name: str = "") -> None:
        """Show or drop the hover preview."""
        if self._over.set_hover(shape, name):
            self.viewport().update()

    def set_proposals(self, shapes: Sequence[tuple[MaskShape, Rgb, str]], lit: str = "") -> None:
        """Show proposals (shape, colour, name), dashed; those named `lit` stand out."""
        self._over.set_proposals(shapes, lit)
        self.viewport().update()

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

    @property
    def display(self) -> DisplayOptions:
        """How masks are painted now."""
        return self._options

    def set_display(self, options: DisplayOptions) -> None:
        """Choose how masks are painted."""
        self._options = options
        self._overlay.set_display(options)
        self._picture.set_smooth(options.smooth)
        self._tell_hidden()
        self.viewport().update()

    def set_lock(self, name: str) -> None:
        """Show the locked class at the cursor; empty text takes it away."""
        self._tag.set_text(f"🔒 {name}" if name else "")
        if self._pointer is not None:
            self._tag.follow(self._pointer.x(), self._pointer.y())

    def set_encode_state(self, state: EncodeState, text: str = "", fraction: float | None = None) -> None:
        """Show the chip on the canvas: queued, running with its stage, failed with Retry; ready hides it."""
        self._chip.set_state(state, text, fraction)
        self._place_chips()

    def set_contrast(self, low: float, high: float) -> None:
        """Change the shown value range of a picture with more than 8 bits; display only."""
        self._picture.set_window(low, high)

    @property
    def contrast(self) -> tuple[float, float] | None:
        """Shown value range of a picture with more than 8 bits; None for 8 bits."""
        return self._picture.shown_range

    def add_point_at_cursor(self, *, positive: bool) -> None:
        """Click at the keyboard crosshair, or at the pointer."""
        if self._cursor is not None:
            point = self._cursor
        elif self._pointer is not None:
            point = self.mapToScene(self._pointer)
        else:
            point = self.mapToScene(self.viewport().rect().center())
        self._add_point(point, positive=positive)

    # --- what others may ask -------------------------------------------------------------------------------------

    @property
    def picture(self) -> PictureImage | None:
        """The picture on show."""
        return self._picture.picture

    @property
    def composing(self) -> bool:
        """Whether masks are still being composed in the background."""
        return self._overlay.busy

    def suggestion_rects(self) -> list[QRectF]:
        """Boxes of the parts of the mask on show in viewport coordinates, the largest part first; none without one."""
        view = self.viewportTransform()
        return [view.mapRect(QRectF(x1, y1, x2 - x1, y2 - y1)) for x1, y1, x2, y2 in self._over.parts]

    def hide_while_held(self, key: int) -> None:
        """Hide all masks until a key is let go."""
        if self._held.hold(key):
            self._set_hidden(hidden=True)

    # --- painting ------------------------------------------------------------------------------------------------

    def bounds(self) -> QRectF:
        """Area of the picture; empty without one."""
        return self._picture.bounds

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Paint everything anew where outlines are drawn another way in this view."""
        if self._overlay.aim(self.in_view, self.scale_now):
            self.resetCachedContent()
            self.viewport().update()
        super().paintEvent(event)

    def drawBackground(self, painter: QPainter, rect: QRectF | Any) -> None:  # noqa: N802
        """Paint picture and stored masks, and fill what lies beside them; the view keeps the pixels."""
        painter.fillRect(rect, self.palette().color(QPalette.ColorRole.Dark))
        for layer in (self._picture, self._overlay):
            painter.save()
            layer.paint(painter, rect)
            painter.restore()

    def drawForeground(self, painter: QPainter, rect: QRectF | Any) -> None:  # noqa: ARG002, N802
        """Paint suggestion, selection, names, dots and the half-done drawing."""
        if self._picture.picture is None:
            return
        scale = self.scale_now
        view, area = self.viewportTransform(), QRectF(self.viewport().rect())
        if not self._options.hidden:
            painter.save()
            painter.resetTransform()
            self._over.paint_masks(painter, view, area, self._options.fill, self._overlay.objects)
            painter.restore()
        self._over.paint_box(painter)
        gesture = self._gestures.get(self._tool)
        if gesture is not None:
            gesture.paint(painter, scale)
        painter.save()
        painter.resetTransform()
        self._paint_device(painter, view, area)
        painter.restore()

    def _paint_device(self, painter: QPainter, view: QTransform, area: QRectF) -> None:
        if not self._options.hidden and self._options.names:
            self._names.paint(painter, view, area, self.font(), self._overlay.version, self._largest)
        self._over.paint_signs(painter, view, area, self.font(), self._pointer)
        if self._cursor is not None:
            decorations.paint_cross(painter, view.map(self._cursor), area, whole=self._options.crosshair)
        elif self._options.crosshair and self._pointer is not None:
            decorations.paint_cross(painter, QPointF(self._pointer), area, whole=True)

    def _largest(self) -> list[CanvasObject]:
        """The largest masks in view: those that may carry their names."""
        seen = self.in_view
        return self._overlay.largest_in(seen.left(), seen.top(), seen.right(), seen.bottom(), NAMES_TRIED)

    def _layer_changed(self, rect: QRectF) -> None:
        """Picture or stored masks look different in a part of the scene."""
        room = 2 / self.scale_now  # a cosmetic line reaches so far beyond
        self.invalidateScene(rect.adjusted(-room, -room, room, room), QGraphicsScene.SceneLayer.BackgroundLayer)
        self.viewport().update()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        """Paint anew in other colours."""
        super().changeEvent(event)
        if event.type() in {QEvent.Type.PaletteChange, QEvent.Type.StyleChange}:
            self.resetCachedContent()

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
        """Keep the notes in their places."""
        super().resizeEvent(event)
        self._place_chips()

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

    def _objects_changed(self) -> None:
        self._tell_hidden()
        self.viewport().update()

    def _set_hidden(self, *, hidden: bool) -> None:
        self.set_display(replace(self._options, hidden=hidden))
        self.display_changed.emit(self._options)

    def _tell_hidden(self) -> None:
        hidden = sum(o.hidden for o in self._overlay.objects.values())
        if self._options.hidden:
            text = self.tr("Masks hidden")
        else:
            text = self.tr("%n hidden", "", hidden) if hidden else ""
            text = text.replace("%n", str(hidden))
        self._note.set_text(text)
        self._place_chips()

    def _set_cursor_shape(self) -> None:
        shape = Qt.CursorShape.ArrowCursor if self._tool in {Tool.SELECT, Tool.VERTICES} else Qt.CursorShape.CrossCursor
        self.viewport().setCursor(shape)

    def _place_chips(self) -> None:
        self._chip.move((self.width() - self._chip.width()) // 2, 10)
        self._note.move(10, self.height() - self._note.height() - 10)
