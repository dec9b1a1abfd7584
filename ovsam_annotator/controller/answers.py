"""An answer of the model as the window shows it, and the object it becomes when a person accepts it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication

from ovsam_annotator.views import data

if TYPE_CHECKING:
    from ovsam_annotator.controller.session import Session
    from ovsam_annotator.inference.messages import Predicted
    from ovsam_annotator.model.document import Item
    from ovsam_annotator.model.shapes import MaskShape
    from ovsam_core.masks import Mask
    from ovsam_core.results import Candidate
    from ovsam_core.store import ObjectRow

__all__ = ["NAMES", "ShownAnswer", "most_alike", "refined_row", "suggestion_of"]

NAMES = 9  # one for each digit


@dataclass(frozen=True, slots=True, eq=False)
class ShownAnswer:
    """The answer on show.

    Attributes:
        predicted: what the model said.
        chosen: which of its masks is on show.
        drawn: the finished object that it names, whose mask stays as it is; None where the answer's mask is meant.
    """

    predicted: Predicted
    chosen: int = 0
    drawn: Item | None = None

    @property
    def candidate(self) -> Candidate:
        """The candidate on show."""
        return self.predicted.prediction.candidates[self.chosen]

    @property
    def shape(self) -> MaskShape:
        """The mask on show."""
        return self.drawn.shape if self.drawn is not None else self.predicted.shapes[self.chosen]


def suggestion_of(
    answer: ShownAnswer, session: Session | None, *, preselected: int | None, note: str
) -> data.Suggestion:
    """What canvas and list of names show of an answer.

    Args:
        answer: the answer.
        session: the project, whose classes lend their colours.
        preselected: the name that Enter accepts; None for none.
        note: said behind the title.
    """
    prediction = answer.predicted.prediction
    names = []
    for label in answer.candidate.labels[:NAMES]:
        known = session.classes.find(label.entry_id, label.name) if session else None
        colour = session.classes.colour(known.uid) if session and known else None
        names.append(data.NameRow(label.entry_id, label.name, label.score, label.decided_by, colour))
    if answer.drawn is not None:
        candidates: tuple[data.CandidateRow, ...] = (data.CandidateRow(answer.shape, answer.candidate.predicted_iou),)
    else:
        candidates = tuple(
            data.CandidateRow(shape, candidate.predicted_iou)
            for shape, candidate in zip(answer.predicted.shapes, prediction.candidates, strict=True)
        )
    if not note and "zoom" in prediction.branches:
        note = QCoreApplication.translate("Annotation", "after a closer look")
    chosen = 0 if answer.drawn is not None else answer.chosen
    empty = answer.shape.area == 0
    return data.Suggestion(candidates, tuple(names), chosen, preselected, empty, note, answer.predicted.generation)


def most_alike(predicted: Predicted, mask: Mask) -> int:
    """Index of the candidate that overlaps a mask most, as a share of both."""
    ious = [candidate.mask.iou(mask) for candidate in predicted.prediction.candidates]
    return max(range(len(ious)), key=ious.__getitem__)


def refined_row(fresh: ObjectRow, old: ObjectRow, *, keep_class: bool) -> ObjectRow:
    """A finished object with another mask.

    Args:
        fresh: the row of a new object with that mask.
        old: the finished object.
        keep_class: it keeps its class, too.
    """
    row = replace(
        fresh,
        uid=old.uid,
        created=old.created,
        source=old.source,
        attributes=old.attributes,
        export_id=old.export_id,
        extra=old.extra,
        prompts=(*old.prompts, *fresh.prompts),
        seconds=(old.seconds or 0.0) + (fresh.seconds or 0.0),
    )
    return replace(row, class_uid=old.class_uid, score=old.score, rank=old.rank) if keep_class else row
