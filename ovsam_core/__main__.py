"""`python -m ovsam_core` is the same as `ovsam`."""

import sys

from ovsam_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
