"""One measured object as a picture: truth, answer and prompt on the object's surroundings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from ovsam_core.pictures import load_picture
from training.records import decode_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.measuring import Measured
    from training.records import PictureRecord

__all__ = ["draw_case"]

TRUTH, ANSWER, PROMPT = (60, 200, 75), (235, 60, 60), (255, 255, 255)  # RGB
_SIDE = 480  # pixels of the longer side, without the line of words
_BAND = 20


def draw_case(one: Measured, record: PictureRecord) -> NDArray[np.uint8]:
    """Draw truth (green), answer (red) and prompt (white) on the surroundings of the object, a line of words above.

    Args:
        one: a measured object with its mask.
        record: its picture.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    rgb = load_picture(record.path).rgb
    assert one.mask is not None
    x1, y1, x2, y2 = (int(v) for v in one.thing.box_xyxy)
    margin = max(24, (x2 - x1 + y2 - y1) // 2)
    left, top = max(0, x1 - margin), max(0, y1 - margin)
    window = slice(top, y2 + margin), slice(left, x2 + margin)
    scale = _SIDE / max(rgb[window].shape[:2])
    canvas = np.ascontiguousarray(_resized(rgb[window], scale))
    for mask, colour in ((decode_mask(one.thing, *rgb.shape[:2]), TRUTH), (one.mask, ANSWER)):
        small = _resized(mask[window].astype(np.uint8) * 255, scale) > 127
        outlines, _ = cv2.findContours(small.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        for width, tone in ((4, (0, 0, 0)), (2, colour)):  # a dark edge shows on every ground
            cv2.drawContours(canvas, outlines, -1, tone, width, cv2.LINE_AA)
    _draw_prompt(canvas, one, (left, top), scale)
    return np.vstack([_words(one, canvas.shape[1]), canvas])


def _resized(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)


def _draw_prompt(canvas: NDArray[np.uint8], one: Measured, origin: tuple[int, int], scale: float) -> None:
    """Draw the box, or a dot for every click: filled where it adds, a ring where it takes away."""

    def place(x: float, y: float) -> tuple[int, int]:
        return round((x - origin[0]) * scale), round((y - origin[1]) * scale)

    if not one.clicks:
        x1, y1, x2, y2 = one.thing.box_xyxy
        cv2.rectangle(canvas, place(x1, y1), place(x2, y2), PROMPT, 1, cv2.LINE_AA)
    for x, y, label in one.clicks:
        cv2.circle(canvas, place(x, y), 6, (0, 0, 0), -1, cv2.LINE_AA)
        cv2.circle(canvas, place(x, y), 4, PROMPT, -1 if label else 2, cv2.LINE_AA)


def _words(one: Measured, width: int) -> NDArray[np.uint8]:
    words = f"{one.thing.name or 'object'}: IoU {one.iou:.2f}" + (f", said {one.answer}" if one.answer else "")
    band = np.full((_BAND, width, 3), 255, np.uint8)
    need = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)[0][0]
    size = 0.45 * min(1.0, (width - 6) / need)
    cv2.putText(band, words, (3, 14), cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 1, cv2.LINE_AA)
    return band
