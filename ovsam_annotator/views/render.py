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

__all__ = ["TileStyle", "compose_tile", "picture_tile", "simplify", "stretch"]


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
    shapes: Sequence[tuple[MaskShape, Rgb]], x: int, y: int, size: tuple[int, int], shrink: int, style: TileStyle
) -> NDArray[np.uint8]:
    """Paint masks into one transparent tile, later ones on top.

    Args:
        shapes: masks with their colours; those that do not touch the tile cost almost nothing.
        x: left edge of the tile in pixels of its level.
        y: top edge of the tile in pixels of its level.
        size: height and width of the tile in pixels of its level.
        shrink: picture pixels for one pixel of the level: 1, 2, 4 …
        style: opacity and outline.

    Returns:
        (h, w, 4) uint8, premultiplied, in the byte order B, G, R, A.
    """
    height, width = size
    tile = np.zeros((height, width, 4), np.uint8)
    fill = round(255 * style.fill)
    for shape, (red, green, blue) in shapes:
        placed = _shrunk(shape, shrink)
        if placed is None:
            continue
        pixels, left, top = placed
        x1, y1 = max(left, x), max(top, y)
        x2, y2 = min(left + pixels.shape[1], x + width), min(top + pixels.shape[0], y + height)
        if x1 >= x2 or y1 >= y2:
            continue
        inside = pixels[y1 - top : y2 - top, x1 - left : x2 - left]
        target = tile[y1 - y : y2 - y, x1 - x : x2 - x]
        if fill:
            _blend(target, inside, (blue, green, red), fill)
        if style.outline:
            # one pixel more on each side, so that a mask cut by the tile's edge gets no outline there
            ring = _ring(pixels, (x1 - left, y1 - top, x2 - left, y2 - top), style.outline)
            target[ring] = (blue, green, red, 255)
    return tile


def simplify(loops: Sequence[NDArray[np.int32]], tolerance: float) -> list[NDArray[np.int32]]:
    """Drop outline corners that lie within a tolerance, so that a shrunk outline looks smooth and strokes fast.

    Args:
        loops: closed outlines, each (K, 2).
        tolerance: distance in picture pixels; below half a pixel nothing changes.
    """
    if tolerance < 0.5:
        return list(loops)
    thinned = (np.asarray(cv2.approxPolyDP(loop.reshape(-1, 1, 2), tolerance, closed=True)) for loop in loops)
    return [loop.reshape(-1, 2).astype(np.int32) for loop in thinned if len(loop) >= 3]


def _shrunk(shape: MaskShape, shrink: int) -> tuple[NDArray[np.bool_], int, int] | None:
    """Bring a mask to a level: pixels, left and top there; None for an empty mask. A small mask keeps one pixel."""
    height, width = shape.pixels.shape
    if not height or not width:
        return None
    if shrink == 1:
        return shape.pixels, shape.x, shape.y
    left, top = shape.x // shrink, shape.y // shrink
    right, bottom = -(-(shape.x + width) // shrink), -(-(shape.y + height) // shrink)
    # sampling at the middle of each level pixel is as good as averaging under a two-pixel outline, and far faster
    columns = np.clip((np.arange(left, right) * shrink + shrink // 2) - shape.x, 0, width - 1)
    rows = np.clip((np.arange(top, bottom) * shrink + shrink // 2) - shape.y, 0, height - 1)
    return shape.pixels[rows[:, None], columns], left, top


def _blend(target: NDArray[np.uint8], inside: NDArray[np.bool_], bgr: tuple[int, int, int], alpha: int) -> None:
    """Lay a translucent colour over the tile where the mask is; premultiplied source-over."""
    over = np.array([*(c * alpha // 255 for c in bgr), alpha], np.uint16)
    mixed = (target.astype(np.uint16) * (255 - alpha)) // 255 + over
    np.copyto(target, mixed.astype(np.uint8), where=inside[..., None])


def _ring(pixels: NDArray[np.bool_], cut: tuple[int, int, int, int], width: int) -> NDArray[np.bool_]:
    """Pixels of the mask within `width` of its outside, for the part `cut` (x1, y1, x2, y2) of it."""
    x1, y1, x2, y2 = cut
    height, breadth = pixels.shape
    grown = (max(x1 - width, 0), max(y1 - width, 0), min(x2 + width, breadth), min(y2 + width, height))
    part = pixels[grown[1] : grown[3], grown[0] : grown[2]].view(np.uint8)
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    core = cv2.erode(part, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    ring: NDArray[np.bool_] = (part != 0) & (core == 0)
    return ring[y1 - grown[1] : y2 - grown[1], x1 - grown[0] : x2 - grown[0]]
