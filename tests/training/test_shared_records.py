"""Pictures in shared memory: the same records, and one copy of them for all processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import multiprocessing

from ovsam_core.masks import Mask
from tests.training.builders import scene
from training.records import ObjectRecord, PictureRecord
from training.shared_records import SharedRecords


def pictures(count: int) -> list[PictureRecord]:
    made = []
    for index in range(count):
        _, objects = scene(index)
        things = tuple(
            ObjectRecord(i, name, (0.0, 1.0, 2.0, 3.0), 4.0, Mask.of(mask)) for i, (name, mask) in enumerate(objects)
        )
        made.append(PictureRecord(str(index), Path(f"{index}.jpg"), 48, 64, things, frozenset({"dog"}), group="a"))
    return made


def test_a_list_comes_back():
    given = pictures(5)
    shared = SharedRecords(iter(given))
    assert list(shared) == given
    assert (shared[-1], shared[1:3]) == (given[4], given[1:3])
    assert not SharedRecords([])
    for wrong in (5, -6):
        with pytest.raises(IndexError):
            shared[wrong]


def _overwrite(shared: SharedRecords) -> None:
    shared._bytes.zero_()


def test_another_process_reads_the_same_memory():
    """A spawned process that writes over the block writes over ours: nothing was copied."""
    shared = SharedRecords(pictures(3))
    process = multiprocessing.get_context("spawn").Process(target=_overwrite, args=(shared,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert not shared._bytes.any()
