"""Kills, full disks, damage and salvage."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ovsam_core.errors import StoreError
from ovsam_core.masks import Mask
from ovsam_core.store import (
    ObjectRow,
    Project,
    add_class,
    new_uid,
    salvage,
    schema,
)
from tests.core.store.builders import an_object, contents, put, with_pictures

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
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as child:
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


def test_salvage_reads_what_a_crash_left_in_the_log(project, tmp_path):
    with_pictures(project)
    put(project, an_object())
    copy = tmp_path / "crashed.ovsam"  # as the disk looks when the program dies here
    for suffix in ("", "-wal"):
        Path(f"{copy}{suffix}").write_bytes(Path(f"{project.path}{suffix}").read_bytes())
    assert salvage(copy, tmp_path / "saved.ovsam").rows["object"] == 1


def test_salvage_passes_over_broken_values_and_doubled_names(project, tmp_path):
    filled(project, 4)
    connection = sqlite3.connect(project.path)
    connection.execute("DELETE FROM journal_row")
    connection.execute("UPDATE picture SET extra='{' WHERE id=3")
    connection.execute("UPDATE object SET state='odd' WHERE picture=1")
    connection.commit()
    connection.close()
    report = salvage(project.path, tmp_path / "saved.ovsam")
    assert report.rows["picture"] == 2
    assert report.rows["object"] == 1
    assert any("object.state" in text for text in report.dropped)
    assert any("its picture is lost" in text for text in report.dropped)


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
