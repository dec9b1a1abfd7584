"""Square crops round a box: what the crop branch and the zoom pass look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["crop_square", "square_window", "window_inside"]

_SMALLEST_SIDE = 8
"""Pixels; a click on one pixel still gets a few neighbours to be recognised by."""


def square_window(box_xyxy: ArrayLike, scale: float) -> tuple[int, int, int]:
    """Return the square (x, y, side) in whole pixels round a box, `scale` times the box's longer side.

    The square may reach beyond the picture; it is never moved or cut, so that the object stays in its middle.
    """
    x1, y1, x2, y2 = np.asarray(box_xyxy, np.float64)
    side = max(_SMALLEST_SIDE, round(max(x2 - x1, y2 - y1) * scale))
    return round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2), side


def window_inside(box_xyxy: ArrayLike, size_hw: tuple[int, int], scale: float = 1.6) -> tuple[int, int, int]:
    """Return the square (x, y, side) round a box, moved into the picture: what masks are learnt on.

    Args:
        box_xyxy: (4,) pixels; the prompt's box, or the box of the first answer.
        size_hw: height and width of the picture.
        scale: side of the square over the longer side of the box.

    Returns:
        Whole pixels. The side is at most the picture's longer side; a square that is higher or wider than the picture
        starts at 0 and reaches beyond the far edge only, as whole pictures are padded.
    """
    x1, y1, x2, y2 = np.asarray(box_xyxy, np.float64)
    height, width = size_hw
    side = max(_SMALLEST_SIDE, min(round(max(x2 - x1, y2 - y1) * scale), max(height, width)))
    x = min(max(round((x1 + x2 - side) / 2), 0), max(0, width - side))
    y = min(max(round((y1 + y2 - side) / 2), 0), max(0, height - side))
    return x, y, side


def crop_square(
    image: NDArray[np.uint8], box_xyxy: ArrayLike, *, scale: float, size: int, fill: int = 127
) -> NDArray[np.uint8]:
    """Cut the square round a box out of a picture and resize it.

    Args:
        image: (H, W, 3) or (H, W) uint8.
        box_xyxy: (4,) pixels, far edges exclusive.
        scale: side of the square over the longer side of the box; 1.2 and 1.6 are the crop branch's.
        size: side of the answer in pixels.
        fill: value outside the picture; 127 is zero after the starter's normalisation.

    Returns:
        (size, size, 3) or (size, size) uint8; shrunk by area averaging, enlarged bilinearly. Large squares are shrunk
        by a whole factor before they are cut to shape: the picture's edge moves by at most half a pixel of the answer.
    """
    x, y, side = square_window(box_xyxy, scale)
    height, width = image.shape[:2]
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + side, width), min(y + side, height)
    inside = image[top:bottom, left:right] if right > left and bottom > top else image[:0]
    across, down = left - x, top - y
    factor = side // (2 * size)
    if factor > 1 and min(inside.shape[:2]) >= factor:
        h, w = inside.shape[0] // factor, inside.shape[1] // factor
        whole = inside[: h * factor, : w * factor]  # OpenCV averages whole cells three times as fast
        inside = np.asarray(cv2.resize(whole, (w, h), interpolation=cv2.INTER_AREA), np.uint8)
        side = max(round(side / factor), *inside.shape[:2])
        across = min(round(across / factor), side - inside.shape[1])
        down = min(round(down / factor), side - inside.shape[0])
    canvas = np.full((side, side, *image.shape[2:]), fill, np.uint8)
    canvas[down : down + inside.shape[0], across : across + inside.shape[1]] = inside
    how = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(canvas, (size, size), interpolation=how), np.uint8)
