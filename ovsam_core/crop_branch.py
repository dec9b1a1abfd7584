"""The crop branch: regions cut from the picture and put through the frozen trunk.

It is the image-crop baseline of the paper's Table 1, put to use beside the region branches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from ovsam_core.crops import crop_square
from ovsam_core.preprocess import normalise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from ovsam_core.masks import Mask
    from ovsam_core.modeling.ovsam import OVSAM

__all__ = ["crop_embeddings"]

_CHUNK = 16  # crops in one forward pass


def crop_embeddings(
    model: OVSAM,
    rgb: NDArray[np.uint8],
    boxes_xyxy: NDArray[np.floating],
    *,
    masks: Sequence[Mask] | None = None,
    scales: Sequence[float] | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """Embed regions of a picture by crops of the picture itself.

    Args:
        model: its configuration tells the crop's size, scales and normalisation.
        rgb: (H, W, 3) uint8.
        boxes_xyxy: (N, 4) picture pixels.
        masks: N masks at the picture's size; with the model's `crop.mask_share` above 0 crops are pooled under them
            too.
        scales: side of each crop over the longer side of the box; None takes the model's (1.2 and 1.6).
        device: of the model.

    Returns:
        (N, D) float32, unit length: the mean over scales.
    """
    settings = model.config.crop
    chosen = tuple(settings.scales if scales is None else scales)
    size = model.config.crop_size
    fill = round(float(np.mean(settings.mean)))  # the padding of the crop is the network's zero
    found = []
    regions = max(1, _CHUNK // len(chosen))
    for start in range(0, len(boxes_xyxy), regions):
        part = boxes_xyxy[start : start + regions]
        crops = [crop_square(rgb, box, scale=scale, size=size, fill=fill) for box in part for scale in chosen]
        pixels = normalise(np.stack(crops), settings.mean, settings.std).to(device)  # (n * S, 3, s, s)
        covers = None
        if masks is not None and settings.mask_share:
            shares = [
                _cover(mask, box, scales=chosen, size=size)
                for mask, box in zip(masks[start : start + regions], part, strict=True)
            ]
            covers = torch.from_numpy(np.concatenate(shares)).to(device).float() / 255  # (n * S, s, s)
        vectors = model.crop_clip(pixels, covers).float().reshape(len(part), len(chosen), -1)  # (n, S, D)
        found.append(functional.normalize(vectors.mean(1), dim=-1))
    if not found:
        return torch.zeros(0, model.config.embed_dim, device=device)
    return torch.cat(found)


def _cover(mask: Mask, box: NDArray[np.floating], *, scales: Sequence[float], size: int) -> NDArray[np.uint8]:
    """Cut a mask as its picture is cut: (S, size, size) uint8, 255 where the object is."""
    columns, x, y = mask.columns()
    # Cut lying on its side, as it comes: turning the small answers is cheaper than turning the mask.
    pixels = columns.astype(np.uint8) * 255
    turned = (np.asarray(box, np.float64) - [x, y, x, y])[[1, 0, 3, 2]]
    return np.stack([crop_square(pixels, turned, scale=scale, size=size, fill=0).T for scale in scales])
