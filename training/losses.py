"""Losses as sums over objects divided by a normaliser that the loop has summed over the whole step.

Sources: paper Sec. 3.3 and the official configurations (class loss with background weight .1; binary cross-entropy and
Dice on points sampled by uncertainty, as in PointRend); SAM's IoU head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812  the usual name
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "best_candidate",
    "box_weighted_bce",
    "class_weights",
    "classification_loss",
    "dice_loss",
    "distillation_loss",
    "iou_head_loss",
    "mask_iou",
    "point_bce",
    "point_sample",
    "uncertain_points",
]

POINTS = 12_544  # 112 × 112, the official number
OVERSAMPLE = 3
IMPORTANCE = 0.75


def class_weights(targets: Tensor, classes: int, background: float = 0.1) -> Tensor:
    """Return each target's weight, (N,) float32: 1 for a name, `background` for row `classes` (no name).

    Its sum is the normaliser of `classification_loss`.
    """
    return torch.where(targets == classes, background, 1.0).to(torch.float32)


def classification_loss(
    logits: Tensor, targets: Tensor, total: Tensor, *, background: float = 0.1, allowed: Tensor | None = None
) -> Tensor:
    """Return weighted cross-entropy.

    Args:
        logits: (N, K + 1), the last column is background.
        targets: (N,) int64; K means background.
        total: sum of the class weights of the whole step.
        background: weight of background.
        allowed: (N or 1, K + 1) bool; classes that may be present unannotated in the object's picture (federated data)
            are False and leave the softmax, the object's own never does. None allows all.
    """
    if not len(targets):
        return logits.sum() * 0.0
    weights = class_weights(targets, logits.shape[1] - 1, background).to(logits.device)
    if allowed is not None:
        own = F.one_hot(targets, logits.shape[1]).bool()
        logits = logits.masked_fill(~(allowed | own), -1e4)
    return (F.cross_entropy(logits.float(), targets, reduction="none") * weights).sum() / total.clamp(min=1e-6)


def point_sample(maps: Tensor, points: Tensor) -> Tensor:
    """Read maps (N, H, W) bilinearly at points (N, P, 2), x and y in 0 to 1 over the map's extent → (N, P).

    The border is repeated: with zeros round the map, every point at its edge would look uncertain.
    """
    grid = (2.0 * points - 1.0)[:, :, None]  # (N, P, 1, 2)
    return F.grid_sample(maps[:, None], grid.to(maps.dtype), padding_mode="border", align_corners=False)[:, 0, :, 0]


@torch.no_grad()
def uncertain_points(
    logits: Tensor,
    seeds: Sequence[int],
    *,
    count: int = POINTS,
    oversample: int = OVERSAMPLE,
    importance: float = IMPORTANCE,
) -> Tensor:
    """Draw points per mask, most of them where the logits are nearest zero.

    Args:
        logits: (N, H, W) of the masks.
        seeds: N integers; each mask's points depend on its own seed only, so that any division of a batch over
            processes draws the same points.
        count: points a mask.
        oversample: candidates per point among which the uncertain ones are chosen.
        importance: share of the points chosen by uncertainty; the rest is uniform.

    Returns:
        (N, count, 2) float32, x and y in 0 to 1.
    """
    device = logits.device
    candidates = torch.stack([_uniform(seed, count * oversample, device) for seed in seeds])  # (N, 3P, 2)
    uncertainty = -point_sample(logits.float(), candidates).abs()
    kept = int(importance * count)
    index = uncertainty.topk(kept, dim=1).indices
    chosen = candidates.gather(1, index[..., None].expand(-1, -1, 2))
    rest = torch.stack([_uniform(seed + 1, count - kept, device) for seed in seeds])
    return torch.cat([chosen, rest], dim=1)


def _uniform(seed: int, count: int, device: torch.device) -> Tensor:
    generator = torch.Generator(device=device).manual_seed(seed)
    return torch.rand(count, 2, generator=generator, device=device)


def point_bce(logits: Tensor, targets: Tensor, total: Tensor | None = None) -> Tensor:
    """Return binary cross-entropy: mean over points (N, P), sum over masks, divided by `total` masks; None: (N,)."""
    each = F.binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction="none").flatten(1).mean(1)
    return each if total is None else each.sum() / total.clamp(min=1e-6)


def dice_loss(logits: Tensor, targets: Tensor, total: Tensor | None = None, *, valid: Tensor | None = None) -> Tensor:
    """Return 1 - Dice with 1 added above and below (the official constant), squares not taken.

    Args:
        logits: (N, …).
        targets: the same shape, 0 to 1.
        total: masks of the whole step; None returns the (N,) losses.
        valid: the same shape; False leaves a pixel out.
    """
    probability, targets = logits.float().sigmoid(), targets.float()
    if valid is not None:
        probability, targets = probability * valid, targets * valid
    probability, targets = probability.flatten(1), targets.flatten(1)
    overlap = 2 * (probability * targets).sum(1) + 1
    each = 1 - overlap / (probability.sum(1) + targets.sum(1) + 1)
    return each if total is None else each.sum() / total.clamp(min=1e-6)


def distillation_loss(student: Tensor, teacher: Tensor, total: Tensor) -> Tensor:
    """Return mean squared error: mean over (C, H, W), sum over pictures, divided by `total` pictures."""
    return (student.float() - teacher.float()).square().flatten(1).mean(1).sum() / total.clamp(min=1e-6)


def box_weighted_bce(
    logits: Tensor, targets: Tensor, boxes: Tensor, *, outside: float = 0.1, valid: Tensor | None = None
) -> Tensor:
    """Return binary cross-entropy per mask: its mean inside the box plus `outside` times its mean outside.

    The box, not the picture, sets the scale: a small object weighs as much as a large one.

    Args:
        logits: (N, H, W).
        targets: (N, H, W).
        boxes: (N, 4) xyxy in pixels of the maps.
        outside: weight of the rest of the picture.
        valid: (N, H, W) bool; False leaves a pixel out. None keeps all.

    Returns:
        (N,) losses.
    """
    height, width = logits.shape[-2:]
    x = torch.arange(width, device=logits.device) + 0.5
    y = torch.arange(height, device=logits.device) + 0.5
    x1, y1, x2, y2 = boxes.to(logits.device)[:, :, None].unbind(1)  # each (N, 1)
    inside = ((y > y1 - 1) & (y < y2 + 1))[:, :, None] & ((x > x1 - 1) & (x < x2 + 1))[:, None, :]
    keep = torch.ones_like(inside) if valid is None else valid.bool()
    each = F.binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction="none")
    near, far = inside & keep, ~inside & keep
    in_mean = (each * near).flatten(1).sum(1) / near.flatten(1).sum(1).clamp(min=1)
    out_mean = (each * far).flatten(1).sum(1) / far.flatten(1).sum(1).clamp(min=1)
    return in_mean + outside * out_mean


def best_candidate(losses: Tensor, rest: float = 0.1) -> Tensor:
    """Reduce (N, M) candidate losses to (N,): the least one, and a share `rest` of the mean of all.

    The share keeps candidates that never win from dying.
    """
    return (1 - rest) * losses.min(1).values + rest * losses.mean(1)


@torch.no_grad()
def mask_iou(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the IoU of thresholded logits (…, H, W) with boolean targets (…, H, W) → (…)."""
    predicted, truth = logits > 0, targets > 0.5
    overlap = (predicted & truth).flatten(-2).sum(-1).float()
    union = (predicted | truth).flatten(-2).sum(-1).float()
    return overlap / union.clamp(min=1)


def iou_head_loss(predicted: Tensor, logits: Tensor, targets: Tensor, total: Tensor) -> Tensor:
    """Return the squared error of the predicted IoU of every candidate.

    Args:
        predicted: (N, M) IoU estimates.
        logits: (N, M, H, W) candidate masks; no gradient flows to them.
        targets: (N, H, W) truth.
        total: masks of the whole step.
    """
    truth = mask_iou(logits, targets[:, None].expand_as(logits))
    return (predicted.float() - truth).square().mean(1).sum() / total.clamp(min=1e-6)
