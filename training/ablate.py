"""Train and evaluate the paper's ablation switches, at any size, and print its tables beside its own numbers.

    python -m training.ablate --model tiny --data train.json --check val.json --out ablation --sam_type toy

Every row is a whole chain (distil, CLIP2SAM, evaluate) of the ordinary stages with one thing changed. Figures of the
paper are quoted for orientation only: they come from its data and its size of model.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path  # noqa: TC003  option types are read at run time
from typing import TYPE_CHECKING, Any, Literal

from ovsam_core.checkpoint import load_model, save_model
from ovsam_core.config import named_config
from ovsam_core.modeling.build import build_model
from ovsam_core.modeling.cost import measure as measure_cost
from training.args import ConfigError, command
from training.data import PromptArgs
from training.distill_sam2clip import DistillArgs, DistillLoop, DistillOptim
from training.distill_sam2clip import train as distil
from training.evaluate import EvaluateArgs, evaluate
from training.finetune_sam import SamDecoderArgs
from training.finetune_sam import train as finetune_sam
from training.networks import load_network, save_network
from training.options import LoopArgs
from training.tasks import LossArgs
from training.teacher import TeacherArgs
from training.train_clip2sam import Clip2SamArgs, Clip2SamOptim
from training.train_clip2sam import train as train_clip2sam

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ovsam_core.config import ModelConfig

__all__ = ["SWITCHES", "AblateArgs", "Switch", "ablate", "main"]


@dataclass
class AblateArgs:
    """Run ablations.

    Attributes:
        data: pictures to learn from, for both stages.
        check: pictures to measure on.
        out: folder of all runs and of tables.md.
        model: configuration the switches start from.
        weights: published files that fill it (CLIP, SAM).
        images: folder of the pictures.
        tables: which tables; empty runs all but backbones, which needs a list of configurations.
        backbones: configurations of the table "backbone".
        classes: as in training.train_clip2sam.
        vocabulary: names of the evaluation.
        distil_steps: optimiser steps of SAM2CLIP.
        steps: optimiser steps of CLIP2SAM.
        batch_size: pictures a step.
        lr: peak learning rate of both stages.
        points: points a mask in the loss.
        limit: pictures of the check; 0 takes all.
        detections: COCO results file of a detector on the check; adds mask AP with its boxes and labels (Table 4).
        device: auto or cpu.
        seed: of weights and draws.
        teacher: which SAM.
    """

    data: Path
    check: Path
    out: Path
    model: str = "ovsam-rn50x16-coco"
    weights: tuple[Path, ...] = ()
    images: Path | None = None
    tables: tuple[str, ...] = ()
    backbones: tuple[str, ...] = ()
    classes: str = "coco-base"
    vocabulary: str = "coco"
    distil_steps: int = 20000
    steps: int = 20000
    batch_size: int = 2
    lr: float = 1e-4
    points: int = 12544
    limit: int = 0
    detections: Path | None = None
    device: str = "auto"
    seed: int = 0
    teacher: TeacherArgs = field(default_factory=TeacherArgs)


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


_AP = ("AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L")
SWITCHES: tuple[Switch, ...] = (
    Switch("neck", "multi-scale neck", quoted={"IoU": 78.1, "GMACs": 1180, "params M": 304}, head=False),
    Switch("neck", "single-scale neck", config=_neck("single"), quoted={"IoU": 73.6, "GMACs": 1280}, head=False),
    Switch("clip2sam", "SAM2CLIP alone", head=False, config=_variant("none"), quoted={"IoU": 78.1, "Acc": 54.2}),
    Switch("clip2sam", "class token", config=_variant("token"), quoted={"IoU": 81.3, "Acc": 79.3}),
    Switch("clip2sam", "class token and CLIP", config=_variant("token_clip"), quoted={"IoU": 80.9, "Acc": 78.9}),
    Switch("clip2sam", "light FPN", config=_variant("fpn"), quoted={"IoU": 81.5, "Acc": 84.3}),
    Switch("sam2clip", "with SAM2CLIP"),
    Switch("sam2clip", "without SAM2CLIP", distil=False),
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
    Switch("masks", "SAM", system="sam", quoted=dict(zip(_AP, (35.6, 54.9, 38.4, 17.2, 39.1, 51.4), strict=True))),
    Switch(
        "masks",
        "SAM, decoder fine-tuned",
        system="sam-tuned",
        quoted=dict(zip(_AP, (35.8, 55.0, 38.4, 16.5, 38.6, 53.0), strict=True)),
    ),
    Switch("masks", "OVSAM", quoted=dict(zip(_AP, (35.8, 55.6, 38.3, 16.0, 38.9, 53.1), strict=True))),
)
_TITLES = {
    "neck": "SAM2CLIP design (Table 7 left)",
    "clip2sam": "CLIP2SAM design (Table 7 right)",
    "sam2clip": "Components (Table 6)",
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
_BACKBONES = {
    "ovsam-rn50": {"IoU": 77.3, "Acc": 50.8, "GMACs": 728, "params M": 165},
    "ovsam-rn50x16-coco": {"IoU": 78.1, "Acc": 55.1, "GMACs": 1180, "params M": 304},
    "ovsam-rn50x64": {"IoU": 78.1, "Acc": 54.1, "GMACs": 2098, "params M": 568},
    "ovsam-convnext-large": {"IoU": 78.3, "Acc": 59.1, "GMACs": 1313, "params M": 321},
}


def ablate(args: AblateArgs) -> dict[str, list[dict[str, Any]]]:
    """Run the chosen tables; resumable, because every stage is.

    Raises:
        ConfigError: a table that does not exist.
    """
    known = [*dict.fromkeys(s.table for s in SWITCHES), "backbone"]
    if wrong := [t for t in args.tables if t not in known]:
        raise ConfigError(f"--tables: {', '.join(wrong)}: expected some of {', '.join(known)}")
    rows = list(SWITCHES) + [Switch("backbone", b, head=False, quoted=_BACKBONES.get(b, {})) for b in args.backbones]
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if not args.tables or row.table in args.tables:
            found.setdefault(row.table, []).append(_row(args, row))
            (args.out / "tables.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
            (args.out / "tables.md").write_text(tables(found), encoding="utf-8")
    print(tables(found), end="")
    return found


def _row(args: AblateArgs, switch: Switch) -> dict[str, Any]:
    name = switch.name if switch.table == "backbone" else args.model
    config = switch.config(named_config(name))
    folder = args.out / "rows" / switch.key
    options = EvaluateArgs(
        args.check,
        folder / "figures.json",
        images=args.images,
        prompt=switch.prompt,  # type: ignore[arg-type]
        vocabulary=args.vocabulary,
        limit=args.limit,
        device=args.device,
        detections=args.detections,
    )
    costs: dict[str, float] = {}
    if switch.system == "model":
        changed = load_model(_trained(args, switch, config))
        changes = _changes(changed.config, switch.after(changed.config))
        save_network(changed, folder, card=f"# {switch.name}\n", **changes)
        options = replace(options, model=str(folder), **switch.evaluation)
        cost = measure_cost(config)
        costs = {
            "params M": round(cost.total_parameters / 1e6, 1),
            "GMACs": round(cost.total_macs(10) / 1e9, 1),
        }
    else:
        tuned = _tuned_decoder(args) if switch.system == "sam-tuned" else None
        teacher = args.teacher
        options = replace(
            options, baseline="sam", sam=teacher.sam, sam_type=teacher.sam_type, sam_decoder=tuned, vocabulary="none"
        )
    figures = evaluate(options)
    precision = figures.get("ap", {}).get("detector_labels", {})
    return {
        "row": switch.name,
        "IoU": _percent(figures["miou"]),
        "IoU base": _percent(figures["base"]["miou"]),
        "IoU novel": _percent(figures["novel"]["miou"]),
        "Acc": _percent(figures["top1"]),
        "Acc base": _percent(figures["base"]["top1"]),
        "Acc novel": _percent(figures["novel"]["top1"]),
        **costs,
        **{column: _percent(precision.get(column)) for column in _AP},
        "quoted": dict(switch.quoted),
    }


def _tuned_decoder(args: AblateArgs) -> Path:
    """Fine-tune the teacher's mask decoder as long as CLIP2SAM trains ours."""
    out = args.out / "runs" / "sam-decoder"
    finetune_sam(
        SamDecoderArgs(
            args.data,
            out,
            images=args.images,
            teacher=args.teacher,
            loss=LossArgs(points=args.points),
            loop=LoopArgs(
                epochs=100000,
                max_steps=args.steps,
                batch_size=args.batch_size,
                device=args.device,  # type: ignore[arg-type]
                seed=args.seed,
            ),
            optim=Clip2SamOptim(lr=args.lr, base_batch=0, warmup_steps=min(500, args.steps // 10)),
        )
    )
    return out / "sam_decoder.safetensors"


def _trained(args: AblateArgs, switch: Switch, config: ModelConfig) -> Path:
    """Run the stages that this row needs and return the model's folder; equal rows are trained once."""
    start = args.out / "start" / switch.key
    network = build_model(config, seed=args.seed)
    save_model(network, start)
    hashes = load_model(start).config.hashes
    chain = args.out / "runs" / f"{hashes.encoder[:12]}-{hashes.head[:12]}-{_prompt_key(switch)}"
    model = start
    loop: dict[str, Any] = {
        "max_steps": args.distil_steps,
        "batch_size": args.batch_size,
        "device": args.device,
        "seed": args.seed,
    }
    if switch.distil:
        distil(
            DistillArgs(
                args.data,
                chain / "sam2clip",
                model=str(model),
                weights=args.weights,
                images=args.images,
                teacher=args.teacher,
                loop=DistillLoop(epochs=100000, **loop),
                optim=DistillOptim(lr=args.lr, base_batch=0, warmup_steps=min(500, args.distil_steps // 10)),
            )
        )
        model = chain / "sam2clip" / "model"
    if switch.head and load_network(str(model)).config.head.variant != "none":
        parts = (
            ("fpn", "head", "skips", "mask_decoder")
            if switch.distil
            else ("neck", "fpn", "head", "skips", "mask_decoder")
        )
        train_clip2sam(
            Clip2SamArgs(
                (args.data,),
                chain / "clip2sam",
                model=str(model),
                images=(args.images,) if args.images else (),
                classes=args.classes,
                trained=parts,
                prompts=PromptArgs(**dict(switch.prompts)),
                loss=LossArgs(points=args.points),
                loop=DistillLoop(epochs=100000, **(loop | {"max_steps": args.steps})),
                optim=Clip2SamOptim(lr=args.lr, base_batch=0, warmup_steps=min(500, args.steps // 10)),
            )
        )
        model = chain / "clip2sam" / "model"
    return model


def _prompt_key(switch: Switch) -> str:
    parts = [f"{k}{v}" for k, v in switch.prompts.items()]
    return "-".join([*parts, "distilled" if switch.distil else "bare", "head" if switch.head else "neck"])


def _changes(old: ModelConfig, new: ModelConfig) -> dict[str, Any]:
    return {name: getattr(new, name) for name in ("fusion", "templates") if getattr(old, name) != getattr(new, name)}


def _percent(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 1)


def tables(found: Mapping[str, list[dict[str, Any]]]) -> str:
    """Return Markdown tables: our figures, then the paper's in brackets, marked as quoted."""
    most = ("IoU", "IoU base", "IoU novel", "Acc", "Acc base", "Acc novel", "params M", "GMACs")
    lines = []
    for table, rows in found.items():
        columns = ("IoU", *_AP) if table == "masks" else most
        lines += [f"## {_TITLES[table]}", "", "| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
        for row in rows:
            cells = []
            for column in columns:
                own = "–" if row.get(column) is None else f"{row[column]}"
                quoted = row["quoted"].get(column)
                cells.append(own + (f" (quoted: {quoted:g})" if quoted is not None else ""))
            lines.append(f"| {row['row']} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def main(args: AblateArgs) -> None:
    """Run the command."""
    args.out.mkdir(parents=True, exist_ok=True)
    ablate(args)


if __name__ == "__main__":
    sys.exit(command(AblateArgs, main, program="python -m training.ablate"))
