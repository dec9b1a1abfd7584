"""Masks as run lengths: the one truth from prediction to export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from pycocotools import mask as coco_mask

from ovsam_core.errors import FormatError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Mask"]


@dataclass(frozen=True, slots=True)
class Mask:
    """An immutable, hashable binary mask of one picture.

    Attributes:
        counts: COCO compressed run lengths (column-major), as pycocotools writes them.
        height: picture height in pixels.
        width: picture width in pixels.
    """

    counts: bytes
    height: int
    width: int

    @classmethod
    def of(cls, pixels: NDArray[np.bool_] | NDArray[np.uint8]) -> Self:
        """Encode a (H, W) array; every non-zero pixel belongs to the mask."""
        if pixels.ndim != 2:
            raise FormatError(f"mask: expected shape (H, W), got {pixels.shape}")
        rle = coco_mask.encode(np.asfortranarray(pixels != 0).view(np.uint8))
        return cls(rle["counts"], *pixels.shape)

    @property
    def rle(self) -> dict[str, object]:
        """COCO's compressed form: {"size": [h, w], "counts": str}."""
        return {"size": [self.height, self.width], "counts": self.counts.decode("ascii")}

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(coco_mask.area(self._raw()))

    @property
    def bbox_xywh(self) -> tuple[int, int, int, int]:
        """Tight box x, y, width, height in pixels; all 0 for an empty mask."""
        x, y, w, h = (int(v) for v in coco_mask.toBbox(self._raw()))
        return x, y, w, h

    def full(self) -> NDArray[np.bool_]:
        """Decode to (H, W) bool."""
        return coco_mask.decode(self._raw()).view(np.bool_)

    def window(self) -> tuple[NDArray[np.bool_], int, int]:
        """Decode the tight box only: (h, w) bool, and its x and y."""
        x, y, w, h = self.bbox_xywh
        return np.ascontiguousarray(self.full()[y : y + h, x : x + w]), x, y

    def _raw(self) -> dict[str, object]:
        return {"size": [self.height, self.width], "counts": self.counts}
