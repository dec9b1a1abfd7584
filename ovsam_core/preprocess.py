"""A picture as the network's input, and coordinates between the two."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import torch

from ovsam_core.config import InputConfig
from ovsam_core.errors import PictureError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ovsam_core.config import ModelConfig

__all__ = ["NetworkInput", "input_size_hw", "normalise", "resize_and_pad", "to_input", "to_original"]


class NetworkInput(NamedTuple):
    """What `OVSAM.encode` takes, and how it relates to the picture.

    Attributes:
        pixels: (1, 3, S, S) float32, normalised, then padded with zeros at the right and the bottom.
        scale_xy: network-input pixels per picture pixel, along x and along y.
        input_hw: height and width that the picture takes of the square.
    """

    pixels: Tensor
    scale_xy: tuple[float, float]
    input_hw: tuple[int, int]


def input_size_hw(size_hw: tuple[int, int], side: int) -> tuple[int, int]:
    """Return the height and width of a picture whose longer side becomes `side` pixels, rounded half up."""
    scale = side / max(size_hw)
    # int(x + .5) as mmcv's rescale_size; Python's round() takes halves to even and would differ by a pixel.
    h, w = (max(1, int(length * scale + 0.5)) for length in size_hw)
    return h, w


def resize_and_pad(rgb: NDArray[np.uint8], config: ModelConfig | InputConfig) -> NetworkInput:
    """Resize the longer side to the network's, normalise, and pad to a square.

    Args:
        rgb: (H, W, 3) uint8.
        config: the model's configuration or its `input` part.

    Raises:
        PictureError: not (H, W, 3) uint8, or without pixels.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
        raise PictureError(f"picture: expected (H, W, 3) uint8 with pixels, got {rgb.shape} {rgb.dtype}")
    settings = config if isinstance(config, InputConfig) else config.input
    h, w = rgb.shape[:2]
    new_h, new_w = input_size_hw((h, w), settings.size)
    if (new_h, new_w) != (h, w):
        shrinks = new_h < h or new_w < w
        how = cv2.INTER_AREA if settings.interpolation == "area" and shrinks else cv2.INTER_LINEAR
        rgb = np.asarray(cv2.resize(rgb, (new_w, new_h), interpolation=how), np.uint8)
    pixels = torch.zeros(1, 3, settings.size, settings.size)
    pixels[0, :, :new_h, :new_w] = normalise(rgb[None], settings.mean, settings.std)[0]
    return NetworkInput(pixels, (new_w / w, new_h / h), (new_h, new_w))


def normalise(rgb: NDArray[np.uint8], mean: tuple[float, float, float], std: tuple[float, float, float]) -> Tensor:
    """Turn (N, H, W, 3) uint8 into (N, 3, H, W) float32: (x - mean) / std, both on the scale 0 to 255."""
    # There are 256 values a channel: looked up, the arithmetic is done once, and whole planes are written in order.
    values = torch.arange(256, dtype=torch.float32)[:, None]
    table = ((values - torch.tensor(mean)) / torch.tensor(std)).numpy()
    pixels = np.empty((len(rgb), 3, *rgb.shape[1:3]), np.float32)
    for picture, planes in zip(rgb, pixels, strict=True):
        for channel, plane in enumerate(planes):
            cv2.LUT(cv2.extractChannel(picture, channel), table[:, channel], dst=plane)
    return torch.from_numpy(pixels)


def to_input(xy: NDArray[np.floating], scale_xy: tuple[float, float]) -> NDArray[np.float32]:
    """Scale picture coordinates (..., 2 or 4: x, y pairs) to the network input."""
    return (xy * _factors(xy, scale_xy)).astype(np.float32)


def to_original(xy: NDArray[np.floating], scale_xy: tuple[float, float]) -> NDArray[np.float32]:
    """Scale network-input coordinates (..., 2 or 4: x, y pairs) to the picture."""
    return (xy / _factors(xy, scale_xy)).astype(np.float32)


def _factors(xy: NDArray[np.floating], scale_xy: tuple[float, float]) -> NDArray[np.float64]:
    return np.tile(np.asarray(scale_xy, np.float64), xy.shape[-1] // 2)
