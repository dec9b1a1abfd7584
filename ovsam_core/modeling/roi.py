"""Regions of interest: boxes of masks, pyramid levels, RoIAlign and mask pooling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional
from torchvision.ops import roi_align

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["align", "align_levels", "mask_boxes", "mask_mean", "roi_levels"]


def align(level: Tensor, boxes: Tensor, size: int, stride: int, index: Tensor | None = None) -> Tensor:
    """Sample a size x size grid from each box (RoIAlign with half-pixel alignment and adaptive sampling).

    Args:
        level: (B, C, h, w) map.
        boxes: (N, 4) xyxy, pixels of the network input.
        size: side of the sampled grid.
        stride: input pixels in one cell of `level`.
        index: (N,) int64, the batch row of each box; None means row 0.

    Returns:
        (N, C, size, size).
    """
    rows = boxes.new_zeros(len(boxes)) if index is None else index.to(boxes.dtype)
    rois = torch.cat([rows[:, None], boxes], dim=1).float()  # (N, 5)
    # float32 throughout: half precision would move a box at pixel 1,000 by several pixels.
    out: Tensor = roi_align(level.float(), rois, (size, size), 1 / stride, sampling_ratio=-1, aligned=True)
    return out.to(level.dtype)


def roi_levels(boxes: Tensor, finest_scale: int, levels: int = 4) -> Tensor:
    """Return the pyramid level of each box, (N,) int64: floor(log2(sqrt(area) / finest_scale)), clamped.

    Args:
        boxes: (N, 4) xyxy, pixels of the network input.
        finest_scale: boxes with a side below twice this read level 0.
        levels: number of levels.
    """
    w, h = (boxes[:, 2:] - boxes[:, :2]).unbind(1)
    side = torch.sqrt((w * h).clamp(min=0))
    # The 1e-6 keeps log2 finite for empty boxes, and puts exact powers of two on the level above, as mmdet does.
    return torch.floor(torch.log2(side / finest_scale + 1e-6)).clamp(0, levels - 1).long()


def align_levels(
    pyramid: Sequence[Tensor], boxes: Tensor, size: int, finest_scale: int, index: Tensor | None = None
) -> Tensor:
    """RoIAlign from the pyramid level that fits each box.

    Args:
        pyramid: (B, C, S/s, S/s) maps at strides s = 4, 8, 16, 32.
        boxes: (N, 4) xyxy, pixels of the network input.
        size: side of the sampled grid.
        finest_scale: see `roi_levels`.
        index: (N,) batch row of each box; None means row 0.

    Returns:
        (N, C, size, size).
    """
    assigned = roi_levels(boxes, finest_scale, len(pyramid))
    out = pyramid[0].new_zeros(len(boxes), pyramid[0].shape[1], size, size)
    for number, level in enumerate(pyramid):
        chosen = (assigned == number).nonzero().squeeze(1)
        if len(chosen):
            rows = None if index is None else index[chosen]
            out = out.index_copy(0, chosen, align(level, boxes[chosen], size, 4 << number, rows))
    return out


def mask_boxes(logits: Tensor, fallback: Tensor, stride: int = 4) -> Tensor:
    """Return the boxes of low-resolution masks in pixels of the network input.

    Args:
        logits: (N, h, w) mask logits; positive cells belong to the mask.
        fallback: (N, 4) xyxy boxes that stand in where a mask is empty (the prompt's box, or a square at the click).
        stride: input pixels in one cell.

    Returns:
        (N, 4) float32 xyxy, far edges exclusive.
    """
    inside = logits > 0
    columns, rows = inside.any(dim=1), inside.any(dim=2)  # (N, w), (N, h)
    x0, y0 = columns.int().argmax(1), rows.int().argmax(1)
    x1 = columns.shape[1] - columns.flip(1).int().argmax(1)
    y1 = rows.shape[1] - rows.flip(1).int().argmax(1)
    boxes = torch.stack([x0, y0, x1, y1], dim=1).float() * stride
    return torch.where(columns.any(1)[:, None], boxes, fallback.float())


def mask_mean(level: Tensor, masks: Tensor, index: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Average a map under masks.

    Args:
        level: (B, C, h, w) map.
        masks: (N, H, W) mask logits of any resolution that covers the same square; resized bilinearly, then > 0.
        index: (N,) batch row of each mask; None means row 0.

    Returns:
        (N, C) means, zero for a mask without a cell, and (N,) bool, whether the mask has a cell ("not tiny").
    """
    weight = (
        functional.interpolate(masks[:, None].float(), level.shape[-2:], mode="bilinear", align_corners=False) > 0
    ).to(level.dtype)
    weight = weight[:, 0]  # (N, h, w)
    cells = weight.sum((1, 2))
    if index is None:
        total = torch.einsum("chw,nhw->nc", level[0], weight)
    else:
        total = torch.einsum("nchw,nhw->nc", level[index], weight)
    return total / cells.clamp(min=1)[:, None], cells > 0
