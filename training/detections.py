"""Mask AP with a detector's boxes (paper Tables 2, 3, 4 and S2): E3 our labels, E4 the detector's, E5 by split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from faster_coco_eval import COCO, COCOeval_faster

from ovsam_core.errors import FormatError, PictureError
from ovsam_core.masks import Mask
from ovsam_core.pictures import load_picture
from ovsam_core.prompts import Prompt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ovsam_core.vocabulary import Vocabulary
    from training.evaluate import EvaluateArgs
    from training.records import PictureRecord
    from training.systems import System

__all__ = ["average_precision", "detection_report", "read_detections"]

_PER_PICTURE, _PER_LVIS_PICTURE = 100, 300  # the detections that count, of COCO and of LVIS
_NAMES = {
    "AP_all": "AP",
    "AP_50": "AP50",
    "AP_75": "AP75",
    "AP_small": "AP_S",
    "AP_medium": "AP_M",
    "AP_large": "AP_L",
    "APr": "AP_r",
    "APc": "AP_c",
    "APf": "AP_f",
}


def read_detections(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Read a COCO results file of boxes: image id (as text) → detections, best first.

    Raises:
        FormatError: not a list of objects with image_id, category_id, bbox and score.
    """
    try:
        items = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise FormatError(f"{path}: cannot be read ({error})") from error
    if not isinstance(items, list):
        raise FormatError(f"{path}: expected a list of detections (COCO results), got {type(items).__name__}")
    found: dict[str, list[dict[str, Any]]] = {}
    for number, item in enumerate(items):
        for key in ("image_id", "category_id", "bbox", "score"):
            if not isinstance(item, dict) or key not in item:
                raise FormatError(f"{path}: [{number}]: {key}: missing")
        found.setdefault(str(item["image_id"]), []).append(item)
    return {key: sorted(group, key=lambda d: -float(d["score"])) for key, group in found.items()}


def average_precision(
    truth: dict[str, Any], results: list[dict[str, Any]], *, categories: Sequence[int] = (), lvis: bool = False
) -> dict[str, float | None]:
    """Return mask AP, AP50, AP75, AP_S, AP_M, AP_L (and AP_r, AP_c, AP_f of LVIS) by faster-coco-eval.

    None stands where no object of the kind is in the truth.

    Args:
        truth: COCO or LVIS document, restricted to the pictures that were looked at.
        results: detections with `segmentation`.
        categories: count these alone; empty takes all.
        lvis: LVIS's federated rules.
    """
    if not results:
        return dict.fromkeys(("AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L"), 0.0)
    gt = COCO(truth)
    own = [dict(r) for r in results]  # loadRes writes into them
    run = COCOeval_faster(gt, gt.loadRes(own), "segm", lvis_style=lvis)
    if categories:
        run.params.catIds = sorted(categories)
    if lvis:
        run.params.maxDets = [_PER_LVIS_PICTURE]
    run.evaluate()
    run.accumulate()
    run.summarize()
    # The evaluator says -1 where no object of the kind is in the truth.
    return {_NAMES[k]: float(v) if v >= 0 else None for k, v in run.stats_as_dict.items() if k in _NAMES}


def detection_report(
    args: EvaluateArgs,
    system: System,
    pictures: Sequence[PictureRecord],
    vocabulary: Vocabulary | None,
    split: dict[str, str],
) -> dict[str, Any]:
    """Prompt the system with every detected box and measure AP.

    Returns:
        "detector_labels" (E4): the detector's labels and scores with our masks; with a vocabulary also "our_labels"
        (E3): our first of all names, the detector's score times ours; and with a split "constrained_base",
        "constrained_novel" (names and truth of one side alone) and "generalized_base", "generalized_novel",
        "generalized_all" (E5: names of both sides, truth of one or both). Each
        has its standard errors under "se", by jackknife over `args.ap_groups` groups of pictures.
    """
    assert args.detections is not None
    found = read_detections(args.detections)
    truth = _truth(args.data, {p.id for p in pictures})
    lvis = any("frequency" in c for c in truth["categories"])
    most = _PER_LVIS_PICTURE if lvis else _PER_PICTURE
    if hasattr(system, "top_k") and vocabulary is not None:
        system.top_k = len(vocabulary)  # the constrained settings look for the best name of one side
    category = _categories(truth, vocabulary)
    theirs: list[dict[str, Any]] = []
    ours: dict[str, list[dict[str, Any]]] = {"all": [], "both": [], "base": [], "novel": []}
    for record in pictures:
        detections = [d for d in found.get(record.id, []) if d["bbox"][2] > 0 and d["bbox"][3] > 0][:most]
        if not detections:
            continue
        try:
            picture = load_picture(record.path)
        except PictureError:
            continue
        system.set_image(picture)
        boxes = [_inside(d["bbox"], picture.size_hw) for d in detections]
        for detection, answer in zip(detections, system.answer([Prompt.of(box=b) for b in boxes], boxes), strict=True):
            base = {"image_id": detection["image_id"], "segmentation": Mask.of(answer.mask).rle}
            score = float(detection["score"])
            theirs.append(base | {"category_id": detection["category_id"], "score": score})
            for side, into in ours.items():
                best = _first(answer.names, category, split, side)
                if best is not None:
                    into.append(base | {"category_id": best[0], "score": score * best[1]})

    def measured(results: list[dict[str, Any]], categories: Sequence[int] = ()) -> dict[str, Any]:
        return _with_errors(truth, results, categories, lvis=lvis, groups=args.ap_groups)

    report: dict[str, Any] = {"detector_labels": measured(theirs)}
    if vocabulary is not None:
        report["our_labels"] = measured(ours["all"])
        sides = {s: [c for e, c in category.items() if split.get(e) == s] for s in ("base", "novel")}
        for side, ids in sides.items():
            if ids:
                report[f"constrained_{side}"] = measured(ours[side], ids)
                report[f"generalized_{side}"] = measured(ours["both"], ids)
        if all(sides.values()):
            report["generalized_all"] = measured(ours["both"], [*sides["base"], *sides["novel"]])
    return report


