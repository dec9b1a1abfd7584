"""The one training loop: one CPU, one GPU, many GPUs or several CPU processes, through accelerate.

Start it plainly, with `accelerate launch`, or with `torchrun --nproc_per_node N` (gloo on CPUs). Every random draw is a
function of (seed, epoch, sample index), and every loss normaliser is summed over accumulation and processes, so the
same data gives the same parameters however it is divided.
"""

from __future__ import annotations

import atexit
import json
import math
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, gather_object
from torch.utils.data import DataLoader

from ovsam_core.errors import CheckpointError, OvsamError
from training import checkpoints
from training.args import as_dict, differences, to_yaml
from training.args import save as save_args
from training.averaging import WeightAverage
from training.bad_pictures import BadPictures
from training.options import LoopArgs, OptimArgs, learning_rate_factor
from training.progress import Progress
from training.sampling import EpochBatches, draw_seed
from training.task import Task, parameter_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor
    from torch.utils.data import Dataset

__all__ = ["DivergenceError", "FitResult", "fit", "make_accelerator"]


class DivergenceError(OvsamError):
    """The loss is not finite or has exploded; the message lists the picture ids of the step."""


@dataclass(frozen=True)
class FitResult:
    """How a run ended.

    Attributes:
        step: finished optimiser steps.
        best: best validation figure, None without validation.
        best_step: the step it belongs to.
        checkpoint: folder of the newest checkpoint.
        data_wait: share of time spent waiting for data.
        pictures_per_second: over this process's whole run, all processes together.
        bad: unreadable pictures, as (path, reason).
        main: whether this is the first process, which alone writes results.
    """

    step: int
    best: float | None
    best_step: int | None
    checkpoint: Path | None
    data_wait: float
    pictures_per_second: float
    bad: tuple[tuple[str, str], ...] = ()
    main: bool = True


def make_accelerator(args: LoopArgs, task: Task | None = None) -> Accelerator:
    """Return accelerate's handle for these options."""
    if AcceleratorState._shared_state:  # noqa: SLF001
        AcceleratorState._reset_state()  # noqa: SLF001  a second run in this process may want another precision
    accelerator = Accelerator(
        cpu=args.device == "cpu" or not torch.cuda.is_available(),
        mixed_precision=args.precision,
        kwargs_handlers=[
            DistributedDataParallelKwargs(find_unused_parameters=bool(task and task.may_skip), broadcast_buffers=False)
        ],
    )
    if accelerator.num_processes > 1:
        atexit.register(_leave_group)
    return accelerator


def _leave_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def fit(
    task: Task,
    data: Dataset[Any],
    out: Path,
    loop: LoopArgs,
    optim: OptimArgs,
    *,
    collate: Callable[[list[Any]], dict[str, Any]],
    config: object | None = None,
    validate: Callable[[Task, int], float] | None = None,
    augment: Callable[[dict[str, Any], torch.device], dict[str, Any]] | None = None,
) -> FitResult:
    """Train `task` and leave its best (with validation) or averaged weights in it.

    Args:
        task: model part, frozen companions and loss; moved to the device, trained in place.
        data: map-style; `data[epoch, index]` gives one sample. A sample drawn in place of unreadable pictures lists
            them under "bad" as (path, reason); collate keeps the list.
        out: folder for checkpoints, config.yaml and log.jsonl.
        loop: length, batch and housekeeping.
        optim: optimiser and schedule.
        collate: list of samples → batch with "ids" (picture ids), "seeds" and "bad".
        config: the stage's whole configuration, saved beside the checkpoints; defaults to `loop` and `optim`.
        validate: (task with averaged weights, step) → figure, higher is better; runs on the first process.
        augment: runs on the batch after it was moved to the device.

    Raises:
        DivergenceError: a loss or gradient is not finite, or the loss exploded.
        TooManyBadPicturesError: more than `loop.max_bad` of the pictures could not be read.
        DiskFullError: no room for a checkpoint; the last one is intact.
        CheckpointError: the checkpoint in `out` is of another architecture.
    """
    run = _Run(task, data, Path(out), loop, optim, collate=collate, config=config, validate=validate, augment=augment)
    try:
        return run.train()
    except OSError as error:
        if checkpoints.is_full(error):  # the log was in the way of the disk's end, not a checkpoint
            raise checkpoints.full(run.out) from error
        raise
    finally:
        run.close()


