"""What several verbs share: the model, progress bars, JSON documents."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovsam_core.errors import ModelError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from ovsam_core.predictor import OvsamPredictor
    from ovsam_core.results import Prediction

__all__ = [
    "DEFAULT_VOCABULARY",
    "FORMATS",
    "add_json",
    "add_model",
    "bar",
    "object_document",
    "predictor_of",
    "say",
    "size_text",
    "write_json",
]

DEFAULT_VOCABULARY = "coco"
FORMATS = ("coco", "lvis", "yolo", "voc", "labelme", "mask_png", "project")


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that choose a model and how it runs."""
    parser.add_argument(
        "--model", metavar="M", help="installed model or model directory (default: the bundled starter)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 … (default: auto)")
    parser.add_argument(
        "--dtype",
        default="auto",
        choices=("auto", "float32", "bfloat16"),
        help="precision of the encoder (default: auto)",
    )


def add_json(parser: argparse.ArgumentParser, *, optional_value: bool) -> None:
    """Add `--json`; with an optional value it goes to the standard output when none is given."""
    if optional_value:
        parser.add_argument("--json", metavar="OUT", nargs="?", const="-", help="write JSON to a file, or print it")
    else:
        parser.add_argument("--json", metavar="OUT", help="write JSON to a file; - prints it")


def say(text: str) -> None:
    """Tell a person something, beside whatever the command prints."""
    print(text, file=sys.stderr, flush=True)


def write_json(document: Any, out: str) -> None:
    """Write a JSON document to a file, replaced whole, or to the standard output for "-"."""
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    if out == "-":
        sys.stdout.write(text)
        return
    path = Path(out)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def predictor_of(args: argparse.Namespace) -> OvsamPredictor:
    """Load the chosen model; without the starter's weights a random model stands in and says so."""
    from ovsam_core.lean_import import import_libraries

    import_libraries()
    from ovsam_core.models.registry import STARTER, resolve
    from ovsam_core.predictor import RANDOM_MODEL, load_predictor

    model = args.model
    if model is None:
        try:
            resolve(STARTER)
            model = STARTER
        except ModelError as error:
            model = RANDOM_MODEL
            say(f"note: {error}")
    if model == RANDOM_MODEL:
        say(f"note: '{RANDOM_MODEL}' has fixed random weights: its masks and names mean nothing")
    return load_predictor(model, args.device, args.dtype)


@contextmanager
def bar(label: str, unit: str = "%") -> Iterator[Callable[[float], None]]:
    """Show a progress bar on a terminal; the yielded function takes the finished share, 0 to 1."""
    from tqdm import tqdm

    with tqdm(total=100, desc=label, unit=unit, leave=False, disable=None, file=sys.stderr, delay=0.5) as shown:

        def update(share: float) -> None:
            shown.update(round(100 * share) - shown.n)

        yield update


def object_document(prediction: Prediction) -> dict[str, Any]:
    """Return one object of the JSON that `predict` and `everything` write."""
    best = prediction.best
    return {
        "segmentation": best.mask.rle,
        "bbox": list(best.mask.bbox_xywh),
        "area": best.mask.area,
        "predicted_iou": round(best.predicted_iou, 4),
        "labels": [{"name": label.name, "score": round(label.score, 6)} for label in best.labels],
    }


def size_text(nbytes: float) -> str:
    """Return bytes as people read them: 53.1 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if nbytes < 1000:
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1000
    return f"{nbytes:.1f} TB"
