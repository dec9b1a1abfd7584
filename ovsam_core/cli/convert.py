"""Convert annotations between COCO, LVIS, YOLO, Pascal VOC, labelme and mask pictures.

What the target cannot hold, and what is wrong in the source, is listed; pictures are not copied.

Example:
  ovsam convert annotations.json yolo_folder --to yolo
  ovsam convert labelme_folder annotations.json --to coco
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ovsam_core.cli.common import say
from ovsam_core.cli.formats import FORMATS

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument("source", metavar="SOURCE", help="annotation file or folder")
    parser.add_argument("target", metavar="TARGET", help="file (coco, lvis) or folder (the others) to write")
    parser.add_argument("--to", metavar="FORMAT", choices=FORMATS, required=True, help=", ".join(FORMATS))
    parser.add_argument("--from", metavar="FORMAT", choices=FORMATS, dest="source_format", help="(default: recognised)")
    parser.add_argument(
        "--tolerance", metavar="PX", type=_pixels, default=0.0, help="simplify outlines by so many pixels (default: 0)"
    )
    parser.add_argument("--lenient", action="store_true", help="leave unsound items out instead of stopping")


def run(args: argparse.Namespace) -> int:
    """Read, write and report; the exit status is 1 where something unsound was left out."""
    from ovsam_core.cli import UsageError
    from ovsam_core.cli.formats import detect, read, write

    source, target = Path(args.source), Path(args.target)
    if target.exists() and source.resolve() == target.resolve():
        raise UsageError("SOURCE and TARGET are the same")
    dataset, found = read(source, args.source_format or detect(source), images=None, strict=not args.lenient)
    report = found + write(dataset, target, args.to, tolerance=args.tolerance)
    for problem in report.problems:
        say(str(problem))
    print(
        f"{target}: {len(dataset.images)} pictures, {len(dataset.annotations)} objects, "
        f"{len(dataset.categories)} classes; {len(report.problems)} remarks"
    )
    return 1 if report.errors else 0


def _pixels(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of pixels")
    return value
