"""Low-resolution logits as masks of the picture, computed only where a mask is."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

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
    to the picture, bilinear both times). Both steps together are one matrix for rows and one for columns; of these only
    the part is multiplied that positive cells can reach.

    Args:
        logits: (h, w) float32 over the padded input.
        padded: side of the padded input, pixels.
        input_hw: height and width of the picture inside the padded input.
        size_hw: height and width of the picture.

    Returns:
        (wh, ww) float32 logits of the window, and the window's x and y; an empty window where the mask is empty.
    """
    cells = logits.detach().float().cpu()
    inside = cells > 0
    empty = np.zeros((0, 0), np.float32), 0, 0
    parts = []
    for axis, positive in enumerate((inside.any(1), inside.any(0))):
        where = positive.nonzero()
        if not len(where):
            return empty
        weights = _resampling(cells.shape[axis], padded, input_hw[axis], size_hw[axis])  # (H, h)
        reach = weights[:, int(where[0]) : int(where[-1]) + 1].any(1).nonzero()
        if not len(reach):  # positive cells in the padding only
            return empty
        start, stop = int(reach[0]), int(reach[-1]) + 1
        touched = weights[start:stop].any(0).nonzero()
        first, last = int(touched[0]), int(touched[-1]) + 1
        parts.append((start, slice(first, last), weights[start:stop, first:last]))
    (y, rows, down), (x, columns, across) = parts
    window = down @ cells[rows, columns] @ across.T  # (wh, ww)
    return window.numpy(), x, y


def picture_mask(logits: Tensor, embedding: ImageEmbedding, padded: int) -> Mask:
    """Return the mask (positive logits) at the picture's size; arguments as in `picture_window`."""
    window, x, y = picture_window(logits, padded=padded, input_hw=embedding.input_hw, size_hw=embedding.size_hw)
    full = np.zeros(embedding.size_hw, np.bool_, order="F")
    full[y : y + window.shape[0], x : x + window.shape[1]] = window > 0
    return Mask.of(full)


@lru_cache(maxsize=8)
def _resampling(low: int, padded: int, inner: int, size: int) -> Tensor:
    """Return the (size, low) matrix of both bilinear steps along one axis: low -> padded, its first `inner` -> size."""
    first = _bilinear(low, padded)[:inner]  # (inner, low)
    return _bilinear(inner, size) @ first


def _bilinear(source: int, target: int) -> Tensor:
    """Return the (target, source) matrix of bilinear resampling without aligned corners."""
    where = ((torch.arange(target, dtype=torch.float32) + 0.5) * (source / target) - 0.5).clamp_min(0)
    near = where.long().clamp_max(source - 1)
    share = where - near
    matrix = torch.zeros(target, source)
    matrix.scatter_add_(1, near[:, None], (1 - share)[:, None])
    return matrix.scatter_add_(1, (near + 1).clamp_max(source - 1)[:, None], share[:, None])
