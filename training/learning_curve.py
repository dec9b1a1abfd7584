"""How much a model gains from how many labelled pictures: fine-tune, measure on other pictures, draw the curve.

    python -m training.learning_curve --model starter --data train.json --check val.json --learn masks --out curve

Every run is `training.finetune` as a user would start it (its own validation share, early stopping and guard
included); a model that the guard refuses is not used, so that its row holds the figures of the model before.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path  # noqa: TC003  option types are read at run time
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ovsam_core.config import ModelConfig
from ovsam_core.models.registry import resolve
from ovsam_core.predictor import load_predictor
from training import metrics
from training.args import ConfigError, as_dict, command, differences
from training.evaluate import vocabulary_of
from training.finetune import FinetuneArgs, FinetuneLoop, FinetuneOptim, GuardError, NamesArgs, finetune
from training.measuring import measure
from training.recalibration import confidence, name_scores, ranks
from training.records import read_records, thinned
from training.systems import OvsamSystem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from training.measuring import Run
    from training.records import PictureRecord

__all__ = ["LearningCurveArgs", "learning_curve", "main", "table"]

_FIGURES = {
    "masks": {"iou_box": "IoU from a box", "iou_click": "IoU from one click"},
    "names": {"top1": "top-1", "top5": "top-5", "ece": "ECE", "ece_kept": "ECE at the old temperature"},
}


@dataclass
class LearningCurveArgs:
    """Fine-tune on more and more pictures and measure each model on pictures of their own.

    Attributes:
        data: labelled pictures to learn from; each run draws its own by seed.
        check: pictures to measure on; nothing is learnt or chosen on them.
        out: folder of all runs, `curve.json`, `curve.md` and `curve.png`; finished runs are not repeated, and further
            counts and seeds add to them.
        model: model to start from.
        images: folder of the pictures; default as in `training.evaluate`.
        learn: masks or names.
        counts: numbers of pictures.
        seeds: one run for each number of pictures and seed.
        most: at most about this many objects are measured, spread over the pictures; 0 takes all.
        validation_objects: as in `training.finetune`.
        names: as in `training.finetune`.
        loop: as in `training.finetune`.
        optim: as in `training.finetune`.
    """

    data: Path
    check: Path
    out: Path
    model: str = "starter"
    images: Path | None = None
    learn: str = "masks"
    counts: tuple[int, ...] = (10, 40, 150)
    seeds: tuple[int, ...] = (0, 1)
    most: int = 300
    validation_objects: int = 120
    names: NamesArgs = field(default_factory=NamesArgs)
    loop: FinetuneLoop = field(default_factory=FinetuneLoop)
    optim: FinetuneOptim = field(default_factory=FinetuneOptim)


def learning_curve(args: LearningCurveArgs) -> list[dict[str, Any]]:
    """Run the whole curve and return its rows, the model before first.

    Raises:
        ConfigError: `learn` is neither masks nor names, or the folder holds runs of another model or other options.
        OvsamError: model or data cannot be used.
    """
    if args.learn not in _FIGURES:
        raise ConfigError(f"--learn: expected one of {', '.join(_FIGURES)}, got {args.learn}")
    pictures = read_records(args.check, args.images)
    pictures = thinned(pictures, args.most) if args.most else pictures
    args.out.mkdir(parents=True, exist_ok=True)
    _check_folder(args)
    before = _kept(args.out / "before.json", lambda: {"objects": _objects(args, args.model, pictures)})
    rows = [_row(0, [before], before)]
    for count in args.counts:
        runs = [
            _kept(args.out / f"{count}-{seed}.json", lambda c=count, s=seed: _run(args, c, s, pictures, before))
            for seed in args.seeds
        ]
        rows.append(_row(count, runs, before))
        (args.out / "curve.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
        (args.out / "curve.md").write_text(table(rows, args.learn), encoding="utf-8")
        _plot(args.out / "curve.png", rows, args.learn)
    print(table(rows, args.learn), end="")
    return rows


def _check_folder(args: LearningCurveArgs) -> None:
    """Refuse a folder whose finished runs are of another model or of other options."""
    hashes = ModelConfig.from_json((resolve(args.model) / "config.json").read_bytes()).hashes
    options = {k: v for k, v in as_dict(args).items() if k not in {"out", "counts", "seeds"}}
    options["loop"].pop("seed")
    wanted = {"model_hashes": asdict(hashes), **options}
    path = args.out / "options.json"
    if path.exists():
        changed = differences(json.loads(path.read_text(encoding="utf-8")), wanted)
        if changed:
            raise ConfigError(f"{args.out}: holds runs of another kind: {'; '.join(changed)}; take another folder")
    path.write_text(json.dumps(wanted, indent=1), encoding="utf-8")


def _kept(path: Path, make: Any) -> dict[str, Any]:
    if path.exists():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    made: dict[str, Any] = make()
    path.write_text(json.dumps(made), encoding="utf-8")
    return made


def _run(
    args: LearningCurveArgs, count: int, seed: int, pictures: Sequence[PictureRecord], before: Mapping[str, Any]
) -> dict[str, Any]:
    """Fine-tune once and measure; a refused model leaves everything as it was."""
    out = args.out / f"{count}-{seed}"
    options = FinetuneArgs(
        args.data,
        out,
        model=args.model,
        images=args.images,
        learn=(args.learn,),
        limit=count,
        validation_objects=args.validation_objects,
        names=args.names,
        loop=replace(args.loop, seed=seed),
        optim=args.optim,
    )
    began, busy = time.perf_counter(), time.process_time()
    refused, report = "", {}
    try:
        report = finetune(options)
    except GuardError as error:
        refused = str(error)
        print(refused)
    spent = {"minutes": (time.perf_counter() - began) / 60, "cpu_minutes": (time.process_time() - busy) / 60}
    gc.collect()  # kept features of this run make room for the next one's
    objects = (
        before["objects"]
        if refused
        else _objects(args, str(out), pictures, report.get("temperature", {}).get("before"))
    )
    return {"refused": refused, "validation": report, **spent, "objects": objects}


def _objects(
    args: LearningCurveArgs, model: str, pictures: Sequence[PictureRecord], temperature: float | None = None
) -> dict[str, list[float]]:
    """Measure every object: IoUs, or rank and confidence of its name, also at the temperature before."""
    predictor = load_predictor(model, device="cpu" if args.loop.device == "cpu" else "auto")
    if args.learn == "names":
        vocabulary = vocabulary_of("data", args.check, pictures)
        if vocabulary is None:
            raise ConfigError(f"{args.check}: no object has a name")
        scores = name_scores(predictor, pictures, vocabulary)
        sure = confidence(scores, predictor.config.temperature).tolist()
        return {
            "rank": ranks(scores),
            "confidence": sure,
            "confidence_kept": confidence(scores, temperature or predictor.config.temperature).tolist(),
        }
    system = OvsamSystem(predictor, None, kept={})
    runs: dict[str, Run] = {p: measure(system, pictures, None, prompt=p) for p in ("box", "centre")}
    return {"iou_box": [o.iou for o in runs["box"].objects], "iou_click": [o.iou for o in runs["centre"].objects]}


def _row(count: int, runs: Sequence[Mapping[str, Any]], before: Mapping[str, Any]) -> dict[str, Any]:
    """Average the runs of one number of pictures; `gain` compares the same objects before and after."""
    each = [_values(run["objects"]) for run in runs]
    start = _values(before["objects"])
    row: dict[str, Any] = {
        "pictures": count,
        "runs": len(runs),
        "refused": sum(bool(run.get("refused")) for run in runs),
        "minutes": [run["minutes"] for run in runs if "minutes" in run],
        "cpu_minutes": [run["cpu_minutes"] for run in runs if "cpu_minutes" in run],
    }
    for name in start:
        over = np.mean([one[name] for one in each], axis=0)  # the seeds' mean of every object
        gain = metrics.mean((over - start[name]).tolist())
        row[name] = {**metrics.mean(over.tolist()), "by_seed": [float(one[name].mean()) for one in each]}
        row[name] |= {"gain": gain["mean"], "gain_se": gain["se"]}
    if "confidence" in before["objects"]:
        for name, key in (("ece", "confidence"), ("ece_kept", "confidence_kept")):
            found = [
                metrics.calibration_error_with_se(run["objects"][key], [r == 0 for r in run["objects"]["rank"]])
                for run in runs
            ]
            errors, uncertain = ([one[part] or 0.0 for one in found] for part in ("mean", "se"))
            # All seeds are measured on the same objects: their mean is no surer than one of them.
            row[name] = {
                "mean": float(np.mean(errors)),
                "se": float(np.mean(uncertain)),
                "by_seed": errors,
                "gain": None,
            }
    return row


def _values(objects: Mapping[str, list[float]]) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    if "rank" not in objects:
        return {name: np.asarray(values) for name, values in objects.items()}
    ranks = np.asarray(objects["rank"])
    return {"top1": (ranks < 1).astype(float), "top5": (ranks < 5).astype(float)}


def table(rows: Sequence[Mapping[str, Any]], learn: str) -> str:
    """Return the curve as Markdown.

    Figures are means over objects and seeds ± one standard error over objects, with the gain over the model before in
    brackets and, of several seeds, the least and the greatest seed's mean.
    """
    figures = _FIGURES[learn]
    head = ["pictures", *figures.values(), "refused", "processor minutes a run"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in rows:
        cells = [str(row["pictures"]) if row["pictures"] else "0 (before)"]
        for name in figures:
            value = row[name]
            cell = metrics.shown(value["mean"], value["se"])
            if row["pictures"] and value["gain"] is not None:
                cell += f" ({value['gain']:+.3f} ± {value['gain_se'] or 0:.3f})"
            if len(value["by_seed"]) > 1:
                cell += f", seeds {min(value['by_seed']):.3f} to {max(value['by_seed']):.3f}"
            cells.append(cell)
        minutes = ", ".join(f"{m:.1f}" for m in row["cpu_minutes"]) if row["pictures"] else "–"
        refused = f"{row['refused']} of {row['runs']}" if row["pictures"] else "–"
        lines.append("| " + " | ".join([*cells, refused, minutes]) + " |")
    return "\n".join(lines) + "\n"


def _plot(path: Path, rows: Sequence[Mapping[str, Any]], learn: str) -> None:
    """Draw the figures against the number of pictures, every seed as a dot."""
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = range(len(rows))
    for name, words in _FIGURES[learn].items():
        means = [row[name]["mean"] for row in rows]
        errors = [row[name]["se"] or 0.0 for row in rows]
        line = axes.errorbar(places, means, yerr=errors, marker="o", capsize=3, label=words)
        for place, row in zip(places, rows, strict=True):
            dots = row[name]["by_seed"]
            axes.plot([place] * len(dots), dots, ".", color=line[0].get_color(), alpha=0.5)
    axes.set_xticks(list(places), [str(row["pictures"]) if row["pictures"] else "before" for row in rows])
    axes.set_xlabel("labelled pictures")
    axes.set_ylabel("on other pictures")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def main(args: LearningCurveArgs) -> None:
    """Run the command."""
    learning_curve(args)


if __name__ == "__main__":
    sys.exit(command(LearningCurveArgs, main, program="python -m training.learning_curve"))
