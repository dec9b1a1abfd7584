"""Train the bundled starter model: `python -m training.train_starter --data DIR --out DIR --stage masks`.

The stages are resumable: the same command goes on where the last run stopped.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003  the options are read from the annotations
from typing import Literal

import torch

from ovsam_core.config import named_config
from training.args import command
from training.loop import FitResult, LoopArgs, OptimArgs, fit
from training.mask_data import MaskDataArgs, MaskSamples, collate
from training.mask_task import MaskTask, PromptArgs
from training.starter_assemble import PartArgs, assemble
from training.starter_features import load_trunk

__all__ = ["StarterArgs", "main", "train_masks"]


@dataclass
class StarterLoop(LoopArgs):
    """How long, how much at once, and what is kept; see `LoopArgs`."""

    max_steps: int = 4200
    batch_size: int = 8
    save_every: int = 150
    keep: int = 3


@dataclass
class StarterOptim(OptimArgs):
    """Optimiser and schedule; see `OptimArgs`."""

    lr: float = 1e-3
    warmup_steps: int = 150
    warmup_factor: float = 0.01
    clip: float = 1.0
    final_factor: float = 0.02
    ema: float = 0.999


@dataclass
class StarterArgs:
    """Train the bundled starter model.

    Attributes:
        data: folder with the COCO files and their pictures.
        out: folder of the run.
        stage: which part to train.
        threads: processor threads; 0 leaves it to torch.
        masks: what masks are learnt from.
        prompts: how prompts are simulated.
        loop: length, batch and housekeeping.
        optim: optimiser and schedule.
        parts: where the trained parts are that `--stage assemble` merges into the model directory `out`.
    """

    data: Path
    out: Path
    stage: Literal["masks", "assemble"] = "masks"
    threads: int = 0
    masks: MaskDataArgs = field(default_factory=MaskDataArgs)
    prompts: PromptArgs = field(default_factory=PromptArgs)
    loop: StarterLoop = field(default_factory=StarterLoop)
    optim: StarterOptim = field(default_factory=StarterOptim)
    parts: PartArgs = field(default_factory=PartArgs)


def train_masks(args: StarterArgs) -> FitResult:
    """Train neck, skips and decoder on simulated prompts; the trunk stays as ImageNet left it."""
    config = named_config("starter")
    samples = MaskSamples(args.data, args.masks, seed=args.loop.seed)
    torch.manual_seed(args.loop.seed)
    task = MaskTask(load_trunk(), config, args.prompts)
    task.path.to(memory_format=torch.channels_last)
    return fit(task, samples, args.out, args.loop, args.optim, collate=collate, config=args)


def main(args: StarterArgs) -> None:
    """Run one stage."""
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.stage == "assemble":
        assemble(args.parts, load_trunk(), args.out)
    else:
        train_masks(args)


if __name__ == "__main__":
    sys.exit(command(StarterArgs, main, program="python -m training.train_starter"))
