"""Measure a model or a baseline on annotated pictures: masks by IoU, names by accuracy, both by size and split.

python -m training.evaluate --model starter --data coco_val.json --images DIR --prompt box --vocabulary coco --json OUT
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003  option types are read at run time
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ovsam_core.errors import PictureError
from ovsam_core.pictures import load_picture
from ovsam_core.prompts import Prompt
from ovsam_core.vocabulary import Vocabulary, preset_column
from training import metrics
from training.args import ConfigError, as_dict, command
from training.loop import TooManyBadPicturesError
from training.records import decode_mask, read_records, thinned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.records import ObjectRecord, PictureRecord
    from training.systems import Answer, System

__all__ = ["EvaluateArgs", "Measured", "evaluate", "main", "measure", "summarise", "vocabulary_of"]

NOWHERE = 1 << 30  # rank of a true name that is not among the answers


@dataclass
class EvaluateArgs:
    """Measure a model or a baseline on annotated pictures.

    Attributes:
        data: COCO JSON with the truth.
        json: where the figures go.
        model: id of a model, or its directory.
        images: folder of the pictures; default `images` beside the data.
        prompt: the truth's box, its centre point, or corrective clicks.
        vocabulary: names to choose from (a preset, a list, a COCO file), "data" for the file's own categories, or
            "none" to measure masks alone.
        baseline: measure this instead of the model alone.
        detections: COCO results file; adds mask AP with the detector's boxes.
        protocol: official repeats the official evaluation's known slips, corrected does not.
        split: what base and novel mean; auto takes coco's or lvis's by vocabulary, else the model's seen names.
        min_area: objects below this annotation area are left out.
        limit: at most this many pictures; 0 takes all.
        clicks: clicks given with prompt clicks.
        closer: let the model run its zoom pass and crop branch.
        device: auto, cpu or cuda.
        report: folder for a Markdown table, plots and the worst cases; none by default.
        worst: pictures of worst cases in the report.
        vocabulary_sizes: measure top-1 again with distractors up to these sizes (E8).
        synonyms: an entry with several phrases is as near as its nearest (max, the official way) or as their mean.
        region: name the region of the answer's own mask, or the true box even where the prompt was a click.
        most: at most about this many objects, spread evenly over the pictures; 0 takes all.
        cost: add parameters and MACs at 10 prompts (E7).
        sam: SAM checkpoint of the baselines that need one; empty takes the model's own mask decoder.
        sam_type: vit_b, vit_l or vit_h; toy is a small random one.
        sam_decoder: mask decoder of training.finetune_sam, which takes the place of SAM's own.
        coop: contexts learnt by training.coop, for the crop baselines.
        max_bad: share of unreadable pictures that stops the run.
    """

    data: Path
    json: Path
    model: str = "starter"
    images: Path | None = None
    prompt: Literal["box", "centre", "clicks"] = "box"
    vocabulary: str = "coco"
    baseline: Literal["", "rectangle", "grabcut", "image-crop", "feature-crop", "sam"] = ""
    detections: Path | None = None
    protocol: Literal["corrected", "official"] = "corrected"
    split: Literal["auto", "coco", "lvis", "seen", "none"] = "auto"
    min_area: float = 0.0
    limit: int = 0
    clicks: int = 5
    closer: bool = True
    device: str = "auto"
    report: Path | None = None
    worst: int = 12
    vocabulary_sizes: tuple[int, ...] = ()
    synonyms: Literal["max", "mean"] = "max"
    region: Literal["mask", "truth"] = "mask"
    most: int = 0
    cost: bool = False
    sam: Path | None = None
    sam_type: Literal["vit_b", "vit_l", "vit_h", "toy"] = "vit_h"
    sam_decoder: Path | None = None
    coop: Path | None = None
    max_bad: float = 0.01


@dataclass
class Measured:
    """One object's figures.

    Attributes:
        picture: index of the picture.
        thing: the annotated object.
        ious: IoU after each click; one value for other prompts.
        oracle: best IoU among the candidates of the last prompt.
        rank: place of the true name, NOWHERE if it is not offered, None where the name is not in the vocabulary.
        confidence: score of the first name.
        answer_id: entry id of the first name.
        entry_id: entry id of the true name.
        split: base, novel or empty.
        mask: the last mask, for reports.
    """

    picture: int
    thing: ObjectRecord
    ious: list[float] = field(default_factory=list)
    oracle: float = 0.0
    rank: int | None = None
    confidence: float = float("nan")
    answer_id: str = ""
    entry_id: str = ""
    split: str = ""
    mask: NDArray[np.bool_] | None = None

    @property
    def iou(self) -> float:
        """IoU after the last click."""
        return self.ious[-1]


@dataclass
class Run:
    """All objects, and what the measuring cost.

    Attributes:
        objects: measured objects.
        encode_ms: per picture.
        decode_ms: per prompt, names included.
        bad: unreadable pictures.
    """

    objects: list[Measured] = field(default_factory=list)
    encode_ms: list[float] = field(default_factory=list)
    decode_ms: list[float] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)


def measure(
    system: System,
    pictures: Sequence[PictureRecord],
    vocabulary: Vocabulary | None,
    *,
    prompt: Literal["box", "centre", "clicks"] = "box",
    clicks: int = 5,
    min_area: float = 0.0,
    split: dict[str, str] | None = None,
    keep_masks: bool = False,
    max_bad: float = 1.0,
    protocol: Literal["corrected", "official"] = "corrected",
    stop_at: float = 1.0,
) -> Run:
    """Prompt the system once for every object of every picture.

    Args:
        system: what is measured.
        pictures: the truth; crowd regions and objects without a mask are left out.
        vocabulary: names; an object whose name is not in it counts for masks alone. None leaves names out.
        prompt: the kind of prompt.
        clicks: number of clicks for prompt "clicks".
        min_area: least annotation area.
        split: entry id → "base" or "novel".
        keep_masks: keep every last mask, for reports.
        max_bad: share of unreadable pictures that stops the run.
        stop_at: objects that reach this IoU get no further click and keep it.
        protocol: "official" finds the centre on the picture resized to the network's input, as the official code does.

    Raises:
        TooManyBadPicturesError: too many pictures cannot be read; the message names the first.
    """
    run = Run()
    for index, record in enumerate(pictures):
        things = [o for o in record.objects if not o.crowd and o.segmentation and o.area >= min_area]
        if not things:
            continue
        try:
            picture = load_picture(record.path)
        except PictureError as error:
            run.bad.append((str(record.path), str(error)))
            if len(run.bad) > max_bad * len(pictures):
                raise TooManyBadPicturesError(f"{len(run.bad)} of {len(pictures)} unreadable: {error}") from error
            continue
        truths = [decode_mask(o, *picture.size_hw) for o in things]
        began = time.perf_counter()
        system.set_image(picture)
        run.encode_ms.append((time.perf_counter() - began) * 1e3)
        batch = [Measured(index, o) for o in things]
        rounds = clicks if prompt == "clicks" else 1
        answers = _ask(system, run, batch, truths, prompt, rounds, protocol, stop_at)
        for one, truth, answer in zip(batch, truths, answers, strict=True):
            one.oracle = max(metrics.mask_iou(truth, m) for m in (answer.mask, *answer.others))
            _name(one, answer, vocabulary, split or {})
            one.mask = answer.mask if keep_masks else None
        run.objects += batch
    return run


def _ask(
    system: System,
    run: Run,
    batch: list[Measured],
    truths: list[NDArray[np.bool_]],
    prompt: str,
    rounds: int,
    protocol: str,
    stop_at: float,
) -> list[Answer]:
    """Ask `rounds` times, correcting with a click between; fill in the IoUs and return the last answers."""
    boxes = [one.thing.box_xyxy for one in batch]
    clicked: list[list[tuple[float, float]]] = [[] for _ in batch]
    labels: list[list[int]] = [[] for _ in batch]
    answers: list[Answer] = []
    if prompt == "box":
        prompts = [Prompt.of(box=box) for box in boxes]
    else:
        for points, signs, truth in zip(clicked, labels, truths, strict=True):
            points.append(official_centre(truth) if protocol == "official" else metrics.centre_point(truth))
            signs.append(1)
        prompts = [Prompt.of(p, s) for p, s in zip(clicked, labels, strict=True)]
    active = list(range(len(batch)))
    answers = [None] * len(batch)  # type: ignore[list-item]
    for number in range(rounds):
        began = time.perf_counter()
        fresh = system.answer([prompts[i] for i in active], [boxes[i] for i in active]) if active else []
        if active:
            run.decode_ms += [(time.perf_counter() - began) * 1e3 / len(active)] * len(active)
        for i, answer in zip(active, fresh, strict=True):
            answers[i] = answer
        for one, truth, answer in zip(batch, truths, answers, strict=True):
            one.ious.append(metrics.mask_iou(truth, answer.mask))
        if number + 1 == rounds:
            break
        active = []
        for i, (truth, answer) in enumerate(zip(truths, answers, strict=True)):
            click = metrics.next_click(truth, answer.mask, clicked[i])
            if click is not None and batch[i].iou < stop_at:  # else no further click is asked for: the IoU stays
                clicked[i].append(click[:2])
                labels[i].append(click[2])
                prompts[i] = Prompt.of(clicked[i], labels[i], mask=answer.logits)
                active.append(i)
    return answers


def official_centre(truth: NDArray[np.bool_], side: int = 1024) -> tuple[float, float]:
    """Return the centre as the official code finds it: on the mask resized to the network's input, nearest pixel."""
    import cv2  # noqa: PLC0415  only this protocol needs it here

    height, width = truth.shape
    scale = side / max(height, width)
    size = (max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5)))
    resized = cv2.resize(truth.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    x, y = metrics.centre_point(resized.astype(bool))
    # The official point is the pixel's index, without the half: SAM's encoder adds its own.
    return (x - 0.5) * width / size[0], (y - 0.5) * height / size[1]


def _name(one: Measured, answer: Answer, vocabulary: Vocabulary | None, split: dict[str, str]) -> None:
    entry = vocabulary.find(one.thing.name) if vocabulary is not None and one.thing.name else None
    if entry is None or not answer.names:
        return
    one.entry_id, one.split = entry.id, split.get(entry.id, "")
    ids = [i for i, _ in answer.names]
    one.rank = ids.index(entry.id) if entry.id in ids else NOWHERE
    one.answer_id, one.confidence = answer.names[0]


def summarise(run: Run) -> dict[str, Any]:
    """Return the figures of the contract, with standard errors under "se"."""
    objects = run.objects
    named = [o for o in objects if o.rank is not None]
    ranks = [o.rank for o in named if o.rank is not None]
    ious = metrics.mean(o.iou for o in objects)
    top1 = metrics.accuracy(ranks)
    sizes = {s: [o for o in objects if metrics.size_of(o.thing.area) == s] for s in ("small", "medium", "large")}
    sizes["from_32px"] = sizes["medium"] + sizes["large"]
    rounds = max((len(o.ious) for o in objects), default=0)
    report: dict[str, Any] = {
        "n": len(objects),
        "n_named": len(named),
        "miou": ious["mean"],
        "miou_oracle": metrics.mean(o.oracle for o in objects)["mean"],
        "miou_by_size": {s: metrics.mean(o.iou for o in group)["mean"] for s, group in sizes.items()},
        "miou_at_clicks": [metrics.mean(o.ious[k] for o in objects)["mean"] for k in range(rounds)],
        "top1": top1["mean"],
        "top5": metrics.accuracy(ranks, 5)["mean"],
        "top1_class_mean": metrics.class_mean(ranks, [o.thing.name for o in named]),
        "top1_non_person": metrics.accuracy(o.rank for o in named if o.rank is not None and o.thing.name != "person")[
            "mean"
        ],
        "top1_by_size": {
            s: metrics.accuracy(o.rank for o in group if o.rank is not None)["mean"] for s, group in sizes.items()
        },
        "base": _of_split(objects, "base"),
        "novel": _of_split(objects, "novel"),
        "ece": metrics.calibration_error([o.confidence for o in named], [o.rank == 0 for o in named]),
        "ms": {"encode": _median(run.encode_ms), "decode": _median(run.decode_ms)},
        "se": {
            "miou": ious["se"],
            "top1": top1["se"],
            "miou_by_size": {s: metrics.mean(o.iou for o in group)["se"] for s, group in sizes.items()},
        },
        "n_by_size": {s: len(group) for s, group in sizes.items()},
        "unreadable": [path for path, _ in run.bad],
    }
    if rounds > 1:
        curves = [o.ious for o in objects]
        report["clicks_to_80"] = metrics.clicks_to_reach(curves, 0.8)
        report["clicks_to_90"] = metrics.clicks_to_reach(curves, 0.9)
    return report


def _of_split(objects: Sequence[Measured], split: str) -> dict[str, Any]:
    mine = [o for o in objects if o.split == split]
    ious, top1 = metrics.mean(o.iou for o in mine), metrics.accuracy(o.rank for o in mine if o.rank is not None)
    return {
        "n": len(mine),
        "miou": ious["mean"],
        "top1": top1["mean"],
        "se": {"miou": ious["se"], "top1": top1["se"]},
    }


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if len(values) else None


def vocabulary_of(name: str, data: Path, pictures: Sequence[PictureRecord]) -> Vocabulary | None:
    """Return the vocabulary that `--vocabulary` means; "data" takes the categories of the truth, "none" nothing."""
    if name == "none" or not any(o.name for p in pictures for o in p.objects):
        return None
    return Vocabulary.load(data if name == "data" else name)


def split_of(kind: str, vocabulary: Vocabulary | None, seen: frozenset[str]) -> dict[str, str]:
    """Return entry id → "base" or "novel"; entries in neither are left out.

    COCO's 48 / 17 split of Zareian et al. and LVIS's rare classes ship with the vocabularies; "seen" divides by what
    the model was trained on.
    """
    if vocabulary is None or kind == "none":
        return {}
    if kind == "auto":
        kind = next((k for k in ("coco", "lvis") if vocabulary.id.split("*")[0] == k), "seen")
    if kind == "coco":
        return {i: s for i, s in preset_column("coco", "split").items() if s in {"base", "novel"}}
    if kind == "lvis":
        return {i: "novel" if f == "r" else "base" for i, f in preset_column("lvis", "frequency").items()}
    if not seen:
        return {}
    return {e.id: "base" if e.id in seen or e.name in seen else "novel" for e in vocabulary}


def evaluate(args: EvaluateArgs) -> dict[str, Any]:
    """Run the whole command and return what it writes.

    Raises:
        OvsamError: the model, the data or an option cannot be used; the message says which.
    """
    from training.build_system import build_system  # noqa: PLC0415  loads torch

    pictures = read_records(args.data, args.images)
    if args.limit:
        pictures = [p for p in pictures if any(not o.crowd for o in p.objects)][: args.limit]
    if args.most:
        pictures = thinned(pictures, args.most)
    vocabulary = vocabulary_of(args.vocabulary, args.data, pictures)
    system = build_system(args, vocabulary)
    split = split_of(args.split, vocabulary, system.seen)
    run = measure(
        system,
        pictures,
        vocabulary,
        prompt=args.prompt,
        clicks=args.clicks,
        min_area=args.min_area,
        split=split,
        keep_masks=args.report is not None,
        max_bad=args.max_bad,
        protocol=args.protocol,
    )
    if not run.objects:
        raise ConfigError(f"{args.data}: no object with a mask of at least {args.min_area:g} pixels")
    report: dict[str, Any] = {
        "system": system.name,
        "protocol": args.protocol,
        "prompt": args.prompt,
        "vocabulary": None if vocabulary is None else {"id": vocabulary.id, "size": len(vocabulary)},
        **summarise(run),
    }
    if args.detections:
        from training.detections import detection_report  # noqa: PLC0415  heavy, seldom used

        report["ap"] = detection_report(args, system, pictures, vocabulary, split)
    if args.vocabulary_sizes and vocabulary is not None:
        from training.scaling import vocabulary_scaling  # noqa: PLC0415

        report["top1_by_vocabulary"] = vocabulary_scaling(args, pictures, vocabulary)
    if args.cost:
        from training.cost import model_cost  # noqa: PLC0415

        report["cost"] = model_cost(args.model)
    report["options"] = as_dict(args)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(report, indent=1), encoding="utf-8")
    if args.report:
        from training.report import write_report  # noqa: PLC0415  matplotlib is slow to import

        write_report(args.report, report, run, pictures, worst=args.worst)
    _print(report)
    return report


