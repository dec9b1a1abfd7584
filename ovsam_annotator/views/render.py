"""From masks and pictures to the pixels of one tile: pure functions without Qt, safe on any thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ovsam_annotator.model.shapes import MaskShape
    from ovsam_annotator.views.data import Rgb

__all__ = ["TileStyle", "compose_tile", "picture_tile", "stretch"]


@dataclass(frozen=True, slots=True)
class TileStyle:
    """How masks are painted into a tile.

    Attributes:
        fill: opacity of the inside, 0 to 1.
        outline: width of the outline in pixels of the tile's level; 0 leaves it to the vector painter.
    """

    fill: float
    outline: int


def stretch(pixels: NDArray[np.uint8] | NDArray[np.uint16], window: tuple[float, float]) -> NDArray[np.uint8]:
    """Map a value range to 0 … 255 for display; values outside it are clipped."""
    low, high = window
    scale = 255.0 / max(high - low, 1e-6)
    shown: NDArray[np.uint8] = np.clip((pixels.astype(np.float32) - low) * scale + 0.5, 0, 255).astype(np.uint8)
    return shown


def picture_tile(
    level: NDArray[np.uint8] | NDArray[np.uint16], x: int, y: int, size: int, window: tuple[float, float] | None
) -> NDArray[np.uint8]:
    """Cut one tile out of a level as Qt's 32-bit RGB.

    Args:
        level: (h, w, 3) of the level.
        x: left edge in pixels of the level.
        y: top edge in pixels of the level.
        size: width and height of the tile; cut off at the level's edges.
        window: value range to show of a uint16 picture.

    Returns:
        (h, w, 4) uint8 in the byte order B, G, R, 255.
    """
    cut = level[y : y + size, x : x + size]
    rgb = stretch(cut, window or (0, 65535)) if cut.dtype == np.uint16 else cut
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2BGRA), np.uint8)


def compose_tile(
    shapes: Sequence[tuple[MaskShape, Rgb]],
    x: int,
    y: int,
    size: tuple[int, int],
    shrink: int,
    style: TileStyle,
    below: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Paint masks into one transparent tile, later ones on top.

    Args:
        shapes: masks with their colours; those that do not touch the tile cost almost nothing.
        x: left edge of the tile in pixels of its level.
        y: top edge of the tile in pixels of its level.
        size: height and width of the tile in pixels of its level.
        shrink: picture pixels for one pixel of the level: 1, 2, 4 …
        style: opacity and outline.
        below: the tile as it is, which the masks are laid over; it is not changed.

    Returns:
        (h, w, 4) uint8, premultiplied, in the byte order B, G, R, A.
    """
    height, width = size
    tile = np.zeros((height, width, 4), np.uint8) if below is None else below.copy()
    fill = round(255 * style.fill)
    for shape, (red, green, blue) in shapes:
        # an outline needs one pixel more on each side, so that a mask cut by the tile's edge gets none there
        placed = _shrunk(shape, shrink, (x - style.outline, y - style.outline, x + width, y + height), style.outline)
        if placed is None:
            continue
        pixels, left, top = placed
        x1, y1 = max(left, x), max(top, y)
        x2, y2 = min(left + pixels.shape[1], x + width), min(top + pixels.shape[0], y + height)
        if x1 >= x2 or y1 >= y2:
            continue
        cut = slice(y1 - top, y2 - top), slice(x1 - left, x2 - left)
        target = tile[y1 - y : y2 - y, x1 - x : x2 - x]
        if fill:
            _blend(target, pixels[cut], (blue, green, red), fill)
        if style.outline:
            cv2.copyTo(np.full_like(target, (blue, green, red, 255)), _ring(pixels, style.outline)[cut], target)
    return tile


def _shrunk(
    shape: MaskShape, shrink: int, seen: tuple[int, int, int, int], margin: int
) -> tuple[NDArray[np.uint8], int, int] | None:
    """Bring the part of a mask that a tile shows to a level: (h, w) of 0 and 1, left and top there.

    None for what lies elsewhere. A small mask keeps one pixel.

    Args:
        shape: the mask.
        shrink: picture pixels for one pixel of the level.
        seen: x1, y1, x2, y2 of the tile at the level, with the margin at its left and top.
        margin: pixels of the level that are needed beyond the tile.
    """
    height, width = shape.pixels.shape
    if not height or not width:
        return None
    x1, y1, x2, y2 = shape.box_xyxy
    left, top = max(x1 // shrink, seen[0]), max(y1 // shrink, seen[1])
    right, bottom = min(-(-x2 // shrink), seen[2] + margin), min(-(-y2 // shrink), seen[3] + margin)
    if left >= right or top >= bottom:
        return None
    if shrink == 1:
        part = shape.pixels[top - y1 : bottom - y1, left - x1 : right - x1]
    else:
        # sampling at the middle of each level pixel is as good as averaging under a two-pixel outline, and far faster
        columns = np.clip((np.arange(left, right) * shrink + shrink // 2) - x1, 0, width - 1)
        rows = np.clip((np.arange(top, bottom) * shrink + shrink // 2) - y1, 0, height - 1)
        part = shape.pixels[rows[:, None], columns]
    return np.ascontiguousarray(part).view(np.uint8), left, top


def _blend(target: NDArray[np.uint8], inside: NDArray[np.uint8], bgr: tuple[int, int, int], alpha: int) -> None:
    """Lay a translucent colour over the tile where the mask is; premultiplied source-over."""
    table = np.arange(256)[:, None] * (255 - alpha) // 255 + [*(c * alpha // 255 for c in bgr), alpha]  # (256, 4)
    mixed = cv2.LUT(target, table.astype(np.uint8)[:, None])
    cv2.copyTo(mixed, inside, target)


def _ring(pixels: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Pixels of the mask within `width` of its outside, as 0 and 1; beyond the array lies nothing of it."""
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    core = np.asarray(cv2.erode(pixels, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0), np.uint8)
    return pixels & ~core
