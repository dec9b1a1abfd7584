"""The golden model: its weights by rule, its names in the official layout, and our outputs for a golden file."""

from __future__ import annotations

import math
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import open_clip
import torch

from ovsam_core.checkpoint import Report, load_official
from ovsam_core.config import HeadConfig, ModelConfig, NeckConfig, RegionConfig
from ovsam_core.modeling.build import build_model
from ovsam_core.modeling.fusion import fuse
from ovsam_core.modeling.head import classify
from ovsam_core.modeling.mask_decoder import postprocess_logits
from ovsam_core.modeling.prompt_encoder import PromptTensors
from ovsam_core.modeling.roi import mask_boxes, mask_mean
from ovsam_core.preprocess import resize_and_pad, to_input

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from ovsam_core.modeling.ovsam import OVSAM

INPUTS = ("image", "classifier", "boxes", "points", "base", "novel")
ALPHA, BETA = 0.1, 0.9
_STEM = {"conv1": 0, "bn1": 1, "conv2": 3, "bn2": 4, "conv3": 6, "bn3": 7}


def golden_config(backbone: str, embed: int, roi: int) -> ModelConfig:
    """The official model on `backbone`, with a neck of `embed` channels and a head RoIAlign of `roi` cells."""
    name = f"{backbone}-quickgelu"
    vision = open_clip.get_model_config(name)
    assert vision is not None, f"open_clip has no model config {name}"
    return ModelConfig(
        architecture=f"golden-{backbone}",
        vision=vision,
        neck=NeckConfig(width=embed, grid=64),
        head=HeadConfig(roi=roi),
        region=RegionConfig(pool="attention"),
    )


def value(name: str, shape: tuple[int, ...]) -> NDArray[np.generic]:
    """Draw the tensor called `name` in the official layout: standard normals seeded by the name's CRC-32.

    Matrices and kernels are divided by the square root of their fan-in. Scales (one-dimensional `weight`) are 1 plus a
    tenth of the draw, `running_var` 1 plus a tenth of its magnitude, every other vector or scalar a tenth of it; step
    counters are 0.
    """
    last = name.rsplit(".", maxsplit=1)[-1]
    if last == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    draw = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if len(shape) > 1 and last != "running_var":
        return draw / np.sqrt(np.prod(shape[1:], dtype=np.int64))
    if last == "running_var":
        return 1 + 0.1 * np.abs(draw)
    return 1 + 0.1 * draw if len(shape) == 1 and last == "weight" else 0.1 * draw


def official_name(name: str) -> str | None:
    """Turn the name of one of our tensors into the official one; None for the text tower, which is not there."""
    if name.startswith("text."):
        return None
    rules = (
        (r"backbone\.visual\.(conv|bn)([123])\.(.*)", lambda m: f"backbone.stem.{_STEM[m[1] + m[2]]}.{m[3]}"),
        (r"backbone\.visual\.attnpool\.(.*)", r"backbone.head.\1"),
        (r"backbone\.visual\.(.*)", r"backbone.\1"),
        (r"fpn\.(\w+\.\d)\.(.*)", r"fpn_neck.\1.conv.\2"),
        (r"mask_decoder\.prompt_encoder\.(.*)", r"pe.\1"),
        (r"mask_decoder\.label_token\.(.*)", r"mask_decoder.label_token.\1"),
        (r"mask_decoder\.(.*)", r"mask_decoder.mask_decoder.\1"),
        (r"head\.roi_conv\.(.*)", r"mask_decoder.roi_conv.0.conv.\1"),
        (r"head\.label_mlp\.(.*)", r"mask_decoder.label_mlp.\1"),
    )
    for pattern, official in rules:
        if re.fullmatch(pattern, name):
            return re.sub(pattern, official, name)
    return name


def official_shapes(model: OVSAM) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the model's tensors in the official layout."""
    named = ((official_name(name), tuple(tensor.shape)) for name, tensor in model.state_dict().items())
    return {name: shape for name, shape in named if name is not None}


