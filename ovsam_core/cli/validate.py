"""Check an annotation file or folder and list every problem with file, id and field.

Example:
  ovsam validate annotations.json --images photos
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ovsam_core.cli.common import add_json, write_json
from ovsam_core.cli.formats import FORMATS

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument("file", metavar="FILE", help="COCO or LVIS JSON, or a YOLO, VOC, labelme or mask folder")
    parser.add_argument("--format", metavar="FORMAT", choices=FORMATS, help="(default: recognised)")
    parser.add_argument(
        "--images", metavar="DIR", help="COCO, LVIS: look for the pictures here, and compare their sizes"
    )
    add_json(parser, optional_value=True)


def run(args: argparse.Namespace) -> int:
    """Print all problems; the exit status is 1 where there is an error."""
    from ovsam_core.cli.formats import detect, read

    source = Path(args.file)
    _, report = read(source, args.format or detect(source), images=args.images, strict=False)
    if args.json:
        write_json({"file": args.file, "valid": not report.errors, **report.to_dict()}, args.json)
    if args.json != "-":
        for problem in report.problems:
            print(problem)
        counts = ", ".join(f"{number} {what}" for what, number in report.counts.items()) or "nothing read"
        print(f"{args.file}: {counts}; {len(report.errors)} errors, {len(report.problems) - len(report.errors)} others")
    return 1 if report.errors else 0
