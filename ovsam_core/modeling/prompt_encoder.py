"""Prompts as tensors: SAM's prompt encoder, and the maps and content features that our switches add to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812  the usual name
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PromptEncoder", "PromptTensors", "box_coverage", "prompt_maps"]

MAP_CHANNELS = 3
"""Box interior, signed clicks, previous logits."""

_CLICK_SIGMA = 5.0
"""Standard deviation of a click on the prompt map, input pixels: about one cell of the stride-4 grid."""


@dataclass(frozen=True, slots=True)
class PromptTensors:
    """Prompts of N objects that all have the same parts and the same number of points.

    Attributes:
        coords: (N, P, 2) float32 x, y in pixels of the network input; P may be 0.
        labels: (N, P) int8; 1 on the object, 0 off it. The encoder adds SAM's padding point (-1), callers never do.
        boxes: (N, 4) float32 xyxy in pixels of the network input, or None.
        mask_logits: (N, 1, h, w) float32 previous logits over the whole padded input, any resolution, or None.
    """

    coords: Tensor
    labels: Tensor
    boxes: Tensor | None = None
    mask_logits: Tensor | None = None

    def __len__(self) -> int:
        return int(self.coords.shape[0])

    def to(self, device: torch.device | str) -> PromptTensors:
        """Return the same prompts on another device."""
        parts = (None if t is None else t.to(device) for t in (self.boxes, self.mask_logits))
        return PromptTensors(self.coords.to(device), self.labels.to(device), *parts)


def box_coverage(boxes: Tensor, grid_hw: tuple[int, int], stride: float) -> Tensor:
    """Return the share of every grid cell that lies inside each box.

    Args:
        boxes: (N, 4) xyxy in input pixels.
        grid_hw: rows and columns of the grid.
        stride: input pixels per cell.

    Returns:
        (N, h, w) float in [0, 1].
    """
    rows = torch.arange(grid_hw[0], device=boxes.device, dtype=boxes.dtype)
    columns = torch.arange(grid_hw[1], device=boxes.device, dtype=boxes.dtype)
    x1, y1, x2, y2 = (boxes / stride).unsqueeze(-1).unbind(1)  # each (N, 1), in cells
    across = (torch.minimum(columns + 1, x2) - torch.maximum(columns, x1)).clamp(0, 1)  # (N, w)
    down = (torch.minimum(rows + 1, y2) - torch.maximum(rows, y1)).clamp(0, 1)  # (N, h)
    return down[:, :, None] * across[:, None, :]


def prompt_maps(prompts: PromptTensors, grid_hw: tuple[int, int], stride: float) -> Tensor:
    """Draw the prompts on a grid, so that convolutions see them where they are.

    Args:
        prompts: N prompts.
        grid_hw: rows and columns.
        stride: input pixels per cell.

    Returns:
        (N, 3, h, w): box interior +1 and exterior -1 (0 everywhere without a box); clicks as bumps of +1 and -1;
        previous logits scaled to [-2, 2] (0 without).
    """
    n, (h, w) = len(prompts), grid_hw
    device, zeros = prompts.coords.device, prompts.coords.new_zeros(n, 1, h, w)
    box = zeros if prompts.boxes is None else 2 * box_coverage(prompts.boxes, grid_hw, stride)[:, None] - 1
    clicks = zeros
    if prompts.coords.shape[1]:
        sigma = (
            max(_CLICK_SIGMA, stride / 2) / stride
        )  # on coarse grids at least half a cell, or a bump falls between centres
        x = torch.arange(w, device=device) + 0.5 - prompts.coords[..., 0:1] / stride  # (N, P, w)
        y = torch.arange(h, device=device) + 0.5 - prompts.coords[..., 1:2] / stride  # (N, P, h)
        sign = prompts.labels.to(prompts.coords.dtype) * 2 - 1  # (N, P)
        bumps = torch.exp(-0.5 * (y / sigma) ** 2).unsqueeze(-1) * torch.exp(-0.5 * (x / sigma) ** 2).unsqueeze(-2)
        clicks = (bumps * sign[..., None, None]).sum(1, keepdim=True).clamp(-1, 1)  # (N, 1, h, w)
    previous = zeros
    if prompts.mask_logits is not None:
        previous = resize_logits(prompts.mask_logits, grid_hw).clamp(-8, 8) / 4
    return torch.cat((box, clicks, previous), dim=1)


def resize_logits(logits: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """Resample (N, M, h, w) logits to another grid: means of cells when shrinking, bilinear when enlarging."""
    h, w = logits.shape[-2:]
    if (h, w) == grid_hw:
        return logits
    if h % grid_hw[0] == 0 and w % grid_hw[1] == 0:
        return F.avg_pool2d(logits, (h // grid_hw[0], w // grid_hw[1]))
    return F.interpolate(logits, grid_hw, mode="bilinear", align_corners=False, antialias=h > grid_hw[0])


class PromptEncoder(nn.Module):
    """SAM's prompt encoder for any grid size; parameter names are SAM's.

    Differences to SAM are switches: with `maps` the mask convolution reads all three channels of `prompt_maps`; with
    `content` the image feature under a click, or the mean feature inside the box, is added to the prompt's tokens.

    Args:
        width: channels of tokens and image embedding.
        mask_channels: hidden channels of the mask convolutions.
        maps: read the three-channel prompt map instead of the previous logits alone.
        content: add image features to the tokens.
    """

    def __init__(self, *, width: int, mask_channels: int = 16, maps: bool = False, content: bool = False) -> None:
        super().__init__()
        self.maps = maps
        self.pe_layer = PositionEmbeddingRandom(width // 2)
        self.point_embeddings = nn.ModuleList(
            nn.Embedding(1, width) for _ in range(4)
        )  # off, on, near corner, far corner
        self.not_a_point_embed = nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(MAP_CHANNELS if maps else 1, mask_channels // 4, kernel_size=2, stride=2),
            LayerNorm2d(mask_channels // 4),
            nn.GELU(),
            nn.Conv2d(mask_channels // 4, mask_channels, kernel_size=2, stride=2),
            LayerNorm2d(mask_channels),
            nn.GELU(),
            nn.Conv2d(mask_channels, width, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, width)
        self.content = nn.Linear(width, width) if content else None

    def dense_position(self, grid_hw: tuple[int, int]) -> Tensor:
        """Return the positional encoding of every cell of the image embedding, (1, C, h, w)."""
        encoding: Tensor = self.pe_layer(grid_hw)
        return encoding.unsqueeze(0)

    def forward(self, prompts: PromptTensors, image_embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Encode prompts.

        Args:
            prompts: N prompts.
            image_embedding: (1 or N, C, h, w) at stride 16.

        Returns:
            Sparse tokens (N, T, C), T = P + 1 for points alone, P + 2 with a box, 0 for a mask alone; dense embedding
            (N, C, h, w).
        """
        h, w = image_embedding.shape[-2:]
        tokens = [self._points(prompts, image_embedding)] if prompts.coords.shape[1] else []
        if prompts.boxes is not None:
            tokens.append(self._boxes(prompts.boxes, image_embedding))
        n, width = len(prompts), image_embedding.shape[1]
        sparse = torch.cat(tokens, dim=1) if tokens else image_embedding.new_zeros(n, 0, width)
        return sparse, self._dense(prompts, (h, w))

    def _points(self, prompts: PromptTensors, image_embedding: Tensor) -> Tensor:
        h, w = image_embedding.shape[-2:]
        labels = prompts.labels.unsqueeze(-1)  # (N, P, 1)
        # SAM counts pixel centres from 0, hence the half pixel.
        tokens: Tensor = self.pe_layer.forward_with_coords(prompts.coords + 0.5, (h * 16, w * 16))
        off, on = self._kind(0), self._kind(1)
        tokens = tokens + torch.where(labels == 1, on, off)
        if self.content is not None:
            tokens = tokens + self.content(_sample(image_embedding, prompts.coords))
        if prompts.boxes is None:
            padding = self.not_a_point_embed.weight.expand(len(prompts), 1, -1)
            tokens = torch.cat((tokens, padding), dim=1)
        return tokens

    def _boxes(self, boxes: Tensor, image_embedding: Tensor) -> Tensor:
        h, w = image_embedding.shape[-2:]
        corners: Tensor = self.pe_layer.forward_with_coords(
            boxes.reshape(-1, 2, 2) + 0.5, (h * 16, w * 16)
        )  # (N, 2, C)
        corners = corners + torch.stack((self._kind(2), self._kind(3)), dim=1)
        if self.content is not None:
            corners = corners + self.content(_box_mean(image_embedding, boxes)).unsqueeze(1)
        return corners

    def _kind(self, index: int) -> Tensor:
        """Return the (1, C) embedding of a kind of point: off, on, near corner, far corner."""
        weight = self.point_embeddings[index].weight
        assert isinstance(weight, torch.Tensor)
        return weight

    def _dense(self, prompts: PromptTensors, grid_hw: tuple[int, int]) -> Tensor:
        h, w = grid_hw
        fine = (4 * h, 4 * w)
        if self.maps:
            dense: Tensor = self.mask_downscaling(prompt_maps(prompts, fine, 4))
            if prompts.mask_logits is None:
                dense = dense + self.no_mask_embed.weight.reshape(1, -1, 1, 1)
            return dense
        if prompts.mask_logits is not None:
            embedded: Tensor = self.mask_downscaling(resize_logits(prompts.mask_logits, fine))
            return embedded
        return self.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(len(prompts), -1, h, w)


