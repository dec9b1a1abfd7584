"""Many objects at once: label everything, find by name, batches, review, classes, the previous picture's objects."""

from __future__ import annotations

import json

import pytest
from PySide6.QtCore import Qt

from ovsam_annotator.controller.batch import read_boxes
from ovsam_core.errors import FormatError
from ovsam_core.store import Project

from .builders import NAMES


def _run_batch(driver, ids, boxes=None):
    with driver.signal(driver.workspace.batch.finished) as finished:
        driver.workspace.batch.start(ids, boxes)
    driver.settle()
    return finished.args


def test_a_batch_leaves_a_persons_work_alone_and_undoes_as_one(driver, folder):
    driver.open(folder)
    driver.point(60, 40)
    driver.key(Qt.Key.Key_1)
    mine = next(iter(driver.document))
    pictures, objects = _run_batch(driver, [1, 2, 3])
    assert pictures == 2
    stored = list(driver.project.iter_objects())
    assert sum(row.source == "batch" for row in stored) == objects > 0
    assert [row.uid for row in driver.project.objects(1)] == [mine.uid]
    driver.next_picture()
    driver.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    driver.until(lambda: len(driver.document) == 0)
    assert [row.uid for row in driver.project.iter_objects()] == [mine.uid]
    driver.workspace.run_command("edit.redo")
    driver.until(lambda: len(driver.document) > 0)
    assert len(list(driver.project.iter_objects())) == objects + 1


def test_an_interrupted_batch_is_resumed(driver, folder):
    with Project.open(folder / "pictures.ovsam") as project:
        project.add_pictures([folder / f"{k}.png" for k in range(3)])
        project.set_setting("batch", {"left": [2, 3, 99]})
    driver.open(folder)
    with driver.signal(driver.workspace.batch.finished) as finished:
        driver.window.message_action.emit("batch")
    assert finished.args[0] == 2
    assert not driver.project.objects(1)


def test_a_cancelled_batch_keeps_what_it_made(driver, folder):
    driver.open(folder)
    driver.workspace.batch.start([1, 2, 3])
    driver.window.job_paused.emit("batch", True)
    with driver.signal(driver.workspace.batch.finished):
        driver.window.job_cancelled.emit("batch")
    driver.settle()
    assert not driver.workspace.batch.running
    assert driver.project.setting("batch") == {}


def test_a_batch_segments_given_boxes(driver, folder):
    driver.open(folder)
    _run_batch(driver, [2], {2: ((20.0, 20.0, 60.0, 70.0),)})
    (row,) = driver.project.objects(2)
    assert row.mask.bbox_xyxy == (20, 20, 60, 70)


def test_box_files_are_checked(tmp_path):
    path = tmp_path / "r.json"
    path.write_text(
        json.dumps([{"image_id": 7, "bbox": [1, 2, 3, 4], "score": 0.5}, {"image_id": 9, "bbox": [0, 0, 1, 1]}])
    )
    assert read_boxes(path, {7: 2}) == {2: ((1, 2, 4, 6),)}
    for wrong in ("[{}]", "{}", "[", '[{"image_id": 1, "bbox": [1]}]'):
        path.write_text(wrong)
        with pytest.raises(FormatError, match=r"r\.json"):
            read_boxes(path, {1: 1})


def test_label_everything_by_name_and_above_a_score(driver, folder):
    driver.open(folder)
    driver.workspace.run_command("model.everything")
    driver.until(lambda: driver.workspace.proposals.active)
    assert not len(driver.document)
    name = driver.workspace.proposals._found[0].name
    same = sum(p.name == name for p in driver.workspace.proposals._found)
    driver.window.proposals.name_accepted.emit(name)
    assert len(driver.document) == same
    driver.window.proposals.accepted_above.emit(0.0)
    assert len(driver.document) == 9
    assert not driver.workspace.proposals.active
    driver.workspace.proposals.find("no such name")
    driver.until(lambda: driver.workspace.proposals._asked is None)
    assert not driver.workspace.proposals.active  # what is labelled is not proposed again


def test_found_by_name_they_light_up_and_are_accepted_together(driver, folder):
    driver.open(folder)
    driver.workspace.run_command("model.everything")
    driver.until(lambda: driver.workspace.proposals.active)
    offered = [p.name for p in driver.workspace.proposals._found]
    name = offered[-1]
    driver.window.proposals._field.setText(name.upper())
    driver.window.proposals._field.entered.emit()
    assert driver.workspace.proposals._lit == name
    driver.window.proposals.name_accepted.emit(name)
    classes = driver.workspace.session.classes
    assert [classes.name(item.row.class_uid) for item in driver.document] == [name] * offered.count(name)


