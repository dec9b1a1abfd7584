"""The switches of the paper's ablations: what a row changes, and the paper's own figures beside it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ovsam_core.config import ModelConfig

__all__ = ["AP", "BACKBONES", "COLUMNS", "SIDES", "SWITCHES", "TITLES", "Switch"]


@dataclass(frozen=True)
class Switch:
    """One row of a table.

    Attributes:
        table: the table's key.
        name: the row's name.
        config: what changes in the model before it is trained.
        after: what changes in the trained model's configuration only (no training of its own).
        prompts: what changes in the samples.
        distil: whether the neck is distilled; otherwise it learns with the head.
        head: whether CLIP2SAM runs at all.
        prompt: prompt of the evaluation.
        evaluation: what changes in the evaluation's options.
        system: what answers: the trained model, the teacher SAM, or the teacher with a fine-tuned decoder.
        quoted: the paper's figures of this row.
    """

    table: str
    name: str
    config: Callable[[ModelConfig], ModelConfig] = lambda c: c
    after: Callable[[ModelConfig], ModelConfig] = lambda c: c
    prompts: Mapping[str, Any] = field(default_factory=dict)
    distil: bool = True
    head: bool = True
    prompt: str = "box"
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    system: Literal["model", "sam", "sam-tuned"] = "model"
    quoted: Mapping[str, float] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Rows that train alike share a chain."""
        return f"{self.table}-{self.name}".lower().replace(" ", "_").replace("/", "-")


def _neck(kind: str) -> Callable[[ModelConfig], ModelConfig]:
    return lambda c: replace(c, neck=replace(c.neck, kind=kind))  # type: ignore[arg-type]


def _variant(variant: str) -> Callable[[ModelConfig], ModelConfig]:
    token = variant in {"token", "token_clip"}
    return lambda c: replace(c, head=replace(c.head, variant=variant, label_token_classifies=token))  # type: ignore[arg-type]


def _fusion(alpha: float, beta: float) -> Callable[[ModelConfig], ModelConfig]:
    return lambda c: replace(c, fusion=replace(c.fusion, enabled=True, alpha=alpha, beta=beta))


def _head_only(config: ModelConfig) -> ModelConfig:
    return replace(config, fusion=replace(config.fusion, enabled=False))


def _roi(size: int) -> Callable[[ModelConfig], ModelConfig]:
    return lambda c: replace(c, head=replace(c.head, roi=size))


def _clip_norm(config: ModelConfig) -> ModelConfig:
    return replace(config, input=replace(config.input, mean=config.crop.mean, std=config.crop.std))


def _one_template(config: ModelConfig) -> ModelConfig:
    return replace(config, templates=config.templates[:1])


AP = ("AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L")
SIDES = {"AP base": "generalized_base", "AP novel": "generalized_novel"}
COLUMNS = ("IoU", "IoU base", "IoU novel", "Acc", "Acc base", "Acc novel", "AP", *SIDES, "params M", "GMACs")


def _quoted(**figures: float) -> dict[str, float]:
    """Name figures by their columns: `AP_base=1.0` → {"AP base": 1.0}."""
    return {{"AP_base": "AP base", "AP_novel": "AP novel", "M": "params M"}.get(k, k): v for k, v in figures.items()}


