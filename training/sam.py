"""Segment Anything through its own package: teacher of the neck, and a baseline of the evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

from ovsam_core.errors import CheckpointError
from training.args import ConfigError
from training.systems import Answer, System

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ovsam_core.pictures import Picture
    from ovsam_core.prompts import Prompt

__all__ = ["SamSystem", "SamType", "build_sam"]

SamType = Literal["vit_b", "vit_l", "vit_h", "toy"]


def build_sam(kind: SamType, checkpoint: Path | None, *, seed: int = 0, decoder: Path | None = None) -> Sam:
    """Return SAM, frozen and in eval.

    Args:
        kind: vit_b, vit_l or vit_h; "toy" is a small random one (128 px, 32 channels) for trying the stages out.
        checkpoint: the published weights; needed except for "toy".
        seed: of the random toy.
        decoder: file of `training.finetune_sam` that takes the place of its mask decoder.

    Raises:
        ConfigError: no checkpoint was given.
        CheckpointError: it cannot be read, or is of another SAM.
    """
    if kind == "toy":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = _toy()
    elif checkpoint is None:
        raise ConfigError(f"SAM {kind} needs its published weights: --sam FILE (sam_{kind}_*.pth)")
    else:
        model = sam_model_registry[kind]()
        try:
            model.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
        except (OSError, RuntimeError, ValueError) as error:
            raise CheckpointError(f"{checkpoint}: not the weights of SAM {kind} ({str(error)[:200]})") from error
    if decoder is not None:
        try:
            model.mask_decoder.load_state_dict(load_file(decoder))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise CheckpointError(f"{decoder}: not a mask decoder of SAM {kind} ({str(error)[:200]})") from error
    model.requires_grad_(requires_grad=False)
    return model.eval()


def _toy() -> Sam:
    width, side, patch = 32, 128, 16
    grid = side // patch
    encoder = ImageEncoderViT(
        img_size=side,
        patch_size=patch,
        embed_dim=32,
        depth=2,
        num_heads=2,
        out_chans=width,
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=(1,),
        window_size=4,
    )
    return Sam(
        image_encoder=encoder,
        prompt_encoder=PromptEncoder(width, (grid, grid), (side, side), 8),
        mask_decoder=MaskDecoder(
            transformer_dim=width, transformer=TwoWayTransformer(2, width, 2, 64), iou_head_hidden_dim=width
        ),
    )


class SamSystem(System):
    """SAM alone: masks without names.

    Args:
        sam: the model.
        device: where it runs.
        name: what reports call it.
    """

    def __init__(self, sam: Sam, device: torch.device, name: str = "SAM") -> None:
        self.name = name
        self.predictor = SamPredictor(sam.to(device))

    def set_image(self, picture: Picture) -> None:
        """Encode the picture."""
        self.predictor.set_image(picture.rgb)

    def answer(self, prompts: Sequence[Prompt], truth_boxes: Sequence[Sequence[float]]) -> list[Answer]:  # noqa: ARG002
        """Answer one by one: one mask for a box or several clicks, the best of three for a single click."""
        return [self._one(prompt) for prompt in prompts]

    def _one(self, prompt: Prompt) -> Answer:
        points = len(prompt.points_xy)
        several = prompt.box_xyxy is None and points == 1 and prompt.mask is None
        masks, scores, logits = self.predictor.predict(
            point_coords=prompt.points_xy if points else None,
            point_labels=prompt.labels if points else None,
            box=prompt.box_xyxy,
            mask_input=None if prompt.mask is None else np.asarray(prompt.mask, np.float32)[None],
            multimask_output=several,
        )
        order = np.argsort(-scores)
        masks = masks.astype(bool)[order]
        return Answer(masks[0], tuple(masks[1:]), (), logits[order[0]], float(scores[order[0]]))
