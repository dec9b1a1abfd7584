"""Draw training logs: `python -m training.plot_log RUN… --out curve.png` also writes the averaged rows as CSV.

Runs that follow one another (a later phase of the same training) are drawn one after the other.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from ovsam_core.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["averaged", "main"]


def averaged(runs: Sequence[Path], every: int) -> list[dict[str, float]]:
    """Average the rows of log.jsonl files over `every` steps; steps of later runs go on where the earlier ones ended.

    Raises:
        FormatError: a file is missing, a line is no JSON object, or no step was logged.
    """
    rows: list[dict[str, float]] = []
    before = 0.0
    for number, run in enumerate(runs, 1):
        path, groups = run / "log.jsonl", dict[int, list[dict[str, float]]]()
        try:
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise FormatError(f"{path}: cannot be read as a training log ({error})") from error
        for line in lines:
            if "loss" in line:  # validations have rows of their own
                groups.setdefault(int(line["step"] - 1) // every, []).append(line)
        for _, group in sorted(groups.items()):
            means = {k: sum(r[k] for r in group) / len(group) for k in group[-1] if all(k in r for r in group)}
            rows.append({"run": float(number), **means, "step": before + group[-1]["step"]})
        before = rows[-1]["step"] if rows else 0.0
    if not rows:
        raise FormatError(f"{runs[0] / 'log.jsonl'}: no step was logged yet")
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Write the picture and the CSV beside it."""
    parser = argparse.ArgumentParser(prog="python -m training.plot_log", description="Draw training logs.")
    parser.add_argument("runs", nargs="+", type=Path, help="run folders, in order")
    parser.add_argument("--out", type=Path, required=True, help="picture (.png, .svg, .pdf)")
    parser.add_argument("--every", type=int, default=50, help="steps averaged into one point")
    args = parser.parse_args(argv)
    try:
        rows = averaged(args.runs, args.every)
    except FormatError as error:
        sys.stderr.write(f"python -m training.plot_log: {error}\n")
        return 1
    names = list(dict.fromkeys(k for row in rows for k in row))
    with args.out.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows({k: f"{v:.6g}" for k, v in row.items()} for row in rows)
    _draw(rows, args.out)
    return 0


def _draw(rows: list[dict[str, float]], out: Path) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415  slow to import

    known = {"run", "step", "epoch", "loss", "lr", "grad_norm", "pictures_per_second", "data_wait"}
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    left = figure.add_subplot()
    for name in ("loss", *(k for k in rows[0] if k not in known)):
        left.plot([r["step"] for r in rows if name in r], [r[name] for r in rows if name in r], label=name)
    right = left.twinx()
    right.plot([r["step"] for r in rows], [r["lr"] for r in rows], color="0.7", linestyle=":", label="learning rate")
    for first, second in pairwise(rows):
        if first["run"] != second["run"]:
            left.axvline(first["step"], color="0.8")
    left.set(xlabel="step", ylabel="loss", ylim=(0, None))
    right.set(ylabel="learning rate")
    right.set_ylim(0, None)
    figure.legend(loc="outside upper center", ncols=6)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
