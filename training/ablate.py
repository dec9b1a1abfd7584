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
from typing import TYPE_CHECKING, Any

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
from training.switches import AP, BACKBONES, COLUMNS, SIDES, SWITCHES, TITLES, Switch
from training.tasks import LossArgs
from training.teacher import TeacherArgs
from training.train_clip2sam import Clip2SamArgs, Clip2SamOptim
from training.train_clip2sam import train as train_clip2sam

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovsam_core.config import ModelConfig

__all__ = ["AblateArgs", "ablate", "main", "tables"]


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


def ablate(args: AblateArgs) -> dict[str, list[dict[str, Any]]]:
    """Run the chosen tables; resumable, because every stage is.

    Raises:
        ConfigError: a table that does not exist.
    """
    known = [*dict.fromkeys(s.table for s in SWITCHES), "backbone"]
    if wrong := [t for t in args.tables if t not in known]:
        raise ConfigError(f"--tables: {', '.join(wrong)}: expected some of {', '.join(known)}")
    rows = list(SWITCHES) + [Switch("backbone", b, head=False, quoted=BACKBONES.get(b, {})) for b in args.backbones]
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
            "params M": _rounded(cost.total_parameters / 1e6),
            "GMACs": _rounded(cost.total_macs(10) / 1e9),
        }
    else:
        tuned = _tuned_decoder(args) if switch.system == "sam-tuned" else None
        teacher = args.teacher
        options = replace(
            options, baseline="sam", sam=teacher.sam, sam_type=teacher.sam_type, sam_decoder=tuned, vocabulary="none"
        )
    figures = evaluate(options)
    found = figures.get("ap", {})
    ours = found.get("generalized_all", found.get("our_labels", {}))
    precision = found.get("detector_labels", {}) if switch.table == "masks" else ours
    return {
        "row": switch.name,
        "IoU": _percent(figures["miou"]),
        "IoU base": _percent(figures["base"]["miou"]),
        "IoU novel": _percent(figures["novel"]["miou"]),
        "Acc": _percent(figures["top1"]),
        "Acc base": _percent(figures["base"]["top1"]),
        "Acc novel": _percent(figures["novel"]["top1"]),
        **costs,
        **{column: _percent(precision.get(column)) for column in AP},
        **{column: _percent(found.get(side, {}).get("AP")) for column, side in SIDES.items()},
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


def _rounded(value: float) -> float:
    return round(value, 1) if value >= 10 else round(value, 3)


def tables(found: Mapping[str, list[dict[str, Any]]]) -> str:
    """Return Markdown tables: our figures, then the paper's in brackets, marked as quoted; no column without any."""
    lines = []
    for table, rows in found.items():
        columns = [c for c in COLUMNS if any(row.get(c) is not None or c in row["quoted"] for row in rows)]
        if table == "masks":  # SAM has no names
            columns = ["IoU", *AP]
        lines += [f"## {TITLES[table]}", "", "| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
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