SWITCHES: tuple[Switch, ...] = (
    Switch("neck", "multi-scale neck", quoted=_quoted(IoU=78.1, GMACs=1180, M=304), head=False),
    Switch(
        "neck",
        "single-scale neck",
        config=_neck("single"),
        quoted=_quoted(IoU=73.6, GMACs=1280, M=307),
        head=False,
    ),
    Switch(
        "clip2sam",
        "SAM2CLIP alone",
        head=False,
        config=_variant("none"),
        quoted=_quoted(IoU=78.1, Acc=54.2, AP_base=27.6, AP_novel=33.2),
    ),
    Switch(
        "clip2sam",
        "class token",
        config=_variant("token"),
        quoted=_quoted(IoU=81.3, Acc=79.3, AP_base=29.8, AP_novel=34.5),
    ),
    Switch(
        "clip2sam",
        "class token and CLIP",
        config=_variant("token_clip"),
        quoted=_quoted(IoU=80.9, Acc=78.9, AP_base=29.0, AP_novel=33.9),
    ),
    Switch(
        "clip2sam",
        "light FPN",
        config=_variant("fpn"),
        quoted=_quoted(IoU=81.5, Acc=84.3, AP_base=31.1, AP_novel=36.0),
    ),
    Switch(
        "sam2clip",
        "SAM2CLIP alone",
        head=False,
        config=_variant("none"),
        quoted=_quoted(AP=28.7, AP_base=27.3, AP_novel=33.3, GMACs=1127, M=291),
    ),
    Switch(
        "sam2clip",
        "SAM2CLIP and CLIP2SAM",
        quoted=_quoted(AP=34.4, AP_base=33.1, AP_novel=38.0, GMACs=1180, M=304),
    ),
    Switch("sam2clip", "CLIP2SAM without SAM2CLIP", distil=False),
    Switch("fusion", "head alone", after=_head_only),
    Switch("fusion", "alpha .1 beta .9", after=_fusion(0.1, 0.9)),
    Switch("fusion", "alpha .4 beta .8", after=_fusion(0.4, 0.8)),
    Switch("fusion", "frozen branch alone", after=_fusion(1.0, 1.0)),
    Switch("roi", "RoIAlign 12", config=_roi(12)),
    Switch("roi", "RoIAlign 7", config=_roi(7)),
    Switch("region", "RoI of the true box", prompt="centre", evaluation={"region": "truth"}),
    Switch("region", "RoI of the predicted mask", prompt="centre"),
    Switch("input", "ImageNet mean"),
    Switch("input", "CLIP mean", config=_clip_norm),
    Switch("prompts", "21 boxes 19 points"),
    Switch("prompts", "40 boxes", prompts={"boxes": 40, "points": 0}),
    Switch("prompts", "40 points", prompts={"boxes": 0, "points": 40}, prompt="centre"),
    Switch("templates", "all templates"),
    Switch("templates", "one template", after=_one_template),
    Switch("synonyms", "nearest synonym"),
    Switch("synonyms", "mean of the synonyms", evaluation={"synonyms": "mean"}),
    Switch("masks", "SAM", system="sam", quoted=dict(zip(AP, (35.6, 54.9, 38.4, 17.2, 39.1, 51.4), strict=True))),
    Switch(
        "masks",
        "SAM, decoder fine-tuned",
        system="sam-tuned",
        quoted=dict(zip(AP, (35.8, 55.0, 38.4, 16.5, 38.6, 53.0), strict=True)),
    ),
    Switch("masks", "OVSAM", quoted=dict(zip(AP, (35.8, 55.6, 38.3, 16.0, 38.9, 53.1), strict=True))),
)
TITLES = {
    "neck": "SAM2CLIP design (Table 7 left; the single-scale row is quoted with ConvNeXt-L, 78.3 multi-scale)",
    "clip2sam": "CLIP2SAM design (Table 7 right; AP from a detector's boxes)",
    "sam2clip": "Components (Table 6; AP from a detector's boxes)",
    "fusion": "Fusion of learnt and frozen branch",
    "roi": "RoI size",
    "region": "Whose region is named",
    "input": "Input normalisation",
    "prompts": "Kinds of prompts in training",
    "templates": "Text templates",
    "synonyms": "Several phrases of one name",
    "masks": "Masks from a detector's boxes (Table 4; quoted with Faster R-CNN R50)",
    "backbone": "Backbones (Table 8 left)",
}
"""Of the tables, by their keys."""
BACKBONES = {
    "ovsam-rn50": {"IoU": 77.3, "Acc": 50.8, "GMACs": 728, "params M": 165},
    "ovsam-rn50x16-coco": {"IoU": 78.1, "Acc": 55.1, "GMACs": 1180, "params M": 304},
    "ovsam-rn50x64": {"IoU": 78.1, "Acc": 54.1, "GMACs": 2098, "params M": 568},
    "ovsam-convnext-large": {"IoU": 78.3, "Acc": 59.1, "GMACs": 1313, "params M": 321},
}
