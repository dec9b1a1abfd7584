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

    from ovsam_core.modeling.ovsam import OVSAM

__all__ = ["crop_embeddings"]

_CHUNK = 16  # crops in one forward pass


def crop_embeddings(
    model: OVSAM,
    rgb: NDArray[np.uint8],
    boxes_xyxy: NDArray[np.floating],
    *,
    scales: Sequence[float] | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """Embed regions of a picture by crops of the picture itself.

    Args:
        model: its configuration tells the crop's size, scales and normalisation.
        rgb: (H, W, 3) uint8.
        boxes_xyxy: (N, 4) picture pixels.
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
        vectors = model.crop_clip(pixels).float().reshape(len(part), len(chosen), -1)  # (n, S, D)
        found.append(functional.normalize(vectors.mean(1), dim=-1))
    if not found:
        return torch.zeros(0, model.config.embed_dim, device=device)
    return torch.cat(found)
