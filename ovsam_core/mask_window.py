"""Low-resolution logits as masks of the picture, computed only where a mask is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from ovsam_core.masks import Mask

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ovsam_core.embedding import ImageEmbedding

__all__ = ["picture_mask", "picture_window"]


def picture_window(
    logits: Tensor, *, padded: int, input_hw: tuple[int, int], size_hw: tuple[int, int]
) -> tuple[NDArray[np.float32], int, int]:
    """Bring one mask's logits to the picture's size, inside the smallest window that can hold a positive pixel.

    The same numbers as SAM's whole-picture post-processing (enlarge to the padded input, cut the padding off, resample
    to the picture, bilinear both times): interpolation never makes a positive pixel beyond the neighbours of positive
    cells, so the rest of the picture need not be computed.

    Args:
        logits: (h, w) float32 over the padded input.
        padded: side of the padded input, pixels.
        input_hw: height and width of the picture inside the padded input.
        size_hw: height and width of the picture.

    Returns:
        (wh, ww) float32 logits of the window, and the window's x and y; an empty window where the mask is empty.
    """
    cells = (logits > 0).nonzero()
    empty = np.zeros((0, 0), np.float32), 0, 0
    if not len(cells):
        return empty
    scale = padded / logits.shape[0]
    large = functional.interpolate(logits[None, None], (padded, padded), mode="bilinear", align_corners=False)[0, 0]
    spans = []
    for axis in (0, 1):
        low, high = int(cells[:, axis].min()), int(cells[:, axis].max())
        # One cell around, and one input pixel around that, is as far as two bilinear steps reach.
        first, last = max(0.0, (low - 1) * scale - 1), min(float(input_hw[axis]), (high + 2) * scale + 1)
        ratio = size_hw[axis] / input_hw[axis]
        spans.append((max(0, int(first * ratio) - 1), min(size_hw[axis], int(last * ratio) + 2)))
    (y1, y2), (x1, x2) = spans
    if y2 <= y1 or x2 <= x1:  # positive cells in the padding only
        return empty
    rows, row_share = _taps(y1, y2, input_hw[0], size_hw[0], logits.device)
    columns, column_share = _taps(x1, x2, input_hw[1], size_hw[1], logits.device)
    x = torch.lerp(large[:, columns[0]], large[:, columns[1]], column_share[None])  # (S, ww)
    window = torch.lerp(x[rows[0]], x[rows[1]], row_share[:, None])  # (wh, ww)
    return window.cpu().numpy(), x1, y1


def picture_mask(logits: Tensor, embedding: ImageEmbedding, padded: int) -> Mask:
    """Return the mask (positive logits) at the picture's size; arguments as in `picture_window`."""
    window, x, y = picture_window(logits, padded=padded, input_hw=embedding.input_hw, size_hw=embedding.size_hw)
    full = np.zeros(embedding.size_hw, np.bool_, order="F")
    full[y : y + window.shape[0], x : x + window.shape[1]] = window > 0
    return Mask.of(full)


def _taps(start: int, stop: int, source: int, target: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return both neighbours (2, n) and the share of the second (n,) for target pixels start to stop."""
    where = (torch.arange(start, stop, device=device, dtype=torch.float32) + 0.5) * (source / target) - 0.5
    where = where.clamp_min(0)
    first = where.long().clamp_max(source - 1)
    return torch.stack([first, (first + 1).clamp_max(source - 1)]), where - first
