"""Predictions drawn over their picture: outlines, tinted masks and names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ovsam_core.results import Prediction

__all__ = ["draw_overlay"]

# Okabe and Ito's palette: told apart with every kind of colour vision.
_COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))
_TINT = 0.4
_ALONE = 3  # names shown where there is one object only


def draw_overlay(rgb: NDArray[np.uint8], predictions: Sequence[Prediction], out: str | Path) -> None:
    """Write a picture with the best masks and names of predictions.

    Args:
        rgb: (H, W, 3) uint8; left as it is.
        predictions: drawn in this order.
        out: file to write; its ending chooses the format.
    """
    canvas = rgb.copy()
    line = max(1, round(max(rgb.shape[:2]) / 400))
    for i, prediction in enumerate(predictions):
        colour = np.array(_COLOURS[i % len(_COLOURS)], np.float32)
        window, x, y = prediction.mask.window()
        part = canvas[y : y + window.shape[0], x : x + window.shape[1]]
        part[window] = (part[window] * (1 - _TINT) + colour * _TINT).astype(np.uint8)
        outlines, _ = cv2.findContours(window.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(x, y))
        cv2.drawContours(canvas, outlines, -1, colour.tolist(), line)
    image = Image.fromarray(canvas)
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(max(12, round(max(rgb.shape[:2]) / 50)))
    shown = _ALONE if len(predictions) == 1 else 1
    for i, prediction in enumerate(predictions):
        text = "\n".join(f"{label.name} {label.score:.0%}" for label in prediction.labels[:shown])
        if text:
            _write(pen, image.size, prediction.box_xyxy, text, font, _COLOURS[i % len(_COLOURS)])
    image.save(Path(out))


def _write(
    pen: ImageDraw.ImageDraw,
    size: tuple[int, int],
    box_xyxy: tuple[float, float, float, float],
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    colour: tuple[int, int, int],
) -> None:
    """Write on a plate of the object's colour at the box's upper left corner, inside the picture."""
    left, top, right, bottom = pen.multiline_textbbox((0, 0), text, font=font)
    width, height = right - left + 6, bottom - top + 6
    x = min(max(0.0, box_xyxy[0]), max(0.0, size[0] - width))
    y = min(max(0.0, box_xyxy[1] - height), max(0.0, size[1] - height))
    pen.rectangle((x, y, x + width, y + height), fill=colour)
    dark = sum(colour) > 330  # black on the palette's light colours, white on its dark ones
    pen.multiline_text((x + 3 - left, y + 3 - top), text, fill=(0, 0, 0) if dark else (255, 255, 255), font=font)
