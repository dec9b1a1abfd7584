"""Proposals for the whole picture: "label everything", "find by name", and the previous picture's objects."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from ovsam_annotator.inference.messages import Everything, Failed, Progress, Proposed
from ovsam_annotator.model.document import Item
from ovsam_annotator.views import data
from ovsam_annotator.views.translation import counted
from ovsam_core.store import ObjectRow, new_uid
from ovsam_core.store.classes import PALETTE
from ovsam_core.vocabulary import normalise

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ovsam_annotator.controller.provenance import Provenance
    from ovsam_annotator.controller.session import Session
    from ovsam_annotator.inference.segmenter import Segmenter
    from ovsam_annotator.model.shapes import MaskShape
    from ovsam_annotator.views.protocols import MainWindowView
    from ovsam_core.results import Prediction
    from ovsam_core.store import ClassRow

__all__ = ["ProposalsController"]

_JOB = "everything"
_GREY = (160, 160, 160)
_TAKEN = 0.5  # a proposal that covers a finished object this well is not offered


@dataclass(frozen=True, slots=True, eq=False)
class _Proposal:
    """One proposal: an object row that is not stored yet."""

    row: ObjectRow
    shape: MaskShape
    entry_id: str
    name: str
    score: float


class ProposalsController(QObject):
    """Asks for proposals, shows them, and turns accepted ones into objects.

    Args:
        window: shows them.
        segmenter: makes them.
        provenance: what accepted ones are marked with.

    Attributes:
        told: text for the status line.
    """

    told = Signal(str)

    def __init__(
        self,
        *,
        window: MainWindowView,
        segmenter: Segmenter,
        provenance: Provenance,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._window = window
        self._segmenter = segmenter
        self._provenance = provenance
        self._session: Session | None = None
        self._found: list[_Proposal] = []
        self._lit = ""
        self._wanted = ""
        self._generation = 0
        self._asked: int | None = None
        self._vocabulary_digest = ""
        view = window.proposals
        view.everything_asked.connect(self.everything)
        view.find_asked.connect(self.find)
        view.name_lit.connect(self.light)
        view.name_accepted.connect(self.accept_name)
        view.accepted_above.connect(self.accept_above)
        view.cleared.connect(self.clear)
        window.job_cancelled.connect(self._job_cancelled)

    @property
    def vocabulary_digest(self) -> str:
        """Of the names to rank; empty until there is one. Proposals that wait for names are asked then."""
        return self._vocabulary_digest

    @vocabulary_digest.setter
    def vocabulary_digest(self, digest: str) -> None:
        waited = self._asked is not None and not self._vocabulary_digest
        self._vocabulary_digest = digest
        if waited and digest:
            self._submit()

    def names_failed(self) -> None:
        """There are no names: proposals that wait for them are given up."""
        if self._asked is not None and not self._vocabulary_digest:
            self.clear()

    @property
    def active(self) -> bool:
        """Whether proposals are on show."""
        return bool(self._found)

    def attach(self, session: Session | None) -> None:
        """Work on another project, or none."""
        self._session = session
        self.clear()

    def everything(self) -> None:
        """Ask for proposals for the whole open picture."""
        session = self._session
        if session is None or session.document is None or session.read_only:
            return
        self.clear()
        self._generation -= 1  # negative numbers: prompts count upwards, and both go through one worker
        self._asked = self._generation
        self._window.show_job(data.JobRow(_JOB, self.tr("Looking for every object"), "", None))
        if self._vocabulary_digest:
            self._submit()

    def _submit(self) -> None:
        session = self._session
        if session is not None and session.document is not None and self._asked is not None:
            picture = session.document.picture
            path = str(session.file_of(picture))
            self._segmenter.submit(Everything(picture.id, path, self._asked, self._vocabulary_digest))

    def find(self, name: str) -> None:
        """Light up proposals of a name; they are made first where there are none."""
        self._wanted = name.strip()
        if self._found:
            self.light(self._wanted)
            self._say_found()
        elif self._wanted:
            wanted = self._wanted
            self.everything()
            self._wanted = wanted

    def light(self, name: str) -> None:
        """Let the proposals of a name stand out."""
        known = {normalise(p.name): p.name for p in self._found}
        self._lit = known.get(normalise(name), "")
        self._paint()

    def take(self, answer: object) -> None:
        """An answer of the segmenter."""
        match answer:
            case Proposed() if answer.generation == self._asked:
                self._asked = None
                self._window.remove_job(_JOB)
                self._show(answer)
            case Failed() if answer.generation is not None and answer.generation == self._asked:
                self._asked = None
                self._window.remove_job(_JOB)
                self._window.show_message(data.Message(_JOB, answer.text, answer.advice, "error"))
            case Progress() if self._asked is not None and answer.stage == "decoding" and answer.fraction is not None:
                self._window.show_job(data.JobRow(_JOB, self.tr("Looking for every object"), "", answer.fraction))

    def offer_previous(self, previous: Iterable[Item]) -> None:
        """Offer another picture's objects as proposals; sizes must agree."""
        session = self._session
        if session is None or session.document is None:
            return
        self.clear()
        picture = session.document.picture
        for item in previous:
            size = (item.row.mask.width, item.row.mask.height)
            if size != (picture.w, picture.h):
                self.told.emit(self.tr("The previous picture has another size; its objects do not fit"))
                return
            row = replace(item.row, uid=new_uid(), picture=picture.id, export_id=None, state="open", rank=None)
            name = session.classes.name(row.class_uid)
            entry = session.classes.get(row.class_uid)
            self._found.append(_Proposal(row, item.shape, entry.entry_id if entry else "", name, row.score or 0.0))
        self.told.emit(
            self.tr("Of the previous picture: {objects}. Accept by click, by name or all").format(
                objects=counted("object", len(self._found))
            )
        )
        self._paint()

    def accept_at(self, x: float, y: float) -> bool:
        """Accept the smallest proposal under the cursor; False where there is none."""
        hits = [p for p in self._found if p.shape.contains(x, y)]
        if not hits:
            return False
        self._accept([min(hits, key=lambda p: p.shape.area)])
        return True

    def accept_name(self, name: str) -> None:
        """Accept all proposals of a name."""
        self._accept([p for p in self._found if p.name == name])

    def accept_above(self, score: float) -> None:
        """Accept all proposals at or above a score."""
        self._accept([p for p in self._found if p.score >= score])

    def clear(self) -> None:
        """Forget the proposals, and stop looking for more."""
        if self._asked is not None:
            self._segmenter.cancel(self._asked)
            self._asked = None
            self._window.remove_job(_JOB)
        self._found = []
        self._lit = self._wanted = ""
        self._paint()

    def _job_cancelled(self, job_id: str) -> None:
        if job_id == _JOB:
            self.clear()

    def _show(self, answer: Proposed) -> None:
        session = self._session
        if session is None or session.document is None or session.document.picture.id != answer.picture_id:
            return
        present = [item.shape for item in session.document]
        for prediction, shape in zip(answer.predictions, answer.shapes, strict=True):
            if shape.area and not any(_covers(shape, other) for other in present):
                self._found.append(self._proposal(session, prediction, shape))
        if self._wanted:
            self.light(self._wanted)
            self._say_found()
        else:
            self.told.emit(
                self.tr("{proposals}: accept by name, above a score, or by Ctrl+click").format(
                    proposals=counted("proposal", len(self._found))
                )
            )
            self._paint()

    def _say_found(self) -> None:
        count = sum(p.name == self._lit for p in self._found) if self._lit else 0
        if count:
            found = counted("proposal", count)
            self.told.emit(self.tr("{proposals} called “{name}”").format(proposals=found, name=self._wanted))
        else:
            self.told.emit(self.tr("No proposal is called “{name}”").format(name=self._wanted))

    def _proposal(self, session: Session, prediction: Prediction, shape: MaskShape) -> _Proposal:
        assert session.document is not None
        best = prediction.best
        label = best.labels[0] if best.labels else None
        row = self._provenance.row_of(
            best,
            session.document.picture.id,
            source="batch",
            rank=0 if label else None,
            score=label.score if label else None,
        )
        entry_id, name, score = (label.entry_id, label.name, label.score) if label else ("", "", 0.0)
        return _Proposal(row, shape, entry_id, name, score)

    def _accept(self, chosen: list[_Proposal]) -> None:
        session = self._session
        if session is None or session.document is None or not chosen:
            return
        items: list[Item] = []
        extra: list[ClassRow] = []
        for proposal in chosen:
            class_uid = None
            if proposal.name:
                row, new = session.claim_class(proposal.entry_id, proposal.name)
                class_uid = row.uid
                extra += new
            items.append(Item(replace(proposal.row, class_uid=class_uid, created=time.time()), proposal.shape))
        label = f"Accept {chosen[0].name or 'object'}" if len(chosen) == 1 else f"Accept {len(chosen)} proposals"
        session.put_items(label, items, extra=tuple(extra))
        taken = {id(p) for p in chosen}
        self._found = [p for p in self._found if id(p) not in taken]
        self._paint()

    def _paint(self) -> None:
        names: dict[str, list[_Proposal]] = {}
        for proposal in self._found:
            names.setdefault(proposal.name, []).append(proposal)
        ordered = sorted(names, key=lambda name: (-len(names[name]), name))
        colours = {name: self._colour(name, k) for k, name in enumerate(ordered)}
        self._window.proposals.set_rows(
            [
                data.ProposalRow(
                    name,
                    len(names[name]),
                    max(p.score for p in names[name]),
                    min(p.score for p in names[name]),
                    colours[name],
                )
                for name in ordered
            ]
        )
        self._window.canvas.set_proposals([(p.shape, colours[p.name], p.name) for p in self._found], self._lit)

    def _colour(self, name: str, index: int) -> tuple[int, int, int]:
        if not name:
            return _GREY
        known = self._session.classes.find("", name) if self._session else None
        if known is not None and self._session is not None:
            return self._session.classes.colour(known.uid)
        value = int(PALETTE[index % len(PALETTE)][1:], 16)
        return value >> 16 & 255, value >> 8 & 255, value & 255


def _covers(one: MaskShape, other: MaskShape) -> bool:
    """Whether two masks are mostly the same pixels (intersection over union)."""
    left, top = max(one.x, other.x), max(one.y, other.y)
    right, bottom = min(one.box_xyxy[2], other.box_xyxy[2]), min(one.box_xyxy[3], other.box_xyxy[3])
    if right <= left or bottom <= top:
        return False
    a = one.pixels[top - one.y : bottom - one.y, left - one.x : right - one.x]
    b = other.pixels[top - other.y : bottom - other.y, left - other.x : right - other.x]
    common = int((a & b).sum())
    return common > _TAKEN * (one.area + other.area - common)
