"""Segment and name all there is in a picture, or what given boxes hold.

Example:
  ovsam everything photo.jpg --vocabulary lvis --overlay answer.png --json answer.json
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from ovsam_core.cli.common import (
    DEFAULT_VOCABULARY,
    add_json,
    add_model,
    bar,
    object_document,
    predictor_of,
    write_json,
)
from ovsam_core.cli.predict import box, positive

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument("image", metavar="IMAGE", help="picture file")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--grid", metavar="N", type=positive, default=16, help="clicks along the longer side (default: 16)"
    )
    where.add_argument(
        "--box", metavar="X1,Y1,X2,Y2", type=box, action="append", help="answer this box instead; may be repeated"
    )
    parser.add_argument(
        "--quality", metavar="Q", type=_share, default=0.4, help="least predicted IoU of a grid's masks (default: 0.4)"
    )
    parser.add_argument(
        "--vocabulary", metavar="NAME|FILE", default=DEFAULT_VOCABULARY, help=f"(default: {DEFAULT_VOCABULARY})"
    )
    parser.add_argument("--top-k", metavar="N", type=positive, default=5, help="how many names each (default: 5)")
    parser.add_argument("--overlay", metavar="OUT.png", help="draw the masks and the best names")
    add_json(parser, optional_value=False)
    add_model(parser)


def run(args: argparse.Namespace) -> int:
    """Predict, then print, draw and write."""
    from ovsam_core.embedding_cache import EmbeddingCache
    from ovsam_core.pictures import load_picture
    from ovsam_core.vocabulary import Vocabulary

    picture = load_picture(args.image)
    vocabulary = Vocabulary.load(args.vocabulary)
    predictor = predictor_of(args)
    start = time.perf_counter()
    embedding = predictor.set_image(picture, cache=EmbeddingCache())
    encode_ms = (time.perf_counter() - start) * 1000
    with bar("names") as progress:
        encoded = predictor.encode_vocabulary(vocabulary, progress=progress)
    start = time.perf_counter()
    with bar("objects") as progress:
        found = predictor.everything(
            embedding,
            grid=None if args.box else args.grid,
            boxes=args.box,
            quality=args.quality,
            vocabulary=encoded,
            top_k=args.top_k,
            picture=picture,
            progress=progress,
        )
    document: dict[str, Any] = {
        "image": args.image,
        "model": predictor.info.id,
        "objects": [object_document(prediction) for prediction in found],
        "timing_ms": {"encode": round(encode_ms, 2), "everything": round((time.perf_counter() - start) * 1000, 2)},
    }
    if args.overlay:
        from ovsam_core.cli.overlay import draw_overlay

        draw_overlay(picture.rgb, found, args.overlay)
    if args.json:
        write_json(document, args.json)
    if args.json != "-":
        print(f"{len(found)} objects")
        for prediction in found:
            x, y, w, h = prediction.mask.bbox_xywh
            best = prediction.labels[0] if prediction.labels else None
            name = f"{best.score:6.1%}  {best.name}" if best else ""
            print(f"{x},{y},{x + w},{y + h}  quality {prediction.best.predicted_iou:.2f}  {name}")
    return 0


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 0 to 1")
    return value
