"""What lies over the stored masks: suggestion, hover, proposals, selection and prompt dots, and how they are painted.

The canvas tells it what there is and where the view stands; the painting itself is in `decorations`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QPointF, QRectF

from ovsam_annotator.views import decorations
from ovsam_annotator.views.data import PromptMarks
from ovsam_annotator.views.decorations import ShapeStamp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from PySide6.QtCore import QPoint
    from PySide6.QtGui import QFont, QPainter, QTransform

    from ovsam_annotator.model.shapes import MaskShape
    from ovsam_annotator.views.data import CanvasObject, Rgb, Suggestion

__all__ = ["Foreground"]


class Foreground:
    """Everything on show that is not stored, and the outlines of what is selected.

    Attributes:
        marks: the prompt of the object in work.
        selection: uids of the selected objects.
    """

    def __init__(self) -> None:
        self.marks = PromptMarks()
        self.selection: tuple[str, ...] = ()
        self._fresh: list[tuple[float, float, bool]] = []
        self._suggestion: ShapeStamp | None = None
        self._parts: list[tuple[int, int, int, int]] = []
        self._hover: ShapeStamp | None = None
        self._hover_name = ""
        self._proposals: list[tuple[ShapeStamp, Rgb, str]] = []
        self._lit = ""
        self._selected: dict[str, ShapeStamp] = {}

    def clear(self) -> None:
        """Forget everything: another picture."""
        self.set_marks(PromptMarks())
        self.set_suggestion(None)
        self.set_proposals((), "")
        self.set_selection(())

    # --- what there is -------------------------------------------------------------------------------------------

    def set_marks(self, marks: PromptMarks) -> None:
        """Take the prompt over from the dots that clicks have left."""
        self.marks, self._fresh = marks, []

    def add_dot(self, x: float, y: float, *, positive: bool) -> None:
        """A click that nobody has answered yet; picture coordinates."""
        self._fresh.append((x, y, positive))

    def set_suggestion(self, suggestion: Suggestion | None) -> None:
        """Show the chosen candidate instead of a hover preview."""
        self._hover = None
        shape = suggestion.candidates[suggestion.chosen].shape if suggestion is not None else None
        self._suggestion = ShapeStamp(shape) if shape is not None else None
        self._parts = shape.part_boxes() if shape is not None else []

    @property
    def suggested(self) -> MaskShape | None:
        """The mask in work."""
        return self._suggestion.shape if self._suggestion is not None else None

    @property
    def parts(self) -> list[tuple[int, int, int, int]]:
        """Boxes of its parts in the picture, the largest part first."""
        return self._parts

    def set_hover(self, shape: MaskShape | None, name: str) -> bool:
        """Show or drop the hover preview; False when there is nothing to paint again."""
        if shape is None and self._hover is None:
            return False
        self._hover = ShapeStamp(shape) if shape is not None else None
        self._hover_name = name
        return True

    def set_proposals(self, shapes: Sequence[tuple[MaskShape, Rgb, str]], lit: str) -> None:
        """Show proposals (shape, colour, name); those named `lit` stand out."""
        known = {id(stamp.shape): stamp for stamp, _, _ in self._proposals}
        self._proposals = [(known.get(id(s)) or ShapeStamp(s), colour, name) for s, colour, name in shapes]
        self._lit = lit

    @property
    def proposed(self) -> list[tuple[MaskShape, str]]:
        """Shapes and names of the proposals."""
        return [(stamp.shape, name) for stamp, _, name in self._proposals]

    def set_selection(self, uids: Sequence[str]) -> None:
        """Mark objects as selected."""
        self.selection = tuple(uids)
        self._selected = {uid: stamp for uid, stamp in self._selected.items() if uid in self.selection}

    # --- painting; device coordinates ----------------------------------------------------------------------------

    def paint_masks(
        self,
        painter: QPainter,
        view: QTransform,
        area: QRectF,
        fill: float,
        objects: Mapping[str, CanvasObject],
    ) -> None:
        """Paint proposals, the selected objects' outlines, hover and suggestion.

        Args:
            painter: without a transform.
            view: from picture to device coordinates.
            area: visible area.
            fill: opacity of masks, 0 to 1.
            objects: stored objects by uid.
        """
        for proposal, colour, name in self._proposals:
            look = decorations.suggested(colour, fill=fill * 0.7 if name == self._lit else 0, bold=False)
            proposal.paint(painter, view, area, look)
        for uid in self.selection:
            item = objects.get(uid)
            if item is not None and not item.hidden:
                kept = self._selected.get(uid)
                if kept is None or kept.shape is not item.shape:
                    kept = self._selected[uid] = ShapeStamp(item.shape)
                kept.paint(painter, view, area, decorations.selected(item.colour))
        if self._hover is not None:
            self._hover.paint(painter, view, area, decorations.suggested(fill=0, bold=False))
        if self._suggestion is not None:
            self._suggestion.paint(painter, view, area, decorations.suggested(fill=min(fill, 0.35), bold=True))

    def paint_signs(
        self, painter: QPainter, view: QTransform, area: QRectF, font: QFont, pointer: QPoint | None
    ) -> None:
        """Paint the hover preview's name beside the pointer, and the prompt's dots."""
        if self._hover is not None and self._hover_name and pointer is not None:
            at = QPointF(pointer) + QPointF(14, -14)
            decorations.paint_plate(painter, at, f"{self._hover_name}?", area, font)
        dots = [(view.map(QPointF(x, y)), on, self.marks.pending) for x, y, on in self.marks.points]
        dots += [(view.map(QPointF(x, y)), on, True) for x, y, on in self._fresh]
        decorations.paint_dots(painter, dots)

    def paint_box(self, painter: QPainter) -> None:
        """Paint the prompt's box; scene coordinates."""
        if self.marks.box_xyxy is not None:
            x1, y1, x2, y2 = self.marks.box_xyxy
            decorations.paint_box(painter, QRectF(x1, y1, x2 - x1, y2 - y1), pending=self.marks.pending)
