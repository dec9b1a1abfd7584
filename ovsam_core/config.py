"""What a model is made of: frozen dataclasses that a model directory keeps as `config.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping  # noqa: TC003 - read from the annotations at run time
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

from ovsam_core.errors import ModelError
from ovsam_core.strict_json import nearest, read_strictly

__all__ = [
    "VILD_TEMPLATES",
    "CropConfig",
    "DecoderConfig",
    "FusionConfig",
    "Hashes",
    "HeadConfig",
    "InputConfig",
    "ModelConfig",
    "NeckConfig",
    "RegionConfig",
    "TextConfig",
    "ZoomConfig",
    "named_config",
    "named_configs",
]

_CONFIGS = Path(__file__).parent / "configs"

# The fourteen sentences of the official text classifier; the name replaces {}.
VILD_TEMPLATES = (
    "a photo of a {}.",
    "This is a photo of a {}",
    "There is a {} in the scene",
    "There is the {} in the scene",
    "a photo of a {} in the scene",
    "a photo of a small {}.",
    "a photo of a medium {}.",
    "a photo of a large {}.",
    "This is a photo of a small {}.",
    "This is a photo of a medium {}.",
    "This is a photo of a large {}.",
    "There is a small {} in the scene.",
    "There is a medium {} in the scene.",
    "There is a large {} in the scene.",
)


@dataclass(frozen=True, slots=True)
class InputConfig:
    """How a picture becomes the network's input.

    Attributes:
        size: side of the padded square, pixels; a multiple of 32.
        mean: per channel (RGB, 0-255), subtracted before padding with zeros.
        std: per channel (RGB, 0-255).
        interpolation: "bilinear" as the official code does, or "area", which shrinks with the mean of the covered
            pixels (it still enlarges bilinearly).
    """

    size: int = 1024
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    interpolation: Literal["bilinear", "area"] = "bilinear"


@dataclass(frozen=True, slots=True)
class NeckConfig:
    """The SAM2CLIP neck (paper section 3.2).

    Attributes:
        kind: "multi" sums all four trunk maps, "single" reads the stride-16 map alone (the paper's ablation).
        width: transformer channels.
        depth: transformer blocks; the last one attends globally, the others inside windows.
        heads: attention heads.
        window: side of an attention window, grid cells.
        grid: side of the grid that positional parameters are stored for, cells; 0 means input size / 16. Another input
            size resamples them.
        position: "fixed" keeps the positional embedding as a buffer (the official one is SAM's), "learnt" trains it.
        mlp_ratio: hidden width of a block's MLP over `width`.
    """

    kind: Literal["multi", "single"] = "multi"
    width: int = 1280
    depth: int = 5
    heads: int = 16
    window: int = 14
    grid: int = 0
    position: Literal["fixed", "learnt"] = "fixed"
    mlp_ratio: float = 4.0


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """SAM's prompt encoder and mask decoder, with our switches (all off in the paper's configs).

    Attributes:
        form: "official" is one mask token and no IoU head, "full" is SAM's: several candidates with a predicted IoU.
        width: channels of image embedding, tokens and decoder; the neck ends with as many.
        depth: two-way transformer blocks.
        heads: attention heads.
        mlp_dim: hidden width of the transformer's MLP.
        candidates: masks offered by the full form for an ambiguous prompt, beside the single-mask token.
        mask_channels: hidden channels of the mask-prompt convolutions.
        skips: feed the trunk's maps of strides 4 and 8 into the upscaling.
        prompt_maps: add a three-channel prompt map (box interior, signed clicks, previous logits) to the dense
            embedding and, with `skips`, to the stride-4 skip.
        content_tokens: add the image feature under a click, or the mean feature inside a box, to the prompt's tokens.
        edge_channels: channels of a small trainable stem on the RGB input for edges; 0 leaves it out.
        box_start: final logit = network + learnt scale x (box map - 1/2), so that training starts at the rectangle.
        crumbs: islands of an answer smaller than this share of its largest part are dropped, unless a click stands on
            them; 0 keeps everything. Acts in the predictor, not in training.
        pooled_iou: predict a candidate's IoU from its own mask beside its token, instead of from SAM's IoU token alone.
        context_iou: the same, and from its surroundings, the prompt and the other candidates too.
    """

    form: Literal["official", "full"] = "official"
    width: int = 256
    depth: int = 2
    heads: int = 8
    mlp_dim: int = 2048
    candidates: int = 3
    mask_channels: int = 16
    skips: bool = False
    prompt_maps: bool = False
    content_tokens: bool = False
    edge_channels: int = 0
    box_start: bool = False
    pooled_iou: bool = False
    context_iou: bool = False
    crumbs: float = 0.0


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """The learnt name branch: CLIP2SAM (paper section 3.3; variants of Table 7 right).

    Attributes:
        variant: "fpn" classifies RoIs of a light FPN, "token" the decoder's label token through an MLP, "token_clip"
            adds an MLP of the mask-pooled trunk feature to the token; "adapter" adds a small residual to the frozen
            branch's embedding (what few pictures can teach without moving the encoder; not in the paper); "none" leaves
            the branch out, and the frozen one names alone.
        roi: side of the RoIAlign grid, 7 or 12 in the official configs.
        finest_scale: RoIs with a side below twice this many pixels read the stride-4 map.
        channels: FPN channels; of "adapter" its hidden width.
        label_token_classifies: whether the label token's embedding is part of the answer. In the released weights it is
            not, although the parameters exist (official issue 10).
    """

    variant: Literal["fpn", "token", "token_clip", "adapter", "none"] = "fpn"
    roi: int = 12
    finest_scale: int = 56
    channels: int = 256
    label_token_classifies: bool = False


@dataclass(frozen=True, slots=True)
class RegionConfig:
    """The frozen branch: how a region of the last trunk map becomes a CLIP embedding.

    Attributes:
        pool: "attention" is the CLIP ResNets' attention pool on RoIAlign of its own grid, "mask" the mean under the
            mask and then the tower's head (for a CLIP ResNet, the attention pool's values without its attention),
            "head" the tower's head on RoIAlign of `roi` cells.
        roi: RoIAlign grid of "head", and of "mask" where a mask has no cell.
        mask_share: "head" only: share of the mask-pooled embedding in the mean with the box-pooled one, where a mask is
            given.
    """

    pool: Literal["attention", "mask", "head"] = "attention"
    roi: int = 7
    mask_share: float = 0.0


@dataclass(frozen=True, slots=True)
class CropConfig:
    """The crop branch: regions cut from the picture and put through the frozen trunk.

    Attributes:
        enabled: whether the branch runs by default.
        size: side of the square crop, pixels; 0 takes the tower's own `image_size`.
        scales: the region's sides are enlarged by each of these; the embeddings are averaged.
        mean: per channel (RGB, 0-255); CLIP's own by default, as the tower was trained with.
        std: per channel (RGB, 0-255).
        weight: share of the crop embedding in its mean with the region embedding.
        mask_share: share of the mask-pooled embedding in the mean with the one of the whole crop; timm trunks alone
            have it. What lies round an object in its crop then no longer names it.
    """

    enabled: bool = False
    size: int = 0
    scales: tuple[float, ...] = (1.2, 1.6)
    mean: tuple[float, float, float] = (122.7709383, 116.7460125, 104.09373615)
    std: tuple[float, float, float] = (68.5005327, 66.6321579, 70.32316305)
    weight: float = 0.5
    mask_share: float = 0.0


@dataclass(frozen=True, slots=True)
class ZoomConfig:
    """The zoom pass: a small object is encoded again in a crop of its own and decoded with the first answer as prompt.

    Attributes:
        enabled: whether the pass runs by default, where the picture's pixels are at hand.
        size: side of the crop's network input, pixels, a multiple of 32; 0 takes the model's own.
        scale: side of the crop over the longer side of the first answer's box.
        below: objects whose longer side is shorter than this run through it, pixels of the network input.
    """

    enabled: bool = False
    size: int = 0
    scale: float = 2.0
    below: int = 96


@dataclass(frozen=True, slots=True)
class FusionConfig:
    """How the learnt and the frozen branch are combined (official `open_voc_inference`).

    Attributes:
        enabled: off means that one branch alone names: the learnt one, or the frozen one where there is no head.
        alpha: share of the frozen branch, in log space, for seen classes.
        beta: the same for unseen classes; names that a user adds are unseen.
        tiny_rule: a mask without a cell on the stride-32 grid is named by the learnt branch alone.
    """

    enabled: bool = True
    alpha: float = 0.1
    beta: float = 0.9
    tiny_rule: bool = True


@dataclass(frozen=True, slots=True)
class TextConfig:
    """How names become tokens; the tower itself is described by `vision`'s `text_cfg`.

    Attributes:
        merges_file: byte-pair merge list inside the model directory (gzip text, one pair a line after a header line);
            empty takes CLIP's own list, shipped with open_clip.
        merges: keep only this many merges of the list, -1 keeps all. The tower's `vocab_size` is 514 + merges.
    """

    merges_file: str = ""
    merges: int = -1


@dataclass(frozen=True, slots=True)
class Hashes:
    """xxh3-128 digests of a model's parts, written when it is saved; empty before.

    Attributes:
        encoder: trunk, neck, FPN and input settings: everything a cached embedding depends on.
        head: decoder and name head.
        text: text tower and merge list.
    """

    encoder: str = ""
    head: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A whole model.

    Attributes:
        architecture: name of the configuration, for example "ovsam-rn50x16-coco".
        vision: an open_clip model config: `embed_dim`, `vision_cfg`, `text_cfg`, optionally `quick_gelu`.
        clip_model: open_clip's name of `vision`, for example "RN50x16-quickgelu"; empty where the towers are the
            project's own.
        clip_weights: open_clip's tag of the pretrained weights meant for `vision`, for example "openai"; empty where
            the towers are the project's own.
        input: picture to network input.
        neck: SAM2CLIP.
        decoder: prompts to masks.
        head: CLIP2SAM.
        region: frozen branch.
        crop: crop branch.
        zoom: second look at small objects.
        fusion: how branches are combined.
        text: tokens.
        templates: sentences around a name; `{}` is the name.
        seen: entry ids or names of the classes the head was trained on.
        logit_scale: natural logarithm of the factor on cosines; 4.6052 in the official code, that is 100.
        temperature: divides logits when scores are calibrated.
        storage: precision of matrices in the weight file; a model always runs from float32.
        hashes: of the weights beside the file.
        licence: of the weights.
        description: one sentence for people.
    """

    architecture: str
    vision: Mapping[str, Any]
    clip_model: str = ""
    clip_weights: str = ""
    input: InputConfig = field(default_factory=InputConfig)
    neck: NeckConfig = field(default_factory=NeckConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    region: RegionConfig = field(default_factory=RegionConfig)
    crop: CropConfig = field(default_factory=CropConfig)
    zoom: ZoomConfig = field(default_factory=ZoomConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)
    text: TextConfig = field(default_factory=TextConfig)
    templates: tuple[str, ...] = VILD_TEMPLATES
    seen: tuple[str, ...] = ()
    logit_scale: float = 4.6052
    temperature: float = 1.0
    storage: Literal["float32", "float16"] = "float32"
    hashes: Hashes = field(default_factory=Hashes)
    licence: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        _check(self)

    @property
    def embed_dim(self) -> int:
        """Dimensions of name and region embeddings."""
        return int(self.vision["embed_dim"])

    @property
    def neck_grid(self) -> int:
        """Side of the grid that the neck's positional parameters are stored for, cells."""
        return self.neck.grid or self.input.size // 16

    @property
    def crop_size(self) -> int:
        """Side of a crop for the crop branch, pixels."""
        return self.crop.size or int(self.vision["vision_cfg"]["image_size"])

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "config.json") -> Self:
        """Read a configuration.

        Args:
            text: the JSON document.
            where: the file's name, for messages.

        Raises:
            ModelError: no JSON, an unknown key (the message names the nearest right one), a missing key or a wrong
                value.
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise ModelError(f"{where}: not JSON: {error}") from error
        config: Self = read_strictly(cls, data, where)
        return config

    def to_json(self) -> str:
        """Write the configuration, every field named, in a stable order."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    def with_hashes(self, hashes: Hashes) -> Self:
        """Return the same configuration for other weights."""
        return replace(self, hashes=hashes)


