"""The outline of one mask as screen pixels, however ragged it is: a pure function without Qt.

Stroking a vector outline with thousands of corners takes a tenth of a second and more; sampling the mask where the
screen shows it takes a few milliseconds, whatever its shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ovsam_annotator.model.shapes import MaskShape
    from ovsam_annotator.views.data import Rgb

__all__ = ["Look", "Placement", "stamp"]

_STEPS = 4  # levels of opacity of a smoothed edge: two bits of a label
_CRISP_FROM = 4.0  # screen pixels for one picture pixel from which its corners are shown as they are
_DASH, _PERIOD = 5, 9  # of stripes that cross every edge, unlike dashes they need no path


@dataclass(frozen=True, slots=True)
class Look:
    """How an outline is painted.

    Attributes:
        colour: of line and inside.
        fill: opacity of the inside, 0 to 1.
        line: half the width of the coloured line in screen pixels.
        rim: by how much the dark rim around it is wider on each side.
        halo: by how much a white halo is wider still; 0 for none.
        dashed: the line is broken: not accepted yet.
    """

    colour: Rgb
    fill: float = 0.0
    line: int = 1
    rim: int = 1
    halo: int = 0
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the picture lies on the screen, in pixels of the screen.

    Attributes:
        scale: screen pixels for one picture pixel.
        dx: screen x of the picture's left edge.
        dy: screen y of the picture's top edge.
        width: of the view.
        height: of the view.
    """

    scale: float
    dx: float
    dy: float
    width: int
    height: int


def stamp(shape: MaskShape, place: Placement, look: Look) -> tuple[NDArray[np.uint8], int, int] | None:
    """Paint a mask's inside and outline as they appear on the screen.

    Args:
        shape: the mask.
        place: where the picture lies.
        look: colours and widths.

    Returns:
        (h, w, 4) uint8, premultiplied, in the byte order B, G, R, A, and its left and top on the screen; None where
        nothing of it is in view.
    """
    reach = look.line + look.rim + look.halo + 1  # one more for the smoothed edge
    x1, y1, x2, y2 = shape.box_xyxy
    left = max(int(np.floor(x1 * place.scale + place.dx)) - reach, -reach)
    top = max(int(np.floor(y1 * place.scale + place.dy)) - reach, -reach)
    right = min(int(np.ceil(x2 * place.scale + place.dx)) + reach, place.width + reach)
    bottom = min(int(np.ceil(y2 * place.scale + place.dy)) + reach, place.height + reach)
    if right <= left or bottom <= top or not shape.pixels.size:
        return None
    inside = _sampled(shape, place, left, top, right - left, bottom - top)
    label = inside & np.uint8(1)
    label |= _band(inside, look.line, 0, left, top, dashed=look.dashed)
    label |= _band(inside, look.line + look.rim, 1)
    if look.halo:
        label |= _band(inside, look.line + look.rim + look.halo, 2)
    return np.take(_palette(look), label).view(np.uint8).reshape(*label.shape, 4), left, top


