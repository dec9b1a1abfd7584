"""The project store: rows, journal, lock, crashes, versions and damage."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ovsam_core.errors import CancelledError, StoreError
from ovsam_core.masks import Mask
from ovsam_core.pictures import picture_key
from ovsam_core.results import Label
from ovsam_core.store import (
    PALETTE,
    Change,
    ClassRow,
    ObjectRow,
    PictureCounts,
    PictureRow,
    Project,
    Ref,
    SettingRow,
    add_class,
    delete_class,
    find_by_content,
    merge_classes,
    missing_pictures,
    new_class,
    new_uid,
    pack_vector,
    relink,
    rename_class,
    salvage,
    schema,
    unpack_vector,
)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    """Only a power cut tells the difference; that the product waits is asserted below."""
    assert schema.SYNCHRONOUS == "FULL"
    monkeypatch.setattr(schema, "SYNCHRONOUS", "OFF")


@pytest.fixture
def project(tmp_path):
    with Project.create(tmp_path / "work" / "p.ovsam") as opened:
        yield opened


def a_mask(seed=0, size=(12, 15)):
    return Mask.of(np.random.default_rng(seed).random(size) < 0.4)


def an_object(picture=1, seed=0, **fields):
    return ObjectRow(new_uid(), picture, a_mask(seed), created=float(seed), **fields)


def put(project, *rows, label="Accept", picture=1, **fields):
    return project.apply(Change(label, put=rows, picture=picture, **fields))


def with_pictures(project, count=3):
    return project.add_pictures([project.folder / f"pics/{n}.png" for n in range(count)])


def contents(project):
    return project.pictures(), list(project.iter_objects()), project.classes()


# ---- rows


def test_every_field_of_an_object_comes_back(project):
    with_pictures(project)
    kind = add_class(project, "cat.n.01", "cat")
    vector = np.linspace(-1, 1, 8, dtype=np.float32)
    row = an_object(
        class_uid=kind.uid,
        source="drawn",
        state="approved",
        score=0.7,
        prompts=({"point": [1.5, 2.0], "label": 1}, {"box": [0, 0, 3, 4]}),
        model_id="starter",
        head_hash="abc",
        suggestions=(Label("cat.n.01", "cat", 0.7, "head"), Label("dog.n.01", "dog", 0.2, "clip")),
        rank=0,
        region=pack_vector(vector),
        crop_region=pack_vector(-vector),
        seconds=3.25,
        attributes={"torn": True},
        crowd=True,
        locked=True,
        hidden=True,
        export_id=77,
        extra={"coco": {"unknown": [1, 2]}},
    )
    before = time.time()
    put(project, row)
    stored = project.object(row.uid)
    assert replace(stored, changed=0.0) == row
    assert before <= stored.changed <= time.time()
    assert stored.bbox_xywh == row.mask.bbox_xywh
    np.testing.assert_allclose(unpack_vector(stored.region), vector, atol=1e-3)


def test_summaries_hold_box_and_area_of_the_mask(project):
    with_pictures(project)
    row = an_object(score=0.5)
    put(project, row)
    (summary,) = project.summaries(1)
    assert (summary.uid, summary.area, summary.bbox_xywh) == (row.uid, row.mask.area, row.mask.bbox_xywh)
    assert project.summaries() == [summary]
    assert project.summaries(2) == []


def test_picture_paths_are_relative_and_meet_again(project):
    first, *_ = with_pictures(project)
    assert first.path == "pics/0.png"
    assert project.file_of(first) == project.folder / "pics/0.png"
    assert project.relative(project.folder.parent / "é 漢.jpg") == "../é 漢.jpg"
    assert project.picture_at(project.folder / "pics/0.png") == first
    assert project.picture_at("pics/9.png") is None
    assert with_pictures(project) == []  # already there


def test_facts_read_from_files_are_no_step_of_the_history(project):
    first, *_ = with_pictures(project)
    project.note_facts([replace(first, key="k", w=4, h=3, state="approved")])
    stored = project.picture(1)
    assert (stored.key, stored.w, stored.h, stored.state) == ("k", 4, 3, "unseen")
    assert project.peek_undo(1) is None


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (lambda: PictureRow(9, "x.png", state="finished"), "picture.state"),
        (lambda: an_object(source="magic"), "object.source"),
        (lambda: an_object(state="done"), "object.state"),
        (lambda: ClassRow(new_uid(), "own:x", "  "), "class.name"),
    ],
)
def test_values_outside_their_set_are_refused_by_field(project, row, field):
    with_pictures(project)
    before = contents(project)
    with pytest.raises(StoreError, match=field):
        put(project, row())
    assert contents(project) == before


def test_contradictions_change_nothing(project):
    with_pictures(project)
    kind = add_class(project, "cat.n.01", "cat")
    put(project, an_object(class_uid=kind.uid))
    before = contents(project), project.history()
    attempts = [
        Change("class still used", drop=(kind.ref,)),
        Change("picture still used", drop=(Ref("picture", 1),)),
        Change("no such picture", put=(an_object(picture=99),)),
        Change("no such class", put=(an_object(class_uid="nope"),)),
        Change("name taken", put=(ClassRow(new_uid(), "own:cat", "cat"),)),
        Change("no such object", drop=(Ref("object", "nope"),)),
        Change("twice", put=(kind, kind)),
    ]
    for change in attempts:
        with pytest.raises(StoreError):
            project.apply(change)
    assert (contents(project), project.history()) == before


def test_settings(project):
    assert project.setting("overlap", "allow") == "allow"
    project.set_setting("overlap", {"rule": "cut"})
    assert project.setting("overlap") == {"rule": "cut"}
    assert project.settings() == {"overlap": {"rule": "cut"}}
    assert project.peek_undo() is None
    project.apply(Change("Forget", drop=(SettingRow("overlap", None).ref,), undoable=False))
    assert project.settings() == {}


def test_missing_rows_are_named(project):
    for ask in (lambda: project.picture(5), lambda: project.object("u"), lambda: project.class_of("c")):
        with pytest.raises(StoreError, match=r"no (picture 5|object u|class c) in this project"):
            ask()


# ---- finding


def test_find_pictures_by_every_condition(project):
    with_pictures(project, 5)
    cat = add_class(project, "cat.n.01", "cat")
    put(project, an_object(1, 1, class_uid=cat.uid, score=0.9), an_object(2, 2, score=0.3), picture=None)
    project.set_picture_state([3, 4], "approved")
    assert project.find_pictures() == [1, 2, 3, 4, 5]
    assert project.find_pictures(text="/3.PNG") == [4]
    assert project.find_pictures(text="%") == []
    assert project.find_pictures(states=["approved"]) == [3, 4]
    assert project.find_pictures(class_uid=cat.uid) == [1]
    assert project.find_pictures(score_below=0.5) == [2]
    assert project.find_pictures(with_objects=True) == [1, 2]
    assert project.find_pictures(with_objects=False, states=["unseen"]) == [5]


def test_counts(project):
    with_pictures(project)
    cat = add_class(project, "cat.n.01", "cat")
    put(project, an_object(1, 1, class_uid=cat.uid, state="approved"), an_object(1, 2), an_object(2, 3), picture=None)
    assert project.picture_counts() == {1: PictureCounts(2, 1, 1), 2: PictureCounts(1, 1, 0)}
    assert project.class_counts() == {cat.uid: 1, None: 2}
    assert [o.picture for o in project.objects_with_class(None)] == [1, 2]
    assert len(project.objects_with_class(cat.uid)) == 1


def test_objects_by_uid_in_any_number(project):
    with_pictures(project)
    rows = [an_object(1, n) for n in range(3)]
    put(project, *rows)
    assert [o.uid for o in project.objects_of([rows[2].uid, "nope", rows[0].uid, rows[0].uid])] == [
        rows[0].uid,
        rows[2].uid,
    ]
    assert project.objects_of([]) == []


# ---- ids for COCO files


def test_export_ids_count_from_one_and_are_never_reused(project):
    with_pictures(project)
    first = put(project, an_object(1, 1)).rows[0]
    second = put(project, an_object(1, 2)).rows[0]
    assert (first.export_id, second.export_id) == (1, 2)
    project.apply(Change("Delete", drop=(second.ref,), picture=1))
    imported = put(project, an_object(1, 3, export_id=500)).rows[0]
    assert imported.export_id == 500
    assert put(project, an_object(1, 4)).rows[0].export_id == 501
    assert put(project, replace(first, hidden=True)).rows[0].export_id == 1


def test_an_edited_row_without_its_number_keeps_it(project):
    with_pictures(project)
    row = an_object()
    put(project, row)
    put(project, replace(row, locked=True))
    assert project.object(row.uid).export_id == 1


def test_picture_ids_are_never_reused(project):
    with_pictures(project, 2)
    project.remove_pictures([2])
    assert project.add_pictures(["new.png"])[0].id == 3


# ---- undo and redo


def test_undo_and_redo_walk_through_a_picture(project):
    with_pictures(project)
    row = an_object()
    states = [project.objects(1)]
    put(project, row)
    states.append(project.objects(1))
    put(project, replace(row, hidden=True), label="Hide")
    states.append(project.objects(1))
    project.apply(Change("Delete", drop=(row.ref,), picture=1))
    states.append(project.objects(1))
    assert [s.label for s in project.history(1)] == ["Delete", "Hide", "Accept"]
    for expected in reversed(states[:-1]):
        assert project.undo(1).left == ()
        assert project.objects(1) == expected
    assert project.undo(1) is None
    for expected in states[1:]:
        assert project.peek_redo(1) is not None
        assert project.redo(1).left == ()
        assert project.objects(1) == expected
    assert project.redo(1) is None


def test_undo_never_touches_another_picture(project):
    with_pictures(project)
    put(project, an_object(1, 1), picture=1)
    put(project, an_object(2, 2), picture=2)
    other = project.objects(2)
    assert project.undo(1).pictures == {1}
    assert project.objects(1) == []
    assert project.objects(2) == other
    assert project.peek_redo(2) is None


def test_a_new_action_ends_the_redo_of_its_picture_only(project):
    with_pictures(project)
    for picture in (1, 2):
        put(project, an_object(picture, picture), picture=picture)
        project.undo(picture)
    put(project, an_object(1, 9), picture=1)
    assert project.redo(1) is None
    assert project.redo(2) is not None


def test_a_project_wide_action_ends_the_redo_of_project_wide_ones(project):
    with_pictures(project)
    add_class(project, "own:a", "a")
    project.undo()
    add_class(project, "own:b", "b")
    assert project.redo() is None


def test_redo_survives_a_restart(project):
    with_pictures(project)
    put(project, an_object())
    objects = project.objects(1)
    project.undo(1)
    project.close()
    with Project.open(project.path) as again:
        assert again.redo(1).step.label == "Accept"
        assert again.objects(1) == objects


def test_two_hundred_steps_and_more_can_be_undone(project):
    with_pictures(project)
    row = an_object()
    put(project, row)
    for number in range(230):
        put(project, replace(row, seconds=float(number)), label=f"Step {number}")
    for number in range(230, 0, -1):
        project.undo(1)
        expected = None if number == 1 else float(number - 2)
        assert project.object(row.uid).seconds == expected


def test_a_batch_is_one_step_and_leaves_what_a_person_changed_since(project):
    with_pictures(project)
    rows = [an_object(picture, picture, source="batch") for picture in (1, 2, 3)]
    put(project, *rows, label="Label everything", picture=None)
    put(project, replace(rows[1], state="approved"), label="Approve", picture=2)
    step = project.peek_undo(1)
    assert (step.label, step.pictures, step.rows) == ("Label everything", 3, 3)
    result = project.undo(1)
    assert result.left == (rows[1].ref,)
    assert [len(project.objects(p)) for p in (1, 2, 3)] == [0, 1, 0]
    assert project.object(rows[1].uid).state == "approved"
    assert project.redo(1).left == ()
    assert [len(project.objects(p)) for p in (1, 2, 3)] == [1, 1, 1]


def test_undo_of_one_column_keeps_later_changes_of_others(project):
    with_pictures(project)
    row = an_object()
    put(project, row)
    put(project, replace(row, state="approved"), label="Approve", picture=None)
    put(project, replace(row, state="approved", hidden=True), label="Hide", picture=2)
    # The history of picture 2 holds "Hide" (it was done there), picture 1 holds all three.
    assert [s.label for s in project.history(2)] == ["Hide"]
    project.undo(2)
    assert project.object(row.uid) == replace(project.object(row.uid), state="approved", hidden=False)


def test_accepting_with_a_new_class_is_undone_with_the_class_unless_it_is_used(project):
    with_pictures(project)
    kind = new_class(project, "own:moss", "moss")
    put(project, kind, an_object(1, 1, class_uid=kind.uid))
    put(project, an_object(2, 2, class_uid=kind.uid), picture=2)
    assert project.undo(1).left == (kind.ref,)
    assert project.classes() == [replace(kind, export_id=1)]
    project.undo(2)
    project.redo(1)
    assert project.objects(1)[0].class_uid == kind.uid


def test_an_object_comes_back_with_its_class_after_the_class_was_deleted(project):
    with_pictures(project)
    kind = add_class(project, "own:moss", "moss")
    row = an_object(class_uid=kind.uid)
    put(project, row)
    project.apply(Change("Delete", drop=(row.ref,), picture=1))
    delete_class(project, kind.uid)
    project.undo(1)
    assert project.class_of(project.object(row.uid).class_uid).name == "moss"


def test_an_object_comes_back_under_the_namesake_of_its_deleted_class(project):
    with_pictures(project)
    kind = add_class(project, "own:moss", "moss")
    row = an_object(class_uid=kind.uid)
    put(project, row)
    project.apply(Change("Delete", drop=(row.ref,), picture=1))
    delete_class(project, kind.uid)
    namesake = add_class(project, "moss.n.01", "moss")
    project.undo(1)
    assert project.object(row.uid).class_uid == namesake.uid


def test_objects_of_a_removed_picture_come_back_with_it(project):
    with_pictures(project)
    put(project, an_object(2, 5), picture=2)
    before = contents(project)
    project.remove_pictures([2, 3])
    assert [row.id for row in project.pictures()] == [1]
    assert project.undo().step.label == "Remove 2 pictures"
    assert contents(project) == before


def test_undo_of_adding_pictures_leaves_those_that_were_labelled(project):
    rows = with_pictures(project)
    put(project, an_object(2, 5), picture=2)
    project.undo(2)
    put(project, an_object(2, 6), picture=2)
    project.apply(Change("Delete", drop=(project.objects(2)[0].ref,), picture=2))
    for _ in range(2):
        project.undo(2)
    assert project.peek_undo(2) is None
    result = project.undo()
    assert (result.step.label, result.left) == ("Add 3 pictures", ())
    assert project.pictures() == []
    project.redo()
    assert project.pictures() == rows


def test_what_a_name_or_id_was_given_away_for_does_not_block_undo(project):
    with_pictures(project)
    row = an_object(1, 1, export_id=7)
    put(project, row)
    project.apply(Change("Delete", drop=(row.ref,), picture=1))
    put(project, an_object(2, 2, export_id=7), picture=2)
    assert project.undo(1).left == ()
    assert project.object(row.uid).export_id == 8
    kind = add_class(project, "own:a", "a")
    rename_class(project, kind.uid, "b")
    add_class(project, "own:c", "a")
    project.undo()  # the addition of the new "a"
    put(project, ClassRow(new_uid(), "own:d", "a"), label="Take the name", picture=3)
    result = project.undo()
    assert result.step.label == "Take the name"


def test_undo_that_would_take_a_used_name_leaves_the_row(project):
    with_pictures(project)
    kind = add_class(project, "own:a", "a")
    put(project, replace(kind, name="b"), label="Rename", picture=1)
    add_class(project, "own:c", "a")
    result = project.undo(1)
    assert result.left == (kind.ref,)
    assert project.class_of(kind.uid).name == "b"


def test_the_whole_history_lists_every_picture(project):
    with_pictures(project)
    put(project, an_object(1, 1), label="One", picture=1)
    put(project, an_object(2, 2), label="Two", picture=2)
    assert [s.label for s in project.history()] == ["Two", "One", "Add 3 pictures"]
    assert [s.label for s in project.history(limit=1)] == ["Two"]
    project.undo(2)
    assert [s.undone for s in project.history()] == [True, False, False]


def test_putting_an_unchanged_row_is_a_step_without_rows(project):
    with_pictures(project)
    row = an_object()
    put(project, row)
    applied = put(project, project.object(row.uid))
    assert applied.step.rows == 0


def test_long_histories_are_cut_by_bytes_but_never_below_what_is_promised(project):
    from ovsam_core.store import journal

    with_pictures(project)
    row = an_object()
    put(project, row)
    for number in range(20):
        put(project, replace(row, seconds=float(number)))
    with project._writing() as connection:
        assert journal.prune(connection, keep_steps=5, max_bytes=10**9) == 0
        assert journal.prune(connection, keep_steps=5, max_bytes=0) == 17
    assert len(project.history()) == 5
    assert project.object(row.uid).seconds == 19.0


# ---- classes


def test_classes_are_added_once_with_colours_in_order(project):
    first, second = add_class(project, "cat.n.01", "cat"), add_class(project, "dog.n.01", "dog")
    assert add_class(project, "cat.n.01", "pussy") == first
    assert [first.colour, second.colour] == list(PALETTE[:2])
    assert project.class_with(name="dog") == second
    assert project.class_with(entry_id="ant.n.01") is None
    with pytest.raises(StoreError, match="called 'cat' already"):
        add_class(project, "own:cat", "cat")


def test_rename_keeps_objects_and_refuses_taken_names(project):
    with_pictures(project)
    cat, dog = add_class(project, "own:cat", "cat"), add_class(project, "own:dog", "dog")
    put(project, an_object(class_uid=cat.uid))
    rename_class(project, cat.uid, "kitten")
    assert project.class_of(project.objects(1)[0].class_uid).name == "kitten"
    with pytest.raises(StoreError, match="'dog' already"):
        rename_class(project, cat.uid, "dog")
    rename_class(project, dog.uid, "dog")


def test_merge_moves_objects_and_is_one_step(project):
    with_pictures(project)
    cat, dog, pet = (add_class(project, f"own:{n}", n) for n in ("cat", "dog", "pet"))
    put(project, an_object(1, 1, class_uid=cat.uid), an_object(2, 2, class_uid=dog.uid), picture=None)
    before = contents(project)
    merge_classes(project, [cat.uid, dog.uid, pet.uid], pet.uid)
    assert project.class_counts() == {pet.uid: 2}
    assert [row.name for row in project.classes()] == ["pet"]
    assert project.undo().step.label == "Merge cat, dog into pet"
    assert contents(project) == before


@pytest.mark.parametrize("choice", ["unname", "delete", "move"])
def test_delete_class_with_a_choice_for_its_objects(project, choice):
    with_pictures(project)
    cat, dog = add_class(project, "own:cat", "cat"), add_class(project, "own:dog", "dog")
    put(project, an_object(class_uid=cat.uid))
    before = contents(project)
    delete_class(project, cat.uid, dog.ref if choice == "move" else choice)
    expected = {"unname": {None: 1}, "delete": {}, "move": {dog.uid: 1}}[choice]
    assert project.class_counts() == expected
    project.undo()
    assert contents(project) == before


# ---- opening


def test_closing_leaves_one_file_and_may_be_repeated(project):
    with_pictures(project)
    project.close()
    project.close()
    assert [p.name for p in project.folder.iterdir() if not p.name.startswith(".")] == ["p.ovsam"]
    with pytest.raises(StoreError, match="closed"):
        project.pictures()


def test_a_second_opener_reads_and_sees_what_the_first_writes(project):
    with_pictures(project)
    with Project.open(project.path) as second:
        assert second.read_only
        assert "another window" in second.report.read_only_reason
        put(project, an_object())
        assert second.objects(1) == project.objects(1)
        with pytest.raises(StoreError, match="another window"):
            put(second, an_object())
    with_pictures(project, 4)  # the first one still writes
    project.close()
    with Project.open(project.path) as third:
        assert not third.read_only


def test_opened_for_reading_takes_no_lock(project):
    project.close()
    with Project.open(project.path, read_only=True) as reader, Project.open(project.path) as writer:
        assert reader.read_only
        assert not writer.read_only


def test_a_file_that_may_not_be_written_opens_for_reading(project, monkeypatch):
    with_pictures(project)
    project.close()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with Project.open(project.path) as opened:
        assert "permission" in opened.report.read_only_reason
        assert len(opened.pictures()) == 3


def test_a_folder_that_may_not_be_written_opens_for_reading(project, monkeypatch):
    from ovsam_core.store import project as module

    project.close()

    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module.FileLock, "acquire", refuse)
    with Project.open(project.path) as opened:
        assert "folder cannot be written" in opened.report.read_only_reason


def test_creating_over_a_file_or_in_no_folder_is_refused(project, tmp_path):
    with pytest.raises(StoreError, match="exists already"):
        Project.create(project.path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be made"):
        Project.create(tmp_path / "file" / "p.ovsam")
    with pytest.raises(StoreError, match="no such project"):
        Project.open(tmp_path / "none.ovsam")


def test_foreign_files_are_refused_and_left_alone(tmp_path):
    text = tmp_path / "text.ovsam"
    text.write_bytes(b"not a database at all, but long enough to be read as a header" * 20)
    foreign = tmp_path / "foreign.ovsam"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE t(x)")
    connection.close()
    for path, message in ((text, "damaged"), (foreign, "not a project file")):
        data = path.read_bytes()
        with pytest.raises(StoreError, match=message):
            Project.open(path)
        assert path.read_bytes() == data


def test_a_committed_action_is_on_the_disk(project, monkeypatch):
    project.close()
    monkeypatch.undo()
    with Project.open(project.path) as opened:
        assert opened._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert opened._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


# ---- versions


def test_a_newer_version_is_refused_untouched(project):
    project.close()
    connection = sqlite3.connect(project.path)
    connection.execute(f"PRAGMA user_version={schema.SCHEMA_VERSION + 1}")
    connection.close()
    data = project.path.read_bytes()
    with pytest.raises(StoreError, match="newer version of the program"):
        Project.open(project.path)
    assert project.path.read_bytes() == data


def test_an_older_version_is_migrated_after_a_copy(project, monkeypatch):
    rows = with_pictures(project)
    project.close()
    newer = schema.SCHEMA_VERSION + 1
    monkeypatch.setattr(schema, "SCHEMA_VERSION", newer)
    monkeypatch.setitem(schema.MIGRATIONS, newer - 1, lambda c: c.execute("ALTER TABLE picture ADD COLUMN mood TEXT"))
    with Project.open(project.path) as opened:
        assert opened.report.migrated_from == newer - 1
        assert opened.pictures() == rows
        backup = opened.report.backup
    connection = sqlite3.connect(backup)
    assert connection.execute("PRAGMA user_version").fetchone() == (newer - 1,)
    assert connection.execute("SELECT count(*) FROM picture").fetchone() == (3,)
    connection.close()
    with Project.open(project.path) as again:
        assert again.report.migrated_from is None


def test_a_migration_that_fails_leaves_the_file_and_both_copies(project, monkeypatch):
    with_pictures(project)
    project.close()
    number = schema.SCHEMA_VERSION

    def half(connection):
        connection.execute("ALTER TABLE picture ADD COLUMN mood TEXT")
        connection.execute("nonsense")

    monkeypatch.setattr(schema, "SCHEMA_VERSION", number + 1)
    monkeypatch.setitem(schema.MIGRATIONS, number, half)
    for _ in range(2):
        with pytest.raises(StoreError, match="nonsense"):
            Project.open(project.path)
    assert len(list(project.folder.glob("*.backup.ovsam"))) == 2
    monkeypatch.setattr(schema, "SCHEMA_VERSION", number)
    with Project.open(project.path) as opened:
        assert len(opened.pictures()) == 3


def test_an_older_version_without_a_way_is_refused(project, monkeypatch):
    project.close()
    monkeypatch.setattr(schema, "SCHEMA_VERSION", schema.SCHEMA_VERSION + 1)
    with pytest.raises(StoreError, match="no way is known"):
        Project.open(project.path)
    assert not list(project.folder.glob("*.backup.ovsam"))


# ---- accidents

_CHILD = """
import sys
import numpy as np
from ovsam_core.masks import Mask
from ovsam_core.store import Change, ObjectRow, Project, new_uid
project = Project.open(sys.argv[1])
for number in range(10_000):
    row = ObjectRow(new_uid(), 1, Mask.of(np.eye(9, dtype=bool)), created=float(number))
    project.apply(Change(f"Accept {number}", put=(row,), picture=1))
    print(number, flush=True)