def golden_model(config: ModelConfig) -> tuple[OVSAM, Report]:
    """Build the model and fill it by the rule, through the loader for official checkpoints."""
    model = build_model(config, device="meta")
    parts: dict[str, dict[str, Tensor]] = {}
    for name, shape in official_shapes(model).items():
        part = name.split(".", 1)[0]
        parts.setdefault(part, {})[name] = torch.from_numpy(np.asarray(value(name, shape)))
    report = load_official(model, parts)
    return model, report


@torch.inference_mode()
def outputs(model: OVSAM, golden: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """Compute every array of a golden file from its inputs."""
    image = golden["image"]
    pixels, scale_xy, input_hw = resize_and_pad(np.ascontiguousarray(image), model.config)
    maps = model.backbone.maps(pixels)
    features = model.encode_maps(pixels, maps)
    out: dict[str, Tensor | NDArray[np.generic]] = {}
    for i, level in enumerate(maps):
        out[f"backbone{i}_mean"] = level[0].mean((1, 2))
        out[f"backbone{i}_patch"] = level[0, :16, :8, :8]
    out["neck_patch"] = features["neck"][0, :, ::8, ::8]
    out |= {f"fpn{i}_patch": features[f"fpn{i}"][0, :, :4, :4] for i in range(4)}

    classifier = torch.from_numpy(golden["classifier"])
    boxes = torch.from_numpy(to_input(golden["boxes"], scale_xy))
    points = torch.from_numpy(to_input(golden["points"], scale_xy))
    clip = classify(model.region_clip(features, boxes), classifier, model.logit_scale)
    seen = torch.zeros(classifier.shape[0] + 1, dtype=torch.bool)
    seen[[*golden["base"].tolist(), -1]] = True  # the background belongs to the seen
    no_points = PromptTensors(torch.zeros(len(boxes), 0, 2), torch.zeros(len(boxes), 0, dtype=torch.int8), boxes)
    clicks = PromptTensors(points, torch.ones(points.shape[:2], dtype=torch.int8))
    for kind, prompts in (("boxes", no_points), ("points", clicks)):
        decoded = model.decode(features, prompts)
        low = decoded.logits
        regions = boxes if kind == "boxes" else mask_boxes(low[:, 0], boxes)
        head = classify(model.region_head(features, regions), classifier, model.logit_scale)
        has_cell = mask_mean(features["trunk"], low[:, 0])[1]
        masks = postprocess_logits(low, padded=model.config.input.size, input_hw=input_hw, size_hw=image.shape[:2])
        out[f"{kind}_low_res"] = low
        out[f"{kind}_head_logits"] = head[:, None]
        out[f"{kind}_clip_logits"] = clip[:, None]
        out[f"{kind}_fused"] = fuse(head, clip, seen, ALPHA, BETA, ~has_cell)[:, None]
        out[f"{kind}_masks"] = np.packbits((masks[:, 0] > 0).numpy(), axis=-1)
    return {name: array if isinstance(array, np.ndarray) else array.numpy() for name, array in out.items()}


@dataclass(frozen=True)
class Agreement:
    """How one array of ours compares.

    Attributes:
        name: of the array.
        error: greatest difference over the golden array's standard deviation; for masks the share of differing pixels.
        passes: within 1e-4 (both kinds: masks on at least 99.99 % of the pixels).
    """

    name: str
    error: float

    @property
    def passes(self) -> bool:
        return self.error <= 1e-4


def compare(golden: Mapping[str, NDArray[np.generic]], ours: Mapping[str, NDArray[np.generic]]) -> Iterable[Agreement]:
    """Compare every output array of a golden file; `fused` over the classes of a split."""
    split = np.concatenate([golden["base"], golden["novel"]])
    for name in golden:
        if name in INPUTS:
            continue
        if name not in ours:  # a file of a later kind: nothing of ours answers it
            yield Agreement(name, math.inf)
            continue
        theirs, mine = golden[name], ours[name]
        assert mine.shape == theirs.shape, f"{name}: expected {theirs.shape}, got {mine.shape}"
        if name.endswith("_masks"):
            width = golden["image"].shape[1]
            differ = np.unpackbits(theirs ^ mine, axis=-1)[..., :width]
            yield Agreement(name, float(differ.mean()))
            continue
        if name.endswith("_fused"):
            theirs, mine = theirs[..., split], mine[..., split]
        yield Agreement(name, float(np.abs(theirs - mine).max() / theirs.std()))
