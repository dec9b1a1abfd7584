"""Through the real window: open pictures, click, accept by key, next picture, export."""

from __future__ import annotations

import json
import shutil
import warnings

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from PySide6.QtCore import Qt

from ovsam_annotator.inference.in_process import ModelEngine
from ovsam_annotator.model.editing import Overlap
from ovsam_annotator.views.data import ExportChoice
from ovsam_core.assets import asset_path
from ovsam_core.store import Project

from .builders import NAMES, picture_file
from .driver import start, stop


def _exported(driver, target):
    with driver.signal(driver.workspace.exchange.finished):
        driver.workspace.exchange.export(ExportChoice(str(target), scope="all"))
    written = json.loads(target.read_text())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools' own, from numpy 2's copy keyword
        masks = [coco_mask.decode(a["segmentation"]).astype(bool) for a in written["annotations"]]
    return written, masks


def _label_each(driver, pictures):
    shown = []
    for k in range(pictures):
        driver.point(60 + 10 * k, 40)
        shown.append(driver.annotation.suggested.mask)
        driver.key(Qt.Key.Key_1)
        assert len(driver.document) == 1
        if k + 1 < pictures:
            driver.next_picture()
    return shown


def test_click_digit_next_picture_export(driver, folder, tmp_path):
    driver.open(folder)
    shown = _label_each(driver, 3)
    written, masks = _exported(driver, tmp_path / "out.json")
    assert len(written["images"]) == 3
    for mask, pixels in zip(shown, masks, strict=True):
        np.testing.assert_array_equal(mask.full(), pixels)
    assert {c["name"] for c in written["categories"]} <= set(NAMES)


def test_the_same_loop_on_a_real_network(qtbot, folder, tmp_path):
    driver = start(qtbot, ModelEngine("tiny"), "tiny", tmp_path)
    try:
        driver.open(folder)
        driver.until(lambda: driver.annotation.provenance.model_id == "tiny")
        shown = []
        for k in range(2):
            driver.point(60 + 10 * k, 40)
            if not driver.annotation.suggested.mask.area:
                driver.annotation.step_candidate(1)
            shown.append(driver.annotation.suggested.mask)
            driver.key(Qt.Key.Key_2)
            driver.next_picture()
        _written, masks = _exported(driver, tmp_path / "out.json")
        assert len(masks) == 2
        for mask, pixels in zip(shown, masks, strict=True):
            np.testing.assert_array_equal(mask.full(), pixels)
        driver.settle()
        row = next(iter(driver.project.iter_objects()))
        assert row.model_id == "tiny"
        assert row.region
        assert row.rank == 1
    finally:
        assert stop(driver) == 0


def test_twenty_objects_take_twenty_clicks_and_twenty_keys(driver, names_file, tmp_path):
    """Real pictures, and no event but a click on the canvas and a digit for each object."""
    place = tmp_path / "real"
    place.mkdir()
    source = sorted((asset_path("samples") / "images").iterdir())[0]
    shutil.copy(source, place)
    with Project.create(place / "real.ovsam") as project:
        project.set_setting("vocabulary", str(names_file))
    driver.open(place)
    width, height = driver.document.picture.w, driver.document.picture.h
    spots = [(width * (i + 0.5) / 5, height * (j + 0.5) / 4) for j in range(4) for i in range(5)]
    for k, (x, y) in enumerate(spots):
        driver.point(x, y)
        driver.key(Qt.Key(int(Qt.Key.Key_1) + k % 9))
    assert len(driver.document) == 20
    driver.settle()
    stored = list(driver.project.iter_objects())
    assert [row.rank for row in stored] == [k % 9 for k in range(20)]
    assert all(len(row.prompts) == 1 and row.class_uid for row in stored)
    for row, (x, y) in zip(stored, spots, strict=True):
        assert row.prompts[0]["point"] == pytest.approx([x, y], abs=3)


