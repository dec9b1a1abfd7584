"""How good is a candidate mask? Predicted IoU, read off the mask itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  the usual name
from segment_anything.modeling.mask_decoder import MLP
from torch import nn

from ovsam_core.modeling.prompt_encoder import box_coverage, resize_logits

if TYPE_CHECKING:
    from torch import Tensor

    from ovsam_core.modeling.prompt_encoder import PromptTensors

__all__ = ["ContextIoU", "Decoded", "PooledIoU"]


class Decoded(NamedTuple):
    """What a decoder has made of N prompts when the quality of their M candidates is asked for.

    Attributes:
        token: (N, C) the IoU token.
        masks: (N, M, C) mask tokens.
        embedding: (1 or N, C, h, w) image embedding before any prompt.
        source: (N, C, h, w) transformed image embedding.
        pixels: (N, c, 4h, 4w) upscaled embedding.
        logits: (N, M, 4h, 4w).
        prompts: the N prompts.
    """

    token: Tensor
    masks: Tensor
    embedding: Tensor
    source: Tensor
    pixels: Tensor
    logits: Tensor
    prompts: PromptTensors


class PooledIoU(nn.Module):
    """Predicted IoU of every candidate from what the decoder knows about it: one small MLP shared by all of them.

    Args:
        width: channels of tokens and image embedding.
        fine: channels of the upscaled embedding.
    """

    def __init__(self, width: int, fine: int) -> None:
        super().__init__()
        self.mlp = MLP(3 * width + fine + 4, width, 1, 3)

    def forward(self, found: Decoded) -> Tensor:
        """Return the predicted IoU, (N, M)."""
        n, m = found.logits.shape[:2]
        # A quality estimate judges the features, it does not shape them: only the tokens learn from it.
        source, pixels, logits = found.source.detach(), found.pixels.detach(), found.logits.detach()
        inside = logits.sigmoid()
        coarse = F.avg_pool2d(inside, 4)  # (N, M, h, w)
        area = inside.flatten(2).sum(2, keepdim=True)  # (N, M, 1) cells
        cells = coarse.flatten(2) @ source.flatten(2).transpose(1, 2)  # (N, M, C)
        fine = inside.flatten(2) @ pixels.flatten(2).transpose(1, 2)  # (N, M, c)
        known = (
            found.token.unsqueeze(1).expand(n, m, -1),
            found.masks,
            16 * cells / (area + 1),
            fine / (area + 1),
            _certainty(logits, inside),
        )
        iou: Tensor = self.mlp(torch.cat(known, dim=2))
        return iou.squeeze(2)


class ContextIoU(nn.Module):
    """Predicted IoU of every candidate from the mask, what surrounds it, the prompt and the other candidates.

    Whether a click means the sleeve, the shirt or the person is told by what lies on both sides of each outline, before
    and after the transformer, and by what else is offered. It is fitted alone, on masks that no longer change; nothing
    it reads learns from it.

    Args:
        width: channels of tokens and image embedding.
        fine: channels of the upscaled embedding.
        hidden: width of its own layers.
    """

    def __init__(self, width: int, fine: int, hidden: int = 64) -> None:
        super().__init__()
        self.read = nn.Linear(6 * width + 2 * fine + _STATISTICS, hidden)
        self.weigh = MLP(3 * hidden, hidden, 1, 3)

    def forward(self, found: Decoded) -> Tensor:
        """Return the predicted IoU, (N, M)."""
        with torch.no_grad():
            known = _describe(found)
        return self.judge(known)

    def judge(self, known: Tensor) -> Tensor:
        """Return (N, M) of described candidates (N, M, F)."""
        read = F.gelu(self.read(known))
        others = torch.stack((read.mean(1), read.amax(1)), dim=1).flatten(1)  # (N, 2 H)
        found: Tensor = self.weigh(torch.cat((read, others.unsqueeze(1).expand(-1, read.shape[1], -1)), dim=2))
        return found.squeeze(2)


_STATISTICS = 4 + 8 + 3 + 5
"""Numbers of a candidate: its certainty, its shape, its relation to the others, and the prompt on it."""


def _describe(found: Decoded) -> Tensor:
    """Return (N, M, F): all that `ContextIoU` knows about every candidate."""
    n, m = found.logits.shape[:2]
    inside = found.logits.sigmoid()
    coarse = F.avg_pool2d(inside, 4)
    ring = F.max_pool2d(coarse, 5, stride=1, padding=2) - coarse  # two cells wide
    near = F.interpolate(F.max_pool2d(coarse, 3, stride=1, padding=1), inside.shape[-2:])
    before = found.embedding.expand(n, -1, -1, -1)
    parts = (
        found.token.unsqueeze(1).expand(n, m, -1),
        found.masks,
        _pooled(coarse, found.source),
        _pooled(ring, found.source),
        _pooled(coarse, before),
        _pooled(ring, before),
        _pooled(inside, found.pixels),
        _pooled((near - inside).clamp(min=0), found.pixels),
        _certainty(found.logits, inside),
        _shape(inside),
        _relation(inside),
        _prompted(found.logits, inside, found.prompts),
    )
    return torch.cat(parts, dim=2)


def _pooled(weight: Tensor, cells: Tensor) -> Tensor:
    """Return (N, M, C): the mean of cells (N, C, h, w) under weights (N, M, h, w)."""
    total = weight.flatten(2).sum(2, keepdim=True)
    return weight.flatten(2) @ cells.flatten(2).transpose(1, 2) / (total + 1e-2)


def _certainty(logits: Tensor, inside: Tensor) -> Tensor:
    """Return (N, M, 4): size, doubt along the edge, stability under a shifted threshold, mean certainty."""
    area = inside.flatten(2).sum(2, keepdim=True)  # (N, M, 1) cells
    positive = (logits > 0).flatten(2).float()
    # The sum of doubts is about the length of the uncertain edge.
    doubt = (1 - (2 * inside - 1).abs()).flatten(2).sum(2, keepdim=True)
    stable = (logits > 1).flatten(2).sum(2, keepdim=True) / (logits > -1).flatten(2).sum(2, keepdim=True).clamp(min=1)
    sure = (inside.flatten(2) * positive).sum(2, keepdim=True) / positive.sum(2, keepdim=True).clamp(min=1)
    return torch.cat(((area / inside[0, 0].numel()).sqrt(), doubt / (area + 1), stable, sure), dim=2)


def _shape(inside: Tensor) -> Tensor:
    """Return (N, M, 8): log area, spread and place of the mask, how round it is, and how much lies on the border."""
    n, m, h, w = inside.shape
    area = inside.sum((2, 3))  # (N, M)
    y = (torch.arange(h, device=inside.device) + 0.5) / h
    x = (torch.arange(w, device=inside.device) + 0.5) / w
    rows, columns = inside.sum(3) / (area[..., None] + 1e-2), inside.sum(2) / (area[..., None] + 1e-2)
    cy, cx = (rows * y).sum(2), (columns * x).sum(2)
    sy = (rows * (y - cy[..., None]) ** 2).sum(2).clamp(min=1e-6).sqrt()
    sx = (columns * (x - cx[..., None]) ** 2).sum(2).clamp(min=1e-6).sqrt()
    # A filled ellipse has an area of 4 pi times the product of its standard deviations.
    filled = area / (4 * torch.pi * sx * sy * h * w + 1)
    border = inside[..., 0].sum(2) + inside[..., -1].sum(2) + inside[..., 0, :].sum(2) + inside[..., -1, :].sum(2)
    found = (area.clamp(min=1).log() / 10, cy, cx, sy, sx, (sy / sx).log() / 2, filled, border / (2 * (h + w)))
    return torch.stack(found, dim=2).reshape(n, m, 8)


def _relation(inside: Tensor) -> Tensor:
    """Return (N, M, 3): mean IoU with the candidates, share of the largest one's area, share inside the others."""
    flat = (inside > 0.5).flatten(2).float()  # (N, M, cells)
    shared = flat @ flat.transpose(1, 2)  # (N, M, M)
    area = flat.sum(2)
    union = area[:, :, None] + area[:, None, :] - shared
    agree = (shared / union.clamp(min=1)).mean(2)
    within = (shared / area[:, :, None].clamp(min=1)).mean(2)
    return torch.stack((agree, area / area.amax(1, keepdim=True).clamp(min=1), within), dim=2)


