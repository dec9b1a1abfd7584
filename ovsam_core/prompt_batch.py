"""Prompts of people as tensors of the network: checked, scaled, and grouped so that nothing needs padding."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from ovsam_core.errors import PromptError
from ovsam_core.modeling.prompt_encoder import PromptTensors
from ovsam_core.preprocess import to_input

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from ovsam_core.embedding import ImageEmbedding
    from ovsam_core.prompts import Prompt

__all__ = ["check_prompt", "fallback_box", "groups", "mask_logits", "prompt_tensors"]

_CLICK_SIDE = 32.0
"""Side in picture pixels of the region that stands for a click whose mask is empty."""

_MASK_LOGIT = 6.0
"""Size of the logits that a plain mask is taken for: 0.25 % doubt a pixel."""


def check_prompt(prompt: Prompt, size_hw: tuple[int, int]) -> None:
    """Refuse a prompt that cannot mean anything on a picture of this size.

    Raises:
        PromptError: a point or the whole box lies outside, or a plain mask has another size.
    """
    h, w = size_hw
    for x, y in prompt.points_xy.tolist():
        if not (0 <= x <= w and 0 <= y <= h):
            raise PromptError(f"point {x:g}, {y:g} lies outside the picture of {w} x {h} pixels")
    if prompt.box_xyxy is not None:
        x1, y1, x2, y2 = prompt.box_xyxy.tolist()
        if x2 <= 0 or y2 <= 0 or x1 >= w or y1 >= h:
            raise PromptError(f"box {x1:g}, {y1:g}, {x2:g}, {y2:g} lies outside the picture of {w} x {h} pixels")
    if prompt.mask is not None and prompt.mask.dtype == np.bool_ and prompt.mask.shape != size_hw:
        raise PromptError(f"mask: a bool mask needs the picture's shape {size_hw}, got {prompt.mask.shape}")


def groups(prompts: Sequence[Prompt], chunk: int) -> Iterator[list[int]]:
    """Yield positions of prompts with the same parts and the same number of points, at most `chunk` together."""
    alike: dict[tuple[int, bool, bool], list[int]] = defaultdict(list)
    for i, prompt in enumerate(prompts):
        alike[len(prompt.points_xy), prompt.box_xyxy is not None, prompt.mask is not None].append(i)
    for rows in alike.values():
        for start in range(0, len(rows), chunk):
            yield rows[start : start + chunk]


def prompt_tensors(
    prompts: Sequence[Prompt], embedding: ImageEmbedding, side: int, device: torch.device
) -> PromptTensors:
    """Scale prompts with the same parts to the network input.

    Args:
        prompts: N prompts of one group.
        embedding: tells the picture's place in the input.
        side: of the square network input, pixels.
        device: where the tensors go.
    """
    coords = np.stack([to_input(p.points_xy, embedding.scale_xy) for p in prompts])
    labels = np.stack([p.labels for p in prompts])
    boxes = masks = None
    if prompts[0].box_xyxy is not None:
        boxes = torch.from_numpy(np.stack([_input_box(p.box_xyxy, embedding) for p in prompts])).to(device)
    if prompts[0].mask is not None:
        masks = torch.stack([mask_logits(p.mask, embedding, side) for p in prompts]).to(device)
    return PromptTensors(torch.from_numpy(coords).to(device), torch.from_numpy(labels).to(device), boxes, masks)


def mask_logits(mask: NDArray[np.floating] | NDArray[np.bool_] | None, embedding: ImageEmbedding, side: int) -> Tensor:
    """Return a previous mask as (1, side/4, side/4) float32 logits over the padded input."""
    assert mask is not None
    low = side // 4
    if mask.dtype == np.bool_:
        h, w = embedding.input_hw
        canvas = np.zeros((side, side), np.float32)
        canvas[:h, :w] = cv2.resize(mask.astype(np.float32), (w, h), interpolation=cv2.INTER_AREA)
        share = cv2.resize(canvas, (low, low), interpolation=cv2.INTER_AREA)
        return torch.from_numpy((2 * share - 1) * _MASK_LOGIT)[None]
    logits = np.nan_to_num(mask.astype(np.float32), posinf=_MASK_LOGIT, neginf=-_MASK_LOGIT)
    if logits.shape != (low, low):  # of another model, or of another input size
        logits = np.asarray(cv2.resize(logits, (low, low), interpolation=cv2.INTER_LINEAR), np.float32)
    return torch.from_numpy(logits)[None]


def fallback_box(prompt: Prompt, embedding: ImageEmbedding) -> NDArray[np.float32]:
    """Return the region (4,) xyxy in picture pixels that is named where the mask is empty.

    The prompt's box; without one 32 pixels round the first point on the object (or the first point); without a point
    the whole picture.
    """
    h, w = embedding.size_hw
    if prompt.box_xyxy is not None:
        return _clipped(prompt.box_xyxy, embedding)
    if not len(prompt.points_xy):
        return np.array([0, 0, w, h], np.float32)
    x, y = prompt.points_xy[int(prompt.labels.argmax())]
    half = _CLICK_SIDE / 2
    left, top = min(max(x - half, 0), max(w - _CLICK_SIDE, 0)), min(max(y - half, 0), max(h - _CLICK_SIDE, 0))
    return np.array([left, top, min(left + _CLICK_SIDE, w), min(top + _CLICK_SIDE, h)], np.float32)


def _clipped(box_xyxy: NDArray[np.float32], embedding: ImageEmbedding) -> NDArray[np.float32]:
    h, w = embedding.size_hw
    return np.clip(box_xyxy, 0, np.array([w, h, w, h], np.float32))


def _input_box(box_xyxy: NDArray[np.float32] | None, embedding: ImageEmbedding) -> NDArray[np.float32]:
    assert box_xyxy is not None
    return to_input(_clipped(box_xyxy, embedding), embedding.scale_xy)
