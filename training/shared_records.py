"""Annotated pictures in shared memory: loading processes read one copy instead of holding one each.

A process that is spawned gets a copy of everything its data set holds. As Python objects, COCO's training annotations
are two gigabytes; eight GPUs with eight loading processes each would need a hundred and more.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

import numpy as np
import torch

from training.records import PictureRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SharedRecords"]


class SharedRecords(Sequence[PictureRecord]):
    """A list of pictures in one block of bytes, which torch moves to shared memory when a process is started with it.

    Every access makes a record anew. The bytes never leave the memory of this program, so pickle is safe here.

    Args:
        pictures: read once, one after the other.
    """

    def __init__(self, pictures: Iterable[PictureRecord]) -> None:
        parts = [pickle.dumps(picture, pickle.HIGHEST_PROTOCOL) for picture in pictures]
        ends = np.cumsum([0, *map(len, parts)])
        self._ends = torch.from_numpy(ends)
        self._bytes = torch.from_numpy(np.frombuffer(b"".join(parts), np.uint8).copy())

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> PictureRecord: ...

    @overload
    def __getitem__(self, index: slice) -> list[PictureRecord]: ...

    def __getitem__(self, index: int | slice) -> PictureRecord | list[PictureRecord]:
        """Return one picture, or the pictures of a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]  # counts from the end where negative, and knows where the list ends
        first, last = self._ends[place : place + 2].tolist()
        record: PictureRecord = pickle.loads(self._bytes[first:last].numpy().data)  # noqa: S301  our own memory
        return record
