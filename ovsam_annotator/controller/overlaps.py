"""A new mask on older ones: the project's rule, carried out in the background before the object is written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from ovsam_annotator.model.document import Item
from ovsam_annotator.model.editing import Overlap, resolve_overlap
from ovsam_annotator.model.shapes import mask_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovsam_annotator.controller.session import Session
    from ovsam_annotator.controller.tasks import Runner
    from ovsam_annotator.model.document import Document
    from ovsam_annotator.model.shapes import MaskShape
    from ovsam_core.masks import Mask
    from ovsam_core.store import ClassRow

__all__ = ["OverlapController"]


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """What the rule makes of a new object and of those under it."""

    fresh: Item
    survivors: list[Item]
    gone: list[str]


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """An object whose cut is being worked out."""

    session: Session
    document: Document
    label: str
    item: Item
    extra: tuple[ClassRow, ...]
    others: list[Item]
    rule: Overlap


class OverlapController(QObject):
    """Writes new and refined objects by the project's rule.

    Args:
        runner: cuts masks.

    Attributes:
        rule: the project's.
        acted: (text) the rule changed a mask.
    """

    acted = Signal(str)

    def __init__(self, *, runner: Runner, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._runner = runner
        self.rule = Overlap.ALLOW
        self._waiting: list[_Waiting] = []

    def put(self, session: Session, document: Document, label: str, item: Item, extra: tuple[ClassRow, ...]) -> None:
        """Write an object of a document; where the rule may act, masks are cut first.

        Args:
            session: the project.
            document: the picture's objects; they are written even when another picture is open by then.
            label: what the history list shows.
            item: the object.
            extra: classes that belong to the same step.
        """
        others = self._others(document, item)
        if not others:
            session.put_into(document, label, [item], extra=extra)
            return
        waiting = _Waiting(session, document, label, item, extra, others, self.rule)
        self._waiting.append(waiting)

        def done(cut: _Cut) -> None:
            if waiting not in self._waiting:  # the project was left, and wrote it
                return
            self._waiting.remove(waiting)
            if any(document.get(other.uid) is not other for other in others):  # edited or undone meanwhile
                self.put(session, document, label, item, extra)
            elif cut.fresh.shape.area:
                session.put_into(document, label, [cut.fresh, *cut.survivors], extra=extra, drop=cut.gone)
                self._say(item, cut)
            else:
                self.acted.emit(self.tr("Nothing kept: other objects cover all of it (overlap rule: new gives way)"))

        self._runner.run(lambda: _resolve(item, others, waiting.rule), done)

    def finish(self) -> None:
        """The project is about to be closed: leave to its own thread what is still being worked out."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.session.put_late(each.document, each.label, partial(_late, each), extra=each.extra)

    def _others(self, document: Document, item: Item) -> list[Item]:
        if self.rule is Overlap.ALLOW:
            return []
        return [o for o in document if o.uid != item.uid and not o.row.locked and _boxes_meet(o.shape, item.shape)]

    def _say(self, item: Item, cut: _Cut) -> None:
        count = len(cut.survivors) + len(cut.gone)
        if cut.fresh is not item:
            self.acted.emit(self.tr("The new mask gave way to older ones (overlap rule of this project)"))
        elif count == 1:
            self.acted.emit(self.tr("The new mask cut into an older one (overlap rule)"))
        elif count:
            self.acted.emit(self.tr("The new mask cut into {n} older ones (overlap rule)").format(n=count))


def _late(waiting: _Waiting) -> tuple[list[Item], list[str]]:
    cut = _resolve(waiting.item, waiting.others, waiting.rule)
    return ([cut.fresh, *cut.survivors], cut.gone) if cut.fresh.shape.area else ([], [])


def _resolve(item: Item, others: Sequence[Item], rule: Overlap) -> _Cut:
    new, changed = resolve_overlap(item.row.mask, [o.row.mask for o in others], rule)
    return _Cut(
        item if new == item.row.mask else _with_mask(item, new),
        [_with_mask(others[i], mask) for i, mask in changed.items() if mask.area],
        [others[i].uid for i, mask in changed.items() if not mask.area],
    )


def _boxes_meet(one: MaskShape, other: MaskShape) -> bool:
    a, b = one.box_xyxy, other.box_xyxy
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _with_mask(item: Item, mask: Mask) -> Item:
    return Item(replace(item.row, mask=mask, region=None, crop_region=None), mask_shape(mask))
