"""Check an annotation file, folder or project and list every problem with file, id and field; nothing is written.

Example:
  ovsam validate annotations.json --images photos
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovsam_core.cli.common import FORMATS, add_json, write_json

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument(
        "file", metavar="FILE", help="COCO or LVIS JSON, a project, or a YOLO, VOC, labelme or mask folder"
    )
    parser.add_argument("--format", metavar="FORMAT", choices=FORMATS, help="(default: recognised)")
    parser.add_argument("--images", metavar="DIR", help="where the pictures lie, if not beside the labels")
    add_json(parser, optional_value=True)


def run(args: argparse.Namespace) -> int:
    """Print all problems; the exit status is 1 where there is an error."""
    from ovsam_core.exchange import validate_path

    report = validate_path(args.file, format_name=args.format, images=args.images)
    if args.json:
        write_json({"file": args.file, "valid": not report.errors, **report.to_dict()}, args.json)
    if args.json != "-":
        for problem in report.problems:
            print(problem)
        counts = ", ".join(f"{number} {what}" for what, number in report.counts.items()) or "nothing read"
        print(f"{args.file}: {counts}; {len(report.errors)} errors, {len(report.problems) - len(report.errors)} others")
    return 1 if report.errors else 0