def _sample(image_embedding: Tensor, coords: Tensor) -> Tensor:
    """Bilinear features (N, P, C) of a (1 or N, C, h, w) stride-16 map at (N, P, 2) input pixels."""
    h, w = image_embedding.shape[-2:]
    size = coords.new_tensor((w * 16, h * 16))
    where = (coords / size * 2 - 1).unsqueeze(1)  # (N, 1, P, 2) in [-1, 1]
    if image_embedding.shape[0] == 1 and where.shape[0] > 1:
        where = where.reshape(1, 1, -1, 2)
    found = F.grid_sample(image_embedding, where, mode="bilinear", padding_mode="border", align_corners=False)
    return found.squeeze(2).transpose(1, 2).reshape(coords.shape[0], coords.shape[1], -1)


def _box_mean(image_embedding: Tensor, boxes: Tensor) -> Tensor:
    """Mean features (N, C) of a (1 or N, C, h, w) stride-16 map inside boxes; at the middle of a box without area."""
    h, w = image_embedding.shape[-2:]
    cover = box_coverage(boxes, (h, w), 16)
    weight = cover.sum((1, 2))  # (N,) cells
    if image_embedding.shape[0] == 1:
        total = torch.einsum("nhw,chw->nc", cover, image_embedding[0])
    else:
        total = torch.einsum("nhw,nchw->nc", cover, image_embedding)
    middle = _sample(image_embedding, (boxes[:, :2] + boxes[:, 2:]).unsqueeze(1) / 2).squeeze(1)
    return torch.where(weight.unsqueeze(1) > 0, total / weight.clamp(min=1e-6).unsqueeze(1), middle)
