"""Segment and name one object of a picture.

Example:
  ovsam predict photo.jpg --point 320,240 --vocabulary lvis --overlay answer.png
  ovsam predict photo.jpg --point 320,240 --point 400,90,0 --box 200,50,500,400 --json answer.json
"""

from __future__ import annotations

import argparse
import itertools
import time
from typing import TYPE_CHECKING, Any

from ovsam_core.cli.common import (
    DEFAULT_VOCABULARY,
    add_json,
    add_model,
    bar,
    object_document,
    predictor_of,
    write_json,
)

if TYPE_CHECKING:
    from ovsam_core.results import Prediction

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument("image", metavar="IMAGE", help="picture file")
    parser.add_argument(
        "--point",
        metavar="X,Y[,0|1]",
        type=point,
        action="append",
        default=[],
        help="a point on the object, or with 0 off it, in pixels; may be repeated",
    )
    parser.add_argument("--box", metavar="X1,Y1,X2,Y2", type=box, help="a box round the object, in pixels")
    parser.add_argument(
        "--vocabulary",
        metavar="NAME|FILE",
        default=DEFAULT_VOCABULARY,
        help=f"names to rank: a preset, or a text, CSV or COCO file (default: {DEFAULT_VOCABULARY})",
    )
    parser.add_argument("--top-k", metavar="N", type=positive, default=9, help="how many names (default: 9)")
    parser.add_argument("--zoom", action=argparse.BooleanOptionalAction, help="look closer at small objects")
    parser.add_argument("--crop", action=argparse.BooleanOptionalAction, help="name by a crop of the picture too")
    parser.add_argument("--overlay", metavar="OUT.png", help="draw the mask and the names")
    parser.add_argument("--no-cache", action="store_true", help="neither read nor keep the picture's embedding")
    add_json(parser, optional_value=False)
    add_model(parser)


def run(args: argparse.Namespace) -> int:
    """Predict, then print, draw and write."""
    from ovsam_core.cli import UsageError
    from ovsam_core.embedding_cache import EmbeddingCache
    from ovsam_core.pictures import load_picture
    from ovsam_core.vocabulary import Vocabulary

    if not args.point and args.box is None:
        raise UsageError("give at least one --point or a --box")
    picture = load_picture(args.image)
    vocabulary = Vocabulary.load(args.vocabulary)
    clock = [time.perf_counter()]
    predictor = predictor_of(args)
    clock.append(time.perf_counter())
    predictor.set_image(picture, cache=None if args.no_cache else EmbeddingCache())
    clock.append(time.perf_counter())
    with bar("names") as progress:
        encoded = predictor.encode_vocabulary(vocabulary, progress=progress)
    clock.append(time.perf_counter())
    prediction = predictor.predict(
        points=[p[:2] for p in args.point] or None,
        point_labels=[p[2] for p in args.point] or None,
        box=args.box,
        vocabulary=encoded,
        top_k=args.top_k,
        picture=picture,
        zoom=args.zoom,
        crop=args.crop,
    )
    timing = dict(zip(("load", "encode", "vocabulary"), _steps(clock), strict=True)) | dict(prediction.timing_ms)
    document: dict[str, Any] = {
        "image": args.image,
        "model": predictor.info.id,
        "objects": [object_document(prediction)],
        "timing_ms": {stage: round(ms, 2) for stage, ms in timing.items()},
    }
    if args.overlay:
        from ovsam_core.cli.overlay import draw_overlay

        draw_overlay(picture.rgb, [prediction], args.overlay)
    if args.json:
        write_json(document, args.json)
    if args.json != "-":
        _print(prediction)
    return 0


def point(text: str) -> tuple[float, float, int]:
    """Read X,Y or X,Y,0 or X,Y,1."""
    parts = text.split(",")
    if len(parts) not in (2, 3) or (len(parts) == 3 and parts[2].strip() not in ("0", "1")):
        raise argparse.ArgumentTypeError(f"{text!r}: expected X,Y or X,Y,0 or X,Y,1")
    try:
        return float(parts[0]), float(parts[1]), int(parts[2]) if len(parts) == 3 else 1
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: X and Y must be numbers") from None


def box(text: str) -> tuple[float, float, float, float]:
    """Read X1,Y1,X2,Y2."""
    try:
        x1, y1, x2, y2 = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected four numbers X1,Y1,X2,Y2") from None
    if not (x2 > x1 and y2 > y1):
        raise argparse.ArgumentTypeError(f"{text!r}: X2 must be greater than X1, and Y2 than Y1")
    return x1, y1, x2, y2


def positive(text: str) -> int:
    """Read a whole number above zero."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number above 0")
    return value


def _steps(clock: list[float]) -> list[float]:
    return [(later - earlier) * 1000 for earlier, later in itertools.pairwise(clock)]


def _print(prediction: Prediction) -> None:
    x, y, w, h = prediction.mask.bbox_xywh
    if prediction.empty:
        print("no mask; names are for the prompt's own region")
    else:
        print(
            f"mask {prediction.mask.area} px, box {x},{y},{x + w},{y + h}, quality {prediction.best.predicted_iou:.2f}"
        )
    for rank, label in enumerate(prediction.labels, 1):
        print(f"{rank:3}  {label.score:6.1%}  {label.name}")
