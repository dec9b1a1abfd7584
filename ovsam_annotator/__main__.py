"""`python -m ovsam_annotator`, the same as `ovsam-annotator`."""

# The model's process imports this module again: what it does not need is imported inside `main`.

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code (0 ok, 1 when changes could not be written).

    Args:
        arguments: of the command line; `sys.argv` by default.
    """
    from ovsam_annotator.startup import prepare  # noqa: PLC0415 - see above

    start = prepare(arguments)
    from ovsam_annotator.app import run  # noqa: PLC0415 - Qt is imported while the model's process comes up

    return run(start)


if __name__ == "__main__":
    sys.exit(main())