def test_right_click_backspace_and_escape(driver, folder):
    driver.open(folder)
    driver.point(60, 40)
    before = driver.annotation.suggested.mask
    driver.point(66, 40, Qt.MouseButton.RightButton)
    assert driver.annotation.suggested.mask.area < before.area
    driver.key(Qt.Key.Key_Backspace)
    driver.until(lambda: not driver.annotation.waiting)
    driver.until(lambda: driver.annotation.suggested.mask.area == before.area)
    driver.key(Qt.Key.Key_Escape)
    assert not driver.annotation.busy
    assert not len(driver.document)


def test_undo_and_redo_survive_a_restart(driver, folder):
    driver.open(folder)
    _label_each(driver, 1)
    driver.point(120, 80)
    driver.key(Qt.Key.Key_3)
    assert len(driver.document) == 2
    driver.settle()
    driver.open(folder)  # closes the project and opens it again
    assert len(driver.document) == 2
    driver.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    driver.until(lambda: len(driver.document) == 1)
    driver.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    driver.until(lambda: len(driver.document) == 0)
    driver.until(lambda: driver.document.picture.state == "unseen")
    for count in (1, 2):
        driver.key(Qt.Key.Key_Y, Qt.KeyboardModifier.ControlModifier)
        driver.until(lambda count=count: len(driver.document) == count)
    assert driver.document.picture.state == "in_work"


def test_a_name_accepted_right_after_its_class_was_undone_is_stored(driver, folder):
    driver.open(folder)
    driver.point(60, 40)
    driver.key(Qt.Key.Key_1)
    driver.settle()
    driver.point(62, 41)  # the same name is offered
    refused = []
    driver.workspace.session.refused.connect(refused.append)
    driver.workspace.history.undo()  # takes the class back, too; the window has not heard of it yet
    driver.key(Qt.Key.Key_1)
    driver.settle()
    assert not refused
    (row,) = driver.project.objects(1)
    assert driver.project.class_of(row.class_uid).name == row.suggestions[0].name
    driver.until(lambda: [item.uid for item in driver.document] == [row.uid])
    assert driver.workspace.session.classes.name(row.class_uid) == row.suggestions[0].name


def test_an_object_accepted_right_before_the_next_picture_is_cut_and_stored(driver, folder):
    driver.open(folder)
    driver.workspace.annotation.overlap = Overlap.CUT
    driver.point(60, 40)
    driver.key(Qt.Key.Key_1)
    driver.settle()
    driver.point(66, 40)
    with driver.signal(driver.workspace.navigation.opened):
        driver.key(Qt.Key.Key_1)
        driver.key(Qt.Key.Key_D)  # the masks are still being cut
    driver.until(lambda: len(driver.project.objects(1)) == 2)
    first, second = (row.mask for row in driver.project.objects(1))
    assert not first.intersect(second).area
    assert not len(driver.document)
    driver.next_picture(Qt.Key.Key_A)
    assert len(driver.document) == 2


def test_a_picture_file_opens_alone(driver, tmp_path):
    path = picture_file(tmp_path, "größe 名前.png")
    driver.open(path)
    assert len(driver.workspace.session.pictures) == 1
    assert driver.project.path.name == "größe 名前.ovsam"


def test_a_coco_file_opens_as_a_project_beside_it_and_is_not_written(driver, folder, tmp_path):
    driver.open(folder)
    _label_each(driver, 2)
    target = folder / "labels.json"
    _exported(driver, target)
    content = target.read_bytes()
    driver.open(target)
    assert driver.project.path == folder / "labels.ovsam"
    assert len(driver.document) == 1
    driver.workspace.objects.select_all()
    driver.key(Qt.Key.Key_Delete)
    driver.settle()
    assert target.read_bytes() == content


def test_the_sample_project_opens(driver):
    with driver.signal(driver.workspace.navigation.opened):
        driver.workspace.open_samples()
    assert driver.workspace.session.pictures
