"""The figures of an evaluation, each with its standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from training import metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.measuring import Measured, Run

__all__ = ["summarise"]


def summarise(run: Run) -> dict[str, Any]:
    """Return the figures of the contract, with standard errors under "se" in the same shape."""
    objects = run.objects
    named = [o for o in objects if o.rank is not None]
    ranks = [o.rank for o in named if o.rank is not None]
    sizes = {s: [o for o in objects if metrics.size_of(o.thing.area) == s] for s in ("small", "medium", "large")}
    sizes["from_32px"] = sizes["medium"] + sizes["large"]
    rounds = max((len(o.ious) for o in objects), default=0)
    figures: dict[str, Any] = {
        "miou": metrics.mean(o.iou for o in objects),
        "miou_oracle": metrics.mean(o.oracle for o in objects),
        "miou_by_size": {s: metrics.mean(o.iou for o in group) for s, group in sizes.items()},
        "miou_at_clicks": [metrics.mean(o.ious[k] for o in objects) for k in range(rounds)],
        "top1": metrics.accuracy(ranks),
        "top5": metrics.accuracy(ranks, 5),
        "top1_class_mean": metrics.class_mean(ranks, [o.thing.name for o in named]),
        "top1_non_person": _top1([o for o in named if o.thing.name != "person"]),
        "top1_by_size": {s: _top1(group) for s, group in sizes.items()},
        "ece": metrics.calibration_error_with_se([o.confidence for o in named], [o.rank == 0 for o in named]),
    }
    report: dict[str, Any] = {
        "n": len(objects),
        "n_named": len(named),
        **_picked(figures, "mean"),
        "base": _of_split(objects, "base"),
        "novel": _of_split(objects, "novel"),
        "ms": {"encode": _median(run.encode_ms), "decode": _median(run.decode_ms)},
        "se": _picked(figures, "se"),
        "n_by_size": {s: len(group) for s, group in sizes.items()},
        "unreadable": [path for path, _ in run.bad],
    }
    if rounds > 1:
        curves = [o.ious for o in objects]
        report["clicks_to_80"] = metrics.clicks_to_reach(curves, 0.8)
        report["clicks_to_90"] = metrics.clicks_to_reach(curves, 0.9)
    return report


def _picked(figures: Any, part: str) -> Any:
    """Keep one part ("mean" or "se") of every figure in a nest of them."""
    if isinstance(figures, list):
        return [_picked(one, part) for one in figures]
    return figures[part] if part in figures else {name: _picked(one, part) for name, one in figures.items()}


def _top1(objects: Sequence[Measured]) -> dict[str, float | int | None]:
    return metrics.accuracy(o.rank for o in objects if o.rank is not None)


def _of_split(objects: Sequence[Measured], split: str) -> dict[str, Any]:
    mine = [o for o in objects if o.split == split]
    ious, top1 = metrics.mean(o.iou for o in mine), _top1(mine)
    return {
        "n": len(mine),
        "miou": ious["mean"],
        "top1": top1["mean"],
        "se": {"miou": ious["se"], "top1": top1["se"]},
    }


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if len(values) else None
