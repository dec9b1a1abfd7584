"""Small things that many tests of the window need."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ovsam_core.vocabulary import Vocabulary

NAMES = ("cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "umbrella", "chair", "bottle")


def vocabulary() -> Vocabulary:
    return Vocabulary.of(NAMES, "test")


def picture_file(folder, name="a.png", size=(96, 64), seed=0):
    """A picture of blocks on noise; width and height in `size`."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 90, (size[1], size[0], 3), np.uint8)
    pixels[size[1] // 4 : size[1] // 2, size[0] // 4 : size[0] // 2] = (200, 40 + seed % 100, 60)
    path = folder / name
    Image.fromarray(pixels).save(path)
    return path
