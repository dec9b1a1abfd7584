"""The store's thread: order, retries, refusals, and nothing lost."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import numpy as np
import pytest

from ovsam_annotator.controller.store_service import StoreService
from ovsam_annotator.views.data import SaveState
from ovsam_core.errors import StoreError
from ovsam_core.masks import Mask
from ovsam_core.store import Change, ClassRow, ObjectRow, Project, new_uid

from .builders import picture_file


@pytest.fixture
def service(qapp, tmp_path):
    project = Project.create(tmp_path / "p.ovsam")
    project.add_pictures([picture_file(tmp_path)])
    made = StoreService(project, retry_s=0.01)
    yield made
    made.close()


def _object():
    return ObjectRow(new_uid(), 1, Mask.of(np.ones((64, 96), bool)))


class FullDisk:
    """Lets `apply` fail as on a full disk, a number of times."""

    def __init__(self, project, times):
        self.left, self.real = times, project.apply

    def __call__(self, change):
        if self.left:
            self.left -= 1
            raise StoreError("disk full") from sqlite3.OperationalError("database or disk is full")
        return self.real(change)


def test_reads_see_every_write_before_them(service, qtbot):
    counts = []
    for _ in range(5):
        service.write(lambda project: project.apply(Change("Draw", (_object(),), picture=1)))
        service.read(lambda project: len(project.objects(1)), counts.append)
    qtbot.waitUntil(lambda: len(counts) == 5)
    assert counts == [1, 2, 3, 4, 5]


def test_a_full_disk_keeps_the_work_says_so_once_and_tries_again(service, qtbot, monkeypatch):
    monkeypatch.setattr(service.project, "apply", FullDisk(service.project, 4))
    failures, states = [], []
    service.save_failed.connect(failures.append)
    service.state_changed.connect(lambda state, _: states.append(state))
    with qtbot.waitSignal(service.state_changed, check_params_cb=lambda state, _: state is SaveState.SAVED):
        for _ in range(3):
            service.write(lambda project: project.apply(Change("Draw", (_object(),), picture=1)))
    assert failures == ["disk full"]
    assert states[0] is SaveState.PENDING
    assert SaveState.FAILED in states
    assert len(service.project.objects(1)) == 3
    assert service.pending == 0


def test_what_the_store_refuses_goes_back_and_does_not_block(service, qtbot):
    row = ClassRow(new_uid(), "own:cat", "cat")
    refused, done = [], []
    service.write(lambda project: project.apply(Change("Add", (row,))))
    service.write(lambda project: project.apply(Change("Add", (replace(row, name=" "),))), None, refused.append)
    service.write(lambda project: project.apply(Change("Draw", (_object(),), picture=1)), done.append)
    qtbot.waitUntil(lambda: bool(done))
    assert len(refused) == 1
    assert "name" in str(refused[0])


def test_closing_writes_what_is_left(service):
    for _ in range(20):
        service.write(lambda project: project.apply(Change("Draw", (_object(),), picture=1)))
    assert service.close() == 0
    with Project.open(service.project.path) as project:
        assert len(project.objects(1)) == 20
        assert not project.report.recovered


def test_closing_with_a_disk_that_stays_full_counts_what_is_lost(service, monkeypatch):
    monkeypatch.setattr(service.project, "apply", FullDisk(service.project, 10**9))
    for _ in range(2):
        service.write(lambda project: project.apply(Change("Draw", (_object(),), picture=1)))
    assert service.close() == 2


def test_after_closing_nothing_is_taken(service):
    service.close()
    service.write(lambda project: project.apply(Change("Draw", (_object(),), picture=1)))
    assert service.pending == 0
