"""Print how our model compares with a golden file of the official one, array by array.

python -m tests.parity.compare FILE.npz --backbone RN50x16 --embed 1280 --roi 12
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from tests.parity.golden import compare, golden_config, golden_model, outputs


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when every array agrees."""
    parser = argparse.ArgumentParser(description="Compare our model with golden outputs of the official one.")
    parser.add_argument("file", type=Path, help="golden arrays, .npz")
    parser.add_argument("--backbone", default="RN50", help="open_clip's name of the CLIP ResNet (default: %(default)s)")
    parser.add_argument("--embed", type=int, default=160, help="channels of the neck (default: %(default)s)")
    parser.add_argument("--roi", type=int, default=12, help="cells of the head's RoIAlign (default: %(default)s)")
    options = parser.parse_args(arguments)
    with np.load(options.file) as file:
        golden = {name: file[name] for name in file.files}
    model, report = golden_model(golden_config(options.backbone, options.embed, options.roi))
    left = [name for name in report.missing if not name.startswith("text.")]
    if left or report.unexpected or report.misshaped:
        sys.stdout.write(f"the weights do not fit:\n{report}\n")
        return 1
    agreements = list(compare(golden, outputs(model, golden)))
    width = max(len(agreement.name) for agreement in agreements)
    for a in agreements:
        sys.stdout.write(f"{a.name:{width}}  {a.error:.2e}  {'ok' if a.passes else 'DIFFERS'}\n")
    wrong = sum(not agreement.passes for agreement in agreements)
    sys.stdout.write(f"{len(agreements) - wrong} of {len(agreements)} arrays within 1e-4\n")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
