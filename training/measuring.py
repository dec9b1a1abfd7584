"""Prompting a system once for every annotated object, and keeping what it answered."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from ovsam_core.errors import PictureError
from ovsam_core.pictures import load_picture
from ovsam_core.prompts import Prompt
from training import metrics
from training.bad_pictures import BadPictures
from training.records import decode_mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ovsam_core.vocabulary import Vocabulary
    from training.records import ObjectRecord, PictureRecord
    from training.systems import Answer, System

__all__ = ["NOWHERE", "Measured", "Run", "measure", "official_centre"]

NOWHERE = 1 << 30  # rank of a true name that is not among the answers


@dataclass
class Measured:
    """One object's figures.

    Attributes:
        picture: index of the picture.
        thing: the annotated object.
        ious: IoU after each click; one value for other prompts.
        oracle: best IoU among the candidates of the last prompt.
        rank: place of the true name, NOWHERE if it is not offered, None where the name is not in the vocabulary.
        confidence: score of the first name.
        answer: the first name.
        entry_id: entry id of the true name.
        split: base, novel or empty.
        clicks: x, y and label (1 adds, 0 takes away) of every click given; empty for a box.
        mask: the last mask, of the worst objects alone.
    """

    picture: int
    thing: ObjectRecord
    ious: list[float] = field(default_factory=list)
    oracle: float = 0.0
    rank: int | None = None
    confidence: float = float("nan")
    answer: str = ""
    entry_id: str = ""
    split: str = ""
    clicks: list[tuple[float, float, int]] = field(default_factory=list)
    mask: NDArray[np.bool_] | None = None

    @property
    def iou(self) -> float:
        """IoU after the last click."""
        return self.ious[-1]


@dataclass
class Run:
    """All objects, and what the measuring cost.

    Attributes:
        objects: measured objects.
        encode_ms: per picture.
        decode_ms: per prompt, names included.
        bad: unreadable pictures.
    """

    objects: list[Measured] = field(default_factory=list)
    encode_ms: list[float] = field(default_factory=list)
    decode_ms: list[float] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)


def measure(
    system: System,
    pictures: Sequence[PictureRecord],
    vocabulary: Vocabulary | None,
    *,
    prompt: Literal["box", "centre", "clicks"] = "box",
    clicks: int = 5,
    min_area: float = 0.0,
    split: dict[str, str] | None = None,
    keep_masks: int = 0,
    max_bad: float = 1.0,
    protocol: Literal["corrected", "official"] = "corrected",
    stop_at: float = 1.0,
) -> Run:
    """Prompt the system once for every object of every picture.

    Args:
        system: what is measured.
        pictures: the truth; crowd regions and objects without a mask are left out.
        vocabulary: names; an object whose name is not in it counts for masks alone. None leaves names out.
        prompt: the kind of prompt.
        clicks: number of clicks for prompt "clicks".
        min_area: least annotation area.
        split: entry id → "base" or "novel".
        keep_masks: of this many objects with the lowest IoU the last mask is kept, for reports.
        max_bad: share of unreadable pictures that stops the run.
        stop_at: objects that reach this IoU get no further click and keep it.
        protocol: "official" finds the centre on the picture resized to the network's input, as the official code does.

    Raises:
        TooManyBadPicturesError: too many pictures cannot be read; the message names the first.
    """
    run, worst, bad = Run(), list[Measured](), BadPictures(len(pictures), max_bad)
    for index, record in enumerate(pictures):
        things = [o for o in record.masked() if o.area >= min_area]
        if not things:
            continue
        try:
            picture = load_picture(record.path)
        except PictureError as error:
            bad.add([(str(record.path), str(error))])
            continue
        truths = [decode_mask(o, *picture.size_hw) for o in things]
        began = time.perf_counter()
        system.set_image(picture)
        run.encode_ms.append((time.perf_counter() - began) * 1e3)
        batch = [Measured(index, o) for o in things]
        rounds = clicks if prompt == "clicks" else 1
        answers = _ask(system, run, batch, truths, prompt, rounds, protocol, stop_at)
        for one, truth, answer in zip(batch, truths, answers, strict=True):
            one.oracle = max(metrics.mask_iou(truth, m) for m in (answer.mask, *answer.others))
            _name(one, answer, vocabulary, split or {})
            one.mask = answer.mask if keep_masks else None
        run.objects += batch
        worst = _drop_masks([*worst, *batch], keep_masks)
    run.bad = list(bad.found.items())
    return run


def _drop_masks(objects: list[Measured], keep: int) -> list[Measured]:
    """Return the `keep` objects with the lowest IoU; the others lose their masks, which would fill the memory."""
    ordered = sorted(objects, key=lambda one: one.iou)
    for one in ordered[keep:]:
        one.mask = None
    return ordered[:keep]


def _ask(
    system: System,
    run: Run,
    batch: list[Measured],
    truths: list[NDArray[np.bool_]],
    prompt: str,
    rounds: int,
    protocol: str,
    stop_at: float,
) -> list[Answer]:
    """Ask `rounds` times, correcting with a click between; fill in the IoUs and return the last answers."""
    boxes = [one.thing.box_xyxy for one in batch]
    clicked: list[list[tuple[float, float]]] = [[] for _ in batch]
    labels: list[list[int]] = [[] for _ in batch]
    answers: list[Answer] = []
    if prompt == "box":
        prompts = [Prompt.of(box=box) for box in boxes]
    else:
        for points, signs, truth in zip(clicked, labels, truths, strict=True):
            points.append(official_centre(truth) if protocol == "official" else metrics.centre_point(truth))
            signs.append(1)
        prompts = [Prompt.of(p, s) for p, s in zip(clicked, labels, strict=True)]
    active = list(range(len(batch)))
    answers = [None] * len(batch)  # type: ignore[list-item]
    for number in range(rounds):
        began = time.perf_counter()
        fresh = system.answer([prompts[i] for i in active], [boxes[i] for i in active]) if active else []
        if active:
            run.decode_ms += [(time.perf_counter() - began) * 1e3 / len(active)] * len(active)
        for i, answer in zip(active, fresh, strict=True):
            answers[i] = answer
        for one, truth, answer in zip(batch, truths, answers, strict=True):
            one.ious.append(metrics.mask_iou(truth, answer.mask))
        if number + 1 == rounds:
            break
        active = []
        for i, (truth, answer) in enumerate(zip(truths, answers, strict=True)):
            click = metrics.next_click(truth, answer.mask, clicked[i])
            if click is not None and batch[i].iou < stop_at:  # else no further click is asked for: the IoU stays
                clicked[i].append(click[:2])
                labels[i].append(click[2])
                prompts[i] = Prompt.of(clicked[i], labels[i], mask=answer.logits)
                active.append(i)
    for one, points, signs in zip(batch, clicked, labels, strict=True):
        one.clicks = [(*xy, sign) for xy, sign in zip(points, signs, strict=True)]
    return answers


def official_centre(truth: NDArray[np.bool_], side: int = 1024) -> tuple[float, float]:
    """Return the centre as the official code finds it: on the mask resized to the network's input, nearest pixel."""
    import cv2  # noqa: PLC0415  only this protocol needs it here

    height, width = truth.shape
    scale = side / max(height, width)
    size = (max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5)))
    resized = cv2.resize(truth.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    x, y = metrics.centre_point(resized.astype(bool))
    # The official point is the pixel's index, without the half: SAM's encoder adds its own.
    return (x - 0.5) * width / size[0], (y - 0.5) * height / size[1]


def _name(one: Measured, answer: Answer, vocabulary: Vocabulary | None, split: dict[str, str]) -> None:
    entry = vocabulary.find(one.thing.name) if vocabulary is not None and one.thing.name else None
    if vocabulary is None or entry is None or not answer.names:
        return
    one.entry_id, one.split = entry.id, split.get(entry.id, "")
    ids = [i for i, _ in answer.names]
    one.rank = ids.index(entry.id) if entry.id in ids else NOWHERE
    first, one.confidence = answer.names[0]
    place = vocabulary.index_of.get(first)
    one.answer = first if place is None else vocabulary[place].name  # a parent may be offered beside the names
