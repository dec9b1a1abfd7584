"""Simulate a person who corrects masks by clicks: how many it takes to reach an IoU of 0.80 and 0.90.

python -m training.simulate --model starter --data coco_val.json --clicks 20 --json OUT
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  option types are read at run time
from typing import Any, Literal

from training import metrics
from training.args import command
from training.build_system import build_system
from training.evaluate import EvaluateArgs
from training.measuring import measure
from training.records import read_records

__all__ = ["SimulateArgs", "main", "simulate"]

TARGETS = (0.80, 0.90)  # the literature's NoC@80 and NoC@90


@dataclass
class SimulateArgs:
    """Simulate corrective clicks.

    Attributes:
        data: COCO JSON with the truth.
        json: where the figures go.
        model: id of a model, or its directory.
        images: folder of the pictures.
        baseline: sam measures SAM itself.
        sam: SAM's weights.
        sam_type: vit_b, vit_l, vit_h or toy.
        clicks: at most this many; an object that never gets there counts them all.
        min_area: objects below this annotation area are left out.
        limit: at most this many pictures; 0 takes all.
        device: auto, cpu or cuda.
    """

    data: Path
    json: Path
    model: str = "starter"
    images: Path | None = None
    baseline: Literal["", "sam"] = ""
    sam: Path | None = None
    sam_type: Literal["vit_b", "vit_l", "vit_h", "toy"] = "vit_h"
    clicks: int = 20
    min_area: float = 0.0
    limit: int = 0
    device: str = "auto"


def simulate(args: SimulateArgs) -> dict[str, Any]:
    """Run the simulation and return what it writes: clicks to reach each target, by size, and the curve."""
    pictures = read_records(args.data, args.images)
    pictures = pictures[: args.limit] if args.limit else pictures
    options = EvaluateArgs(
        args.data,
        args.json,
        model=args.model,
        prompt="clicks",
        vocabulary="none",
        baseline=args.baseline,
        sam=args.sam,
        sam_type=args.sam_type,
        device=args.device,
    )
    system = build_system(options, None)
    run = measure(
        system, pictures, None, prompt="clicks", clicks=args.clicks, min_area=args.min_area, stop_at=max(TARGETS)
    )
    sizes = {"all": run.objects} | {
        s: [o for o in run.objects if metrics.size_of(o.thing.area) == s] for s in ("small", "medium", "large")
    }
    curve = [metrics.mean(o.ious[k] for o in run.objects) for k in range(args.clicks)]
    report: dict[str, Any] = {
        "system": system.name,
        "n": len(run.objects),
        "max_clicks": args.clicks,
        **{
            f"clicks_to_{round(target * 100)}": {
                size: metrics.clicks_to_reach([o.ious for o in group], target) for size, group in sizes.items() if group
            }
            for target in TARGETS
        },
        "miou_at_clicks": [one["mean"] for one in curve],
        "se": {"miou_at_clicks": [one["se"] for one in curve]},
    }
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(report, indent=1), encoding="utf-8")
    for target in TARGETS:
        row = report[f"clicks_to_{round(target * 100)}"].get("all", {})
        if row:
            print(
                f"IoU {target:.2f}: {row['mean']:.2f} ± {row['se'] or 0:.2f} clicks on average, "
                f"{row['reached']:.0%} of {row['n']} get there"
            )
    return report


def main(args: SimulateArgs) -> None:
    """Run the command."""
    simulate(args)


if __name__ == "__main__":
    sys.exit(command(SimulateArgs, main, program="python -m training.simulate"))
