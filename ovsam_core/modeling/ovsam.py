"""The whole model: a picture is encoded once, then prompts are decoded and regions named at little cost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

import torch
from torch import nn

from ovsam_core.errors import ModelError
from ovsam_core.modeling.clip_text import embed_text
from ovsam_core.modeling.head import RegionAdapter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from open_clip.transformer import TextTransformer
    from torch import Tensor

    from ovsam_core.config import ModelConfig
    from ovsam_core.modeling.clip_backbone import ClipBackbone
    from ovsam_core.modeling.fpn import FPN
    from ovsam_core.modeling.head import NameHead
    from ovsam_core.modeling.mask_decoder import DecodedMasks, ImageSkips, MaskDecoder
    from ovsam_core.modeling.prompt_encoder import PromptTensors

__all__ = ["OVSAM"]


class OVSAM(nn.Module):
    """Open-Vocabulary SAM (arXiv 2401.02955): frozen CLIP trunk, SAM2CLIP neck, SAM's decoder, CLIP2SAM names.

    `modeling.build.build_model` puts it together.

    Args:
        config: what it is made of.
        backbone: frozen image tower.
        neck: trunk maps to SAM's image embedding.
        fpn: trunk maps to the pyramid of the name head; None where the head does not read one.
        skips: fine maps for the decoder's upscaling; None without that switch.
        mask_decoder: prompts to masks.
        head: learnt name branch; None where the frozen one names alone.
        text: frozen open_clip text tower.
        make_tokenizer: called at first use, because a merge list takes a tenth of a second to read.
        directory: where the model was read from; None for one that was built.
    """

    def __init__(
        self,
        *,
        config: ModelConfig,
        backbone: ClipBackbone,
        neck: nn.Module,
        fpn: FPN | None,
        skips: ImageSkips | None,
        mask_decoder: MaskDecoder,
        head: NameHead | RegionAdapter | None,
        text: TextTransformer,
        make_tokenizer: Callable[[], Callable[[list[str]], Tensor]],
        directory: Path | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.directory = directory
        self.backbone = backbone
        self.neck = neck
        self.fpn = fpn
        self.skips = skips
        self.mask_decoder = mask_decoder
        self.head = head
        self.text = text.requires_grad_(False).eval()
        self._make_tokenizer = make_tokenizer
        self._tokenizer: Callable[[list[str]], Tensor] | None = None

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the learnt parts; frozen towers stay in eval."""
        super().train(mode)
        self.text.eval()
        return self

    @property
    def logit_scale(self) -> float:
        """Factor on cosines between regions and names."""
        return math.exp(self.config.logit_scale)

    @property
    def tokenizer(self) -> Callable[[list[str]], Tensor]:
        """Turns N texts into (N, L) int64 tokens."""
        if self._tokenizer is None:
            self._tokenizer = self._make_tokenizer()
        return self._tokenizer

    def encode(self, pixels: Tensor) -> dict[str, Tensor]:
        """Compute all that prompts and names need of a picture.

        Args:
            pixels: (B, 3, S, S) float, normalised, then padded with zeros; S a multiple of 32.

        Returns:
            "neck" (B, C, S/16, S/16); "trunk" (B, C, S/32, S/32); with a pyramid "fpn0" .. "fpn3" at strides 4 to 32;
            with skips "skip4" and "skip8".
        """
        return self.encode_maps(pixels, self.backbone.maps(pixels))

    def encode_maps(self, pixels: Tensor, maps: list[Tensor]) -> dict[str, Tensor]:
        """Do what `encode` does after the trunk, for training on cached trunk maps (strides 4, 8, 16, 32)."""
        features = {"neck": self.neck(maps), "trunk": maps[-1]}
        if self.fpn is not None:
            features |= {f"fpn{i}": level for i, level in enumerate(self.fpn(maps))}
        if self.skips is not None:
            features |= self.skips(pixels, maps)
        return features

    def decode(self, features: Mapping[str, Tensor], prompts: PromptTensors) -> DecodedMasks:
        """Return the masks of N prompts on one picture (features of batch 1)."""
        decoded: DecodedMasks = self.mask_decoder(features, prompts)
        return decoded

    def region_head(
        self,
        features: Mapping[str, Tensor],
        boxes: Tensor,
        masks: Tensor | None = None,
        label_tokens: Tensor | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """Embed regions by the learnt branch.

        Args:
            features: what `encode` returned.
            boxes: (N, 4) xyxy, pixels of the network input.
            masks: (N, h, w) mask logits over the input square; only the "token_clip" variant reads them.
            label_tokens: (N, C) of `DecodedMasks`; read where the token classifies.
            index: (N,) batch row of each region; None means row 0.

        Returns:
            (N, D), unit length.

        Raises:
            ModelError: the model has no learnt branch, or lacks an input that its variant needs.
        """
        if self.head is None:
            raise ModelError(f"{self.config.architecture}: head.variant is 'none', names come from region_clip")
        if isinstance(self.head, RegionAdapter):
            adapted: Tensor = self.head(self.region_clip(features, boxes, masks, index))
            return adapted
        pyramid = [] if self.fpn is None else [features[f"fpn{i}"] for i in range(4)]
        embedding: Tensor = self.head(
            pyramid=pyramid, trunk=features["trunk"], boxes=boxes, masks=masks, label_tokens=label_tokens, index=index
        )
        return embedding

    def region_clip(
        self, features: Mapping[str, Tensor], boxes: Tensor, masks: Tensor | None = None, index: Tensor | None = None
    ) -> Tensor:
        """Embed regions by the frozen branch; arguments and result as in `region_head`."""
        return self.backbone.regions(features["trunk"], boxes, masks, index)

    def crop_clip(self, pixels: Tensor, covers: Tensor | None = None) -> Tensor:
        """Embed (N, 3, s, s) normalised crops by the frozen trunk: (N, D), unit length.

        They are pooled whole and, where `covers` (N, s, s) tells the object's share of each pixel, under the object
        too, mixed by the configuration's `crop.mask_share`.
        """
        return self.backbone.whole(pixels, covers, self.config.crop.mask_share)

    @torch.no_grad()
    def encode_text(self, tokens: Tensor) -> Tensor:
        """Embed (N, L) int64 tokens as (N, D), unit length; L may be shorter than the tower's context."""
        return embed_text(self.text, tokens)
