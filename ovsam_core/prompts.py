"""One object's prompt: what a person clicked, dragged or kept from the last answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from ovsam_core.errors import PromptError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Prompt"]


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """Points, a box and a previous mask that together describe one object.

    Coordinates are pixels of the EXIF-turned original: x right, y down, pixel 0 covers [0, 1).

    Attributes:
        points_xy: (P, 2) float32; P may be 0 when there is a box or a mask.
        labels: (P,) int8; 1 marks a point on the object, 0 a point off it.
        box_xyxy: (4,) float32 with exclusive far edges, or None.
        mask: previous answer to refine: low-resolution logits (h, w) of a Prediction, or a bool mask (H, W) of the
            picture's size (taken as logits of +6 and -6); None without one.
    """

    points_xy: NDArray[np.float32]
    labels: NDArray[np.int8]
    box_xyxy: NDArray[np.float32] | None = None
    mask: NDArray[np.floating] | NDArray[np.bool_] | None = None

    @classmethod
    def of(
        cls,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask: NDArray[np.floating] | NDArray[np.bool_] | None = None,
    ) -> Self:
        """Check and convert anything array-like; labels default to all positive.

        Raises:
            PromptError: a shape is wrong, a value is not finite, a box is empty, or nothing was given at all.
        """
        xy = np.zeros((0, 2), np.float32) if points is None else np.asarray(points, np.float32)
        if xy.ndim == 1 and xy.shape == (2,):
            xy = xy[None]
        if xy.ndim != 2 or xy.shape[1] != 2:
            raise PromptError(f"points: expected shape (P, 2), got {xy.shape}")
        if not np.isfinite(xy).all():
            raise PromptError("points: every coordinate must be finite")
        sign = np.ones(len(xy), np.int8) if labels is None else np.asarray(labels).reshape(-1)
        if len(sign) != len(xy):
            raise PromptError(f"labels: expected {len(xy)} (one for each point), got {len(sign)}")
        if not np.isin(sign, (0, 1)).all():
            raise PromptError("labels: a point is 1 (on the object) or 0 (off it)")
        frame = None
        if box is not None:
            frame = np.asarray(box, np.float32).reshape(-1)
            if frame.shape != (4,) or not np.isfinite(frame).all():
                raise PromptError(f"box: expected four finite numbers x1, y1, x2, y2, got {np.asarray(box).tolist()}")
            if frame[2] <= frame[0] or frame[3] <= frame[1]:
                raise PromptError(f"box: far edges must lie beyond near edges, got {frame.tolist()}")
        if mask is not None and mask.ndim != 2:
            raise PromptError(f"mask: expected shape (h, w), got {mask.shape}")
        if not len(xy) and frame is None and mask is None:
            raise PromptError("a prompt needs a point, a box or a mask")
        return cls(xy, sign.astype(np.int8), frame, mask)
