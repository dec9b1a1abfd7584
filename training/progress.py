"""How a run is going: times, the remaining time, a line now and then, log.jsonl, and TensorBoard."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Progress", "clock"]


class Progress:
    """Clock and log of one run.

    Args:
        folder: where log.jsonl and the TensorBoard events go.
        total: optimiser steps of the whole run.
        every: steps between lines.
        tensorboard: write events too.

    Attributes:
        pictures: seen so far, all processes together.
        waited: seconds that went into waiting for data.
        busy: seconds that went into computing.
    """

    def __init__(self, folder: Path, total: int, every: int, *, tensorboard: bool) -> None:
        self.folder, self.total, self.every = folder, total, every
        self.pictures = 0
        self.waited = self.busy = 0.0
        self._recent: deque[float] = deque(maxlen=50)  # seconds of the last steps, for the remaining time
        self._board: Any = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  slow to import, optional

            self._board = SummaryWriter(str(folder / "tensorboard"))

    @property
    def data_wait(self) -> float:
        """Share of the time that went into waiting for data."""
        return self.waited / max(1e-9, self.waited + self.busy)

    @property
    def pictures_per_second(self) -> float:
        """Pictures a second so far."""
        return self.pictures / max(1e-9, self.waited + self.busy)

    def count(self, pictures: int, waited: float, busy: float) -> None:
        """Add one step."""
        self.pictures += pictures
        self.waited += waited
        self.busy += busy
        self._recent.append(waited + busy)

    def step(self, step: int, epoch: int, terms: Mapping[str, float], lr: float, grad_norm: float) -> None:
        """Log a finished step, if it is the turn of one or the last."""
        if step % self.every and step != self.total:
            return
        left = (self.total - step) * sum(self._recent) / max(1, len(self._recent))
        row = {
            "step": step,
            "epoch": epoch,
            "loss": sum(terms.values()),
            **terms,
            "lr": lr,
            "grad_norm": grad_norm,
            "pictures_per_second": self.pictures_per_second,
            "data_wait": self.data_wait,
        }
        self._write(row)
        shown = " ".join(f"{k} {v:.4g}" for k, v in row.items() if k not in {"step", "epoch"})
        print(f"step {step}/{self.total} {shown} · {clock(left)} left", flush=True)

    def validation(self, step: int, value: float, best: float | None, best_step: int | None) -> None:
        """Log a validation."""
        self._write({"step": step, "validation": value, "best": best})
        print(f"step {step}: validation {value:.4f}, best {best:.4f} at step {best_step}", flush=True)

    def close(self) -> None:
        """End the TensorBoard file."""
        if self._board is not None:
            self._board.close()

    def _write(self, row: Mapping[str, Any]) -> None:
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(row)) + "\n")
        if self._board is not None:
            for key, value in row.items():
                if isinstance(value, float):
                    self._board.add_scalar(key, value, row["step"])


def clock(seconds: float) -> str:
    """Return a length of time as H:MM:SS."""
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
