"""From logits to probabilities that mean the same over 20 names and over 22,000.

The one owner of scores: every branch is fused first, memory adds its term, and this comes last.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["calibrated_scores", "expected_calibration_error", "fit_temperature"]


def calibrated_scores(log_p: Tensor, background: Tensor, temperature: float = 1.0) -> Tensor:
    """Turn fused log scores into probabilities over K names and "none of these".

    With K names, K chances to resemble something by accident stand against one background: its logit is raised by
    log K, so that a region that is none of them scores alike whatever the vocabulary's size.

    Args:
        log_p: (N, K) fused log probabilities or logits, any constant per row.
        background: (N,) the same of the background row.
        temperature: the model's, fitted by `fit_temperature` on held-out data; greater means less sure.

    Returns:
        (N, K + 1) float32, rows sum to 1, the last column is "none of these".
    """
    raised = background[:, None].float() + math.log(log_p.shape[1])  # (N, 1)
    return torch.cat([log_p.float(), raised], 1).div_(temperature).softmax(1)


def fit_temperature(log_p: Tensor, background: Tensor, target: Tensor) -> float:
    """Find the temperature with the least negative log likelihood, by golden-section search in its logarithm.

    Args:
        log_p: (N, K) as in `calibrated_scores`.
        background: (N,).
        target: (N,) int64 index of the true name; K for "none of these".

    Returns:
        The temperature, between 0.05 and 20.
    """

    def loss(log_t: float) -> float:
        scores = calibrated_scores(log_p, background, math.exp(log_t))
        return float(-scores.gather(1, target[:, None]).clamp_min(1e-12).log().mean())

    low, high = math.log(0.05), math.log(20.0)
    ratio = (math.sqrt(5) - 1) / 2
    while high - low > 1e-3:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return math.exp((low + high) / 2)


def expected_calibration_error(confidence: Tensor, correct: Tensor, bins: int = 10) -> float:
    """Mean gap between confidence and accuracy over bins of equal mass, weighted by their size.

    Args:
        confidence: (N,) probabilities of the chosen names.
        correct: (N,) bool.
        bins: number of bins; fewer where N is smaller.
    """
    order = confidence.argsort(stable=True)
    parts = [part for part in order.tensor_split(bins) if len(part)]
    gaps = [len(p) * (confidence[p].double().mean() - correct[p].double().mean()).abs() for p in parts]
    return float(sum(gaps)) / len(confidence) if len(confidence) else float("nan")
