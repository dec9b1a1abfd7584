"""Masks made ready for the eye: pixels of the tight box and the outline along pixel edges."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from ovsam_core.masks import Mask

__all__ = ["MaskShape", "mask_shape", "pixel_shape", "trace_loops"]


@dataclass(frozen=True, slots=True, eq=False)
class MaskShape:
    """A mask as pixels of its tight box, with its outline already traced; make it off the GUI thread.

    Attributes:
        pixels: (h, w) bool, the mask inside its box; (0, 0) for an empty mask.
        x: left edge of the box in the picture.
        y: top edge of the box in the picture.
        loops: closed outlines along pixel edges, each (K, 2) int32 picture coordinates, without the repeated first
            point; outer edges and holes alike.
        area: number of pixels; -1 stands for "count them".
    """

    pixels: NDArray[np.bool_]
    x: int
    y: int
    loops: tuple[NDArray[np.int32], ...] = ()
    area: int = -1

    def __post_init__(self) -> None:
        if self.area < 0:
            object.__setattr__(self, "area", int(np.count_nonzero(self.pixels)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross processes in three arrays: a ragged mask has hundreds of loops, and each array has its price."""
        corners = np.concatenate(self.loops) if self.loops else np.zeros((0, 2), np.int32)
        lengths = np.array([len(loop) for loop in self.loops], np.int32)
        return _restored, (self.pixels, self.x, self.y, corners, lengths, self.area)

    @property
    def box_xyxy(self) -> tuple[int, int, int, int]:
        """Box of the shape."""
        height, width = self.pixels.shape
        return self.x, self.y, self.x + width, self.y + height

    def part_boxes(self) -> list[tuple[int, int, int, int]]:
        """Boxes (x1, y1, x2, y2) of the parts that do not hang together, the one with the largest area first.

        The area is that within the outer outline, holes included.
        """
        if not self.loops:
            return []
        corners = np.concatenate(self.loops).astype(np.int64)  # (N, 2); all loops at once: crumbs come in thousands
        starts = np.cumsum([0, *map(len, self.loops[:-1])])
        following = np.roll(corners, -1, axis=0)
        following[np.append(starts[1:], len(corners)) - 1] = corners[starts]
        twice = np.add.reduceat(corners[:, 0] * following[:, 1] - corners[:, 1] * following[:, 0], starts)
        boxes = np.hstack([np.minimum.reduceat(corners, starts), np.maximum.reduceat(corners, starts)])  # (loops, 4)
        order = np.argsort(-twice, kind="stable")
        # an outer outline runs clockwise on the screen, that of a hole the other way
        found = boxes[order][twice[order] > 0].tolist()
        return [(x1, y1, x2, y2) for x1, y1, x2, y2 in found]

    def contains(self, x: float, y: float) -> bool:
        """Whether the pixel under picture coordinates x, y belongs to the mask."""
        column, row = int(np.floor(x)) - self.x, int(np.floor(y)) - self.y
        height, width = self.pixels.shape
        return 0 <= row < height and 0 <= column < width and bool(self.pixels[row, column])


def mask_shape(mask: Mask) -> MaskShape:
    """Decode a mask and trace its outline; milliseconds to seconds, so never on the GUI thread."""
    pixels, x, y = mask.window()
    return MaskShape(pixels, x, y, trace_loops(pixels, x, y))


def pixel_shape(pixels: NDArray[np.bool_], x: int = 0, y: int = 0) -> MaskShape:
    """Shape of a (h, w) bool array whose corner lies at x, y of the picture; cut to its tight box."""
    rows, columns = np.asarray(pixels.any(axis=1)), np.asarray(pixels.any(axis=0))
    if not rows.any():
        return MaskShape(np.zeros((0, 0), np.bool_), x, y, (), 0)
    top, bottom = int(rows.argmax()), len(rows) - int(rows[::-1].argmax())
    left, right = int(columns.argmax()), len(columns) - int(columns[::-1].argmax())
    cut = np.ascontiguousarray(pixels[top:bottom, left:right])
    return MaskShape(cut, x + left, y + top, trace_loops(cut, x + left, y + top))


