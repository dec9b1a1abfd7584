"""Everything mode: a grid of points or given boxes, duplicates suppressed, names for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from ovsam_core.answer import Draft, Look, decode, draft_prompts, finish, look_closer, predicted_iou
from ovsam_core.errors import CancelledError, PromptError
from ovsam_core.mask_window import picture_mask
from ovsam_core.prompts import Prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from ovsam_core.results import Prediction

__all__ = ["by_boxes", "by_grid", "grid_points", "suppress"]

_CHUNK = 32
_STABLE = 0.4  # least IoU of the mask at the logits +1 and -1
_SAME = 0.7  # mask IoU above which two answers are the same object
_COMPARE = 64  # side of the masks that duplicates are compared at, cells
_LARGEST_GRID = 256
_DECODING, _LOOKING = 0.5, 0.8  # shares of the work done after the decoder and after the zoom pass, for progress


def grid_points(size_hw: tuple[int, int], grid: int) -> list[tuple[float, float]]:
    """Return x, y of the centres of square tiles, `grid` of them along the longer side.

    Raises:
        PromptError: the grid is not between 1 and 256.
    """
    if not 1 <= grid <= _LARGEST_GRID:
        raise PromptError(f"grid: expected 1 to {_LARGEST_GRID} points along the longer side, got {grid}")
    h, w = size_hw
    step = max(h, w) / grid
    rows, columns = max(1, round(h / step)), max(1, round(w / step))
    return [((c + 0.5) * w / columns, (r + 0.5) * h / rows) for r in range(rows) for c in range(columns)]


@torch.inference_mode()
def by_grid(
    look: Look,
    grid: int,
    quality: float,
    progress: Callable[[float], None] | None,
    cancelled: Callable[[], bool] | None,
) -> list[Prediction]:
    """Answer a grid of clicks, keep what is sure, stable and not there already, look closer at it; largest first."""
    prompts = [Prompt.of(points=[xy]) for xy in grid_points(look.embedding.size_hw, grid)]
    kept: list[tuple[Prompt, Tensor, float, Tensor]] = []
    for start in range(0, len(prompts), _CHUNK):
        part = prompts[start : start + _CHUNK]
        kept += _sure_ones(look, part, quality)
        _report(progress, cancelled, _DECODING * min(1, (start + _CHUNK) / len(prompts)))
    if not kept:
        return []
    chosen = suppress(torch.stack([item[1] for item in kept]), torch.tensor([item[2] for item in kept]), _SAME)
    drafts = [draft for draft in (_draft(look, *kept[i]) for i in chosen.tolist()) if draft.mask.area]
    if look.closer and drafts:
        drafts = _closer(look, drafts, progress, cancelled)
        chosen = suppress(torch.stack([d.logits for d in drafts]), torch.tensor([d.iou for d in drafts]), _SAME)
        drafts = [drafts[i] for i in chosen.tolist()]  # two looks may have come to the same
    return _named(look, sorted(drafts, key=lambda d: -d.mask.area), progress, cancelled)


@torch.inference_mode()
def by_boxes(
    look: Look,
    prompts: Sequence[Prompt],
    progress: Callable[[float], None] | None,
    cancelled: Callable[[], bool] | None,
) -> list[Prediction]:
    """Answer given boxes, each by its best candidate, in their order."""
    drafts: list[Draft] = []
    for start in range(0, len(prompts), _CHUNK):
        part = draft_prompts(look, prompts[start : start + _CHUNK], best_only=True)
        drafts += [own[0] for own in part]
        _report(progress, cancelled, _DECODING * min(1, (start + _CHUNK) / len(prompts)))
    return _named(look, _closer(look, drafts, progress, cancelled) if look.closer else drafts, progress, cancelled)


def suppress(logits: Tensor, scores: Tensor, same: float) -> Tensor:
    """Return the indices of masks that no better scored mask repeats, best first.

    Args:
        logits: (N, h, w) mask logits; compared at 64 x 64 cells.
        scores: (N,) predicted IoU.
        same: IoU of masks from which on the lower scored one is dropped.
    """
    inside = functional.adaptive_avg_pool2d((logits > 0).float()[:, None], _COMPARE).flatten(1)  # (N, 64 * 64)
    order = scores.argsort(descending=True, stable=True)
    flat = inside[order.to(inside.device)]
    area = flat.sum(1)
    overlap = flat @ flat.T
    iou = overlap / (area[:, None] + area[None] - overlap).clamp(min=1e-6)
    repeats = (iou >= same).cpu().numpy()
    alive = np.ones(len(order), np.bool_)
    for i in range(len(order)):
        if alive[i]:
            alive[i + 1 :] &= ~repeats[i, i + 1 :]
    return order[torch.from_numpy(alive)]


def _sure_ones(look: Look, prompts: Sequence[Prompt], quality: float) -> list[tuple[Prompt, Tensor, float, Tensor]]:
    """Decode clicks and return prompt, logits, score and token of the answers worth keeping."""
    decoded = decode(look, look.features, look.embedding, look.side, prompts)
    scores = predicted_iou(decoded)
    best = scores.argmax(1)
    rows = torch.arange(len(prompts))
    logits = decoded.logits[rows.to(look.device), best.to(look.device)]  # (N, h, w)
    stable = (logits > 1).sum((1, 2)) / (logits > -1).sum((1, 2)).clamp(min=1)
    good = (scores[rows, best] >= quality) & (stable.cpu() >= _STABLE) & (logits > 0).flatten(1).any(1).cpu()
    return [
        (prompts[i], logits[i].clone(), float(scores[i, best[i]]), decoded.label_tokens[i])
        for i in good.nonzero()[:, 0].tolist()
    ]


def _draft(look: Look, prompt: Prompt, logits: Tensor, score: float, token: Tensor) -> Draft:
    mask = picture_mask(logits, look.embedding, look.side)
    x, y, w, h = mask.bbox_xywh
    return Draft(prompt, logits, score, token, mask, np.array([x, y, x + w, y + h], np.float32))


def _closer(
    look: Look,
    drafts: Sequence[Draft],
    progress: Callable[[float], None] | None,
    cancelled: Callable[[], bool] | None,
) -> list[Draft]:
    found: list[Draft] = []
    for number, draft in enumerate(drafts, 1):
        found.append(look_closer(look, draft))
        _report(progress, cancelled, _DECODING + (_LOOKING - _DECODING) * number / len(drafts))
    return found


def _named(
    look: Look,
    drafts: Sequence[Draft],
    progress: Callable[[float], None] | None,
    cancelled: Callable[[], bool] | None,
) -> list[Prediction]:
    found: list[Prediction] = []
    for start in range(0, len(drafts), _CHUNK):
        found += finish(look, [[draft] for draft in drafts[start : start + _CHUNK]])
        share = min(1, (start + _CHUNK) / len(drafts))
        _report(progress, cancelled, _LOOKING + (1 - _LOOKING) * share)
    return found


def _report(progress: Callable[[float], None] | None, cancelled: Callable[[], bool] | None, share: float) -> None:
    if progress:
        progress(share)
    if cancelled and cancelled():
        raise CancelledError(f"everything: stopped at {share:.0%}")
