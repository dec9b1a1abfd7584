"""CLIP2SAM's name head: regions to embeddings that text embeddings are compared with (paper section 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from segment_anything.modeling.mask_decoder import MLP
from torch import nn
from torch.nn import functional

from ovsam_core.errors import ModelError
from ovsam_core.modeling.roi import align_levels, mask_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["NameHead", "RegionAdapter", "classify"]


class NameHead(nn.Module):
    """The learnt branch, in the three variants of the paper's Table 7 (right).

    Args:
        variant: "fpn" pools RoIs of the pyramid, "token" maps the decoder's label token, "token_clip" adds a mapping of
            the mask-pooled trunk feature to it.
        token_width: channels of the label token.
        fpn_channels: channels of the pyramid.
        trunk_channels: channels of the last trunk map.
        embed_dim: dimensions of text embeddings.
        roi: side of the RoIAlign grid.
        finest_scale: see `roi.roi_levels`.
        label_token_classifies: in "fpn", whether the token's embedding is added to the region's. The released weights
            have the token's parameters, but they take no part in the answer.
    """

    def __init__(
        self,
        *,
        variant: Literal["fpn", "token", "token_clip"],
        token_width: int,
        fpn_channels: int,
        trunk_channels: int,
        embed_dim: int,
        roi: int,
        finest_scale: int,
        label_token_classifies: bool,
    ) -> None:
        super().__init__()
        self.roi = roi
        self.finest_scale = finest_scale
        self.label_token_classifies = label_token_classifies
        self.label_mlp = MLP(token_width, token_width, embed_dim, 3)
        self.clip_mlp = MLP(trunk_channels, token_width, embed_dim, 3) if variant == "token_clip" else None
        self.roi_conv = nn.Conv2d(fpn_channels, embed_dim, 1, bias=False) if variant == "fpn" else None

    def forward(
        self,
        *,
        pyramid: Sequence[Tensor],
        trunk: Tensor,
        boxes: Tensor,
        masks: Tensor | None = None,
        label_tokens: Tensor | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """Embed regions.

        Args:
            pyramid: FPN maps, finest first; empty for the token variants.
            trunk: (B, C, h, w) last trunk map.
            boxes: (N, 4) xyxy, pixels of the network input.
            masks: (N, H, W) mask logits over the input square; needed by "token_clip".
            label_tokens: (N, token_width); needed where the token classifies.
            index: (N,) batch row of each region; None means row 0.

        Returns:
            (N, embed_dim), unit length.

        Raises:
            ModelError: something that this variant needs was not given.
        """
        parts = []
        if self.roi_conv is not None:
            grid = align_levels(pyramid, boxes, self.roi, self.finest_scale, index)  # (N, C, roi, roi)
            parts.append(functional.relu(self.roi_conv(grid)).mean((2, 3)))  # (N, D)
        if self.label_token_classifies:
            if label_tokens is None:
                raise ModelError("this model names by the decoder's label token: region_head needs label_tokens")
            parts.append(self.label_mlp(label_tokens))
        if self.clip_mlp is not None:
            if masks is None:
                raise ModelError("this model names by mask-pooled features: region_head needs masks")
            mean, has_cell = mask_mean(trunk, masks, index)
            # A mask without a cell on the stride-32 grid has no feature: the token alone names it.
            parts.append(self.clip_mlp(mean) * has_cell[:, None])
        return functional.normalize(torch.stack(parts).sum(0), dim=-1)


class RegionAdapter(nn.Module):
    """A learnt branch for few pictures: the frozen branch's embedding plus a small residual, zero at first.

    It starts as the frozen branch itself and lives in the head, so that teaching it names leaves cached picture
    embeddings and remembered examples valid.

    Args:
        embed_dim: dimensions of text embeddings.
        hidden: width of the residual's middle layer.
    """

    def __init__(self, *, embed_dim: int, hidden: int) -> None:
        super().__init__()
        self.down = nn.Linear(embed_dim, hidden)
        self.up = nn.Linear(hidden, embed_dim)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, frozen: Tensor) -> Tensor:
        """Return (N, D) embeddings of unit length for the frozen branch's (N, D)."""
        return functional.normalize(frozen + self.up(functional.gelu(self.down(frozen))), dim=-1)


def classify(regions: Tensor, classifier: Tensor, logit_scale: float) -> Tensor:
    """Compare regions with a text classifier: scaled cosines, the best synonym of each class, background last.

    Args:
        regions: (N, D), unit length.
        classifier: (K, P, D) text embeddings of unit length; classes with fewer than P synonyms repeat one.
        logit_scale: factor on cosines, about 100.

    Returns:
        (N, K + 1) logits; the last column is the background, whose embedding is zero: always 0.
    """
    cosines = torch.einsum("nd,kpd->nkp", regions, classifier)
    best = cosines.amax(2) * logit_scale  # (N, K)
    return torch.cat([best, best.new_zeros(len(best), 1)], dim=1)
