"""Stray islands of a mask, which nobody pointed at (CVAT issue 7665: the crumbs of SAM)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor

    from ovsam_core.modeling.prompt_encoder import PromptTensors

__all__ = ["without_crumbs"]

_OFF = -10.0  # a logit that says: certainly not on the object


def without_crumbs(logits: Tensor, prompts: PromptTensors, stride: int, share: float) -> Tensor:
    """Push islands below zero that are smaller than `share` of the mask's largest part.

    A part under a positive click stays, however small it is.

    Args:
        logits: (N, M, h, w) mask logits over the padded input.
        prompts: the N prompts.
        stride: input pixels per cell.
        share: 0 to 1; 0 keeps everything.

    Returns:
        (N, M, h, w) logits of the same type; the argument is left as it is.
    """
    if share <= 0:
        return logits
    n, m, h, w = logits.shape
    inside = (logits > 0).cpu().numpy().astype(np.uint8)
    crumbs = np.zeros((n, m, h, w), np.bool_)
    cells = (prompts.coords / stride).floor().long().cpu().numpy()  # (N, P, 2)
    on = (prompts.labels == 1).cpu().numpy()
    for i in range(n):
        clicked = np.clip(cells[i][on[i]], 0, (w - 1, h - 1))
        for j in range(m):
            count, parts, stats, _ = cv2.connectedComponentsWithStats(inside[i, j], connectivity=8)
            if count <= 2:  # the background and one part
                continue
            areas = stats[:, cv2.CC_STAT_AREA]
            small = areas < share * areas[1:].max()
            small[0] = False
            small[parts[clicked[:, 1], clicked[:, 0]]] = False
            crumbs[i, j] = small[parts]
    return logits.masked_fill(torch.from_numpy(crumbs).to(logits.device), _OFF)