def _with_errors(
    truth: dict[str, Any], results: list[dict[str, Any]], categories: Sequence[int], *, lvis: bool, groups: int
) -> dict[str, Any]:
    """Return `average_precision` with "se", by the jackknife: AP again without each group of pictures."""
    found: dict[str, Any] = dict(average_precision(truth, results, categories=categories, lvis=lvis))
    ids = sorted(image["id"] for image in truth["images"])
    groups = min(groups, len(ids))
    if groups < 2:
        return found
    without = []
    for number in range(groups):
        left = set(ids) - set(ids[number::groups])
        part = {
            **truth,
            "images": [i for i in truth["images"] if i["id"] in left],
            "annotations": [a for a in truth["annotations"] if a["image_id"] in left],
        }
        kept = [r for r in results if r["image_id"] in left]
        without.append(average_precision(part, kept, categories=categories, lvis=lvis))
    spread = {name: [one.get(name) for one in without] for name in found}
    # A group whose absence leaves no truth of a kind has no AP: nothing can be said then.
    found["se"] = {
        name: float(np.sqrt((groups - 1) * np.var([v for v in values if v is not None])))
        for name, values in spread.items()
        if None not in values
    }
    return found


def _truth(path: Path, ids: set[str]) -> dict[str, Any]:
    """Return the raw document, restricted to the pictures looked at.

    The engine's reader has checked the file already (`read_records`); the evaluator wants the document as it stands,
    with every annotation's own id, area and flags, and reading it here costs a second for all of COCO val2017.
    """
    try:
        document: dict[str, Any] = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise FormatError(f"{path}: --detections needs the truth as one COCO or LVIS file ({error})") from error
    images = [i for i in document["images"] if str(i["id"]) in ids]
    chosen = {i["id"] for i in images}
    annotations = [a for a in document["annotations"] if a["image_id"] in chosen]
    return {"images": images, "annotations": annotations, "categories": document["categories"]}


def _categories(truth: dict[str, Any], vocabulary: Vocabulary | None) -> dict[str, int]:
    """Return entry id → the file's category id."""
    if vocabulary is None:
        return {}
    found = {c["id"]: vocabulary.find(c["name"]) for c in truth["categories"]}
    return {entry.id: number for number, entry in found.items() if entry is not None}


def _first(
    names: Iterable[tuple[str, float]], category: dict[str, int], split: dict[str, str], side: str
) -> tuple[int, float] | None:
    """Return category id and score of the best name of one side, of the split's two sides ("both"), or of all."""
    for entry, score in names:
        if entry in category and (side in {"all", split.get(entry)} or (side == "both" and entry in split)):
            return category[entry], score
    return None


def _inside(box_xywh: Sequence[float], size_hw: tuple[int, int]) -> list[float]:
    """Return the part of the box inside the picture, at least a pixel wide and high."""
    x, y, w, h = (float(v) for v in box_xywh)
    x1, y1 = np.clip([x, y], 0, [size_hw[1] - 1, size_hw[0] - 1])
    x2, y2 = np.clip([x + w, y + h], [x1 + 1, y1 + 1], [size_hw[1], size_hw[0]])
    return [float(x1), float(y1), float(x2), float(y2)]
