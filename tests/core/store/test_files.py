"""Opening, versions, locks and pictures that moved."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ovsam_core.errors import CancelledError, PictureError, StoreError
from ovsam_core.pictures import picture_key
from ovsam_core.store import (
    Project,
    find_by_content,
    missing_pictures,
    relink,
    schema,
)
from tests.core.store.builders import an_object, put, with_pictures

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
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert result.stdout.strip() == "[]"


def test_files_that_cannot_be_read_and_names_that_are_not_unique_are_passed_over(project, tmp_path, monkeypatch):
    from ovsam_core.store import moved as module

    with_pictures(project, 1)
    known = replace(project.picture(1), key="k", path="other.png")
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "0.png").write_bytes(b"x")

    def refuse(path):
        raise PictureError(f"{path}: no permission to read it")

    monkeypatch.setattr(module, "picture_key", refuse)
    assert find_by_content([project.picture(1), known], tmp_path) == {}


def test_a_read_only_folder_without_a_log_is_read_as_it_is(project, monkeypatch):
    with_pictures(project)
    project.close()
    connect = sqlite3.connect
    asked = []

    class NoSharedMemory(sqlite3.Connection):
        def execute(self, *args):
            raise sqlite3.OperationalError("unable to open database file")

    def refuse(address, **options):
        asked.append(str(address))
        if "immutable" not in asked[-1]:
            options["factory"] = NoSharedMemory
        return connect(address, **options)

    monkeypatch.setattr(schema.sqlite3, "connect", refuse)
    with Project.open(project.path, read_only=True) as opened:
        assert len(opened.pictures()) == 3
    assert [("immutable" in address) for address in asked] == [False, True]
    Path(f"{project.path}-wal").write_bytes(b"")
    with pytest.raises(StoreError, match="unable to open"):
        Project.open(project.path, read_only=True)


def test_closing_cuts_a_history_that_grew_too_large(project, monkeypatch):
    from ovsam_core.store import project as module

    with_pictures(project)
    for number in range(5):
        put(project, an_object(1, number))
    monkeypatch.setattr(module, "_HISTORY_BYTES", 0)
    monkeypatch.setattr(module, "_HISTORY_STEPS", 2)
    project.close()
    with Project.open(project.path) as opened:
        assert len(opened.history()) == 2
        assert len(opened.objects(1)) == 5


def test_paths_through_links_meet_at_one_lock(project, tmp_path):
    (tmp_path / "link.ovsam").symlink_to(project.path)
    with Project.open(tmp_path / "link.ovsam") as second:
        assert second.read_only
