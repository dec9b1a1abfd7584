"""Rows of a project: what is kept, what is refused, how it is found."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from ovsam_core.errors import StoreError
from ovsam_core.results import Label
from ovsam_core.store import (
    Change,
    ClassRow,
    PictureCounts,
    PictureRow,
    Ref,
    SettingRow,
    add_class,
    new_uid,
    pack_vector,
    unpack_vector,
)
from tests.core.store.builders import an_object, contents, put, with_pictures

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
