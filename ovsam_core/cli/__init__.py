"""The command line: one module a verb, each imported only when it is called."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from ovsam_core.errors import OvsamError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["build_parser", "main"]

VERBS = {
    "predict": "segment and name one object of a picture",
    "everything": "segment and name all there is in a picture",
    "precompute": "encode the pictures of a folder ahead of time",
    "models": "list, show, download, verify and import models",
    "vocab": "list, show, search and encode vocabularies",
    "convert": "convert annotations between formats",
    "validate": "check an annotation file and list every problem",
    "doctor": "look at this machine and say what to do about each problem",
}

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs; it imports nothing heavy."""
    parser = argparse.ArgumentParser(
        prog="ovsam",
        description="Open-Vocabulary SAM: click on a picture, get an exact mask and a ranked list of names.",
        epilog="Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"ovsam {_version()}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, about in VERBS.items():
        module = import_module(f"ovsam_core.cli.{verb}")
        child = verbs.add_parser(
            verb, help=about, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_arguments(child)
        child.set_defaults(run=module.run, parser=child)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: arguments without the program's name; `sys.argv` by default.

    Returns:
        The exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """
    try:
        args = build_parser().parse_args(argv)
    except SystemExit as stop:  # argparse has printed the reason, or the help
        return stop.code if isinstance(stop.code, int) else USAGE
    try:
        return int(args.run(args))
    except UsageError as error:
        args.parser.print_usage(sys.stderr)
        print(f"ovsam {args.verb}: error: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader (`| head`) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except OvsamError as error:
        print(f"ovsam {args.verb}: {error}", file=sys.stderr)
        return FAILED
    except OSError as error:
        print(f"ovsam {args.verb}: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        return FAILED


class UsageError(Exception):
    """Arguments that are each right but together make no sense."""


def _version() -> str:
    try:
        return version("ovsam-annotator")
    except PackageNotFoundError:  # a checkout that was never installed
        return "(not installed)"
