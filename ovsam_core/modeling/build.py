"""Numbers to graph: the one place that knows every part of the model."""

from __future__ import annotations

import gzip
import io
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from open_clip.model import CustomTextCLIP
from open_clip.tokenizer import SimpleTokenizer, default_bpe

from ovsam_core.errors import ModelError
from ovsam_core.modeling.clip_backbone import make_backbone
from ovsam_core.modeling.clip_text import check_text_tower
from ovsam_core.modeling.fpn import FPN
from ovsam_core.modeling.head import NameHead, RegionAdapter
from ovsam_core.modeling.mask_decoder import ImageSkips, MaskDecoder
from ovsam_core.modeling.neck import MultiLayerTransformerNeck, SingleLayerTransformerNeck
from ovsam_core.modeling.ovsam import OVSAM

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from open_clip.transformer import TextTransformer
    from torch import Tensor, nn

    from ovsam_core.config import ModelConfig

__all__ = ["build_model", "make_tokenizer"]

_NECKS = {"multi": MultiLayerTransformerNeck, "single": SingleLayerTransformerNeck}


def build_model(
    config: ModelConfig, *, seed: int = 0, device: str | torch.device = "cpu", directory: Path | None = None
) -> OVSAM:
    """Build a model with random weights.

    Args:
        config: what it is made of.
        seed: of the weights; the caller's random state is left alone.
        device: where parameters live; "meta" allocates nothing.
        directory: model directory, where `config.text.merges_file` lies.

    Raises:
        ModelError: the configuration describes no model that can be built.
    """
    with torch.random.fork_rng(devices=[]), torch.device(device):
        torch.manual_seed(seed)
        visual, text = _towers(config)
        backbone = make_backbone(visual, embed_dim=config.embed_dim, region=config.region)
        neck = _NECKS[config.neck.kind](
            in_channels=backbone.channels,
            width=config.neck.width,
            depth=config.neck.depth,
            heads=config.neck.heads,
            window=config.neck.window,
            grid=config.neck_grid,
            out_channels=config.decoder.width,
            learnt_position=config.neck.position == "learnt",
            mlp_ratio=config.neck.mlp_ratio,
        )
        d = config.decoder
        decoder = MaskDecoder(
            form=d.form,
            width=d.width,
            depth=d.depth,
            heads=d.heads,
            mlp_dim=d.mlp_dim,
            candidates=d.candidates,
            mask_channels=d.mask_channels,
            skips=d.skips,
            prompt_maps=d.prompt_maps,
            content_tokens=d.content_tokens,
            box_start=d.box_start,
            pooled_iou=d.pooled_iou,
            context_iou=d.context_iou,
        )
        skips = None
        if d.skips:
            skips = ImageSkips(in_channels=backbone.channels, width=d.width, edge_channels=d.edge_channels)
        fpn, head = _names(config, backbone.channels)
    model = OVSAM(
        config=config,
        backbone=backbone,
        neck=neck,
        fpn=fpn,
        skips=skips,
        mask_decoder=decoder,
        head=head,
        text=text,
        make_tokenizer=partial(make_tokenizer, config, directory),
        directory=directory,
    )
    return model.eval()


def make_tokenizer(config: ModelConfig, directory: Path | None = None) -> Callable[[list[str]], Tensor]:
    """Return CLIP's byte-pair tokenizer with the configuration's merge list.

    Raises:
        ModelError: the list is missing, or does not fit the text tower's vocabulary.
    """
    text = config.vision["text_cfg"]
    source = default_bpe()
    if config.text.merges_file:
        if directory is None:
            raise ModelError(f"{config.architecture}: text.merges_file needs the model's directory")
        source = str(directory / config.text.merges_file)
    try:
        with gzip.open(source, "rt", encoding="utf-8") as file:
            header, *merges = file.read().rstrip("\n").split("\n")
    except OSError as error:
        raise ModelError(f"{source}: the merge list cannot be read: {error}") from error
    if config.text.merges >= 0:
        merges = merges[: config.text.merges]
    packed = io.BytesIO(gzip.compress("\n".join([header, *merges]).encode()))
    tokenizer = SimpleTokenizer(bpe_path=packed, context_length=text.get("context_length", 77))
    expected = text.get("vocab_size", 49408)
    if tokenizer.vocab_size != expected:
        raise ModelError(
            f"{config.architecture}: text_cfg.vocab_size is {expected}, the merge list makes {tokenizer.vocab_size}"
        )
    made: Callable[[list[str]], Tensor] = tokenizer
    return made


def _towers(config: ModelConfig) -> tuple[nn.Module, TextTransformer]:
    vision, text = config.vision["vision_cfg"], config.vision["text_cfg"]
    # A model directory is data from anywhere: building it must never reach for the network.
    if ":" in (vision.get("timm_model_name") or "") or text.get("hf_model_name"):
        raise ModelError(f"{config.architecture}: vision: towers that would be downloaded are refused")
    known = {
        "embed_dim": config.embed_dim,
        "vision_cfg": {**vision, "timm_model_pretrained": False},
        "text_cfg": dict(text),
    }
    extra: dict[str, Any] = {"quick_gelu": bool(config.vision.get("quick_gelu", False))}
    try:
        clip = CustomTextCLIP(**known, **extra)
    except (TypeError, RuntimeError, AssertionError, KeyError) as error:
        raise ModelError(f"{config.architecture}: vision: open_clip cannot build it: {error}") from error
    return clip.visual, check_text_tower(clip.text)


def _names(
    config: ModelConfig, channels: tuple[int, int, int, int]
) -> tuple[FPN | None, NameHead | RegionAdapter | None]:
    h = config.head
    if h.variant == "none":
        return None, None
    if h.variant == "adapter":
        return None, RegionAdapter(embed_dim=config.embed_dim, hidden=h.channels)
    fpn = FPN(in_channels=channels, channels=h.channels) if h.variant == "fpn" else None
    head = NameHead(
        variant=h.variant,
        token_width=config.decoder.width,
        fpn_channels=h.channels,
        trunk_channels=channels[-1],
        embed_dim=config.embed_dim,
        roi=h.roi,
        finest_scale=h.finest_scale,
        label_token_classifies=h.label_token_classifies,
    )
    return fpn, head
