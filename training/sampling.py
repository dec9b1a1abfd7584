"""Which samples make a batch: a pure function of (seed, epoch, step, process)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from torch.utils.data import Sampler

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["EpochBatches", "draw_seed"]


def draw_seed(*parts: int | str) -> int:
    """Mix integers and words into one 63-bit seed, the same on every machine and in every process."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Yield batches of (epoch, sample index) for one process.

    Batch b of the epoch holds the samples permutation[b * B : (b + 1) * B] where B is the batch of all processes
    together; process r takes every world-th of them. So two processes see what one process with twice the batch sees.
    The last batches, up to a whole optimiser step, are filled from the start of the permutation.
    """

    def __init__(self, size: int, *, batch: int, world: int, rank: int, seed: int, accumulate: int = 1) -> None:
        self.size, self.batch, self.world, self.rank, self.seed = size, batch, world, rank, seed
        self.accumulate = accumulate
        self.epoch = 0
        self.first_batch = 0

    @property
    def per_epoch(self) -> int:
        """Batches in an epoch: whole optimiser steps."""
        return max(1, -(-self.size // (self.batch * self.world * self.accumulate))) * self.accumulate

    def __len__(self) -> int:
        return self.per_epoch - self.first_batch

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.arange(self.size)
        np.random.default_rng(draw_seed(self.seed, self.epoch, "order")).shuffle(order)
        whole = self.batch * self.world
        order = np.resize(order, self.per_epoch * whole)
        for number in range(self.first_batch, self.per_epoch):
            mine = order[number * whole : (number + 1) * whole][self.rank :: self.world]
            yield [(self.epoch, int(index)) for index in mine]