def _sampled(shape: MaskShape, place: Placement, left: int, top: int, width: int, height: int) -> NDArray[np.uint8]:
    """(height, width) uint8, 255 where a screen pixel lies on the mask."""
    scale = place.scale
    # only what is in view, and a pixel more on each side, so that the cut is no edge
    x1 = max(int((left - place.dx) / scale) - 1 - shape.x, 0)
    y1 = max(int((top - place.dy) / scale) - 1 - shape.y, 0)
    x2, y2 = int((left + width - place.dx) / scale) + 2 - shape.x, int((top + height - place.dy) / scale) + 2 - shape.y
    shrink = max(1, int(0.7 / scale))  # averaged first: sampling alone would lose thin parts
    stride = max(1, shrink // 2)  # of averages, four samples are enough
    pixels: NDArray[Any] = shape.pixels[y1:y2:stride, x1:x2:stride].view(np.uint8) * np.uint8(255)
    if not pixels.size:
        return np.zeros((height, width), np.uint8)
    factor = shrink // stride
    if factor > 1:
        spare = -pixels.shape[0] % factor, -pixels.shape[1] % factor
        pixels = cv2.copyMakeBorder(pixels, 0, spare[0], 0, spare[1], cv2.BORDER_CONSTANT, value=0)
        size = (pixels.shape[1] // factor, pixels.shape[0] // factor)
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    cell = factor * stride  # picture pixels for one of these
    # a screen pixel's centre, brought back to these pixels, whose centres lie at + 0.5
    step = 1 / (scale * cell)
    matrix = np.array(
        [
            [step, 0, (left + 0.5 - place.dx) * step - (shape.x + x1) / cell - 0.5],
            [0, step, (top + 0.5 - place.dy) * step - (shape.y + y1) / cell - 0.5],
        ]
    )
    how = cv2.INTER_NEAREST if scale >= _CRISP_FROM else cv2.INTER_LINEAR
    drawn = cv2.warpAffine(pixels, matrix, (width, height), flags=how | cv2.WARP_INVERSE_MAP)
    return np.asarray(cv2.threshold(drawn, 127, 255, cv2.THRESH_BINARY)[1], np.uint8)


def _band(
    inside: NDArray[np.uint8], reach: int, layer: int, left: int = 0, top: int = 0, *, dashed: bool = False
) -> NDArray[np.uint8]:
    """(h, w) uint8: how much of each pixel lies within `reach` of the edge, in the bits of a label's layer."""
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    edge = cv2.subtract(cv2.dilate(inside, kernel), cv2.erode(inside, kernel, borderValue=0))
    if dashed:
        # the pattern belongs to the screen; it is cut where this piece of the screen begins
        height, width = inside.shape
        row, column = top % _PERIOD, left % _PERIOD
        cut = _stripes(-(-height // 256) * 256, -(-width // 256) * 256)
        edge = cv2.bitwise_and(edge, cut[row : row + height, column : column + width])
    soft = cv2.GaussianBlur(edge, (3, 3), 0.5)
    return np.asarray(cv2.LUT(soft, _LEVELS[layer]), np.uint8)


# for each layer 0 to `_STEPS` - 1, where its two bits lie: see `_palette`
_LEVELS = [np.round(np.arange(256) / 255 * (_STEPS - 1)).astype(np.uint8) << np.uint8(1 + 2 * k) for k in range(3)]


@lru_cache(maxsize=8)
def _stripes(height: int, width: int) -> NDArray[np.uint8]:
    """Slanting stripes over at least (height, width) pixels and a period more: 255 where a line is drawn."""
    rows, columns = np.ogrid[:_PERIOD, :_PERIOD]
    cell = np.where((columns + 2 * rows) % _PERIOD < _DASH, 255, 0).astype(np.uint8)
    return np.tile(cell, (height // _PERIOD + 2, width // _PERIOD + 2))


@lru_cache(maxsize=64)
def _palette(look: Look) -> NDArray[np.uint32]:
    """Colour of each label: 1 inside, 2 x line, 8 x rim, 32 x halo, the line on top."""
    colours = [(look.colour, 1.0), ((0, 0, 0), 0.75), ((255, 255, 255), 1.0)]
    table = np.zeros((2 * _STEPS**3, 4))
    for label in range(len(table)):
        over = np.array([*look.colour, 1.0]) * (look.fill if label & 1 else 0.0)  # premultiplied R, G, B, A
        for k in (2, 1, 0):
            colour, opacity = colours[k]
            alpha = opacity * (label // (2 * _STEPS**k) % _STEPS) / (_STEPS - 1)
            over = np.array([*colour, 1.0]) * alpha + over * (1 - alpha)
        table[label] = over
    table[:, 3] *= 255
    bgra = np.ascontiguousarray(np.round(table[:, [2, 1, 0, 3]]).astype(np.uint8))
    return bgra.view(np.uint32)[:, 0]