def _prompted(logits: Tensor, inside: Tensor, prompts: PromptTensors) -> Tensor:
    """Return (N, M, 5): number of clicks, share of clicks on their side, box and previous mask given, agreement."""
    n, m, h, w = logits.shape
    count = prompts.coords.shape[1]
    kept = logits.new_ones(n, m)
    if count:
        where = (prompts.coords / 4).long()  # stride-4 cells
        x, y = where[..., 0].clamp(0, w - 1), where[..., 1].clamp(0, h - 1)  # (N, P)
        hit = logits.flatten(2).gather(2, (y * w + x).unsqueeze(1).expand(n, m, -1)) > 0
        kept = (hit == (prompts.labels == 1).unsqueeze(1)).float().mean(2)
    agree = logits.new_zeros(n, m)
    given = None
    if prompts.mask_logits is not None:
        given = resize_logits(prompts.mask_logits, (h, w)) > 0
    elif prompts.boxes is not None:
        given = box_coverage(prompts.boxes, (h, w), 4).unsqueeze(1) > 0.5
    if given is not None:
        own = inside > 0.5
        agree = (own & given).sum((2, 3)) / (own | given).sum((2, 3)).clamp(min=1)
    flags = (count / 4, float(prompts.boxes is not None), float(prompts.mask_logits is not None))
    constant = logits.new_tensor(flags).expand(n, m, 3)
    return torch.cat((constant, kept.unsqueeze(2), agree.unsqueeze(2)), dim=2)
