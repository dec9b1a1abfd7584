"""A picture as levels, each half the size of the one before: what the canvas paints from. No Qt.

Call it off the GUI thread: it copies a third of the picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from ovsam_annotator.views.data import PictureImage

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray

    Pixels: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]

__all__ = ["build_levels", "level_for_scale", "picture_image"]

SMALLEST_SIDE = 256  # a level at most this wide and high has no smaller one


def picture_image(
    picture_id: int,
    pixels: NDArray[np.uint8] | NDArray[np.uint16],
    window: tuple[float, float] | None = None,
) -> PictureImage:
    """Make a picture ready for the canvas.

    Args:
        picture_id: id in the project.
        pixels: (H, W, 3) or (H, W) uint8, or uint16 for a picture with more than 8 bits.
        window: darkest and brightest value to show of a uint16 picture; its 0.1 and 99.9 percentiles by default.
    """
    if pixels.ndim == 2:
        pixels = cast("Pixels", np.repeat(pixels[..., None], 3, axis=2))
    if pixels.dtype == np.uint16 and window is None:
        step = max(1, int(np.sqrt(pixels.shape[0] * pixels.shape[1] / 1_000_000)))  # a million samples are enough
        low, high = np.percentile(pixels[::step, ::step], (0.1, 99.9))
        window = (float(low), float(max(high, low + 1)))
    return PictureImage(picture_id, build_levels(pixels), window if pixels.dtype == np.uint16 else None)


def build_levels(
    pixels: NDArray[np.uint8] | NDArray[np.uint16],
) -> tuple[NDArray[np.uint8] | NDArray[np.uint16], ...]:
    """Halve a (H, W, 3) array until it is small; each pixel is the mean of the area it stands for."""
    levels = [cast("Pixels", np.ascontiguousarray(pixels))]
    while max(levels[-1].shape[:2]) > SMALLEST_SIDE:
        height, width = levels[-1].shape[:2]
        size = (max(1, (width + 1) // 2), max(1, (height + 1) // 2))
        levels.append(cast("Pixels", cv2.resize(levels[-1], size, interpolation=cv2.INTER_AREA)))
    return tuple(levels)


def level_for_scale(scale: float, count: int) -> int:
    """Index of the coarsest level that still has at least one pixel for each screen pixel.

    Args:
        scale: screen pixels for one picture pixel.
        count: number of levels.
    """
    if scale >= 1:
        return 0
    return min(count - 1, int(np.floor(-np.log2(max(scale, 1e-9)) + 1e-6)))
