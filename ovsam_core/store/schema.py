"""The project file's tables, its versions, and how a file is opened without ever harming it."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from typing import TYPE_CHECKING

from ovsam_core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["APPLICATION_ID", "MIGRATIONS", "SCHEMA_VERSION", "connect", "guarded", "migrate", "write_schema"]

SCHEMA_VERSION = 1
SYNCHRONOUS = "FULL"  # a committed action survives a power cut, for some milliseconds on a background thread
APPLICATION_ID = 0x4F56534D  # "OVSM": marks the file as ours in SQLite's header

MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {}
"""Version → the function that brings a file of that version to the next one, inside one transaction."""

_TABLES = """
CREATE TABLE picture (
  id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, key TEXT, w INTEGER, h INTEGER,
  state TEXT NOT NULL DEFAULT 'unseen', "group" TEXT, export_id INTEGER UNIQUE, extra TEXT
);
CREATE INDEX picture_key ON picture(key);
CREATE TABLE class (
  uid TEXT PRIMARY KEY, entry_id TEXT NOT NULL, name TEXT NOT NULL UNIQUE, colour TEXT NOT NULL, hotkey TEXT,
  export_id INTEGER UNIQUE, position INTEGER NOT NULL DEFAULT 0, extra TEXT
);
CREATE TABLE object (
  uid TEXT PRIMARY KEY,
  picture INTEGER NOT NULL REFERENCES picture(id) DEFERRABLE INITIALLY DEFERRED,
  class TEXT REFERENCES class(uid) DEFERRABLE INITIALLY DEFERRED,
  rle BLOB NOT NULL, mask_h INTEGER NOT NULL, mask_w INTEGER NOT NULL,
  x INTEGER NOT NULL, y INTEGER NOT NULL, w INTEGER NOT NULL, h INTEGER NOT NULL, area INTEGER NOT NULL,
  source TEXT NOT NULL, state TEXT NOT NULL, score REAL, prompts TEXT, model_id TEXT, head_hash TEXT,
  suggestions TEXT, rank INTEGER, region BLOB, crop_region BLOB,
  created REAL NOT NULL, changed REAL NOT NULL, seconds REAL, attributes TEXT,
  crowd INTEGER NOT NULL DEFAULT 0, locked INTEGER NOT NULL DEFAULT 0, hidden INTEGER NOT NULL DEFAULT 0,
  export_id INTEGER UNIQUE, extra TEXT
);
CREATE INDEX object_picture ON object(picture);
CREATE INDEX object_class ON object(class);
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE journal (
  step INTEGER PRIMARY KEY, label TEXT NOT NULL, picture INTEGER, time REAL NOT NULL,
  state TEXT NOT NULL, rows INTEGER NOT NULL, pictures INTEGER NOT NULL
);
CREATE INDEX journal_state ON journal(state, step);
CREATE INDEX journal_picture ON journal(picture);
CREATE TABLE journal_row (
  step INTEGER NOT NULL REFERENCES journal(step) ON DELETE CASCADE, n INTEGER NOT NULL,
  tbl TEXT NOT NULL, key NOT NULL, picture INTEGER, before BLOB, after BLOB, reverted INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (step, n)
) WITHOUT ROWID;
CREATE INDEX journal_row_picture ON journal_row(picture, step);
"""


def write_schema(connection: sqlite3.Connection) -> None:
    """Create the tables in an empty file."""
    connection.executescript(
        f"BEGIN;{_TABLES}PRAGMA application_id={APPLICATION_ID};PRAGMA user_version={SCHEMA_VERSION};COMMIT;"
    )


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Open an existing file for reading or writing, in autocommit mode, checked to be a project of ours.

    Raises:
        StoreError: not a project, damaged, or of a newer version of the program.
    """
    with guarded(path):
        connection = (
            _read_only(path) if read_only else sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        )
        try:
            _check_identity(connection, path)
            connection.execute("PRAGMA foreign_keys=ON")
            if not read_only:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute(f"PRAGMA synchronous={SYNCHRONOUS}")
        except BaseException:
            connection.close()
            raise
    return connection


def _read_only(path: Path) -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        # In a folder without write permission SQLite cannot make the file through which readers and writers meet;
        # without a -wal file beside it nobody writes, and it may be read as it is.
        connection.close()
        if path.with_name(path.name + "-wal").exists():
            raise
        connection = sqlite3.connect(f"{address}&immutable=1", uri=True, isolation_level=None, check_same_thread=False)
    return connection


def _check_identity(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        raise StoreError(f"{path}: not a project file of this program (nothing was changed)")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path}: written by a newer version of the program (schema {version}; this one knows {SCHEMA_VERSION}); "
            "update the program to open it (nothing was changed)"
        )


def migrate(connection: sqlite3.Connection, path: Path) -> tuple[int, Path] | None:
    """Bring an older file to this version, after copying it aside.

    Returns:
        The version it had and the path of the copy (NAME.vN.backup.ovsam), or None where nothing was to do.

    Raises:
        StoreError: a step failed; file and copy are as before.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == SCHEMA_VERSION:
        return None
    missing = [number for number in range(version, SCHEMA_VERSION) if number not in MIGRATIONS]
    if missing:
        raise StoreError(f"{path}: of schema {version}, from which no way is known (nothing was changed)")
    backup = path.with_name(f"{path.stem}.v{version}.backup{path.suffix}")
    if backup.exists():
        backup = path.with_name(f"{path.stem}.v{version}.{time.time_ns()}.backup{path.suffix}")
    with guarded(path):
        copy = sqlite3.connect(backup)
        try:
            connection.backup(copy)
        finally:
            copy.close()
        connection.execute("BEGIN IMMEDIATE")
        try:
            for number in range(version, SCHEMA_VERSION):
                MIGRATIONS[number](connection)
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    return version, backup


@contextlib.contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into StoreError with the file's name and advice."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise StoreError(
            f"{path}: the change contradicts what the project holds ({error}); nothing was changed"
        ) from error
    except sqlite3.OperationalError as error:
        raise StoreError(_advice(path, error)) from error
    except sqlite3.DatabaseError as error:
        raise StoreError(
            f"{path}: the file is damaged ({error}); it was left as it is. Keep a copy and recover what is readable "
            "with ovsam_core.store.salvage(path, new_path), or open a backup"
        ) from error


def _advice(path: Path, error: sqlite3.OperationalError) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return f"{path}: the disk is full; the change was not written and nothing is lost. Free space, then repeat it"
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"{path}: another program holds the file; close it there, then repeat the action"
    if code == sqlite3.SQLITE_READONLY:
        return f"{path}: the file or its folder cannot be written; check permissions"
    if code == sqlite3.SQLITE_CANTOPEN:
        return f"{path}: cannot be opened; check that it exists and that you may read it"
    if code == sqlite3.SQLITE_IOERR:
        return f"{path}: reading or writing failed ({error}); check the disk, then repeat the action"
    return f"{path}: {error}; nothing was changed"
