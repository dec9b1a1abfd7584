"""`python -m ovsam_annotator`, the same as `ovsam-annotator`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """Run the program."""
    from ovsam_annotator.app import main as run  # noqa: PLC0415 - the model's process imports this module, not Qt

    return run()


if __name__ == "__main__":
    sys.exit(main())
