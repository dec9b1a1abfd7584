"""Measure a model or a baseline on annotated pictures: masks by IoU, names by accuracy, both by size and split.

python -m training.evaluate --model starter --data coco_val.json --images DIR --prompt box --vocabulary coco --json OUT
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ovsam_core.vocabulary import Vocabulary, preset_column
from training.args import ConfigError, as_dict, command
from training.measuring import measure
from training.metrics import shown
from training.records import read_records, thinned
from training.summary import summarise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.records import PictureRecord

__all__ = ["EvaluateArgs", "evaluate", "main", "split_of", "vocabulary_of"]


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
        report: folder for a Markdown table, plots and the worst cases; "auto" takes the JSON file's name without its
            ending and with "_report", "none" writes no such folder.
        worst: pictures of worst cases in the report.
        vocabulary_sizes: measure top-1 again with distractors up to these sizes (E8).
        synonyms: an entry with several phrases is as near as its nearest (max, the official way) or as their mean.
        region: name the region of the answer's own mask, or the true box even where the prompt was a click.
        most: at most about this many objects, spread evenly over the pictures; 0 takes all.
        ap_groups: groups of pictures for the standard errors of AP (jackknife); 0 leaves them out.
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
    report: str = "auto"
    worst: int = 12
    vocabulary_sizes: tuple[int, ...] = ()
    synonyms: Literal["max", "mean"] = "max"
    region: Literal["mask", "truth"] = "mask"
    most: int = 0
    ap_groups: int = 10
    cost: bool = False
    sam: Path | None = None
    sam_type: Literal["vit_b", "vit_l", "vit_h", "toy"] = "vit_h"
    sam_decoder: Path | None = None
    coop: Path | None = None
    max_bad: float = 0.01


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
        keep_masks=args.worst if args.report != "none" else 0,
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
    if args.report != "none":
        from training.report import write_report  # noqa: PLC0415  matplotlib is slow to import

        folder = args.json.with_name(f"{args.json.stem}_report") if args.report == "auto" else Path(args.report)
        write_report(folder, report, run, pictures, worst=args.worst)
    _print(report)
    return report


def _print(report: dict[str, Any]) -> None:
    def both(name: str) -> str:
        return shown(report[name], report["se"][name])

    print(f"{report['system']} · {report['prompt']} · {report['protocol']} · {report['n']} objects")
    print(f"mean IoU {both('miou')}, best candidate {both('miou_oracle')}")
    errors = report["se"]["miou_by_size"]
    print("by size " + ", ".join(f"{k} {shown(v, errors[k])}" for k, v in report["miou_by_size"].items()))
    if len(report["miou_at_clicks"]) > 1:
        print("at clicks " + ", ".join(map(shown, report["miou_at_clicks"], report["se"]["miou_at_clicks"])))
    if report["n_named"]:
        print(
            f"top-1 {both('top1')}, top-5 {both('top5')}, class mean {both('top1_class_mean')}, "
            f"without person {both('top1_non_person')}, ECE {both('ece')}"
        )
    encode, decode = (shown(report["ms"][part], digits=1) for part in ("encode", "decode"))
    print(f"encode {encode} ms a picture, decode {decode} ms a prompt")
    for protocol, found in report.get("ap", {}).items():
        print(f"mask AP, {protocol}: {shown(found['AP'], found.get('se', {}).get('AP'))}")
    for size, found in report.get("top1_by_vocabulary", {}).items():
        print(f"top-1 among {size} names {shown(found['top1'], found['se'])}")


def main(args: EvaluateArgs) -> None:
    """Run the command."""
    evaluate(args)


if __name__ == "__main__":
    sys.exit(command(EvaluateArgs, main, program="python -m training.evaluate"))
