"""A picture, its stored masks, and what lies over them: how they are shown and painted.

Painting is left to the layers and to `foreground`, zoom and scrolling to `zoom_view`. Picture and stored masks are the
view's background, which is kept while only what lies over them changes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QEvent, QPoint, QRectF, Signal
from PySide6.QtGui import QPainter, QPalette, QTransform
from PySide6.QtWidgets import QGraphicsScene

from ovsam_annotator.views.chip import NoteChip
from ovsam_annotator.views.data import DisplayOptions
from ovsam_annotator.views.foreground import Foreground
from ovsam_annotator.views.name_plates import NamePlates
from ovsam_annotator.views.overlay import OverlayLayer
from ovsam_annotator.views.tiles import PictureLayer
from ovsam_annotator.views.zoom_view import ZoomView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PySide6.QtGui import QPaintEvent, QResizeEvent
    from PySide6.QtWidgets import QWidget

    from ovsam_annotator.model.shapes import MaskShape
    from ovsam_annotator.views.data import CanvasObject, PictureImage, PromptMarks, Rgb, Suggestion

__all__ = ["PictureView"]

NAMES_TRIED = 200  # masks that may carry their name, the largest in view


class PictureView(ZoomView):
    """What the canvas shows; it hears neither mouse nor keyboard.

    Attributes:
        display_changed: (options) masks are painted another way, by a key on the canvas.
    """

    display_changed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._picture = PictureLayer(self._layer_changed)
        self._overlay = OverlayLayer(self._layer_changed)
        self.destroyed.connect(self._overlay.close)  # tiles still being composed have nobody to hand them to
        self._names = NamePlates()
        self._options = DisplayOptions()
        self._over = Foreground()
        self._pointer: QPoint | None = None  # where the mouse is in the viewport, None outside
        self._note = NoteChip(self)

    # --- for whoever derives from it -----------------------------------------------------------------------------

    def paint_drawing(self, painter: QPainter, scale: float) -> None:
        """Paint a half-done drawing; scene coordinates, `scale` screen pixels for one picture pixel."""

    def paint_pointer(self, painter: QPainter, view: QTransform, area: QRectF) -> None:
        """Paint a crosshair; device coordinates, `view` leads there from the picture, `area` is visible."""

    # --- verbs ---------------------------------------------------------------------------------------------------

    def show_picture(self, picture: PictureImage | None) -> None:
        """Show a picture at fit zoom, without objects, prompts or suggestion; None empties the view."""
        self._picture.set_picture(picture)
        self._overlay.set_size(picture.width if picture else 0, picture.height if picture else 0)
        self._over.clear()
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

    def set_contrast(self, low: float, high: float) -> None:
        """Change the shown value range of a picture with more than 8 bits; display only."""
        self._picture.set_window(low, high)

    @property
    def contrast(self) -> tuple[float, float] | None:
        """Shown value range of a picture with more than 8 bits; None for 8 bits."""
        return self._picture.shown_range

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
        """Paint suggestion, selection, names, dots and what whoever derives from this adds."""
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
        self.paint_drawing(painter, scale)
        painter.save()
        painter.resetTransform()
        self._paint_device(painter, view, area)
        painter.restore()

    def _paint_device(self, painter: QPainter, view: QTransform, area: QRectF) -> None:
        if not self._options.hidden and self._options.names:
            self._names.paint(painter, view, area, self.font(), self._overlay.version, self._largest)
        self._over.paint_signs(painter, view, area, self.font(), self._pointer)
        self.paint_pointer(painter, view, area)

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

    # --- inside --------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Keep the note in its place."""
        super().resizeEvent(event)
        self._place_note()

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
        self._place_note()

    def _place_note(self) -> None:
        self._note.move(10, self.height() - self._note.height() - 10)
