"""Masks changed by hand: filled, grown, split, merged, painted, drawn, and pulled by their corners."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from ovsam_annotator.model.document import Item
from ovsam_annotator.model.editing import filled_rings, rings_of, stroke_mask
from ovsam_annotator.model.shapes import mask_shape
from ovsam_core.masks import union_all
from ovsam_core.store import ObjectRow, new_uid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ovsam_annotator.controller.session import Session
    from ovsam_annotator.controller.tasks import Runner
    from ovsam_annotator.model.document import Document
    from ovsam_annotator.views.protocols import CanvasView
    from ovsam_core.masks import Mask

__all__ = ["MasksController"]

_CRUMB = 16  # pixels: parts below this are what models leave behind by accident
_VERTEX_TOLERANCE = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class _Edit:
    """Work on masks that is being done, or waits.

    Attributes:
        session: the project.
        document: the picture's objects; they are written even when another picture is open by then.
        label: what the history list shows.
        uids: of the objects it starts from, as the edit before left them.
        work: from these objects to those to write, and uids of those to remove.
        nothing: what is said where there is nothing to write and nothing to remove.
        drawn: it makes a new object.
    """

    session: Session
    document: Document
    label: str
    uids: tuple[str, ...]
    work: Callable[[list[Item]], tuple[list[Item], list[str]]]
    nothing: str = ""
    drawn: bool = False

    def items(self) -> list[Item] | None:
        """What it starts from; None where an object is gone or locked."""
        return _found({item.uid: item for item in self.document}, self.uids)


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
        self._edits: deque[_Edit] = deque()  # the first one is being worked on
        canvas.stroke_drawn.connect(self.stroke)
        canvas.polygon_drawn.connect(self.polygon)
        canvas.vertices_edited.connect(self.set_rings)

    def attach(self, session: Session | None) -> None:
        """Work on another project, or none; what was drawn in the old one is on its way to its store after that."""
        self._finish()
        self._session = session
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

        def work(items: list[Item]) -> tuple[list[Item], list[str]]:
            made = []
            for item in items:
                parts = item.row.mask.split()
                if len(parts) > 1:
                    first, *rest = parts
                    fresh = [Item(replace(item.row, uid=new_uid(), export_id=None), item.shape) for _ in rest]
                    made += [_remade(*pair) for pair in zip((item, *fresh), (first, *rest), strict=True)]
            return made, []

        nothing = self.tr("Nothing to split: every selected mask is in one piece")
        self._queue("Split into parts", self._editable(), work, nothing)

    def merge(self) -> None:
        """Merge the selected objects into the one selected first."""
        items = self._editable()
        if len(items) < 2:
            self.hint_changed.emit(self.tr("Select two or more objects to merge (Ctrl+click, Shift adds)"))
            return

        def work(items: list[Item]) -> tuple[list[Item], list[str]]:
            mask = items[0].row.mask
            merged = union_all([item.row.mask for item in items], mask.height, mask.width)
            return [_remade(items[0], merged)], [item.uid for item in items[1:]]

        self._queue(f"Merge {len(items)} objects", items, work)

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
        document = self._session.document if self._session else None
        if document is None:
            return
        picture = document.picture.id

        def work(_: list[Item]) -> tuple[list[Item], list[str]]:
            mask = make()
            row = ObjectRow(new_uid(), picture, mask, source="drawn", created=time.time())
            return ([Item(row, mask_shape(mask))] if mask.area else []), []

        self._queue("Draw object", (), work, drawn=True)

    def _change_masks(self, label: str, change: Callable[[Mask], Mask]) -> None:
        items = self._editable()
        self._apply_masks(label, items, lambda items: [_remade(item, change(item.row.mask)) for item in items])

    def _apply_masks(self, label: str, items: Sequence[Item], change: Callable[[list[Item]], list[Item]]) -> None:
        def work(items: list[Item]) -> tuple[list[Item], list[str]]:
            changed = [new for new, old in zip(change(items), items, strict=True) if new is not old]
            return [i for i in changed if i.shape.area], [i.uid for i in changed if not i.shape.area]

        if items:
            self._queue(label, items, work, self.tr("{label}: nothing changed").format(label=label))

    def _queue(
        self,
        label: str,
        items: Sequence[Item],
        work: Callable[[list[Item]], tuple[list[Item], list[str]]],
        nothing: str = "",
        *,
        drawn: bool = False,
    ) -> None:
        """Work on masks in the background, one edit after the other: each starts from what the one before made."""
        session = self._session
        if session is None or session.document is None or not (items or drawn):
            return
        uids = tuple(item.uid for item in items)
        self._edits.append(_Edit(session, session.document, label, uids, work, nothing, drawn))
        if len(self._edits) == 1:
            self._begin()

    def _begin(self) -> None:
        """Work on the first edit of the queue; those whose objects are gone are passed over."""
        while self._edits:
            edit = self._edits[0]
            items = edit.items()
            if items is not None:
                self._runner.run(
                    partial(edit.work, items), partial(self._done, edit, items), partial(self._failed, edit)
                )
                return
            self._edits.popleft()
            self._say_changed()

    def _done(self, edit: _Edit, before: list[Item], result: tuple[list[Item], list[str]]) -> None:
        if not self._take(edit):
            return
        put, drop = result
        now = edit.items()
        if now is None or any(a.row.mask != b.row.mask for a, b in zip(now, before, strict=True)):
            self._say_changed()
        elif put or drop:
            edit.session.put_into(edit.document, edit.label, put, drop=drop)
            if edit.drawn and edit.session.document is edit.document:
                edit.session.select([put[0].uid])
                self.drawn.emit(put[0].uid)
        elif edit.nothing:
            self.hint_changed.emit(edit.nothing)
        self._begin()

    def _failed(self, edit: _Edit, error: Exception) -> None:
        if self._take(edit):
            self.hint_changed.emit(self.tr("That did not work: {error}").format(error=error))
            self._begin()

    def _take(self, edit: _Edit) -> bool:
        """Take an edit off the queue; False where the project was left and its own thread does it."""
        if not self._edits or self._edits[0] is not edit:
            return False
        self._edits.popleft()
        return True

    def _finish(self) -> None:
        """The project is about to be closed: leave to its own thread what is still being worked out."""
        by_document: dict[int, list[_Edit]] = {}
        for edit in self._edits:
            by_document.setdefault(id(edit.document), []).append(edit)
        self._edits.clear()
        for edits in by_document.values():
            last = edits[-1]
            last.session.put_late(last.document, last.label, partial(_late, edits, list(last.document)))

    def _say_changed(self) -> None:
        self.hint_changed.emit(self.tr("The object was changed meanwhile; do it again"))


def _late(edits: Sequence[_Edit], items: Sequence[Item]) -> tuple[list[Item], list[str]]:
    """Return what edits of one picture make of its objects: those to write, and uids of those to remove."""
    before = {item.uid: item for item in items}
    now = dict(before)
    for edit in edits:
        found = _found(now, edit.uids)
        if found is not None:
            put, drop = edit.work(found)
            now = {uid: item for uid, item in now.items() if uid not in drop} | {item.uid: item for item in put}
    return [item for uid, item in now.items() if before.get(uid) is not item], [uid for uid in before if uid not in now]


def _found(items: Mapping[str, Item], uids: Sequence[str]) -> list[Item] | None:
    found = [item for uid in uids if (item := items.get(uid)) is not None and not item.row.locked]
    return found if len(found) == len(uids) else None


def _remade(item: Item, mask: Mask) -> Item:
    """The object with another mask; the embeddings of the old one no longer describe it."""
    if mask == item.row.mask:
        return item
    return Item(replace(item.row, mask=mask, region=None, crop_region=None), mask_shape(mask))
