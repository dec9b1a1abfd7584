"""Getting out of a damaged project file what can still be read; the file itself is never written."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from ovsam_core.errors import FormatError, StoreError
from ovsam_core.masks import Mask
from ovsam_core.store.journal import row_columns, unpack_row
from ovsam_core.store.project import Project
from ovsam_core.store.records import Change, ClassRow, ObjectRow, PictureRow, Row, SettingRow, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SalvageReport", "salvage"]

_GAP = 50_000  # row numbers tried one by one where a damaged page hides them
_KINDS: tuple[type[ClassRow | PictureRow | ObjectRow | SettingRow], ...] = (ClassRow, PictureRow, ObjectRow, SettingRow)


@dataclass(frozen=True, slots=True)
class SalvageReport:
    """What was recovered.

    Attributes:
        rows: recovered rows by table.
        from_journal: of these, rows that were rebuilt from the history because their own page cannot be read.
        dropped: readable rows that could not be used (their picture is lost, their mask does not decode) or not whole.
        complete: whether every table could be read to its end.
    """

    rows: dict[str, int] = field(default_factory=dict)
    from_journal: int = 0
    dropped: tuple[str, ...] = ()
    complete: bool = True


def salvage(path: str | Path, into: str | Path) -> SalvageReport:
    """Copy every readable row of a damaged project into a new one; the history starts anew.

    Rows on unreadable pages are rebuilt from the journal where that can be read.

    Args:
        path: the damaged file, which is copied first and not touched.
        into: the new file, which must not exist.

    Raises:
        StoreError: nothing in the file can be read, or the new file exists or cannot be written.
    """
    path, into = Path(path), Path(into)
    if into.exists():
        raise StoreError(f"{into}: exists already; choose another name")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "damaged.ovsam"
        try:
            shutil.copyfile(path, copy)
            log = path.with_name(path.name + "-wal")
            if log.exists():
                shutil.copyfile(log, copy.with_name(copy.name + "-wal"))
        except OSError as error:
            raise StoreError(f"{path}: cannot be read ({error.strerror})") from error
        tables, whole = _read(copy)
        if not any(tables[kind.table] for kind in _KINDS):
            raise StoreError(f"{path}: nothing in it can be read; restore it from a backup")
        rebuilt = _from_journal(copy, tables)
    rows, dropped = _sound(tables)
    with Project.create(into) as project:
        project.apply(Change(f"Recover from {path.name}", put=tuple(rows)))
    counts: dict[str, int] = {kind.table: sum(row.table == kind.table for row in rows) for kind in _KINDS}
    return SalvageReport(counts, rebuilt, tuple(dropped), whole)


Tables = dict[Table, dict[Any, dict[str, Any]]]


def _read(copy: Path) -> tuple[Tables, bool]:
    tables: Tables = {kind.table: {} for kind in _KINDS}
    whole = True
    connection = sqlite3.connect(copy)
    try:
        for kind in _KINDS:
            names = ", ".join(f'"{c}"' for c in kind.columns)
            whole = _rows(connection, kind.table, names, tables[kind.table], kind.columns) and whole
    finally:
        connection.close()
    return tables, whole


def _rows(
    connection: sqlite3.Connection, table: str, names: str, into: dict[Any, dict[str, Any]], columns: tuple[str, ...]
) -> bool:
    """Read a table from both ends towards the damage, then what lies between, row by row; True where it was whole."""
    ends: list[int | None] = []
    for order in ("ASC", "DESC"):
        last = None
        try:
            for number, *values in connection.execute(f'SELECT rowid, {names} FROM "{table}" ORDER BY rowid {order}'):  # noqa: S608
                into[values[0]] = dict(zip(columns, values, strict=True))
                last = number
        except sqlite3.DatabaseError:
            ends.append(last)
        else:
            return True
    if ends == [None, None]:  # not even the way to the rows can be read
        return False
    low, high = ends[0] or 0, ends[1]
    for number in range(low + 1, low + _GAP if high is None else min(high, low + _GAP)):
        with contextlib.suppress(sqlite3.DatabaseError):
            found = connection.execute(f'SELECT {names} FROM "{table}" WHERE rowid=?', (number,)).fetchone()  # noqa: S608
            if found is not None:
                into[found[0]] = dict(zip(columns, found, strict=True))
    return False


def _from_journal(copy: Path, tables: Tables) -> int:
    """Rebuild rows that the tables no longer give from the history; returns their number."""
    replayed: Tables = {table: {} for table in get_args(Table)}
    connection = sqlite3.connect(copy)
    try:
        with contextlib.suppress(sqlite3.DatabaseError):
            for table, key, before, after in _replay(connection):
                if after is None:
                    replayed[table].pop(key, None)
                elif before is None:
                    replayed[table][key] = after
                elif key in replayed[table]:
                    replayed[table][key] |= after
    finally:
        connection.close()
    rebuilt = 0
    for table, rows in replayed.items():
        for key, columns in rows.items():
            if key not in tables[table] and set(columns) == set(row_columns(table)):
                tables[table][key] = columns
                rebuilt += 1
    return rebuilt


def _replay(
    connection: sqlite3.Connection,
) -> Iterator[tuple[Table, Any, dict[str, Any] | None, dict[str, Any] | None]]:
    rows = connection.execute(
        "SELECT r.tbl, r.key, r.before, r.after FROM journal_row r JOIN journal j ON j.step = r.step "
        "WHERE r.reverted = 0 ORDER BY r.step, r.n"
    )
    for table, key, before, after in rows:
        yield table, key, unpack_row(before), unpack_row(after)


def _sound(tables: Tables) -> tuple[list[Row], list[str]]:
    """Rows that fit together; names and ids that damage doubled are made unique by dropping the later row."""
    rows: list[Row] = []
    dropped: list[str] = []
    taken: set[tuple[str, str, Any]] = set()
    for kind in _KINDS:
        for key, columns in tables[kind.table].items():
            try:
                row: Row = kind.from_columns(tuple(columns[c] for c in kind.columns))
                if isinstance(row, ObjectRow):  # before C code sees the runs
                    Mask.from_rle({"size": [row.mask.height, row.mask.width], "counts": row.mask.counts})
                row.to_columns()
            except (FormatError, StoreError, ValueError, TypeError, KeyError, AttributeError) as error:
                dropped.append(f"{kind.table} {key}: {error}")
                tables[kind.table][key] = {**columns, "lost": True}
                continue
            lost = isinstance(row, ObjectRow) and _lost(tables["picture"], row.picture)
            if isinstance(row, ObjectRow) and row.class_uid is not None and _lost(tables["class"], row.class_uid):
                dropped.append(f"object {key}: kept without its name, whose class {row.class_uid} is lost")
                row = replace(row, class_uid=None)
            unique = [(kind.table, c, columns[c]) for c in ("path", "name", "export_id") if columns.get(c) is not None]
            if lost or any(entry in taken for entry in unique):
                dropped.append(f"{kind.table} {key}: {'its picture is lost' if lost else 'stands twice'}")
                tables[kind.table][key] = {**columns, "lost": True}
                continue
            taken.update(unique)
            rows.append(row)
    return rows, dropped


def _lost(rows: dict[Any, dict[str, Any]], key: object) -> bool:
    return key not in rows or "lost" in rows[key]
