"""Frozen CLIP image towers of open_clip as multi-scale trunks that can also embed regions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from timm.models.convnext import ConvNeXt
from timm.models.efficientnet import EfficientNet
from timm.models.fastvit import FastVit
from timm.models.regnet import RegNet
from timm.models.resnet import ResNet
from torch import nn
from torch.nn import functional

from ovsam_core.errors import ModelError
from ovsam_core.modeling.roi import align, mask_mean

if TYPE_CHECKING:
    from torch import Tensor

    from ovsam_core.config import RegionConfig

__all__ = ["ClipBackbone", "ResNetBackbone", "TimmBackbone", "make_backbone"]

_STRIDES = (4, 8, 16, 32)


class ClipBackbone(nn.Module, ABC):
    """A frozen image tower: four maps of a picture, and CLIP embeddings of regions and whole pictures.

    It is always in eval mode, its parameters never ask for gradients, and every method runs without them.

    Attributes:
        visual: open_clip's own tower, so that its state dict loads unchanged.
        channels: of the maps at strides 4, 8, 16 and 32.
        embed_dim: dimensions of the embeddings.
    """

    channels: tuple[int, int, int, int]

    def __init__(self, visual: nn.Module, *, embed_dim: int) -> None:
        super().__init__()
        self.visual = visual.requires_grad_(False).eval()
        self.embed_dim = embed_dim

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode: frozen BatchNorm statistics must not drift while other parts train."""
        super().train(mode)
        self.visual.eval()
        return self

    @abstractmethod
    def maps(self, pixels: Tensor) -> list[Tensor]:
        """Return the maps at strides 4, 8, 16 and 32, each (B, C_i, S/s, S/s), of (B, 3, S, S) normalised pixels."""

    @abstractmethod
    def regions(self, last: Tensor, boxes: Tensor, masks: Tensor | None = None, index: Tensor | None = None) -> Tensor:
        """Embed regions of the stride-32 map.

        Args:
            last: (B, C, h, w), the last of `maps`.
            boxes: (N, 4) xyxy, pixels of the network input.
            masks: (N, H, W) mask logits over the input square; None pools the boxes alone.
            index: (N,) batch row of each region; None means row 0.

        Returns:
            (N, embed_dim) float, unit length.
        """

    @abstractmethod
    def pool(self, grid: Tensor) -> Tensor:
        """Embed (N, C, g, g) cells of the stride-32 map as (N, embed_dim) of unit length."""

    @abstractmethod
    def whole(self, pixels: Tensor, covers: Tensor | None = None, mask_share: float = 0.0) -> Tensor:
        """Embed whole pictures or crops.

        Args:
            pixels: (N, 3, s, s), normalised.
            covers: (N, s, s) share of the object in each pixel, 0 to 1; None pools whole crops alone.
            mask_share: share of the embedding pooled under the cover in its mean with the whole crop's.

        Returns:
            (N, embed_dim), unit length.
        """


class ResNetBackbone(ClipBackbone):
    """OpenAI's ResNets: regions go through RoIAlign on the attention pool's own grid (7, 9, 12 or 14 cells a side).

    With mask pooling, regions that have a mask are the mean under it of what the attention pool would carry on from
    each cell, its values without its attention, as MaskCLIP reads dense features out of CLIP (Zhou et al., ECCV 2022).

    Args:
        visual: open_clip's ResNet tower.
        embed_dim: dimensions of the embeddings.
        region: "attention" or "mask".
    """

    visual: ModifiedResNet

    def __init__(self, visual: ModifiedResNet, *, embed_dim: int, region: RegionConfig) -> None:
        super().__init__(visual, embed_dim=embed_dim)
        self.region = region
        width = visual.layer1[0].conv1.in_channels
        self.channels = (width * 4, width * 8, width * 16, width * 32)
        self.grid = round((visual.attnpool.positional_embedding.shape[0] - 1) ** 0.5)

    @torch.no_grad()
    def maps(self, pixels: Tensor) -> list[Tensor]:
        """See `ClipBackbone.maps`."""
        x = self.visual.stem(pixels)
        maps = []
        for layer in (self.visual.layer1, self.visual.layer2, self.visual.layer3, self.visual.layer4):
            x = layer(x)
            maps.append(x)
        return maps

    @torch.no_grad()
    def regions(self, last: Tensor, boxes: Tensor, masks: Tensor | None = None, index: Tensor | None = None) -> Tensor:
        """See `ClipBackbone.regions`; the attention pool looks at boxes, and at masks without a cell by their boxes."""
        boxed = self.pool(align(last, boxes, self.grid, _STRIDES[-1], index))
        if masks is None or self.region.pool == "attention":
            return boxed
        mean, has_cell = mask_mean(last, masks, index)  # (N, C); both projections are affine: the mean comes first
        pool = self.visual.attnpool
        masked = functional.normalize(pool.c_proj(pool.v_proj(mean)), dim=-1)
        return torch.where(has_cell[:, None], masked, boxed)

    @torch.no_grad()
    def whole(self, pixels: Tensor, covers: Tensor | None = None, mask_share: float = 0.0) -> Tensor:
        """See `ClipBackbone.whole`; another size is pooled on the tower's own grid, and covers change nothing."""
        del covers, mask_share
        last = self.maps(pixels)[-1]
        if last.shape[-2:] != (self.grid, self.grid):
            frame = pixels.new_tensor([0.0, 0.0, pixels.shape[-1], pixels.shape[-2]]).expand(len(pixels), 4)
            last = align(last, frame, self.grid, _STRIDES[-1], torch.arange(len(pixels), device=pixels.device))
        return self.pool(last)

    @torch.no_grad()
    def pool(self, grid: Tensor) -> Tensor:
        """See `ClipBackbone.pool`; g must be the attention pool's own grid."""
        return functional.normalize(self.visual.attnpool(grid), dim=-1)


