"""Undo and redo through the journal, and changes to classes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovsam_core.errors import StoreError
from ovsam_core.store import (
    PALETTE,
    Change,
    ClassRow,
    Project,
    add_class,
    delete_class,
    merge_classes,
    new_class,
    new_uid,
    rename_class,
)
from tests.core.store.builders import an_object, contents, put, with_pictures

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


def test_undo_of_a_deletion_whose_picture_is_gone_leaves_the_object(project):
    with_pictures(project)
    row = an_object(2, 2)
    put(project, row, picture=2)
    project.apply(Change("Delete", drop=(row.ref,), picture=2))
    project.remove_pictures([2])
    assert project.undo(2).left == (row.ref,)
    assert project.redo(2).left == ()
    assert list(project.iter_objects()) == []


def test_undo_leaves_rows_that_are_gone_or_back_already(project):
    with_pictures(project)
    row = an_object()
    put(project, row)
    put(project, replace(row, hidden=True), label="Hide", picture=2)
    project.apply(Change("Delete", drop=(row.ref,), picture=3))
    assert project.undo(2).left == (row.ref,)  # nothing is there to be shown again
    put(project, row, label="Put back", picture=2)
    assert project.undo(3).left == (row.ref,)  # it is back already


def test_redo_of_an_object_brings_a_class_back_whose_addition_was_undone(project):
    with_pictures(project)
    kind = add_class(project, "own:moss", "moss")
    row = an_object(class_uid=kind.uid)
    put(project, row)
    project.undo(1)
    assert project.undo().classes
    result = project.redo(1)
    assert (result.left, result.classes) == ((), True)
    assert project.class_of(project.object(row.uid).class_uid).name == "moss"


def test_undo_of_a_move_to_another_class_finds_its_namesake(project):
    with_pictures(project)
    cat, dog = add_class(project, "own:cat", "cat"), add_class(project, "own:dog", "dog")
    row = an_object(class_uid=cat.uid)
    put(project, row)
    put(project, replace(row, class_uid=dog.uid), label="Rename", picture=2)
    delete_class(project, cat.uid)
    namesake = add_class(project, "cat.n.01", "cat")
    assert project.undo(2).left == ()
    assert project.object(row.uid).class_uid == namesake.uid


def test_undo_names_the_pictures_that_came_or_went(project):
    with_pictures(project, 2)
    assert project.undo().pictures == {1, 2}
    assert project.redo().pictures == {1, 2}


def test_undo_of_a_move_to_another_class_needs_that_class(project):
    with_pictures(project)
    cat, dog = add_class(project, "own:cat", "cat"), add_class(project, "own:dog", "dog")
    row = an_object(class_uid=cat.uid)
    put(project, row)
    put(project, replace(row, class_uid=dog.uid), label="Rename", picture=2)
    delete_class(project, cat.uid)
    assert project.undo(2).left == ()
    assert project.class_of(project.object(row.uid).class_uid).name == "cat"


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.sampled_from("adhc")), max_size=12), st.randoms())
def test_any_work_can_be_undone_picture_by_picture_and_redone(tmp_path_factory, work, random):
    """a: add an object, d: delete one, h: hide one, c: give one another class, in two pictures at once."""
    with Project.create(tmp_path_factory.mktemp("any") / "p.ovsam") as project:
        with_pictures(project, 2)
        classes = [add_class(project, f"own:{n}", n) for n in "xy"]
        before: dict[int, list[object]] = {1: [], 2: []}
        for number, (picture, action) in enumerate(work):
            present = project.objects(picture)
            if action == "a" or not present:
                change = Change("Add", put=(an_object(picture, number, class_uid=classes[0].uid),), picture=picture)
            elif action == "d":
                change = Change("Delete", drop=(present[0].ref,), picture=picture)
            else:
                fields = {"h": {"hidden": not present[-1].hidden}, "c": {"class_uid": classes[number % 2].uid}}[action]
                change = Change("Edit", put=(replace(present[-1], **fields),), picture=picture)
            before[picture].append(present)
            project.apply(change)
        final = {picture: project.objects(picture) for picture in before}
        order = [picture for picture, snapshots in before.items() for _ in snapshots]
        random.shuffle(order)
        left = {picture: list(snapshots) for picture, snapshots in before.items()}
        for picture in order:
            assert project.undo(picture).left == ()
            assert project.objects(picture) == left[picture].pop()
        for picture in random.sample(order, len(order)):
            assert project.redo(picture).left == ()
        assert {picture: project.objects(picture) for picture in before} == final
