"""Convert annotations between COCO, LVIS, YOLO, Pascal VOC, labelme, mask pictures and projects.

What the target cannot hold, and what is wrong in the source, is listed; what had to be left out is kept in
TARGET.rejected.json. Pictures are not copied.

Example:
  ovsam convert annotations.json yolo_folder --to yolo
  ovsam convert labelme_folder annotations.json --to coco --polygons
"""

from __future__ import annotations

import argparse

from ovsam_core.cli.common import FORMATS, bar, say

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument("source", metavar="SOURCE", help="annotation file, project or folder")
    parser.add_argument("target", metavar="TARGET", help="file (coco, lvis, project) or folder (the others) to write")
    parser.add_argument("--to", metavar="FORMAT", choices=FORMATS, required=True, help=", ".join(FORMATS))
    parser.add_argument("--from", metavar="FORMAT", choices=FORMATS, dest="source_format", help="(default: recognised)")
    parser.add_argument("--images", metavar="DIR", help="where the pictures lie, if not beside the labels")
    parser.add_argument(
        "--polygons", action="store_true", help="coco, lvis: polygons instead of run lengths where exact"
    )
    parser.add_argument(
        "--tolerance", metavar="PX", type=_pixels, default=0.0, help="simplify outlines by so many pixels (default: 0)"
    )
    parser.add_argument("--strict", action="store_true", help="stop at the first unsound item and write nothing")


def run(args: argparse.Namespace) -> int:
    """Convert and report; the exit status is 1 where something unsound was left out."""
    from ovsam_core.exchange import convert

    with bar("convert") as progress:
        report = convert(
            args.source,
            args.target,
            to=args.to,
            source_format=args.source_format,
            images=args.images,
            polygons=args.polygons,
            tolerance=args.tolerance,
            strict=args.strict,
            progress=progress,
        )
    for problem in report.problems:
        say(str(problem))
    counts = ", ".join(f"{number} {what}" for what, number in report.counts.items()) or "nothing"
    print(f"{args.target}: {counts}; {len(report.errors)} errors, {len(report.problems) - len(report.errors)} remarks")
    return 1 if report.errors else 0


def _pixels(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of pixels")
    return value
