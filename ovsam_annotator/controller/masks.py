"""Masks changed by hand: filled, grown, split, merged, painted, drawn, and pulled by their corners."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from PySide6.QtCore import QObject, Signal

from ovsam_annotator.model.document import Item
from ovsam_annotator.model.editing import filled_rings, rings_of, stroke_mask
from ovsam_annotator.model.shapes import mask_shape
from ovsam_core.masks import union_all
from ovsam_core.store import ObjectRow, new_uid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ovsam_annotator.controller.session import Session
    from ovsam_annotator.controller.tasks import Runner
    from ovsam_annotator.views.protocols import CanvasView
    from ovsam_core.masks import Mask

__all__ = ["MasksController"]

_Result = TypeVar("_Result")

_CRUMB = 16  # pixels: parts below this are what models leave behind by accident
_VERTEX_TOLERANCE = 1.0


class MasksController(QObject):
    """Works on masks in the background, one edit after the other.

    Args:
        canvas: where they are painted and drawn.
        editable: the selected objects that are not locked; says why where there is none.
        runner: for work on masks.

    Attributes:
        drawn: (uid) a new object was drawn by hand and may want a name.
        hint_changed: text for the status line.
    """

    drawn = Signal(str)
    hint_changed = Signal(str)

    def __init__(
        self,
        *,
        canvas: CanvasView,
        editable: Callable[[], list[Item]],
        runner: Runner,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._canvas = canvas
        self._editable = editable
        self._runner = runner
        self._session: Session | None = None
        self._vertices = False
        self._edits: deque[tuple[tuple[str, ...], Callable[[list[Item]], Any], Callable[[Any, Session], None]]] = (
            deque()
        )
        self._editing = False
        canvas.stroke_drawn.connect(self.stroke)
        canvas.polygon_drawn.connect(self.polygon)
        canvas.vertices_edited.connect(self.set_rings)

    def attach(self, session: Session | None) -> None:
        """Work on another project, or none."""
        self._session = session
        self._edits.clear()
        if session is not None:
            session.document_replaced.connect(self._show_vertices)
            session.items_changed.connect(lambda *_: self._show_vertices())
            session.selection_changed.connect(self._show_vertices)
        self._show_vertices()

    def fill_holes(self) -> None:
        """Fill the holes of the selected masks."""
        self._change_masks("Fill holes", lambda mask: mask.fill_holes())

    def drop_crumbs(self) -> None:
        """Remove tiny parts of the selected masks."""
        self._change_masks("Drop crumbs", lambda mask: mask.drop_crumbs(_CRUMB))

    def grow(self, pixels: int) -> None:
        """Grow the selected masks by pixels, or shrink them by a negative number."""
        if pixels > 0:
            self._change_masks("Grow", lambda mask: mask.grow(pixels))
        else:
            self._change_masks("Shrink", lambda mask: mask.shrink(-pixels))

    def split(self) -> None:
        """Make an object of each part of the selected masks."""
        items = self._editable()

        def work(items: list[Item]) -> list[tuple[Item, list[Item]]]:
            result = []
            for item in items:
                parts = item.row.mask.split()
                if len(parts) > 1:
                    first, *rest = parts
                    fresh = [
                        _remade(Item(replace(item.row, uid=new_uid(), export_id=None), item.shape), part)
                        for part in rest
                    ]
                    result.append((_remade(item, first), fresh))
            return result

        def done(result: list[tuple[Item, list[Item]]], session: Session) -> None:
            if result:
                put = [made for item, fresh in result for made in (item, *fresh)]
                session.put_items("Split into parts", put)
            else:
                self.hint_changed.emit(self.tr("Nothing to split: every selected mask is in one piece"))

        self._work(items, work, done)

    def merge(self) -> None:
        """Merge the selected objects into the one selected first."""
        items = self._editable()
        if len(items) < 2:
            self.hint_changed.emit(self.tr("Select two or more objects to merge (Ctrl+click, Shift adds)"))
            return

        def work(items: list[Item]) -> Item:
            mask = items[0].row.mask
            return _remade(items[0], union_all([item.row.mask for item in items], mask.height, mask.width))

        def done(merged: Item, session: Session) -> None:
            session.put_items(f"Merge {len(items)} objects", [merged], drop=[item.uid for item in items[1:]])

        self._work(items, work, done)

    def stroke(self, points: NDArray[np.floating], radius: float, erase: bool) -> None:
        """A brush stroke: on the selected object, or a new object where none is selected."""
        document = self._session.document if self._session else None
        size = self._size()
        if document is None or size is None:
            return
        chosen = document.editable()
        if document.selection and not chosen:
            self.hint_changed.emit(self.tr("The selected object is locked"))
            return
        if erase and not chosen:
            self.hint_changed.emit(self.tr("Select the object to erase from (Ctrl+click)"))
            return
        if not chosen:
            self._draw(lambda: stroke_mask(points, radius, *size))
            return

        targets = chosen if erase else chosen[-1:]

        def work(items: list[Item]) -> list[Item]:
            painted = stroke_mask(points, radius, *size)
            made = []
            for item in items:
                mask = item.row.mask
                made.append(_remade(item, mask.subtract(painted) if erase else mask.union(painted)))
            return made

        self._apply_masks("Erase" if erase else "Brush", targets, work)

    def polygon(self, points: NDArray[np.floating]) -> None:
        """A polygon drawn by hand becomes a new object."""
        size = self._size()
        if size is not None:
            self._draw(lambda: filled_rings([points], *size))

    def offer_vertices(self, on: bool) -> None:
        """Offer the handles of the selected object while its tool is chosen."""
        self._vertices = on
        self._show_vertices()

    def set_rings(self, uid: str, rings: Sequence[NDArray[np.floating]]) -> None:
        """An object's outline was changed by its handles."""
        document = self._session.document if self._session else None
        item = document.get(uid) if document else None
        size = self._size()
        if item is not None and size is not None and not item.row.locked:
            self._apply_masks("Edit vertices", [item], lambda items: [_remade(items[0], filled_rings(rings, *size))])

    def _show_vertices(self) -> None:
        document = self._session.document if self._session else None
        chosen = document.editable() if document else []
        if not self._vertices or len(chosen) != 1:
            self._canvas.set_vertices("", None)
            return
        item = chosen[0]

        def done(rings: tuple[NDArray[np.float64], ...]) -> None:
            now = document.get(item.uid) if document else None
            if self._vertices and now is not None and now.row.mask == item.row.mask:
                self._canvas.set_vertices(item.uid, rings)

        self._runner.run(lambda: rings_of(item.row.mask, _VERTEX_TOLERANCE), done)

    def _size(self) -> tuple[int, int] | None:
        """Height and width of the open picture."""
        document = self._session.document if self._session else None
        if document is None or document.picture.w is None or document.picture.h is None:
            return None
        return document.picture.h, document.picture.w

    def _draw(self, make: Callable[[], Mask]) -> None:
        session = self._session
        assert session is not None
        document = session.document
        assert document is not None

        def work() -> Item:
            mask = make()
            row = ObjectRow(new_uid(), document.picture.id, mask, source="drawn", created=time.time())
            return Item(row, mask_shape(mask))

        def done(item: Item) -> None:
            if session.document is document and item.shape.area:
                session.put_items("Draw object", [item])
                session.select([item.uid])
                self.drawn.emit(item.uid)

        self._runner.run(work, done)

    def _change_masks(self, label: str, change: Callable[[Mask], Mask]) -> None:
        items = self._editable()
        self._apply_masks(label, items, lambda items: [_remade(item, change(item.row.mask)) for item in items])

    def _apply_masks(self, label: str, items: Sequence[Item], work: Callable[[list[Item]], list[Item]]) -> None:
        def done(made: list[Item], session: Session) -> None:
            document = session.document
            assert document is not None
            changed = [i for i in made if (o := document.get(i.uid)) is not None and o.row.mask != i.row.mask]
            if not changed:
                self.hint_changed.emit(self.tr("{label}: nothing changed").format(label=label))
                return
            gone = [item.uid for item in changed if not item.shape.area]
            session.put_items(label, [item for item in changed if item.shape.area], drop=gone)

        self._work(items, work, done)

    def _work(
        self,
        items: Sequence[Item],
        work: Callable[[list[Item]], _Result],
        done: Callable[[_Result, Session], None],
    ) -> None:
        """Work on masks in the background, one edit after the other: each starts from what the one before made."""
        if items:
            self._edits.append((tuple(item.uid for item in items), work, done))
            self._next_edit()

    def _next_edit(self) -> None:
        session = self._session
        if self._editing or not self._edits or session is None:
            return
        uids, work, done = self._edits.popleft()
        document = session.document
        found = [document.get(uid) for uid in uids] if document is not None else []
        items = [item for item in found if item is not None and not item.row.locked]
        if len(items) != len(uids):
            self.hint_changed.emit(self.tr("The object was changed meanwhile; do it again"))
            self._next_edit()
            return
        before = {item.uid: item.row.mask for item in items}
        self._editing = True

        def finished(result: Any) -> None:
            self._editing = False
            now = session.document
            if now is not None and all((o := now.get(u)) is not None and o.row.mask == m for u, m in before.items()):
                done(result, session)
            else:
                self.hint_changed.emit(self.tr("The object was changed meanwhile; do it again"))
            self._next_edit()

        def failed(error: Exception) -> None:
            self._editing = False
            self.hint_changed.emit(self.tr("That did not work: {error}").format(error=error))
            self._next_edit()

        self._runner.run(lambda: work(items), finished, failed)


def _remade(item: Item, mask: Mask) -> Item:
    """The object with another mask; the embeddings of the old one no longer describe it."""
    if mask == item.row.mask:
        return item
    return Item(replace(item.row, mask=mask, region=None, crop_region=None), mask_shape(mask))
