"""Every stage's first optimiser step, from its own command: a program for torchrun, and for one process."""

from __future__ import annotations

import sys
from pathlib import Path

from training import coop, distill_sam2clip, dump_features, finetune, finetune_sam, train_clip2sam, train_starter
from training.args import command

STEP = ["--optim.lr", "0.01", "--base_batch", "0", "--warmup_steps", "0", "--schedule", "constant", "--device", "cpu"]
PROMPTS = ["--prompts.boxes", "3", "--prompts.points", "3", "--loss.points", "64"]


def run_all(folder: Path, out: Path, batch: int, *, steps: int = 1, only: tuple[str, ...] = ()) -> None:
    """Run the stages on the files in `folder` with `batch` pictures a process; fails with the stage's name."""
    step = ["--max_steps", str(steps), *STEP]
    data = ["--data", str(folder / "data_0.json")]
    size = ["--batch_size", str(batch)]
    mixed = ["--boxes_only", str(folder / "data_0.json"), "--class_folders", str(folder / "classes")]
    tuned = ["--guard", "false", "--names.steps", "1", "--names.lr", "0.01", "--names.batch", str(batch)]
    tuned += ["--max_steps", "1", "--optim.lr", "0.01", "--warmup_steps", "0", "--device", "cpu"]
    small = ["--masks.sources", "{data_0: 1}", "--masks.samples", "4", "--masks.crop", "64", "--masks.whole", "64,96"]
    small += ["--masks.window", "0.15", "--masks.zoom", "0.6", "--masks.smallest", "10", "--optim.ema", "0"]
    stages = {
        "distilled": (
            distill_sam2clip,
            distill_sam2clip.DistillArgs,
            [*data, *step, *size, "--model", "tiny", "--sam_type", "toy"],
        ),
        "dump": (dump_features, dump_features.DumpArgs, [*data, "--sam_type", "toy", "--device", "cpu"]),
        "clip2sam": (
            train_clip2sam,
            train_clip2sam.Clip2SamArgs,
            [*data, *step, *size, *PROMPTS, "--model", "tiny", "--classes", "data"],
        ),
        "mixed": (
            train_clip2sam,
            train_clip2sam.Clip2SamArgs,
            [*data, *mixed, *step, *size, *PROMPTS, "--model", "tiny", "--classes", "data", "--epoch_pictures", "8"],
        ),
        "sam": (finetune_sam, finetune_sam.SamDecoderArgs, [*data, *step, *size, *PROMPTS, "--sam_type", "toy"]),
        "coop/contexts.safetensors": (
            coop,
            coop.CoopArgs,
            [*data, *step, *size, "--model", "tiny", "--classes", "data", "--contexts", "4"],
        ),
        "starter": (
            train_starter,
            train_starter.StarterArgs,
            ["--data", str(folder), "--stage", "masks", *step, *size, *small],
        ),
        "tuned": (
            finetune,
            finetune.FinetuneArgs,
            [*data, *tuned, *size, "--model", str(folder / "start"), "--views.smallest", "1"],
        ),
    }
    for name, (module, kind, options) in stages.items():
        if only and name not in only:
            continue
        code = command(kind, module.main, program=name, argv=[*options, "--out", str(out / name)])
        if code:
            raise SystemExit(f"{name}: exit {code}")


if __name__ == "__main__":
    run_all(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
