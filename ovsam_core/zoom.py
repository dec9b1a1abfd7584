"""The zoom pass: a small object is encoded again in a crop of its own, and decoded with the first answer as prompt."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from ovsam_core.crops import square_window
from ovsam_core.embedding import ImageEmbedding
from ovsam_core.preprocess import resize_and_pad
from ovsam_core.prompts import Prompt

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ovsam_core.config import InputConfig

__all__ = ["Zoom", "paste_logits", "zoom_window"]

_OUTSIDE = -10.0
"""Logit of pixels that the crop did not show: surely off the object."""

_LEAST_SIDE = 32
"""Pixels of the smallest crop: fewer are a blur at any size."""


class Zoom:
    """A crop round one object, as a picture of its own.

    Attributes:
        window_xyxy: the crop in picture pixels, inside the picture.
        rgb: (h, w, 3) uint8 pixels of the crop.
    """

    def __init__(self, rgb: NDArray[np.uint8], window_xyxy: tuple[int, int, int, int]) -> None:
        x1, y1, x2, y2 = window_xyxy
        self.window_xyxy = window_xyxy
        self.rgb = np.ascontiguousarray(rgb[y1:y2, x1:x2])

    def prompt(self, prompt: Prompt, logits: Tensor, embedding: ImageEmbedding, side: int) -> Prompt:
        """Return the prompt in the crop's pixels, with the first answer's logits as mask.

        Args:
            prompt: the person's prompt; points beyond the crop are left out.
            logits: (h, w) low-resolution logits over the whole padded input.
            embedding: of the whole picture.
            side: of the square network input, pixels.
        """
        x1, y1, x2, y2 = self.window_xyxy
        origin = np.array([x1, y1], np.float32)
        xy = prompt.points_xy - origin
        inside = ((xy >= 0) & (xy <= (x2 - x1, y2 - y1))).all(1)
        box = None
        if prompt.box_xyxy is not None:
            box = np.clip(prompt.box_xyxy - np.tile(origin, 2), 0, np.array([x2 - x1, y2 - y1] * 2, np.float32))
        mask = _cut_logits(logits.cpu().numpy(), embedding, self.window_xyxy, side)
        return Prompt(xy[inside], prompt.labels[inside], box, mask)

    def input(self, settings: InputConfig, size: int) -> tuple[Tensor, ImageEmbedding]:
        """Return the crop's network input (1, 3, s, s) and an embedding without tensors that tells its place in it."""
        made = resize_and_pad(self.rgb, replace(settings, size=size))
        place = ImageEmbedding({}, (self.rgb.shape[0], self.rgb.shape[1]), made.input_hw, made.scale_xy, "", "")
        return made.pixels, place


def zoom_window(
    box_xyxy: NDArray[np.floating], size_hw: tuple[int, int], scale: float
) -> tuple[int, int, int, int] | None:
    """Return the crop for an object's box, or None where it would hardly be smaller than the picture.

    Args:
        box_xyxy: (4,) picture pixels.
        size_hw: of the picture.
        scale: side of the crop over the longer side of the box.
    """
    x1, y1, x2, y2 = (float(v) for v in box_xyxy)
    x, y, side = square_window(box_xyxy, max(scale, _LEAST_SIDE / max(x2 - x1, y2 - y1, 1.0)))
    h, w = size_hw
    if side > 0.75 * max(h, w):
        return None
    left, top = min(max(x, 0), max(w - side, 0)), min(max(y, 0), max(h - side, 0))  # moved inside rather than cut
    return left, top, min(left + side, w), min(top + side, h)


def paste_logits(window_logits: NDArray[np.float32], zoom: Zoom, embedding: ImageEmbedding, side: int) -> Tensor:
    """Return the crop's answer as (side/4, side/4) logits over the whole picture's padded input.

    Args:
        window_logits: (h, w) logits at the crop's own pixels.
        zoom: the crop.
        embedding: of the whole picture.
        side: of the square network input, pixels.
    """
    x1, y1 = zoom.window_xyxy[:2]
    low = side // 4
    scale = np.array(embedding.scale_xy) * low / side
    # Where each low-resolution cell centre lies in the crop, in pixels whose centres are whole numbers.
    xs = ((np.arange(low) + 0.5) / scale[0] - x1 - 0.5).astype(np.float32)
    ys = ((np.arange(low) + 0.5) / scale[1] - y1 - 0.5).astype(np.float32)
    step = 1 / float(scale.max())
    blurred = window_logits
    if step > 2:  # a cell covers many pixels of the crop: average them first
        size = int(step) // 2 * 2 + 1  # odd: an even window would shift the mask by half a pixel
        blurred = np.asarray(cv2.blur(window_logits, (size, size), borderType=cv2.BORDER_REPLICATE), np.float32)
    columns, rows = np.meshgrid(xs, ys)
    found = cv2.remap(blurred, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(_OUTSIDE,))
    return torch.from_numpy(np.asarray(found, np.float32))


def _cut_logits(
    logits: NDArray[np.float32], embedding: ImageEmbedding, window_xyxy: tuple[int, int, int, int], side: int
) -> NDArray[np.float32]:
    """Resample the part of low-resolution logits that lies in a window to the window's own padded input."""
    x1, y1, x2, y2 = window_xyxy
    low = logits.shape[0]
    longer = max(x2 - x1, y2 - y1)
    cell = np.array(embedding.scale_xy) * low / side  # cells of the source per picture pixel
    grid = (np.arange(low, dtype=np.float32) + 0.5) / low * longer  # picture pixels inside the crop
    columns, rows = np.meshgrid((grid + x1) * cell[0] - 0.5, (grid + y1) * cell[1] - 0.5)
    cut = cv2.remap(
        logits.astype(np.float32),
        columns.astype(np.float32),
        rows.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    result = np.asarray(cut, np.float32)
    result[grid > y2 - y1, :] = _OUTSIDE
    result[:, grid > x2 - x1] = _OUTSIDE
    return result
