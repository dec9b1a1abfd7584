"""Train the bundled starter model: `python -m training.train_starter --data DIR --out DIR` goes through every stage.

Masks land in `out/masks`, names in `out/names`, the finished model directory in `out/model`. One stage alone is
`--stage masks` (run folder `out` itself), `judge` (run folder `out`, of the masks in `--init`), `features`, `joint`,
`text`, `calibrate` (folder `out/names`) or `assemble` (model directory `out`). All are resumable: the same command goes
on where the last run stopped.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path  # noqa: TC003  the options are read from the annotations
from typing import Literal

import torch

from ovsam_core.config import named_config
from ovsam_core.errors import CheckpointError
from training import checkpoints
from training.args import command
from training.loop import FitResult, fit
from training.mask_data import MaskDataArgs, MaskSamples, collate
from training.mask_judge import JudgeArgs, collect, fit_judge, ranking_figures
from training.mask_task import MaskTask, PromptArgs
from training.options import LoopArgs, OptimArgs
from training.starter_assemble import PartArgs, assemble
from training.starter_calibrate import calibrate
from training.starter_features import load_trunk
from training.starter_names import JointArgs
from training.starter_stages import (
    NameArgs,
    extract_features,
    learn_joint,
    learn_text,
    load_joint,
    ship_embeddings,
    write_names,
)

__all__ = ["StarterArgs", "finish", "main", "mask_phases", "train_judge", "train_masks", "train_names"]


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
        stage: which part to train; "all" goes through them in order.
        threads: processor threads; 0 leaves it to torch.
        masks: what masks are learnt from.
        steps: of the mask runs that `--stage all` goes through.
        prompts: how prompts are simulated.
        loop: length, batch and housekeeping.
        optim: optimiser and schedule.
        init: run folder of an earlier mask run whose averaged weights this one starts from; of the masks to judge for
            `--stage judge`.
        judge: how the judge of candidates is fitted once the masks are learnt.
        names: how names are learnt.
        parts: where the trained parts are that `--stage assemble` merges into the model directory `out`.
    """

    data: Path
    out: Path
    stage: Literal["all", "masks", "judge", "features", "joint", "text", "calibrate", "assemble"] = "all"
    threads: int = 0
    masks: MaskDataArgs = field(default_factory=MaskDataArgs)
    steps: tuple[int, ...] = (2250, 2200, 690, 3000)
    prompts: PromptArgs = field(default_factory=PromptArgs)
    loop: StarterLoop = field(default_factory=StarterLoop)
    optim: StarterOptim = field(default_factory=StarterOptim)
    init: Path | None = None
    judge: JudgeArgs = field(default_factory=JudgeArgs)
    names: NameArgs = field(default_factory=NameArgs)
    parts: PartArgs = field(default_factory=PartArgs)


def train_masks(args: StarterArgs) -> FitResult:
    """Train neck, skips and decoder on simulated prompts; the trunk stays as ImageNet left it."""
    samples = MaskSamples(args.data, args.masks, seed=args.loop.seed)
    task = _mask_task(args)
    return fit(task, samples, args.out, args.loop, args.optim, collate=collate, config=args)