class _Run:
    """State of one call of `fit`."""

    def __init__(
        self,
        task: Task,
        data: Dataset[Any],
        out: Path,
        loop: LoopArgs,
        optim: OptimArgs,
        *,
        collate: Callable[[list[Any]], dict[str, Any]],
        config: object | None,
        validate: Callable[[Task, int], float] | None,
        augment: Callable[[dict[str, Any], torch.device], dict[str, Any]] | None,
    ) -> None:
        self.out, self.loop, self.optim = out, loop, optim
        self.validate, self.augment = validate, augment
        self.accelerator = make_accelerator(loop, task)
        self.main, self.world = self.accelerator.is_main_process, self.accelerator.num_processes
        self.batches = EpochBatches(
            len(data),  # type: ignore[arg-type]
            batch=loop.batch_size,
            world=self.world,
            rank=self.accelerator.process_index,
            seed=loop.seed,
            accumulate=loop.accumulate,
        )
        self.loader = DataLoader(
            data,
            batch_sampler=self.batches,
            num_workers=loop.workers,
            collate_fn=collate,
            pin_memory=self.accelerator.device.type == "cuda",
            multiprocessing_context="spawn" if loop.workers else None,  # fork after torch threads can hang
            persistent_workers=loop.workers > 0,
        )
        self.steps_per_epoch = self.batches.per_epoch // loop.accumulate
        self.total = loop.max_steps or self.steps_per_epoch * loop.epochs
        self.task = task.to(self.accelerator.device)
        self.peak = optim.lr
        if optim.base_batch:
            self.peak *= loop.batch_size * loop.accumulate * self.world / optim.base_batch
        self.optimizer = torch.optim.AdamW(parameter_groups(task, optim), lr=self.peak, betas=optim.betas[:2])  # type: ignore[arg-type]
        self.wrapped = self.accelerator.prepare_model(task)
        self.trained = [p for p in task.parameters() if p.requires_grad]
        self.average = WeightAverage(self.task, optim.ema)
        self.step = self.stale = 0
        self.best: float | None = None
        self.best_step: int | None = None
        self.saved = -1  # step of the last checkpoint written here
        listing = self.out / "bad_pictures.json" if self.main else None
        self.bad = BadPictures(self.batches.size, loop.max_bad, listing=listing, show=self.main)
        self.smooth: float | None = None
        self.lowest = math.inf
        self.progress = Progress(self.out, self.total, loop.log_every, tensorboard=loop.tensorboard and self.main)
        self.config = as_dict(config) if config is not None else {"loop": as_dict(loop), "optim": as_dict(optim)}
        self._prepare(config)

    def _prepare(self, config: object | None) -> None:
        found = checkpoints.latest(self.out)
        if found and self.loop.resume == "never":
            raise CheckpointError(f"{found}: the folder holds a run; use --resume auto or another folder")
        if found:
            self._resume(checkpoints.load(found, self.task.architecture()))
        else:
            self.average.start()
        if not self.main:
            return
        self.out.mkdir(parents=True, exist_ok=True)
        if config is not None:
            print(to_yaml(config), end="")
            save_args(config, self.out / "config.yaml")
        else:
            (self.out / "config.yaml").write_text(json.dumps(self.config, indent=1), encoding="utf-8")
        count = sum(p.numel() for p in self.trained)
        print(
            f"{count:,} trained parameters · {self.total} steps, {self.steps_per_epoch} an epoch · "
            f"{self.world} process(es) on {self.accelerator.device} · from step {self.step}"
        )

    def _resume(self, saved: checkpoints.Checkpoint) -> None:
        changed = differences(saved.state.get("config", {}), self.config)
        if changed and self.main:
            print(f"resuming {saved.path} with changed options: {'; '.join(changed)}")
        self.task.load_state_dict(saved.model, strict=False)
        checkpoints.load_optimizer(self.optimizer, saved.optimizer, self.task)
        self.average.load(saved.ema, self.accelerator.device)
        state = saved.state
        self.step, self.best, self.best_step = state["step"], state["best"], state["best_step"]
        self.stale, self.smooth = state["stale"], state["smooth"]
        self.lowest = math.inf if state["lowest"] is None else state["lowest"]
        self.bad.found = dict(state["bad"])

    def train(self) -> FitResult:
        while self.step < self.total:
            epoch, done = divmod(self.step, self.steps_per_epoch)
            self.batches.epoch, self.batches.first_batch = epoch, done * self.loop.accumulate
            self.task.train()
            stop = self._epoch(epoch)
            if stop:
                break
        path = checkpoints.latest(self.out)
        if path is None or path.name != f"step-{self.step:08d}":
            path = self._save()
        self._leave_weights()
        return FitResult(
            self.step,
            self.best,
            self.best_step,
            path,
            self.progress.data_wait,
            self.progress.pictures_per_second,
            tuple(sorted(self.bad.found.items())),
            self.main,
        )

    def _epoch(self, epoch: int) -> bool:
        """Run the rest of one epoch; True if training should stop."""
        batches = iter(self.loader)
        while self.step < min(self.total, (epoch + 1) * self.steps_per_epoch):
            began = time.perf_counter()
            group = [next(batches) for _ in range(self.loop.accumulate)]
            fetched = time.perf_counter()
            terms, norm = self._optimise(group)
            pictures = sum(len(b["ids"]) for b in group) * self.world
            self.progress.count(pictures, fetched - began, time.perf_counter() - fetched)
            self.step += 1
            if self.main:
                self.progress.step(self.step, epoch, terms, self.optimizer.param_groups[0]["lr"], norm)
            at_end = self.step % self.steps_per_epoch == 0 or self.step == self.total
            stop = False
            if self.validate and (self.step % self.loop.validate_every == 0 if self.loop.validate_every else at_end):
                stop = self._validate()
            if (
                self.step == self.total
                or stop
                or (self.step % self.loop.save_every == 0 if self.loop.save_every else at_end)
            ):
                self._save()
            if stop:
                return True
        return False

    def _optimise(self, group: Sequence[dict[str, Any]]) -> tuple[dict[str, float], float]:
        """One optimiser step over the accumulated batches."""
        torch.manual_seed(draw_seed(self.loop.seed, "step", self.step, self.accelerator.process_index))
        self._count_bad(group)
        device = self.accelerator.device
        group = [_to_device(batch, device) for batch in group]
        if self.augment:
            group = [self.augment(batch, device) for batch in group]
        shares = [self.task.totals(batch) for batch in group]
        totals = {k: torch.stack([s[k].to(device, torch.float32) for s in shares]).sum() for k in shares[0]}
        if self.world > 1:
            totals = {k: self.accelerator.reduce(v, "sum") for k, v in totals.items()}
        factor = learning_rate_factor(self.step, self.total, self.steps_per_epoch, self.optim)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = self.peak * factor * parameters["scale"]
        sums: dict[str, Tensor] = {}
        for number, batch in enumerate(group):
            last = number == len(group) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.wrapped):
                terms = self.wrapped(batch, totals)
                # DDP averages gradients over processes; the terms are shares of one sum, so undo the average.
                self.accelerator.backward(torch.stack(list(terms.values())).sum() * self.world)
            for name, value in terms.items():
                sums[name] = sums.get(name, torch.zeros((), device=device)) + value.detach().float()
        names = list(sums)
        values = torch.stack([sums[n] for n in names])
        if self.world > 1:
            values = self.accelerator.reduce(values, "sum")
        norm = torch.nn.utils.clip_grad_norm_(self.trained, self.optim.clip or math.inf)
        figures = dict(zip(names, values.tolist(), strict=True))
        self._check(figures, float(norm), group)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.average.update(self.step)
        return figures, float(norm)

    def _check(self, figures: Mapping[str, float], norm: float, group: Sequence[Mapping[str, Any]]) -> None:
        loss = sum(figures.values())
        finite = math.isfinite(loss) and math.isfinite(norm)
        if finite:
            self.smooth = loss if self.smooth is None else 0.95 * self.smooth + 0.05 * loss
            self.lowest = min(self.lowest, self.smooth)
        exploded = finite and self.loop.explode and self.smooth and self.smooth > self.loop.explode * self.lowest
        if finite and not exploded:
            return
        ids = [i for batch in group for i in batch["ids"]]
        ids = gather_object(ids) if self.world > 1 else ids
        what = "exploded" if finite else "is not finite"
        terms = ", ".join(f"{k} {v:.4g}" for k, v in figures.items())
        raise DivergenceError(
            f"step {self.step}: the loss {what} ({terms}; gradient norm {norm:.4g}); pictures of this step: "
            f"{', '.join(map(str, ids))}. Lower --lr or look at these pictures; the last checkpoint is "
            f"{checkpoints.latest(self.out) or 'none'}"
        )

    def _count_bad(self, group: Sequence[Mapping[str, Any]]) -> None:
        found = [pair for batch in group for pair in batch.get("bad", ())]
        self.bad.add(gather_object(found) if self.world > 1 else found)

    def _validate(self) -> bool:
        """Measure with the averaged weights; True when patience has run out."""
        assert self.validate is not None
        figure = torch.zeros(1, dtype=torch.float64, device=self.accelerator.device)
        if self.main:
            with self.average.in_place():
                self.task.eval()
                with torch.no_grad():
                    figure[0] = self.validate(self.task, self.step)
                self.task.train()
        if self.world > 1:
            torch.distributed.broadcast(figure, 0)
        value = float(figure)
        better = self.best is None or value > self.best
        if better:
            self.best, self.best_step, self.stale = value, self.step, 0
            self._save()
        else:
            self.stale += 1
        if self.main:
            self.progress.validation(self.step, value, self.best, self.best_step)
        return bool(self.loop.patience and self.stale >= self.loop.patience)

    def _save(self) -> Path | None:
        if self.saved == self.step:  # a validation that found a better model has saved this step already
            return checkpoints.latest(self.out)
        path, self.saved = None, self.step
        if self.main:
            path = checkpoints.save(
                self.out,
                step=self.step,
                parts={
                    "model": self.task.trained_state(),
                    "optimizer": checkpoints.optimizer_tensors(self.optimizer, self.task),
                    **({"ema": self.average.weights} if self.average.weights else {}),
                },
                state={
                    "step": self.step,
                    "best": self.best,
                    "best_step": self.best_step,
                    "stale": self.stale,
                    "smooth": self.smooth,
                    "lowest": self.lowest if math.isfinite(self.lowest) else None,
                    "bad": self.bad.found,
                    "config": self.config,
                    "architecture": self.task.architecture(),
                },
                keep=self.loop.keep,
                also_keep=self.best_step,
            )
        self.accelerator.wait_for_everyone()
        return path

    def _leave_weights(self) -> None:
        """Put the best checkpoint's averaged weights (or the last ones) into the task, in eval mode."""
        weights = self.average.weights
        if self.validate and self.best_step is not None and self.best_step != self.step:
            saved = checkpoints.load(self.out / f"step-{self.best_step:08d}")
            weights = saved.ema or saved.model
        if weights:
            self.task.load_state_dict(dict(weights), strict=False)
        self.task.eval()

    def close(self) -> None:
        self.progress.close()
        del self.loader  # ends the data-loading processes


def _to_device(value: Any, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {k: _to_device(v, device) for k, v in value.items()}
    if isinstance(value, list | tuple) and value and isinstance(value[0], torch.Tensor | dict | list | tuple):
        return type(value)(_to_device(v, device) for v in value)
    return value
