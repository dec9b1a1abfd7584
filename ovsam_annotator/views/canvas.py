"""The canvas: a picture, its masks, the suggestion on show, and what mouse and keyboard do there.

Painting is left to the items and to `foreground`, drawing with the left button to `gestures`. This class owns the
view: zoom, pan, pointer, and which of the parts is asked.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QPainter, QPalette, QTransform
from PySide6.QtWidgets import QApplication, QFrame, QGraphicsScene, QGraphicsView

from ovsam_annotator.views import decorations
from ovsam_annotator.views.chip import CursorTag, EncodeChip, NoteChip
from ovsam_annotator.views.data import DisplayOptions, EncodeState, Tool
from ovsam_annotator.views.foreground import Foreground
from ovsam_annotator.views.gestures import BoxGesture, PolygonGesture, StrokeGesture, VertexGesture
from ovsam_annotator.views.overlay import OverlayItem
from ovsam_annotator.views.tiles import PictureItem

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from PySide6.QtGui import QFocusEvent, QMouseEvent, QResizeEvent, QWheelEvent
    from PySide6.QtWidgets import QWidget

    from ovsam_annotator.model.shapes import MaskShape
    from ovsam_annotator.views.data import CanvasObject, PictureImage, PromptMarks, Rgb, Suggestion
    from ovsam_annotator.views.gestures import Gesture

__all__ = ["Canvas"]

MAX_SCALE = 64.0
REST_MS = 120  # how long the pointer stays still before the hover preview is asked for
REST_PIXELS = 4.0  # movement on screen that ends a rest
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


class Canvas(QGraphicsView):
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
    view_changed = Signal()  # zoomed, scrolled or resized: whoever lies beside a mask must move

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._configure()
        self._picture = PictureItem()
        self._overlay = OverlayItem()
        for item in (self._picture, self._overlay):
            item.setAcceptedMouseButtons(Qt.MouseButton.NoButton)
            self.scene().addItem(item)

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
        self._resting: QPoint | None = None
        self._fitted = True
        self._held_key = 0

        self._rest = QTimer(self, singleShot=True, interval=REST_MS)
        self._rest.timeout.connect(self._on_rest)
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
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTransformationAnchor(QGraphicsView.ViewportAnchor.NoAnchor)
        self.setResizeAnchor(QGraphicsView.ViewportAnchor.NoAnchor)
        self.setViewportUpdateMode(QGraphicsView.ViewportUpdateMode.MinimalViewportUpdate)
        self.setOptimizationFlag(QGraphicsView.OptimizationFlag.DontSavePainterState)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.NoContextMenu)
        scene = QGraphicsScene(self)
        scene.setItemIndexMethod(QGraphicsScene.ItemIndexMethod.NoIndex)
        self.setScene(scene)

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

    def zoom_fit(self) -> None:
        """Fit the picture."""
        rect = self._picture.boundingRect()
        if rect.isEmpty():
            self.viewport().update()
            return
        area = self.viewport().rect()
        scale = min(area.width() / rect.width(), area.height() / rect.height()) * 0.98
        self._set_scale(min(scale, MAX_SCALE), rect.center(), QPointF(area.center()))
        self._fitted = True

    def zoom_actual(self) -> None:
        """Show one picture pixel as one screen pixel, around the pointer."""
        anchor = self._anchor()
        self._set_scale(1 / self.devicePixelRatioF(), self._to_scene(anchor), anchor)

    def zoom_by(self, factor: float) -> None:
        """Zoom around the pointer, or the middle of the view."""
        anchor = self._anchor()
        self._set_scale(self.scale_now * factor, self._to_scene(anchor), anchor)

    def show_box(self, box_xyxy: tuple[float, float, float, float]) -> None:
        """Scroll, and zoom where needed, until a box is well in view."""
        x1, y1, x2, y2 = box_xyxy
        area = self.viewport().rect()
        width, height = max(x2 - x1, 1), max(y2 - y1, 1)
        scale = self.scale_now
        if max(width, height) * scale < 40:
            scale = 40 / max(width, height)
        scale = min(scale, 0.9 * area.width() / width, 0.9 * area.height() / height)
        box = QRectF(x1, y1, width, height)
        seen = self.mapToScene(area).boundingRect()
        if scale != self.scale_now or not seen.contains(box):
            self._set_scale(scale, box.center(), QPointF(area.center()))

    # --- what others may ask -------------------------------------------------------------------------------------

    @property
    def scale_now(self) -> float:
        """Screen pixels for one picture pixel."""
        return float(self.transform().m11())

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
        if not self._held_key:
            self._held_key = key
            QApplication.instance().installEventFilter(self)  # type: ignore[union-attr]
            self._set_hidden(hidden=True)

    # --- painting ------------------------------------------------------------------------------------------------

    def drawBackground(self, painter: QPainter, rect: QRectF | Any) -> None:  # noqa: N802
        """Fill what lies beside the picture."""
        painter.fillRect(rect, self.palette().color(QPalette.ColorRole.Dark))

    def drawForeground(self, painter: QPainter, rect: QRectF | Any) -> None:  # noqa: N802
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
        self._paint_device(painter, view, area, rect)
        painter.restore()

    def _paint_device(self, painter: QPainter, view: QTransform, area: QRectF, rect: QRectF) -> None:
        if not self._options.hidden and self._options.names:
            box = (rect.left(), rect.top(), rect.right(), rect.bottom())
            seen = self._overlay.largest_in(*box, NAMES_TRIED)
            decorations.paint_names(painter, seen, view, area, self.font())
        self._over.paint_signs(painter, view, area, self.font(), self._pointer)
        if self._cursor is not None:
            decorations.paint_cross(painter, view.map(self._cursor), area, whole=self._options.crosshair)
        elif self._options.crosshair and self._pointer is not None:
            decorations.paint_cross(painter, QPointF(self._pointer), area, whole=True)

    # --- mouse ---------------------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Start a gesture, a pan, or a negative click."""
        self._drop_rest()
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
            self._scroll(at - self._pan_from)
            self._pan_from = at
            return
        if self._pointer != at:
            self._use_mouse()
        if self._resting is not None and (at - self._resting).manhattanLength() > REST_PIXELS:
            self._drop_rest()
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
            self._rest.start()
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
        self._drop_rest()
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self._scroll(QPoint(turned // 2, 0))
        elif event.modifiers() & Qt.KeyboardModifier.AltModifier:
            self._scroll(QPoint(0, turned // 2))
        else:
            anchor = event.position()
            self._set_scale(self.scale_now * 1.25 ** (turned / 120), self._to_scene(anchor), anchor)
        event.accept()

    def leaveEvent(self, event: QEvent) -> None:  # noqa: N802
        """Forget the pointer."""
        self._drop_rest()
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

    def eventFilter(self, watched: Any, event: QEvent) -> bool:  # noqa: N802
        """Wait for the release of the key that hides the masks."""
        released = (
            event.type() == QEvent.Type.KeyRelease
            and isinstance(event, QKeyEvent)
            and event.key() == self._held_key
            and not event.isAutoRepeat()
        )
        if self._held_key and (released or event.type() == QEvent.Type.ApplicationDeactivate):
            self._held_key = 0
            QApplication.instance().removeEventFilter(self)  # type: ignore[union-attr]
            self._set_hidden(hidden=False)
        return super().eventFilter(watched, event)

    # --- inside --------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Stay fitted when fitted."""
        super().resizeEvent(event)
        if self._fitted:
            self.zoom_fit()
        else:
            self._set_scroll_room()
        self._place_chips()
        self.view_changed.emit()

    def _exact(self, event: QMouseEvent) -> QPointF:
        return self._to_scene(event.position())

    def _to_scene(self, at: QPointF) -> QPointF:
        inverse, _ = self.viewportTransform().inverted()
        return inverse.map(at)

    def _clamped(self, point: QPointF, event: QMouseEvent) -> QPointF:
        """Keep a drag inside the picture; a fresh prompt click outside stays outside and is ignored later."""
        if event.type() == QEvent.Type.MouseButtonPress and self._tool is Tool.PROMPT:
            return point
        if self._tool is Tool.PROMPT and not self._gestures[Tool.PROMPT].busy:
            return point
        rect = self._picture.boundingRect()
        return QPointF(min(max(point.x(), rect.left()), rect.right()), min(max(point.y(), rect.top()), rect.bottom()))

    def _clicked(self, point: QPointF) -> None:
        self._add_point(point, positive=True)

    def _dragged(self, rect: QRectF) -> None:
        box = rect.intersected(self._picture.boundingRect())
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
        rect = self._picture.boundingRect().adjusted(0, 0, -0.01, -0.01)
        self._cursor = QPointF(
            min(max(moved.x(), rect.left()), rect.right()), min(max(moved.y(), rect.top()), rect.bottom())
        )
        self._rest.start()
        seen = self.mapToScene(self.viewport().rect()).boundingRect()
        if not seen.contains(self._cursor):
            self._set_scale(self.scale_now, self._cursor, QPointF(self.viewport().rect().center()))
        self.viewport().update()

    def _use_mouse(self) -> None:
        """The mouse has taken over from the keyboard crosshair."""
        if self._cursor is not None:
            self._cursor = None
            self.viewport().update()

    def _on_rest(self) -> None:
        point = self._cursor
        if point is None:
            if self._pointer is None:
                return
            point = self.mapToScene(self._pointer)
        if self._picture.boundingRect().contains(point) and self._tool is Tool.PROMPT:
            self._resting = self._pointer or QPoint()
            self.rested.emit(point.x(), point.y())

    def _drop_rest(self) -> None:
        self._rest.stop()
        if self._resting is not None:
            self._resting = None
            self.rest_ended.emit()

    def _tell_pointer(self) -> None:
        if self._pointer is not None:
            point = self.mapToScene(self._pointer)
            if self._picture.boundingRect().contains(point):
                self.pointer_moved.emit(point.x(), point.y())

    def _anchor(self) -> QPointF:
        return QPointF(self._pointer if self._pointer is not None else self.viewport().rect().center())

    def _set_scale(self, scale: float, scene: QPointF, at: QPointF) -> None:
        """Zoom so that a scene point lies at a viewport point."""
        rect = self._picture.boundingRect()
        if rect.isEmpty():
            return
        area = self.viewport().rect()
        fit = min(area.width() / rect.width(), area.height() / rect.height())
        scale = min(max(scale, min(fit, 1.0) * 0.25, 1e-4), MAX_SCALE)
        self.setTransform(QTransform.fromScale(scale, scale))
        self._set_scroll_room()
        self._scroll((at - QPointF(self.viewportTransform().map(scene))).toPoint())
        self._fitted = False

    def _set_scroll_room(self) -> None:
        """Let every corner of the picture come to the middle of the view."""
        area = self.viewport().rect()
        across, down = area.width() / self.scale_now, area.height() / self.scale_now
        self.setSceneRect(self._picture.boundingRect().adjusted(-across, -down, across, down))

    def _scroll(self, by: QPoint) -> None:
        across, down = self.horizontalScrollBar(), self.verticalScrollBar()
        across.setValue(across.value() - by.x())
        down.setValue(down.value() - by.y())
        self._fitted = False
        self.viewport().update()
        self.view_changed.emit()

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
