"""The moving average of a task's weights, which validates and is saved in their place."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch
    from torch import Tensor

    from training.task import Task

__all__ = ["WeightAverage"]


class WeightAverage:
    """An exponential moving average of trained weights and buffers.

    Args:
        task: whose weights are averaged.
        decay: of the average; 0 keeps none.

    Attributes:
        weights: name → averaged tensor; empty without an average.
    """

    def __init__(self, task: Task, decay: float) -> None:
        self.task, self.decay = task, decay
        self.weights: dict[str, Tensor] = {}

    def start(self) -> None:
        """Start at the task's present weights."""
        if self.decay:
            self.weights = {k: v.clone() for k, v in self.task.trained_state().items()}

    def load(self, weights: Mapping[str, Tensor], device: torch.device) -> None:
        """Go on with the average of a checkpoint."""
        self.weights = {k: v.to(device) for k, v in weights.items()}

    def update(self, step: int) -> None:
        """Take in the weights after optimiser step `step` (0-based)."""
        if not self.weights:
            return
        # A young average would hold the random start: the decay grows with the number of steps.
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in self.task.trained_state().items():
            if value.is_floating_point():
                self.weights[name].lerp_(value, 1 - decay)
            else:
                self.weights[name].copy_(value)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Hold the averaged weights in the task for the length of a with-block."""
        if not self.weights:
            yield
            return
        own = {k: v.clone() for k, v in self.task.trained_state().items()}
        self.task.load_state_dict(dict(self.weights), strict=False)
        try:
            yield
        finally:
            self.task.load_state_dict(own, strict=False)