def _print(report: dict[str, Any]) -> None:
    def show(value: float | None, error: float | None = None) -> str:
        return "–" if value is None else f"{value:.3f}" + (f" ± {error:.3f}" if error is not None else "")

    print(f"{report['system']} · {report['prompt']} · {report['protocol']} · {report['n']} objects")
    print(f"mean IoU {show(report['miou'], report['se']['miou'])}, best candidate {show(report['miou_oracle'])}")
    print("by size " + ", ".join(f"{k} {show(v)}" for k, v in report["miou_by_size"].items()))
    if len(report["miou_at_clicks"]) > 1:
        print("at clicks " + ", ".join(show(v) for v in report["miou_at_clicks"]))
    if report["n_named"]:
        print(
            f"top-1 {show(report['top1'], report['se']['top1'])}, top-5 {show(report['top5'])}, "
            f"class mean {show(report['top1_class_mean'])}, without person {show(report['top1_non_person'])}, "
            f"ECE {show(report['ece'])}"
        )
    print(f"encode {show(report['ms']['encode'])} ms a picture, decode {show(report['ms']['decode'])} ms a prompt")


def main(args: EvaluateArgs) -> None:
    """Run the command."""
    evaluate(args)


if __name__ == "__main__":
    sys.exit(command(EvaluateArgs, main, program="python -m training.evaluate"))
