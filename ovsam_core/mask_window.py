"""Low-resolution logits as masks of the picture, computed only where a mask is."""

from __future__ import annotations

from dataclasses import dataclass
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

_DENSE = 1 << 20
"""Pixels of a window up to which computing all of them is faster than looking for the outline first."""


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis of the part of a picture that positive cells can reach.

    Attributes:
        start: the window's first pixel.
        cells: the cells that its pixels read.
        weights: (pixels, cells) float32.
    """

    start: int
    cells: slice
    weights: Tensor


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
    reached = _reached(cells, padded, input_hw, size_hw)
    if reached is None:
        return np.zeros((0, 0), np.float32), 0, 0
    down, across = reached
    window = down.weights @ cells[down.cells, across.cells] @ across.weights.T  # (wh, ww)
    return window.numpy(), across.start, down.start


def picture_mask(logits: Tensor, embedding: ImageEmbedding, padded: int) -> Mask:
    """Return the mask (positive logits) at the picture's size; arguments as in `picture_window`.

    Large windows are computed along the mask's outline only: a bilinear value lies between those of the cells it reads,
    so that pixels whose cells agree in sign need no arithmetic.
    """
    h, w = embedding.size_hw
    cells = logits.detach().float().cpu()
    reached = _reached(cells, padded, embedding.input_hw, embedding.size_hw)
    if reached is None:
        return Mask.empty(h, w)
    down, across = reached
    cells = cells[down.cells, across.cells].T  # columns first, as run lengths go
    if len(down.weights) * len(across.weights) <= _DENSE:
        columns = ((across.weights @ cells @ down.weights.T) > 0).numpy()  # (ww, wh)
    else:
        columns = _outlined(cells.numpy(), across.weights.numpy(), down.weights.numpy())
    return Mask.from_window(columns.T, across.start, down.start, h, w)


def _reached(
    cells: Tensor, padded: int, input_hw: tuple[int, int], size_hw: tuple[int, int]
) -> tuple[_Axis, _Axis] | None:
    """Return rows and columns of the window that positive cells can reach, or None where there is none."""
    inside = cells > 0
    axes = []
    for axis, positive in enumerate((inside.any(1), inside.any(0))):
        where = positive.nonzero()
        if not len(where):
            return None
        weights = _resampling(cells.shape[axis], padded, input_hw[axis], size_hw[axis])  # (H, h)
        reach = weights[:, int(where[0]) : int(where[-1]) + 1].any(1).nonzero()
        if not len(reach):  # positive cells in the padding only
            return None
        start, stop = int(reach[0]), int(reach[-1]) + 1
        touched = weights[start:stop].any(0).nonzero()
        read = slice(int(touched[0]), int(touched[-1]) + 1)
        axes.append(_Axis(start, read, weights[start:stop, read]))
    return axes[0], axes[1]


def _outlined(cells: NDArray[np.float32], rows: NDArray[np.float32], columns: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return where rows @ cells @ columns.T is positive, multiplying only where the cells' signs differ.

    Args:
        cells: (r, c).
        rows: (R, r) bilinear weights.
        columns: (C, c) bilinear weights.
    """
    down, down_cells = _bands(rows)
    across, across_cells = _bands(columns)
    # Positive cells under each pair of bands, from sums over all cells above and to the left.
    sums = np.zeros((cells.shape[0] + 1, cells.shape[1] + 1), np.int64)
    sums[1:, 1:] = (cells > 0).cumsum(0).cumsum(1)
    top, bottom = down_cells.T[:, :, None]
    left, right = across_cells.T[:, None, :]
    count = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    full = count == (bottom - top) * (right - left)
    found = np.repeat(np.repeat(full, np.diff(across), axis=1), np.diff(down), axis=0)
    mixed = np.zeros((len(full), full.shape[1] + 2), np.int8)
    mixed[:, 1:-1] = (count > 0) & ~full
    for band, steps in enumerate(np.diff(mixed, axis=1)):
        first, last = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
        if not len(first):
            continue
        height = slice(down[band], down[band + 1])
        read = slice(*down_cells[band])
        part = rows[height, read] @ cells[read]
        for begin, end in zip(first, last, strict=True):
            width = slice(across[begin], across[end])
            taps = slice(across_cells[begin, 0], across_cells[end - 1, 1])
            found[height, width] = part[:, taps] @ columns[width, taps].T > 0
    return found


def _bands(weights: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Group pixels that read the same first cell.

    Returns:
        (B + 1,) edges of the bands in pixels, and (B, 2) first and past-the-last cell that each band reads.
    """
    read = weights != 0
    first = read.argmax(1)
    last = weights.shape[1] - read[:, ::-1].argmax(1)
    starts = np.flatnonzero(np.r_[True, first[1:] != first[:-1]])
    return np.r_[starts, len(weights)], np.stack([first[starts], np.maximum.reduceat(last, starts)], 1)


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
