"""Image embedding + prompts -> masks: SAM's decoder, one-mask form and full form, with our switches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F  # noqa: N812  the usual name
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.mask_decoder import MLP
from segment_anything.modeling.transformer import TwoWayTransformer
from torch import nn

from ovsam_core.modeling.judge import ContextIoU, Decoded, PooledIoU
from ovsam_core.modeling.prompt_encoder import MAP_CHANNELS, PromptEncoder, box_coverage, prompt_maps, resize_logits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from ovsam_core.modeling.prompt_encoder import PromptTensors

__all__ = ["DecodedMasks", "ImageSkips", "MaskDecoder", "postprocess_logits"]


@dataclass(frozen=True, slots=True)
class DecodedMasks:
    """What the decoder answers to N prompts.

    Attributes:
        logits: (N, M, h, w) at stride 4 of the padded input; positive is on the object.
        iou: (N, M) predicted IoU of each candidate, or None in the one-mask form.
        label_tokens: (N, C) the label token after the transformer; in the full form, the IoU token in its slot.
    """

    logits: Tensor
    iou: Tensor | None
    label_tokens: Tensor


class ImageSkips(nn.Module):
    """Fine detail for the upscaling, computed once per picture: trunk maps of strides 4 and 8, and the RGB edge stem.

    Args:
        in_channels: channels of the trunk maps at strides 4 and 8 (further entries are ignored).
        width: the decoder's width; the skips have width/4 (stride 4) and width/2 (stride 8) channels.
        edge_channels: channels of the edge stem on RGB; 0 leaves it out.
    """

    def __init__(self, *, in_channels: Sequence[int], width: int, edge_channels: int = 0) -> None:
        super().__init__()
        c4, c8 = in_channels[:2]
        fine, coarse = width // 4, width // 2
        self.fine_in = nn.Conv2d(c4, fine, 1)
        self.fine_out = _norm_conv(fine, fine)
        self.coarse_in = nn.Conv2d(c8, coarse, 1)
        self.coarse_out = _norm_conv(coarse, coarse)
        self.edge = None
        if edge_channels:
            self.edge = nn.Sequential(
                nn.Conv2d(3, edge_channels // 2, 3, padding=1, stride=2),
                nn.ReLU(),
                nn.Conv2d(edge_channels // 2, edge_channels, 3, padding=1, stride=2),
                nn.ReLU(),
                nn.Conv2d(edge_channels, fine, 3, padding=1),
            )

    def forward(self, pixels: Tensor, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return {"skip4": (B, width/4, S/4, S/4), "skip8": (B, width/2, S/8, S/8)}.

        Args:
            pixels: (B, 3, S, S) normalised network input.
            maps: trunk maps at strides 4 and 8 (further ones are ignored).
        """
        fine = self.fine_in(maps[0])
        if self.edge is not None:
            fine = fine + self.edge(pixels)
        return {"skip4": self.fine_out(fine), "skip8": self.coarse_out(self.coarse_in(maps[1]))}


