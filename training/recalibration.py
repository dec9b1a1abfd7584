"""The temperature of scores, fitted again after names were taught, on labelled pictures that taught nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ovsam_core.calibration import calibrated_scores, fit_temperature
from ovsam_core.errors import PictureError
from ovsam_core.pictures import load_picture
from ovsam_core.prompts import Prompt
from training import metrics
from training.systems import OvsamSystem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from ovsam_core.embedding import ImageEmbedding
    from ovsam_core.predictor import OvsamPredictor
    from ovsam_core.vocabulary import Vocabulary
    from training.records import PictureRecord

__all__ = ["NameScores", "calibration_error", "confidence", "name_scores", "ranks", "refitted_temperature"]

_PRIOR = 20
"""Objects that the temperature before is worth: a handful of labels barely moves it, a hundred decide."""

_LEAST = 1e-12  # a probability below is float32's noise


@dataclass(frozen=True, slots=True)
class NameScores:
    """What a model says about N objects with a known name.

    Attributes:
        log_p: (N, K) log scores of the names, any constant per row.
        background: (N,) the same of "none of these", before it is raised by log K.
        target: (N,) int64 row of the true name.
    """

    log_p: Tensor
    background: Tensor
    target: Tensor


def name_scores(
    predictor: OvsamPredictor,
    pictures: Sequence[PictureRecord],
    vocabulary: Vocabulary,
    *,
    kept: dict[str, ImageEmbedding] | None = None,
) -> NameScores:
    """Ask for every object by its box, as the evaluation does, and return the log scores behind the answers.

    Args:
        predictor: whose configuration names the temperature that its scores were made with.
        pictures: the truth; objects whose name is not in the vocabulary and unreadable pictures are passed over.
        vocabulary: K names.
        kept: embeddings that are known, see `OvsamSystem`.
    """
    temperature = predictor.config.temperature
    system = OvsamSystem(predictor, vocabulary, top_k=len(vocabulary), kept=kept)
    rows: list[Tensor] = []
    targets: list[int] = []
    for record in pictures:
        things = [(o, vocabulary.find(o.name)) for o in record.objects if not o.crowd and o.name]
        known = [(o.box_xyxy, vocabulary.index_of[entry.id]) for o, entry in things if entry is not None]
        if not known:
            continue
        try:
            picture = load_picture(record.path)
        except PictureError:
            continue
        system.set_image(picture)
        boxes = [box for box, _ in known]
        answers = system.answer([Prompt.of(box=box) for box in boxes], boxes)
        for answer, (_, target) in zip(answers, known, strict=True):
            if vocabulary[target].id not in dict(answer.names):  # offered as a parent, with its children's sum
                continue
            row = torch.full((len(vocabulary) + 1,), _LEAST)
            for entry_id, score in answer.names:
                if entry_id in vocabulary.index_of:  # not a parent that is offered beside the names
                    row[vocabulary.index_of[entry_id]] = score
            row[-1] = 1 - row[:-1].sum()
            rows.append(row.clamp_min(_LEAST).log() * temperature)
            targets.append(target)
    k = len(vocabulary)
    table = torch.stack(rows) if rows else torch.zeros(0, k + 1)
    return NameScores(table[:, :k], table[:, k] - math.log(k), torch.tensor(targets, dtype=torch.int64))


def confidence(scores: NameScores, temperature: float) -> Tensor:
    """Return the (N,) probabilities of the first names at a temperature."""
    return calibrated_scores(scores.log_p, scores.background, temperature)[:, :-1].amax(1)


def ranks(scores: NameScores) -> list[int]:
    """Return the place of every object's true name, 0 for the first."""
    own = scores.log_p.gather(1, scores.target[:, None])
    return (scores.log_p > own).sum(1).tolist()


def calibration_error(scores: NameScores, temperature: float) -> float | None:
    """Return the expected calibration error at a temperature, over ten bins of equal mass."""
    right = [rank == 0 for rank in ranks(scores)]
    return metrics.calibration_error(confidence(scores, temperature).tolist(), right)


def refitted_temperature(scores: NameScores, before: float) -> float:
    """Return the likeliest temperature, drawn towards the one before where few objects speak.

    Args:
        scores: of objects that taught nothing.
        before: the temperature that the model had.
    """
    count = len(scores.target)
    if not count:
        return before
    fitted = fit_temperature(scores.log_p, scores.background, scores.target)
    weight = count / (count + _PRIOR)
    return math.exp(weight * math.log(fitted) + (1 - weight) * math.log(before))