"""


@pytest.mark.parametrize("after", [1, 7])
def test_a_killed_program_loses_at_most_the_action_under_way(project, after):
    with_pictures(project)
    project.close()
    command = [sys.executable, "-c", textwrap.dedent(_CHILD), str(project.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as child:
        confirmed = -1
        for line in child.stdout:
            confirmed = int(line)
            if confirmed >= after:
                os.kill(child.pid, signal.SIGKILL)
                break
        confirmed = max([confirmed, *(int(line) for line in child.stdout.read().split())])
    with Project.open(project.path) as opened:
        assert not opened.read_only  # the lock died with its holder
        assert opened.report.recovered
        assert opened.report.last_step.label in {f"Accept {confirmed}", f"Accept {confirmed + 1}"}
        assert [row.created for row in opened.objects(1)][: confirmed + 1] == [float(n) for n in range(confirmed + 1)]
        assert opened.undo(1) is not None
    with Project.open(project.path) as again:
        assert not again.report.recovered


def test_a_full_disk_refuses_the_change_and_loses_nothing(project):
    with_pictures(project)
    put(project, an_object(1, 1))
    before = contents(project), project.history()
    (pages,) = project._connection.execute("PRAGMA page_count").fetchone()
    project._connection.execute(f"PRAGMA max_page_count={pages}")
    noise = Mask.of(np.random.default_rng(0).random((300, 300)) < 0.5)
    large = ObjectRow(new_uid(), 1, noise)
    with pytest.raises(StoreError, match=r"disk is full.*nothing is lost"):
        put(project, large)
    assert (contents(project), project.history()) == before
    project._connection.execute("PRAGMA max_page_count=1000000")
    put(project, large)
    assert project.object(large.uid).mask == noise


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (sqlite3.SQLITE_BUSY, "another program holds the file"),
        (sqlite3.SQLITE_READONLY, "check permissions"),
        (sqlite3.SQLITE_CANTOPEN, "cannot be opened"),
        (sqlite3.SQLITE_IOERR, "check the disk"),
        (sqlite3.SQLITE_ERROR, "nothing was changed"),
    ],
)
def test_every_failure_says_what_to_do(project, code, advice):
    error = sqlite3.OperationalError("failed")
    error.sqlite_errorcode = code
    with pytest.raises(StoreError, match=advice), schema.guarded(project.path):
        raise error


def leaf_pages(path, root_of):
    """Leaf pages of a table, found by walking the file format (https://sqlite.org/fileformat2.html, section 1.6)."""
    connection = sqlite3.connect(path)
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name=?", (root_of,)).fetchone()
    connection.close()
    data = path.read_bytes()

    def walk(page):
        start = (page - 1) * size
        kind = data[start]
        if kind in (0x0D, 0x0A):
            return [page]
        cells = int.from_bytes(data[start + 3 : start + 5])
        pointers = [int.from_bytes(data[start + 12 + 2 * n : start + 14 + 2 * n]) for n in range(cells)]
        children = [int.from_bytes(data[start + p : start + p + 4]) for p in pointers]
        return [leaf for child in (*children, int.from_bytes(data[start + 8 : start + 12])) for leaf in walk(child)]

    return walk(root), size


def spoil(path, table, share=0.5):
    pages, size = leaf_pages(path, table)
    page = pages[int(len(pages) * share)]
    data = bytearray(path.read_bytes())
    data[(page - 1) * size : page * size] = b"\xff" * size
    path.write_bytes(data)


def filled(project, count=120):
    with_pictures(project)
    kind = add_class(project, "own:moss", "moss")
    for number in range(count):
        put(project, an_object(1 + number % 3, number, class_uid=kind.uid), picture=1 + number % 3)
    rows = contents(project)
    project.close()
    return rows


def test_damage_is_reported_with_advice_and_salvage_brings_everything_back_through_the_journal(project, tmp_path):
    pictures, objects, classes = filled(project)
    spoil(project.path, "object")
    data = project.path.read_bytes()
    with Project.open(project.path) as opened, pytest.raises(StoreError, match=r"damaged.*salvage"):
        list(opened.iter_objects())
    report = salvage(project.path, tmp_path / "saved.ovsam")
    assert project.path.read_bytes() == data
    assert not report.complete
    assert report.from_journal > 0
    assert report.dropped == ()
    with Project.open(tmp_path / "saved.ovsam") as saved:
        assert saved.class_counts() == {classes[0].uid: len(objects)}
        found = {row.uid: row for row in saved.iter_objects()}
        for row in objects:
            assert replace(found[row.uid], changed=0.0) == replace(row, changed=0.0)
        assert saved.pictures() == pictures


def test_salvage_without_a_readable_journal_takes_what_the_tables_give(project, tmp_path):
    _, objects, _ = filled(project)
    spoil(project.path, "object")
    spoil(project.path, "journal_row", 0.0)
    report = salvage(project.path, tmp_path / "saved.ovsam")
    assert 0 < report.rows["object"] <= len(objects)
    assert report.rows["picture"] == 3


def test_salvage_of_a_sound_file_is_a_copy(project, tmp_path):
    rows = filled(project, 4)
    report = salvage(project.path, tmp_path / "saved.ovsam")
    assert (report.complete, report.from_journal, report.dropped) == (True, 0, ())
    with Project.open(tmp_path / "saved.ovsam") as saved:
        assert [replace(o, changed=0.0) for o in saved.iter_objects()] == [replace(o, changed=0.0) for o in rows[1]]


def test_salvage_drops_rows_that_do_not_fit_and_names_them(project, tmp_path):
    _, objects, _ = filled(project, 4)
    connection = sqlite3.connect(project.path)
    connection.execute("UPDATE object SET rle=x'FFFF' WHERE uid=?", (objects[0].uid,))
    connection.execute("DELETE FROM picture WHERE id=2")
    connection.execute("DELETE FROM journal_row")
    connection.execute("DELETE FROM class")
    connection.commit()
    connection.close()
    report = salvage(project.path, tmp_path / "saved.ovsam")
    lost = [o for o in objects if o.picture == 2]
    assert report.rows["object"] == 4 - 1 - len(lost)
    assert any(objects[0].uid in text and "counts" in text for text in report.dropped)
    assert any("its picture is lost" in text for text in report.dropped)
    assert any("kept without its name" in text for text in report.dropped)


def test_salvage_refuses_what_holds_nothing_and_existing_targets(project, tmp_path):
    project.close()
    empty = tmp_path / "noise.ovsam"
    empty.write_bytes(b"\0" * 5000)
    with pytest.raises(StoreError, match="nothing in it can be read"):
        salvage(empty, tmp_path / "saved.ovsam")
    with pytest.raises(StoreError, match="exists already"):
        salvage(project.path, empty)
    with pytest.raises(StoreError, match="cannot be read"):
        salvage(tmp_path / "none.ovsam", tmp_path / "saved.ovsam")


def test_damage_found_after_a_crash_is_told_at_opening(project):
    filled(project)
    spoil(project.path, "object")
    Path(f"{project.path}-wal").write_bytes(b"x" * 100)  # as an unclean end leaves it
    with pytest.raises(StoreError, match="damaged"):
        Project.open(project.path)
    assert project.path.exists()


# ---- moved pictures


def test_moved_pictures_are_found_by_content_and_relinked_as_one_step(project, tmp_path):
    folder = tmp_path / "elsewhere" / "deep"
    folder.mkdir(parents=True)
    rows = with_pictures(project, 4)
    for name, content in (("0.png", b"zero"), ("renamed.png", b"one"), ("2.png", b"two"), ("notes.txt", b"one")):
        (folder / name).write_bytes(content)
    known = {0: folder / "0.png", 1: folder / "renamed.png"}
    project.note_facts(replace(rows[n], key=picture_key(path)) for n, path in known.items())
    assert [row.id for row in missing_pictures(project)] == [1, 2, 3, 4]
    shares = []
    found = find_by_content(missing_pictures(project), tmp_path / "elsewhere", progress=shares.append)
    assert found == {1: folder / "0.png", 2: folder / "renamed.png", 3: folder / "2.png"}
    assert shares == sorted(shares)
    relink(project, found)
    assert [row.id for row in missing_pictures(project)] == [4]
    assert project.undo().step.label == "Find 3 moved pictures"
    assert len(missing_pictures(project)) == 4


def test_the_search_can_be_stopped(project, tmp_path):
    rows = with_pictures(project, 1)
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(CancelledError):
        find_by_content([replace(rows[0], key="k")], tmp_path, cancelled=lambda: True)


def test_importing_the_store_needs_neither_torch_nor_qt():
    modules = "ovsam_core.store, ovsam_core.formats.coco, ovsam_core.exchange, ovsam_core.splits, ovsam_core.polygons"
    code = f"import sys, {modules}; print([m for m in ('torch', 'PySide6', 'cv2') if m in sys.modules])"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert result.stdout.strip() == "[]"
