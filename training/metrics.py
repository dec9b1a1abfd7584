"""Figures of evaluation, as pure functions of numpy arrays; each mean comes with its standard error."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

__all__ = [
    "accuracy",
    "bootstrap_error",
    "calibration_error",
    "calibration_error_with_se",
    "centre_point",
    "class_mean",
    "clicks_to_reach",
    "mask_iou",
    "mean",
    "next_click",
    "shown",
    "size_of",
]

SMALL, LARGE = 32**2, 96**2  # COCO's limits, pixels of annotation area


def mask_iou(one: NDArray[np.bool_], two: NDArray[np.bool_]) -> float:
    """Return intersection over union of two (H, W) masks; two empty masks agree fully."""
    union = int(np.count_nonzero(one | two))
    return int(np.count_nonzero(one & two)) / union if union else 1.0


def size_of(area: float) -> str:
    """Return "small", "medium" or "large" as COCO divides them, by the annotation's area."""
    return "small" if area < SMALL else "medium" if area < LARGE else "large"


def mean(values: Iterable[float]) -> dict[str, float | int | None]:
    """Return mean, standard error of the mean, and count; None where there is nothing to average."""
    array = np.asarray(list(values), np.float64)
    if not len(array):
        return {"mean": None, "se": None, "n": 0}
    error = float(array.std(ddof=1) / math.sqrt(len(array))) if len(array) > 1 else None
    return {"mean": float(array.mean()), "se": error, "n": len(array)}


def shown(value: float | None, error: float | None = None, digits: int = 3) -> str:
    """Return a figure as people read it, with its standard error where there is one; a dash for no figure."""
    if value is None:
        return "–"
    return f"{value:.{digits}f}" + (f" ± {error:.{digits}f}" if error is not None else "")


def accuracy(ranks: Iterable[int], k: int = 1) -> dict[str, float | int | None]:
    """Return the share of objects whose true name stands among the first `k`, with its standard error.

    Args:
        ranks: position of the true name in each object's list, 0 for the first; a large number where it is not there.
        k: how many places count.
    """
    return mean(float(rank < k) for rank in ranks)


def class_mean(ranks: Sequence[int], names: Sequence[str]) -> dict[str, float | int | None]:
    """Return top-1 accuracy averaged over classes instead of objects, its standard error by bootstrap, and count."""
    if not len(ranks):
        return {"mean": None, "se": None, "n": 0}
    right = np.asarray(ranks) == 0
    _, classes = np.unique(np.asarray(names), return_inverse=True)

    def over_classes(chosen: NDArray[np.int64]) -> float:
        count = np.bincount(classes[chosen])
        hits = np.bincount(classes[chosen], weights=right[chosen])
        return float((hits[count > 0] / count[count > 0]).mean())

    everything = np.arange(len(right))
    return {"mean": over_classes(everything), "se": bootstrap_error(over_classes, len(right)), "n": len(right)}


def bootstrap_error(
    statistic: Callable[[NDArray[np.int64]], float], count: int, *, rounds: int = 200, seed: int = 0
) -> float | None:
    """Return the standard error of a statistic by resampling its objects with replacement; None for fewer than two.

    Args:
        statistic: positions of the objects that count, repeated at will → figure.
        count: number of objects.
        rounds: resamplings.
        seed: of the draws.
    """
    if count < 2:
        return None
    rng = np.random.default_rng(seed)
    return float(np.std([statistic(rng.integers(count, size=count)) for _ in range(rounds)], ddof=1))


def calibration_error_with_se(confidence: Sequence[float], correct: Sequence[bool]) -> dict[str, float | int | None]:
    """Return `calibration_error`, its standard error by bootstrap, and the count."""
    sure, right = np.asarray(confidence, np.float64), np.asarray(correct, bool)
    error = bootstrap_error(lambda chosen: _calibration_error(sure[chosen], right[chosen]), len(sure))
    return {"mean": calibration_error(confidence, correct), "se": error, "n": len(sure)}


def calibration_error(confidence: Sequence[float], correct: Sequence[bool]) -> float | None:
    """Return the engine's expected calibration error over ten bins of equal mass; None without objects."""
    if not len(confidence):
        return None
    return _calibration_error(np.asarray(confidence, np.float64), np.asarray(correct, bool))


def _calibration_error(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> float:
    import torch  # noqa: PLC0415  slow to load, and most figures do without

    from ovsam_core.calibration import expected_calibration_error  # noqa: PLC0415

    return expected_calibration_error(torch.from_numpy(confidence), torch.from_numpy(correct))


def centre_point(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the pixel centre farthest from the mask's edge (the picture's border is an edge), as x, y."""
    distance = _distance(mask)
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return float(x) + 0.5, float(y) + 0.5


def next_click(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], clicked: Sequence[tuple[float, float]] = ()
) -> tuple[float, float, int] | None:
    """Return the corrective click x, y, label, or None where the two masks agree.

    It lies at the maximum of the distance transform of the larger error region: of missing and superfluous pixels, the
    region that holds the greater inscribed circle (the convention of the interactive segmentation literature, RITM).
    Label 1 adds missing, 0 takes away superfluous pixels. Pixels clicked before are not clicked again.
    """
    missing, extra = _distance(truth & ~predicted), _distance(predicted & ~truth)
    for x, y in clicked:
        missing[int(y), int(x)] = extra[int(y), int(x)] = 0
    label = int(missing.max() >= extra.max())
    distance = missing if label else extra
    if distance.max() <= 0:
        return None
    row, column = np.unravel_index(int(distance.argmax()), distance.shape)
    return float(column) + 0.5, float(row) + 0.5, label


def clicks_to_reach(ious: Sequence[Sequence[float]], target: float) -> dict[str, float | int | None]:
    """Return the mean number of clicks to reach an IoU; objects that never do count the greatest number given.

    Args:
        ious: per object, the IoU after 1, 2, … clicks.
        target: 0.8 or 0.9 by convention.

    Returns:
        mean, se, n, and `reached`, the share of objects that got there.
    """
    counts, reached = [], 0
    for row in ious:
        first = next((i + 1 for i, value in enumerate(row) if value >= target), None)
        reached += first is not None
        counts.append(float(first or len(row)))
    return {**mean(counts), "reached": reached / len(ious) if ious else None}


def _distance(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return each pixel's exact distance to the outside, the picture's border being outside."""
    padded = np.pad(mask.astype(np.uint8), 1)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1], np.float32)