class MaskDecoder(nn.Module):
    """SAM's mask decoder (paper section 3.2 and 3.3); parameter names are SAM's.

    The official one-mask form has a label token in the IoU token's slot, one mask token and no IoU head. The full form
    is SAM's: `candidates` + 1 masks, each with a predicted IoU. All switches are off in the paper's configurations.

    Args:
        form: "official" or "full".
        width: channels of tokens and image embedding.
        depth: two-way transformer blocks.
        heads: attention heads.
        mlp_dim: hidden width of the transformer's MLP.
        candidates: masks beside the single-mask token in the full form.
        mask_channels: hidden channels of the mask-prompt convolutions.
        skips: read `skip4` and `skip8` of the features (made by `ImageSkips`) in the upscaling, whose channels are then
            width/2 and width/4 instead of SAM's width/4 and width/8.
        prompt_maps: three-channel prompt map on the dense embedding and, with `skips`, in the upscaling.
        content_tokens: image features on the prompt's tokens.
        box_start: add a learnt multiple of the box's interior (of the previous logits, where there are any) to the
            logits, so that an untrained decoder answers the rectangle.
        pooled_iou: predict the IoU of a candidate from its own mask (pooled features, size, certainty) beside its
            token, instead of SAM's prediction from the IoU token alone; the mask enters detached.
        context_iou: the same, and from what surrounds the mask, the prompt and the other candidates; wins over
            `pooled_iou`, and nothing but the judge itself learns from it.
    """

    def __init__(
        self,
        *,
        form: Literal["official", "full"] = "official",
        width: int = 256,
        depth: int = 2,
        heads: int = 8,
        mlp_dim: int = 2048,
        candidates: int = 3,
        mask_channels: int = 16,
        skips: bool = False,
        prompt_maps: bool = False,
        content_tokens: bool = False,
        box_start: bool = False,
        pooled_iou: bool = False,
        context_iou: bool = False,
    ) -> None:
        super().__init__()
        self.prompt_encoder = PromptEncoder(
            width=width, mask_channels=mask_channels, maps=prompt_maps, content=content_tokens
        )
        self.transformer = TwoWayTransformer(depth=depth, embedding_dim=width, num_heads=heads, mlp_dim=mlp_dim)
        full = form == "full"
        count = candidates + 1 if full else 1
        self.mask_tokens = nn.Embedding(count, width)
        self.iou_token = nn.Embedding(1, width) if full else None
        self.label_token = None if full else nn.Embedding(1, width)
        coarse, fine = (width // 2, width // 4) if skips else (width // 4, width // 8)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(width, coarse, kernel_size=2, stride=2),
            LayerNorm2d(coarse),
            nn.GELU(),
            nn.ConvTranspose2d(coarse, fine, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(MLP(width, width, fine, 3) for _ in range(count))
        self.iou_prediction_head: nn.Module | None = None
        if full and context_iou:
            self.iou_prediction_head = ContextIoU(width, fine)
        elif full:
            self.iou_prediction_head = PooledIoU(width, fine) if pooled_iou else MLP(width, 256, count, 3)
        self.refine8 = _Refine(coarse, prompt_maps) if skips else None
        self.refine4 = _Refine(fine, prompt_maps) if skips else None
        self.start = _Start() if box_start else None

    def forward(self, features: Mapping[str, Tensor], prompts: PromptTensors) -> DecodedMasks:
        """Decode N prompts.

        Args:
            features: "neck" (1 or N, C, h, w) and, with skips, "skip4" and "skip8": of one picture, or one picture for
                each prompt (as in training).
            prompts: N prompts.
        """
        embedding = features["neck"]
        h, w = embedding.shape[-2:]
        sparse, dense = self.prompt_encoder(prompts, embedding)
        slot = self.iou_token if self.iou_token is not None else self.label_token
        assert slot is not None
        own = torch.cat((slot.weight, self.mask_tokens.weight)).expand(len(prompts), -1, -1)  # (N, 1 + M, C)
        position = self.prompt_encoder.dense_position((h, w)).expand(len(prompts), -1, -1, -1)
        tokens, cells = self.transformer(embedding + dense, position, torch.cat((own, sparse), dim=1))
        source = cells.transpose(1, 2).reshape(len(prompts), -1, h, w)  # (N, C, h, w)
        pixels = self._upscale(source, features, prompts)  # (N, c, 4h, 4w)
        masks = tokens[:, 1 : 1 + self.mask_tokens.num_embeddings]  # (N, M, C)
        hyper = torch.stack([mlp(masks[:, i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1)
        logits = (hyper @ pixels.flatten(2)).reshape(len(prompts), -1, 4 * h, 4 * w)  # (N, M, 4h, 4w)
        if self.start is not None:
            logits = logits + self.start(prompts, (4 * h, 4 * w))
        judge, token, iou = self.iou_prediction_head, tokens[:, 0], None
        if isinstance(judge, ContextIoU | PooledIoU):
            iou = judge(Decoded(token, masks, embedding, source, pixels, logits, prompts))
        elif judge is not None:
            iou = judge(token)
        return DecodedMasks(logits, iou, token)

    def _upscale(self, source: Tensor, features: Mapping[str, Tensor], prompts: PromptTensors) -> Tensor:
        to8, norm, gelu, to4, gelu4 = self.output_upscaling
        x: Tensor = gelu(norm(to8(source)))
        if self.refine8 is not None:
            x = self.refine8(x, features["skip8"], prompts, 8)
        x = gelu4(to4(x))
        if self.refine4 is not None:
            x = self.refine4(x, features["skip4"], prompts, 4)
        return x


class _Refine(nn.Module):
    """Two convolutions that mix the upscaled embedding with a skip and the prompt map, as a residual."""

    def __init__(self, channels: int, maps: bool) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.GroupNorm(1, channels)
        self.prompt = nn.Conv2d(MAP_CHANNELS, channels, 3, padding=1, bias=False) if maps else None
        self.out = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, skip: Tensor, prompts: PromptTensors, stride: int) -> Tensor:
        y = self.mix(x) + skip
        if self.prompt is not None:
            y = y + self.prompt(prompt_maps(prompts, (x.shape[-2], x.shape[-1]), stride))
        y = self.out(F.relu(self.norm(y)))
        return F.relu(x + y)


class _Start(nn.Module):
    """Where the logits start: the box's rectangle, the previous mask, or a small negative constant."""

    def __init__(self) -> None:
        super().__init__()
        self.box_scale = nn.Parameter(torch.tensor(2.0))
        self.mask_scale = nn.Parameter(torch.tensor(0.5))
        self.bias = nn.Parameter(torch.tensor(-2.0))  # without box and mask most pixels are off the object

    def forward(self, prompts: PromptTensors, grid_hw: tuple[int, int]) -> Tensor:
        if prompts.mask_logits is not None:
            return self.mask_scale * resize_logits(prompts.mask_logits, grid_hw).clamp(-8, 8)
        if prompts.boxes is not None:
            return self.box_scale * (2 * box_coverage(prompts.boxes, grid_hw, 4).unsqueeze(1) - 1)
        return self.bias.reshape(1, 1, 1, 1)


def postprocess_logits(logits: Tensor, *, padded: int, input_hw: tuple[int, int], size_hw: tuple[int, int]) -> Tensor:
    """Bring low-resolution logits to the picture's size, as SAM does: enlarge, cut the padding off, resample.

    Args:
        logits: (N, M, h, w) over the padded input.
        padded: side of the padded input, pixels.
        input_hw: height and width of the picture inside the padded input.
        size_hw: height and width of the picture.

    Returns:
        (N, M, H, W) logits; positive is on the object.
    """
    large = F.interpolate(logits, (padded, padded), mode="bilinear", align_corners=False)
    return F.interpolate(large[..., : input_hw[0], : input_hw[1]], size_hw, mode="bilinear", align_corners=False)


def _norm_conv(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(LayerNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, out, 3, padding=1))
