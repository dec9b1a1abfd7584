"""Options that every stage has: how long and how much at once, the optimiser, and its schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["LoopArgs", "OptimArgs", "learning_rate_factor"]


@dataclass
class OptimArgs:
    """Optimiser and schedule.

    Attributes:
        lr: peak learning rate for `base_batch` pictures a step.
        base_batch: pictures a step that `lr` is meant for; 0 takes lr as it is, else it is scaled linearly.
        weight_decay: AdamW's decay.
        norm_decay: decay the weights of normalisation layers too.
        betas: AdamW's betas.
        clip: largest gradient norm; 0 switches clipping off.
        schedule: cosine to final_factor, steps at milestones, or constant.
        milestones: epochs after which the rate is multiplied by gamma (schedule "step").
        gamma: that factor.
        final_factor: share of lr at the end of the cosine.
        warmup_steps: linear warm-up from warmup_factor.
        warmup_factor: share of lr at the first step.
        lr_scale: prefix of parameter names to a factor on lr.
        ema: decay of the moving average of the weights; 0 switches it off.
    """

    lr: float = 1e-4
    base_batch: int = 0
    weight_decay: float = 0.05
    norm_decay: bool = False
    betas: tuple[float, ...] = (0.9, 0.999)
    clip: float = 5.0
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    milestones: tuple[int, ...] = (8, 11)
    gamma: float = 0.1
    final_factor: float = 0.01
    warmup_steps: int = 500
    warmup_factor: float = 0.001
    lr_scale: dict[str, float] = field(default_factory=dict)
    ema: float = 0.0


@dataclass
class LoopArgs:
    """How long, how much at once, and what is kept.

    Attributes:
        epochs: passes over the data.
        max_steps: stop after this many optimiser steps; 0 leaves it to epochs.
        batch_size: pictures per process and backward pass.
        accumulate: backward passes per optimiser step.
        precision: "no" is float32; "bf16" runs the forward pass under autocast.
        device: auto takes a GPU where there is one.
        seed: start of every random draw.
        workers: data-loading processes per training process.
        save_every: steps between checkpoints; 0 saves at epoch ends.
        keep: newest checkpoints that stay.
        resume: auto goes on from the newest checkpoint in the output folder; never refuses a folder that has one.
        log_every: steps between log lines.
        validate_every: steps between validations; 0 validates at epoch ends.
        patience: validations without a better figure before the run stops; 0 never stops early.
        tensorboard: write TensorBoard events beside the JSONL log.
        max_bad: share of unreadable pictures that stops the run.
        explode: the run stops when the smoothed loss exceeds its lowest value this many times; 0 never.
    """

    epochs: int = 12
    max_steps: int = 0
    batch_size: int = 2
    accumulate: int = 1
    precision: Literal["no", "bf16"] = "no"
    device: Literal["auto", "cpu"] = "auto"
    seed: int = 0
    workers: int = 0
    save_every: int = 0
    keep: int = 2
    resume: Literal["auto", "never"] = "auto"
    log_every: int = 20
    validate_every: int = 0
    patience: int = 0
    tensorboard: bool = False
    max_bad: float = 0.01
    explode: float = 50.0


def learning_rate_factor(step: int, total: int, per_epoch: int, args: OptimArgs) -> float:
    """Return the share of the peak rate for optimiser step `step` (0-based) of `total`."""
    if step < args.warmup_steps:
        return args.warmup_factor + (1 - args.warmup_factor) * step / args.warmup_steps
    if args.schedule == "constant":
        return 1.0
    if args.schedule == "step":
        return args.gamma ** sum(step >= m * per_epoch for m in args.milestones)
    progress = (step - args.warmup_steps) / max(1, total - args.warmup_steps)
    return args.final_factor + (1 - args.final_factor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