class TimmBackbone(ClipBackbone):
    """A convolutional timm trunk inside an open_clip tower (ConvNeXt, EfficientNet, FastViT, RegNet, ResNet).

    Args:
        visual: open_clip's timm tower.
        embed_dim: dimensions of the embeddings.
        region: how regions are pooled.
    """

    visual: TimmModel

    def __init__(self, visual: TimmModel, *, embed_dim: int, region: RegionConfig) -> None:
        super().__init__(visual, embed_dim=embed_dim)
        trunk = visual.trunk
        self._tail = _tail(trunk)
        info = [entry for entry in trunk.feature_info if entry["reduction"] in _STRIDES]
        # Of several stages with one stride the last is the deepest.
        places = {entry["reduction"]: i for i, entry in enumerate(trunk.feature_info)}
        if set(_STRIDES) - set(places):
            found = sorted(places)
            raise ModelError(f"vision: {type(trunk).__name__} has maps at strides {found}, needed are {list(_STRIDES)}")
        self._indices = [places[stride] for stride in _STRIDES]
        by_stride = {entry["reduction"]: entry["num_chs"] for entry in info}
        self.channels = (by_stride[4], by_stride[8], by_stride[16], by_stride[32])
        self.region = region

    @torch.no_grad()
    def maps(self, pixels: Tensor) -> list[Tensor]:
        """See `ClipBackbone.maps`."""
        maps: list[Tensor] = self.visual.trunk.forward_intermediates(
            pixels, indices=self._indices, intermediates_only=True
        )
        return maps

    @torch.no_grad()
    def regions(self, last: Tensor, boxes: Tensor, masks: Tensor | None = None, index: Tensor | None = None) -> Tensor:
        """See `ClipBackbone.regions`; a mask without a cell on the stride-32 grid is pooled by its box."""
        boxed = self.pool(align(last, boxes, self.region.roi, _STRIDES[-1], index))
        if masks is None or (self.region.pool == "head" and not self.region.mask_share):
            return boxed
        mean, has_cell = mask_mean(self._finish(last), masks, index)  # (N, C)
        masked = self._embed(mean[:, :, None, None])
        if self.region.pool == "head":
            share = self.region.mask_share
            masked = functional.normalize((1 - share) * boxed + share * masked, dim=-1)
        return torch.where(has_cell[:, None], masked, boxed)

    @torch.no_grad()
    def whole(self, pixels: Tensor, covers: Tensor | None = None, mask_share: float = 0.0) -> Tensor:
        """See `ClipBackbone.whole`; an object that covers no cell is pooled whole."""
        finished = self._finish(self.maps(pixels)[-1])  # (N, C, g, g)
        embedded = self._embed(finished)
        if covers is None or not mask_share:
            return embedded
        side = (finished.shape[-2], finished.shape[-1])
        weight = functional.adaptive_avg_pool2d(covers[:, None].to(finished.dtype), side)  # (N, 1, g, g)
        total = weight.sum((2, 3), keepdim=True)
        masked = self._embed((finished * weight).sum((2, 3), keepdim=True) / total.clamp_min(1e-6))
        mixed = functional.normalize((1 - mask_share) * embedded + mask_share * masked, dim=-1)
        return torch.where(total.flatten(1) > 0, mixed, embedded)

    @torch.no_grad()
    def pool(self, grid: Tensor) -> Tensor:
        """See `ClipBackbone.pool`."""
        return self._embed(self._finish(grid))

    def _finish(self, last: Tensor) -> Tensor:
        """Apply what the trunk does between its last stage and pooling (EfficientNet's conv_head and its norm)."""
        for name in self._tail:
            last = self.visual.trunk.get_submodule(name)(last)
        return last

    def _embed(self, finished: Tensor) -> Tensor:
        pooled = self.visual.trunk.forward_head(finished)
        return functional.normalize(self.visual.head(pooled), dim=-1)


def _tail(trunk: nn.Module) -> tuple[str, ...]:
    """Name the trunk's modules between the last map and `forward_head`."""
    if isinstance(trunk, EfficientNet):
        return ("conv_head", "bn2")
    if isinstance(trunk, (FastVit, RegNet)):
        return ("final_conv",)
    if isinstance(trunk, ConvNeXt):
        return ("norm_pre",)
    if isinstance(trunk, ResNet):
        return ()
    raise ModelError(
        f"vision: {type(trunk).__name__} is no trunk this program knows; convolutional ones with maps at strides "
        "4, 8, 16, 32 are ConvNeXt, EfficientNet, FastVit, RegNet and ResNet"
    )


def make_backbone(visual: nn.Module, *, embed_dim: int, region: RegionConfig) -> ClipBackbone:
    """Wrap an open_clip image tower.

    Raises:
        ModelError: a tower without convolutional maps (a ViT), or a pooling that does not fit it.
    """
    if isinstance(visual, ModifiedResNet):
        if region.pool == "head":
            raise ModelError("region.pool: a CLIP ResNet pools by 'attention' or 'mask', got 'head'")
        return ResNetBackbone(visual, embed_dim=embed_dim, region=region)
    if isinstance(visual, TimmModel):
        return TimmBackbone(visual, embed_dim=embed_dim, region=region)
    raise ModelError(
        f"vision: {type(visual).__name__} has no maps at strides 4, 8, 16, 32; a convolutional tower is needed"
    )
