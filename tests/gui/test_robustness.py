"""What goes wrong around the program: the model dies, files vanish, another window is open, the program is killed."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing

import pytest
from PySide6.QtCore import Qt

from ovsam_annotator.inference.child import ChildSettings
from ovsam_annotator.inference.process import ProcessEngine
from ovsam_annotator.views.data import EncodeState
from ovsam_core.errors import StoreError
from ovsam_core.store import Project

from .builders import picture_file
from .driver import start, stop


def test_killing_the_model_leaves_the_window_alive_and_replays_the_click(qtbot, folder, tmp_path):
    engine = ProcessEngine(ChildSettings("demo", demo=True))
    driver = start(qtbot, engine, "demo", tmp_path)
    try:
        driver.open(folder)
        driver.point(60, 40)
        driver.key(Qt.Key.Key_1)
        os.kill(engine.pid, signal.SIGSTOP)
        driver.click(120, 60)
        assert driver.annotation.waiting
        os.kill(engine.pid, signal.SIGKILL)
        driver.until(lambda: driver.annotation.suggested is not None)
        driver.key(Qt.Key.Key_2)
        assert len(driver.document) == 2
        assert engine.starts == 2
    finally:
        assert stop(driver) == 0


@pytest.mark.parametrize("content", [b"", b"no picture at all", None])
def test_a_bad_picture_says_so_and_the_others_work(driver, folder, content):
    bad = folder / "0.png"
    if content is None:
        bad.unlink()
        with Project.open(folder / "pictures.ovsam") as project:
            project.add_pictures([bad, folder / "1.png"])
        driver.workspace.open([str(folder / "pictures.ovsam")])
    else:
        bad.write_bytes(content)
        driver.workspace.open([str(folder)])
    with driver.signal(driver.workspace.navigation.failed) as failed:
        pass
    assert "0.png" in failed.args[1]
    driver.next_picture()
    driver.point(60, 40)
    driver.key(Qt.Key.Key_1)
    assert len(driver.document) == 1


def test_a_picture_replaced_by_one_of_another_size_keeps_its_objects_apart(driver, folder):
    driver.open(folder)
    driver.point(60, 40)
    driver.key(Qt.Key.Key_1)
    driver.settle()
    picture_file(folder, "0.png", size=(90, 70))
    driver.workspace.open([str(folder)])
    with driver.signal(driver.workspace.navigation.failed) as failed:
        pass
    assert "90 × 70" in failed.args[1]
    driver.click(20, 20)
    assert not driver.annotation.busy
    assert len(driver.project.objects(1)) == 1


def test_a_second_window_is_read_only(qtbot, driver, folder, tmp_path):
    from ovsam_annotator.inference.fake import FAKE_MODEL, FakeEngine

    driver.open(folder)
    driver.point(60, 40)
    driver.key(Qt.Key.Key_1)
    driver.settle()
    second = start(qtbot, FakeEngine(), FAKE_MODEL, tmp_path / "second")
    try:
        second.open(folder)
        assert second.workspace.session.read_only
        assert len(second.document) == 1
        second.click(120, 60)
        assert not second.annotation.busy
        second.workspace.objects.select_all()
        second.key(Qt.Key.Key_Delete)
        assert len(second.document) == 1
    finally:
        assert stop(second) == 0


@pytest.mark.parametrize("name", ["gone", "empty", "damaged.ovsam", "list.json", "notes.txt"])
def test_what_cannot_be_opened_says_why_and_leaves_the_program_usable(driver, folder, tmp_path, name):
    path = tmp_path / name
    if name == "empty":
        path.mkdir()
    elif name != "gone":
        path.write_text("[1, 2")
    with driver.signal(driver.workspace.open_failed) as failed:
        driver.workspace.open([str(path)])
    assert name in failed.args[0]
    assert not path.with_suffix(".ovsam").exists() or name == "damaged.ovsam"
    driver.open(folder)


def test_a_click_while_the_picture_is_encoded_is_kept(qtbot, folder, tmp_path):
    from ovsam_annotator.inference.fake import FAKE_MODEL, FakeEngine
    from ovsam_annotator.inference.messages import Encode, Priority

    gate = __import__("threading").Event()

    class Slow(FakeEngine):
        def run(self, request, report, cancelled):
            if isinstance(request, Encode) and request.priority is Priority.OPEN:
                while not gate.wait(0.01) and not cancelled():
                    pass
            return super().run(request, report, cancelled)

    driver = start(qtbot, Slow(), FAKE_MODEL, tmp_path)
    try:
        driver.open(folder)
        driver.click(60, 40)
        assert driver.annotation.waiting
        assert driver.annotation.suggested is None
        gate.set()
        driver.until(lambda: driver.annotation.suggested is not None)
        driver.until(lambda: driver.workspace.navigation.state_of(1) is EncodeState.READY)
    finally:
        gate.set()
        assert stop(driver) == 0


def test_a_moved_picture_is_found_again_by_its_content(driver, folder):
    driver.open(folder)
    driver.point(60, 40)
    driver.key(Qt.Key.Key_1)
    driver.settle()
    (folder / "deeper").mkdir()
    (folder / "0.png").rename(folder / "deeper" / "renamed.png")
    driver.open(folder / "pictures.ovsam")
    assert len(driver.document) == 1
    driver.settle()
    assert driver.project.picture(1).path == "deeper/renamed.png"


def test_a_folder_without_permission_says_so(driver, folder, tmp_path, monkeypatch):
    shut = tmp_path / "shut"
    shut.mkdir()
    real = os.scandir

    def scandir(path):  # the tests may run as a user whom no permission stops
        if str(path) == str(shut):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with driver.signal(driver.workspace.open_failed) as failed:
        driver.workspace.open([str(shut)])
    assert "shut" in failed.args[0]
    assert "Permission denied" in failed.args[0]
    assert not list(shut.iterdir())
    driver.open(folder)


def test_a_folder_that_cannot_be_written_says_so(driver, folder, tmp_path, monkeypatch):
    real = sqlite3.connect

    def connect(path, *arguments, **options):
        if "fixed" in str(path):
            raise sqlite3.OperationalError("unable to open database file")
        return real(path, *arguments, **options)

    monkeypatch.setattr(sqlite3, "connect", connect)
    place = tmp_path / "fixed"
    place.mkdir()
    picture_file(place)
    with driver.signal(driver.workspace.open_failed) as failed:
        driver.workspace.open([str(place)])
    assert "fixed" in failed.args[0]
    driver.open(folder)


def test_a_full_disk_is_told_once_and_nothing_is_lost(driver, folder, monkeypatch):
    driver.open(folder)
    store = driver.workspace.session.store
    store.retry_s = 0.01
    real, left = driver.project.apply, [5]

    def apply(change):
        if left[0]:
            left[0] -= 1
            raise StoreError("the disk is full") from sqlite3.OperationalError("database or disk is full")
        return real(change)

    monkeypatch.setattr(driver.project, "apply", apply)
    told = []
    store.save_failed.connect(told.append)
    for x in (40, 120):
        driver.point(x, 60)
        driver.key(Qt.Key.Key_1)
    assert len(driver.document) == 2  # the person goes on
    driver.settle()
    assert told == ["the disk is full"]
    assert len(driver.project.objects(1)) == 2


@pytest.mark.parametrize("version", [1_000_000, 0])
def test_a_project_of_another_version_is_refused_and_left_as_it_is(driver, folder, tmp_path, version):
    path = tmp_path / "other.ovsam"
    with Project.create(path) as project:
        project.add_pictures([folder / "0.png"])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
        connection.commit()
    before = path.read_bytes()
    with driver.signal(driver.workspace.open_failed) as failed:
        driver.workspace.open([str(path)])
    assert "other.ovsam" in failed.args[0]
    assert "schema" in failed.args[0]
    assert path.read_bytes() == before
    driver.open(folder)


def test_a_picture_that_vanishes_after_labelling_keeps_its_objects(driver, folder):
    driver.open(folder)
    driver.point(60, 40)
    driver.key(Qt.Key.Key_1)
    driver.settle()
    driver.next_picture()
    (folder / "0.png").unlink()
    driver.open(folder / "pictures.ovsam")
    with driver.signal(driver.workspace.navigation.failed) as failed:
        driver.workspace.navigation.open(1)
    assert "0.png" in failed.args[1]
    assert len(driver.project.objects(1)) == 1