def named_configs() -> tuple[str, ...]:
    """Return the names of the configurations that ship with the program, sorted."""
    return tuple(sorted(path.stem for path in _CONFIGS.glob("*.json")))


@cache
def named_config(name: str) -> ModelConfig:
    """Return a configuration that ships with the program.

    Raises:
        ModelError: there is none of that name; the message names the nearest.
    """
    path = _CONFIGS / f"{name}.json"
    if name not in named_configs():
        raise ModelError(f"no configuration is called {name!r}{nearest(name, named_configs())}")
    return ModelConfig.from_json(path.read_bytes(), path.name)


def _check(config: ModelConfig) -> None:
    """Refuse what could not be built or would compute something else than it says."""
    name = config.architecture
    for key in ("embed_dim", "vision_cfg", "text_cfg"):
        if key not in config.vision:
            raise ModelError(f"{name}: vision: an open_clip model config has {key!r}")
        if not isinstance(config.vision[key], int if key == "embed_dim" else dict):
            raise ModelError(f"{name}: vision: {key}: got {config.vision[key]!r}")
    if config.input.size <= 0 or config.input.size % 32:
        raise ModelError(f"{name}: input.size must be a positive multiple of 32, got {config.input.size}")
    quick = bool(config.vision.get("quick_gelu", False))
    if config.clip_weights == "openai" and not quick:
        raise ModelError(
            f"{name}: OpenAI's weights were trained with QuickGELU: vision needs the '-quickgelu' model config, "
            "expected quick_gelu true, got false"
        )
    if config.clip_weights.startswith("laion") and quick:
        raise ModelError(
            f"{name}: {config.clip_weights!r} weights were trained with GELU: expected quick_gelu false, got true"
        )
    for part, width, heads in (
        ("neck", config.neck.width, config.neck.heads),
        ("decoder", config.decoder.width, config.decoder.heads),
    ):
        if width % heads:
            raise ModelError(f"{name}: {part}.width {width} must be a multiple of {part}.heads {heads}")
    _check_branches(config)
    merges = config.text.merges_file
    if merges and Path(merges).name != merges:
        raise ModelError(f"{name}: text.merges_file: expected the name of a file beside config.json, got {merges!r}")
    if any("{}" not in template for template in config.templates) or not config.templates:
        raise ModelError(f"{name}: templates: each needs {{}} where the name goes")


def _check_branches(config: ModelConfig) -> None:
    name = config.architecture
    if config.head.variant in ("token", "token_clip") and not config.head.label_token_classifies:
        raise ModelError(
            f"{name}: head.variant {config.head.variant!r} classifies by the label token: set label_token_classifies"
        )
    if config.head.variant in ("none", "adapter") and config.head.label_token_classifies:
        raise ModelError(f"{name}: head.variant {config.head.variant!r} has no label token that could classify")
    if config.region.pool == "attention" and config.vision["vision_cfg"].get("timm_model_name"):
        raise ModelError(f"{name}: region.pool 'attention' needs a CLIP ResNet; a timm trunk has 'mask' or 'head'")
    for share, value in (
        ("alpha", config.fusion.alpha),
        ("beta", config.fusion.beta),
        ("crop.weight", config.crop.weight),
        ("crop.mask_share", config.crop.mask_share),
        ("region.mask_share", config.region.mask_share),
    ):
        if not 0 <= value <= 1:
            raise ModelError(f"{name}: {share} must lie in [0, 1], got {value}")
