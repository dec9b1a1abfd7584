"""A regression task of a few numbers, for tests of the loop alone; also a program for torchrun."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from training.loop import fit
from training.options import LoopArgs, OptimArgs
from training.sampling import draw_seed
from training.task import Task, freeze


class Line(Task):
    """Fit x → y through a frozen map; weighted, so that the normaliser differs from batch to batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.frozen = freeze(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)))
        self.learnt = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 1))

    def totals(self, batch):
        return {"weight": batch["weight"].sum()}

    def forward(self, batch, totals):
        noise = torch.stack([torch.rand(1, generator=torch.Generator().manual_seed(s)) for s in batch["seeds"]])
        error = self.learnt(self.frozen(batch["x"])) - batch["y"] - 0.1 * noise
        return {"mse": (error[:, 0].square() * batch["weight"]).sum() / totals["weight"]}


class Points:
    """Deterministic samples; chosen indices turn into NaN or unreadable pictures."""

    def __init__(self, size: int = 24, *, nan: int | None = None, bad: tuple[int, ...] = ()) -> None:
        self.size, self.nan, self.bad = size, nan, bad

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key):
        epoch, index = key
        generator = torch.Generator().manual_seed(draw_seed(7, index))
        x = torch.randn(3, generator=generator)
        y = x.sum()[None] * (float("nan") if index == self.nan else 1.0)
        return {
            "id": f"picture-{index}",
            "seed": draw_seed(7, epoch, index),
            "x": x,
            "y": y,
            "weight": torch.tensor(1.0 + index % 3),
            "bad": [(f"{index}.jpg", "cannot be decoded")] if index in self.bad else [],
        }


def collate(samples):
    batch = {k: torch.stack([s[k] for s in samples]) for k in ("x", "y", "weight")}
    ids, seeds = [s["id"] for s in samples], [s["seed"] for s in samples]
    return batch | {"ids": ids, "seeds": seeds, "bad": [b for s in samples for b in s["bad"]]}


def loop_args(**changes) -> LoopArgs:
    return LoopArgs(**({"epochs": 2, "batch_size": 4, "device": "cpu", "log_every": 1} | changes))


def optim_args(**changes) -> OptimArgs:
    return OptimArgs(**({"lr": 0.01, "warmup_steps": 2, "ema": 0.9} | changes))


def main(out: Path, batch_size: int, max_steps: int) -> None:
    fit(Line(), Points(), out, loop_args(batch_size=batch_size, max_steps=max_steps), optim_args(), collate=collate)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