def train_judge(args: StarterArgs) -> None:
    """Fit the judge of candidates on the finished masks of `args.init`, and keep them together in the run `args.out`.

    Raises:
        CheckpointError: `args.init` holds no mask run.
    """
    if checkpoints.latest(args.out) is not None:
        return
    if args.init is None:
        raise CheckpointError("--init: --stage judge needs the run folder of the masks")
    task = _mask_task(args)
    table = collect(task, args.data, args.judge)
    decoder = named_config("starter").decoder
    judge = fit_judge(table, decoder.width, decoder.width // 4, args.judge)
    print("\n".join(ranking_figures(judge, table, list(args.judge.masks.sources))))
    everything = replace(table, held=torch.zeros_like(table.held))  # measured above; what is kept learns from all
    task.path.decoder.iou_prediction_head = fit_judge(everything, decoder.width, decoder.width // 4, args.judge)
    state = {name: tensor.contiguous() for name, tensor in task.trained_state().items()}
    parts: dict[str, dict[str, torch.Tensor]] = {"model": state, "ema": state, "optimizer": {}}
    checkpoints.save(args.out, step=args.judge.steps, parts=parts, state={"step": args.judge.steps}, keep=1)


def _mask_task(args: StarterArgs) -> MaskTask:
    """Return the mask stage's network, with the averaged weights of `args.init` where that is given."""
    torch.manual_seed(args.loop.seed)
    task = MaskTask(load_trunk(), named_config("starter"), args.prompts)
    if args.init is not None:
        newest = checkpoints.latest(args.init)
        if newest is None:
            raise CheckpointError(f"{args.init}: holds no checkpoint of the mask stage")
        fresh = task.start_from(checkpoints.load(newest).ema)
        print(f"starting from {newest}; fresh: {', '.join(fresh) or 'nothing'}")
    task.path.to(memory_format=torch.channels_last)
    return task


def mask_phases(args: StarterArgs) -> tuple[StarterArgs, ...]:
    """Return the mask runs of the starter: on small crops, on large crops, a click-heavy one, and one on fresh samples.

    Every run starts from the averaged weights of the one before.
    """
    masks = replace(args.masks, samples=6000)
    small = replace(
        args,
        out=args.out / "masks-192",
        masks=replace(masks, fixed=0.7, zoom=0.72, window=0.23, crop=192, whole=(256, 384)),
        loop=replace(args.loop, max_steps=args.steps[0]),
        optim=replace(args.optim, final_factor=0.5),
    )
    sources = {"coco_train": 6.5, "persons_train": 1.8, "bsds_train": 1.6, "clothing_train": 0.8}
    gentle = replace(args.optim, lr=args.optim.lr / 2, warmup_steps=60, warmup_factor=0.1)
    large = replace(
        args,
        out=args.out / "masks-256",
        init=small.out,
        masks=replace(masks, fixed=0.7, zoom=0.68, window=0.25, crop=256, whole=(384, 512), sources=sources),
        loop=replace(args.loop, max_steps=args.steps[1], seed=args.loop.seed + 1),
        optim=gentle,
    )
    clicks = replace(
        large,
        out=args.out / "masks-clicks",
        init=large.out,
        masks=replace(large.masks, fixed=0.5, zoom=0.55, window=0.41, sources=sources | {"clothing_train": 0.6}),
        prompts=replace(args.prompts, box=0.35, centre=0.8),
        loop=replace(args.loop, max_steps=args.steps[2], seed=args.loop.seed + 2),
        optim=replace(gentle, final_factor=0.0, ema=0.998),
    )
    fresh = replace(
        clicks,
        out=args.out / "masks-fresh",
        init=clicks.out,
        masks=replace(clicks.masks, samples=24000, fixed=0.3, zoom=0.58, window=0.37, whole=(512,)),
        prompts=replace(args.prompts, box=0.5, centre=0.8),
        loop=replace(args.loop, max_steps=args.steps[3], seed=args.loop.seed + 3),
        optim=replace(clicks.optim, lr=args.optim.lr * 0.6),
    )
    return small, large, clicks, fresh


def train_names(
    stage: Literal["features", "joint", "text", "calibrate"], data: Path, folder: Path, parts: PartArgs, args: NameArgs
) -> None:
    """Run one stage of the names in `folder`; "calibrate" needs trained masks in `parts.masks`."""
    if stage == "features":
        extract_features(data, folder / "features", args)
    elif stage == "joint":
        for name, held_out in (("joint", False), ("joint-held", True)):
            learn_joint(data, folder / "features", folder / f"{name}.safetensors", args, held_out=held_out)
    elif stage == "text":
        space = load_joint(folder / "joint.safetensors", args.joint)
        print(f"text: mean cosine {learn_text(folder / 'features', space, folder / 'tower', args):.4f}")
    else:
        assemble(PartArgs(masks=parts.masks), load_trunk(), folder / "bare")
        changes = calibrate(data, folder, folder / "bare", args)
        space = load_joint(folder / "joint.safetensors", args.joint)
        write_names(space, folder / "tower" / "tower.safetensors", folder, args, changes)


def finish(parts: PartArgs, out: Path) -> None:
    """Merge the parts into the model directory, and put the shipped vocabularies' embeddings beside it."""
    config = assemble(parts, load_trunk(), out)
    if parts.names is not None:
        ship_embeddings(load_joint(parts.names / "joint.safetensors", JointArgs()), config, out)


def main(args: StarterArgs) -> None:
    """Run one stage, or all."""
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.stage == "masks":
        train_masks(args)
    elif args.stage == "judge":
        train_judge(args)
    elif args.stage == "assemble":
        finish(args.parts, args.out)
    elif args.stage == "all":
        for phase in mask_phases(args):
            train_masks(phase)
        judged = args.out / "masks"
        train_judge(replace(phase, init=phase.out, out=judged))
        parts = PartArgs(masks=judged, names=args.out / "names")
        for stage in ("features", "joint", "text", "calibrate"):
            train_names(stage, args.data, args.out / "names", parts, args.names)
        finish(parts, args.out / "model")
    else:
        train_names(args.stage, args.data, args.out / "names", args.parts, args.names)


if __name__ == "__main__":
    sys.exit(command(StarterArgs, main, program="python -m training.train_starter"))