def test_the_previous_pictures_objects_are_offered_not_copied(driver, folder):
    driver.open(folder)
    driver.point(60, 40)
    driver.key(Qt.Key.Key_1)
    driver.settle()
    driver.next_picture()
    driver.workspace.run_command("picture.copy_previous")
    driver.until(lambda: driver.workspace.proposals.active)
    assert not len(driver.document)
    driver.window.proposals.accepted_above.emit(0.0)
    (item,) = driver.document
    assert item.shape.contains(60, 40)
    assert len(driver.project.objects(1)) == 1


def test_review_walks_through_objects_and_pictures(driver, folder):
    driver.open(folder)
    for x in (40, 100, 160):
        driver.point(x, 60)
        driver.key(Qt.Key.Key_1)
    driver.workspace.run_command("review.toggle")
    for command in ("review.approve", "review.fix", "review.exclude"):
        assert len(driver.document.selection) == 1
        driver.workspace.run_command(command)
    assert [item.row.state for item in driver.document] == ["approved", "needs_work"]
    with driver.signal(driver.workspace.navigation.opened):
        driver.workspace.run_command("review.approve_picture")
    driver.settle()
    assert driver.project.picture(1).state == "approved"
    assert driver.document.picture.id == 2


def test_the_queue_leads_to_open_objects_on_any_picture(driver, folder):
    driver.open(folder)
    for k in range(3):
        if k != 1:
            driver.point(60, 60)
            driver.key(Qt.Key.Key_1)
        if k < 2:
            driver.next_picture()
    driver.settle()
    assert driver.document.picture.id == 3
    driver.key(Qt.Key.Key_J)
    assert driver.workspace.review.active
    assert len(driver.document.selection) == 1
    driver.key(Qt.Key.Key_Y)
    driver.settle()
    with driver.signal(driver.workspace.navigation.opened):
        driver.key(Qt.Key.Key_J)
    assert driver.document.picture.id == 1  # round the end of the list, past the picture without objects
    assert len(driver.document.selection) == 1
    driver.key(Qt.Key.Key_Y)
    driver.settle()
    with driver.signal(driver.workspace.review.told) as told:
        driver.key(Qt.Key.Key_J)
    assert "decided" in told.args[0]


def test_classes_are_renamed_merged_and_deleted_everywhere(driver, folder):
    driver.open(folder)
    for x, key in ((40, Qt.Key.Key_1), (100, Qt.Key.Key_2), (160, Qt.Key.Key_3)):
        driver.point(x, 60)
        driver.key(key)
    session, classes = driver.workspace.session, driver.workspace.classes
    driver.settle()
    used = [item.row.class_uid for item in driver.document]
    assert len(set(used)) >= 2
    first, second = used[0], next(uid for uid in used if uid != used[0])
    with driver.signal(session.history_changed):
        classes.rename(first, "renamed")
    driver.until(lambda: session.classes.name(first) == "renamed")
    with driver.signal(session.history_changed):
        classes.merge([second], first)
    driver.until(lambda: all(i.row.class_uid != second for i in driver.document))
    assert session.classes.get(second) is None
    with driver.signal(session.history_changed):
        classes.delete(first, "unnamed")
    driver.until(lambda: any(i.row.class_uid is None for i in driver.document))
    driver.until(lambda: session.classes.get(first) is None)


def test_the_search_finds_prefixes_at_once_and_misspelt_names_later(driver, folder):
    driver.open(folder)
    driver.until(lambda: driver.workspace.names.vocabulary is not None)
    driver.point(60, 40)
    shown = []
    driver.workspace.names._list.set_results = lambda text, rows: shown.append([row.name for row in rows])
    driver.workspace.names.search("gir")
    assert shown[0][0] == "giraffe"
    driver.workspace.names.search("umbrela")
    driver.until(lambda: any("umbrella" in names for names in shown))
    entry = driver.workspace.names.vocabulary.find("umbrella")
    driver.window.label_list.name_chosen.emit(entry.id, 0)
    (item,) = driver.document
    assert driver.workspace.session.classes.name(item.row.class_uid) == "umbrella"
    assert set(NAMES) >= set(shown[0][:1])
