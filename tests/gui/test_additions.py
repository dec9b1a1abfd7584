"""Dropping pictures and folders: they join what is open, and leave it again."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt

from ovsam_annotator.controller.additions import ADDED
from ovsam_core.store import Project

from .builders import picture_file


@pytest.fixture
def more(tmp_path):
    """Two pictures in a folder, one in a sub-folder, and a file that is none."""
    place = tmp_path / "more"
    (place / "deep").mkdir(parents=True)
    picture_file(place, "x.png", seed=5)
    picture_file(place / "deep", "y.png", seed=6)
    (place / "notes.txt").write_text("no picture")
    return place


def _drop(driver, *paths):
    driver.window.paths_opened.emit(tuple(str(path) for path in paths))


def test_a_dropped_folder_joins_the_open_project_and_its_first_picture_is_shown(driver, folder, more):
    driver.open(folder)
    before = driver.project.path
    with driver.signal(driver.workspace.navigation.opened):
        _drop(driver, more)
    assert driver.project.path == before
    assert len(driver.workspace.session.pictures) == 5
    assert driver.document.picture.path.endswith("y.png")
    driver.until(lambda: len(driver.window.pictures.visible_ids()) == 5)
    driver.settle()
    assert len(driver.project.pictures()) == 5
    driver.point(40, 30)
    driver.key(Qt.Key.Key_1)
    assert len(driver.document) == 1


def test_what_was_added_leaves_with_one_press(driver, folder, more):
    driver.open(folder)
    with driver.signal(driver.workspace.navigation.opened):
        _drop(driver, more / "x.png", more / "notes.txt")
    with driver.signal(driver.workspace.navigation.opened):
        driver.window.message_action.emit(ADDED)
    driver.settle()
    assert len(driver.project.pictures()) == len(driver.workspace.session.pictures) == 3
    assert driver.document.picture.id == 1
    assert (more / "x.png").exists()


def test_pictures_stay_when_they_were_labelled_since(driver, folder, more):
    driver.open(folder)
    with driver.signal(driver.workspace.navigation.opened):
        _drop(driver, more / "x.png")
    driver.point(40, 30)
    driver.key(Qt.Key.Key_1)
    driver.settle()
    driver.window.message_action.emit(ADDED)
    driver.settle()
    assert len(driver.project.pictures()) == 4
    assert len(driver.document) == 1


def test_what_is_there_already_or_no_picture_adds_nothing(driver, folder, more):
    driver.open(folder)
    _drop(driver, folder)
    driver.settle()
    _drop(driver, more / "notes.txt")
    driver.settle()
    assert len(driver.project.pictures()) == 3
    assert driver.document.picture.id == 1


def test_a_drop_on_the_start_page_opens(driver, folder, more):
    driver.open(folder)
    driver.workspace.run_command("file.start")
    with driver.signal(driver.workspace.navigation.opened):
        _drop(driver, more)
    assert driver.project.path == more / "more.ovsam"


def test_a_dropped_project_opens_and_does_not_join(driver, folder, more):
    with Project.create(more / "other.ovsam") as project:
        project.add_pictures([more / "x.png"])
    driver.open(folder)
    with driver.signal(driver.workspace.navigation.opened):
        _drop(driver, more / "other.ovsam")
    assert driver.project.path == more / "other.ovsam"
