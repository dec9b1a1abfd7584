"""Accuracy against vocabulary size (E8): the same objects, more and more names to choose from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import xxhash

from ovsam_core.vocabulary import Vocabulary
from training import metrics
from training.build_system import build_system
from training.measuring import measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.evaluate import EvaluateArgs
    from training.records import PictureRecord

__all__ = ["vocabulary_scaling", "with_distractors"]


def with_distractors(vocabulary: Vocabulary, size: int, source: Vocabulary) -> Vocabulary:
    """Return the vocabulary with entries of `source` up to `size`, always the same ones for the same size.

    Entries are added in the order of a hash of their id, so that a larger vocabulary holds the smaller ones.
    """
    others = [e for e in source if vocabulary.find(e.name) is None and e.id not in vocabulary.index_of]
    order = sorted(others, key=lambda e: xxhash.xxh3_64_intdigest(e.id.encode()))
    chosen = order[: max(0, size - len(vocabulary))]
    return vocabulary.combine(Vocabulary("distractors", tuple(chosen))) if chosen else vocabulary


def vocabulary_scaling(
    args: EvaluateArgs, pictures: Sequence[PictureRecord], vocabulary: Vocabulary
) -> dict[str, dict[str, Any]]:
    """Return top-1 with its standard error and ECE for every size asked for."""
    source = Vocabulary.load("imagenet-21k")
    found: dict[str, dict[str, Any]] = {}
    for size in args.vocabulary_sizes:
        wide = with_distractors(vocabulary, size, source)
        system = build_system(replace(args, vocabulary_sizes=()), wide)
        run = measure(system, pictures, wide, prompt=args.prompt, clicks=args.clicks, min_area=args.min_area)
        named = [o for o in run.objects if o.rank is not None]
        top1 = metrics.accuracy(o.rank for o in named if o.rank is not None)
        ece = metrics.calibration_error([o.confidence for o in named], [o.rank == 0 for o in named])
        found[str(len(wide))] = {"top1": top1["mean"], "se": top1["se"], "ece": ece}
    return found
