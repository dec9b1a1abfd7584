"""SAM2CLIP: turns the frozen trunk's maps into SAM's image embedding (paper section 3.2)."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import torch
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.image_encoder import Block
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["MultiLayerTransformerNeck", "SingleLayerTransformerNeck"]


class _PatchEmbed(nn.Module):
    """One trunk map to the stride-16 grid; `projection` is the name in the official files."""

    def __init__(self, projection: nn.Module) -> None:
        super().__init__()
        self.projection = projection

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.projection(x)
        return y.permute(0, 2, 3, 1)  # (B, C, H, W) -> (B, H, W, C)


class _TransformerNeck(nn.Module):
    """What both necks share: position, SAM ViT blocks and the convolutions that end in the decoder's width.

    Args:
        in_channels: channels of the maps at strides 4, 8, 16 and 32.
        width: transformer channels.
        depth: blocks; the last one attends globally.
        heads: attention heads.
        window: side of an attention window, cells.
        grid: side of the grid the positional parameters are stored for, cells.
        out_channels: channels of the image embedding.
        learnt_position: train the positional embedding instead of keeping it as a buffer.
        mlp_ratio: hidden width of a block's MLP over `width`.
    """

    pos_embed: Tensor

    def __init__(
        self,
        *,
        in_channels: Sequence[int],
        width: int,
        depth: int,
        heads: int,
        window: int,
        grid: int,
        out_channels: int,
        learnt_position: bool = False,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        self._read(in_channels, width)
        position = torch.zeros(1, grid, grid, width)
        if learnt_position:
            self.pos_embed = nn.Parameter(nn.init.trunc_normal_(position, std=0.02))
        else:
            self.register_buffer("pos_embed", position)
        self.blocks = nn.ModuleList(
            Block(
                dim=width,
                num_heads=heads,
                mlp_ratio=mlp_ratio,
                # SAM's ViT constructs its norms with 1e-6; torch's default of 1e-5 would be another model.
                norm_layer=_LayerNorm,
                use_rel_pos=True,
                window_size=0 if i == depth - 1 else window,  # only the last block sees the whole picture
                input_size=(grid, grid),
            )
            for i in range(depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(width, out_channels, 1, bias=False),
            LayerNorm2d(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            LayerNorm2d(out_channels),
        )

    @abstractmethod
    def _read(self, in_channels: Sequence[int], width: int) -> None:
        """Make the layers that bring maps to the stride-16 grid."""

    def _transform(self, x: Tensor) -> Tensor:
        x = x + self._position(x.shape[1], x.shape[2])  # (B, h, w, width)
        for block in self.blocks:
            x = block(x)
        y: Tensor = self.neck(x.permute(0, 3, 1, 2))  # (B, out, h, w)
        return y

    def _position(self, h: int, w: int) -> Tensor:
        if self.pos_embed.shape[1:3] == (h, w):
            return self.pos_embed
        resampled = functional.interpolate(
            self.pos_embed.permute(0, 3, 1, 2), (h, w), mode="bicubic", align_corners=False
        )
        return resampled.permute(0, 2, 3, 1)


class MultiLayerTransformerNeck(_TransformerNeck):
    """Sums four trunk maps on the stride-16 grid, then transforms."""

    def _read(self, in_channels: Sequence[int], width: int) -> None:
        c4, c8, c16, c32 = in_channels
        self.patch_embeds = nn.ModuleList(
            (
                _PatchEmbed(nn.Conv2d(c4, width, 4, stride=4)),
                _PatchEmbed(nn.Conv2d(c8, width, 2, stride=2)),
                _PatchEmbed(nn.Conv2d(c16, width, 1)),
                _PatchEmbed(nn.ConvTranspose2d(c32, width, 2, stride=2)),
            )
        )
        self.level_encoding = nn.Embedding(4, width)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the image embedding.

        Args:
            maps: four (B, C_i, S/s, S/s) float maps at strides s = 4, 8, 16, 32.

        Returns:
            (B, out_channels, S/16, S/16).
        """
        summed: Tensor | None = None
        for embed, encoding, level in zip(self.patch_embeds, self.level_encoding.weight, maps, strict=True):
            term = embed(level) + encoding
            summed = term if summed is None else summed + term
        assert summed is not None
        return self._transform(summed)


class SingleLayerTransformerNeck(_TransformerNeck):
    """Reads the stride-16 map alone: the paper's single-scale ablation (Table 7 left)."""

    def _read(self, in_channels: Sequence[int], width: int) -> None:
        self.patch_embed = _PatchEmbed(nn.Conv2d(in_channels[2], width, 1))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the image embedding (B, out_channels, S/16, S/16) of four trunk maps, of which the third is read."""
        return self._transform(self.patch_embed(maps[2]))


class _LayerNorm(nn.LayerNorm):
    def __init__(self, dim: int) -> None:
        super().__init__(dim, eps=1e-6)