def trace_loops(pixels: NDArray[np.bool_], x: int = 0, y: int = 0) -> tuple[NDArray[np.int32], ...]:
    """Trace every outline of a (h, w) bool array along pixel edges, corners only.

    Pixels that touch at a corner only stay apart (4-neighbourhood): a loop may touch itself there, it never crosses.
    The inside lies on the right hand of the direction of travel in a picture whose y axis points down.

    Args:
        pixels: (h, w) bool.
        x: added to all x coordinates.
        y: added to all y coordinates.

    Returns:
        One (K, 2) int32 array for each closed outline.
    """
    if not pixels.size:
        return ()
    padded = np.pad(pixels, 1).view(np.int8)
    h_start, h_end = _segments(np.diff(padded, axis=0)[:, 1:-1])
    v_start, v_end = (ends[:, [1, 0, 2]] for ends in _segments(-np.diff(padded, axis=1)[1:-1].T))
    if not len(h_start):
        return ()
    touching = _touching_corners(padded)
    to_vertical = _match(h_end, v_start, touching, same_hand=True)
    to_horizontal = _match(v_end, h_start, touching, same_hand=False)
    return _walk(h_start, h_end, to_horizontal[to_vertical], x, y)


def _segments(edges: NDArray[np.int8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Group unit edges of one line and one sign into directed segments.

    Args:
        edges: (lines, n) int8; +1 runs towards larger positions, -1 the other way, 0 is no edge.

    Returns:
        Starts and ends, each (segments, 3) as (line, position, step); the step is the sign.
    """
    padded = np.pad(edges, ((0, 0), (1, 1)))
    change = padded[:, 1:] != padded[:, :-1]  # (lines, n + 1)
    # flat indices: numpy finds them several times faster than pairs
    line, first = np.divmod(np.flatnonzero(change & (padded[:, 1:] != 0)), change.shape[1])
    last = np.flatnonzero(change & (padded[:, :-1] != 0)) % change.shape[1]
    step = edges[line, first].astype(np.int64)
    forward = step > 0
    start = np.stack([line, np.where(forward, first, last), step], 1)
    end = np.stack([line, np.where(forward, last, first), step], 1)
    return start, end


def _touching_corners(padded: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Mark the (h + 1, w + 1) grid corners where two pixels of the mask touch at the corner alone."""
    up_left, up_right = padded[:-1, :-1], padded[:-1, 1:]
    low_left, low_right = padded[1:, :-1], padded[1:, 1:]
    touching: NDArray[np.bool_] = (up_left == low_right) & (up_right == low_left) & (up_left != up_right)
    return touching


def _match(
    ends: NDArray[np.int64], starts: NDArray[np.int64], touching: NDArray[np.bool_], *, same_hand: bool
) -> NDArray[np.int64]:
    """Index of the segment that starts where each segment ends; rows are (y, x, step).

    At a touching corner two segments end and two start. The outline always turns right there, round its own pixel: a
    horizontal step continues as a vertical one of the same sign, a vertical one as a horizontal one of the other sign.
    """
    width = touching.shape[1]

    def keys(points: NDArray[np.int64], side: NDArray[np.bool_]) -> NDArray[np.int64]:
        here = touching[points[:, 0], points[:, 1]]
        found: NDArray[np.int64] = (points[:, 0] * width + points[:, 1]) * 2 + (here & side)
        return found

    key_end = keys(ends, ends[:, 2] > 0)
    key_start = keys(starts, (starts[:, 2] > 0) == same_hand)
    order = np.argsort(key_start, kind="stable")
    matched: NDArray[np.int64] = order[np.searchsorted(key_start[order], key_end)]
    return matched


def _walk(
    starts: NDArray[np.int64], ends: NDArray[np.int64], following: NDArray[np.int64], x: int, y: int
) -> tuple[NDArray[np.int32], ...]:
    """Follow horizontal segments from one to the next and collect both ends of each as corners."""
    successor = following.tolist()
    seen = bytearray(len(successor))
    order: list[int] = []
    lengths: list[int] = []
    for first in range(len(successor)):
        if seen[first]:
            continue
        before = len(order)
        at = first
        while not seen[at]:
            seen[at] = 1
            order.append(at)
            at = successor[at]
        lengths.append(2 * (len(order) - before))
    corners = np.stack([starts[order], ends[order]], 1).reshape(-1, 3)[:, 1::-1]  # (2n, 2) as x, y
    return _cut((corners + np.array((x, y))).astype(np.int32), lengths)


def _cut(corners: NDArray[np.int32], lengths: Iterable[int]) -> tuple[NDArray[np.int32], ...]:
    """(N, 2) corners of all loops as one array for each loop."""
    ends = list(accumulate(lengths, initial=0))
    return tuple(corners[start:end] for start, end in pairwise(ends))


def _restored(
    pixels: NDArray[np.bool_], x: int, y: int, corners: NDArray[np.int32], lengths: NDArray[np.int32], area: int
) -> MaskShape:
    return MaskShape(pixels, x, y, _cut(corners, lengths.tolist()), area)
