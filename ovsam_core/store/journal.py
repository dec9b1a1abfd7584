"""The journal: rows before and after each action, which are the undo history itself."""

from __future__ import annotations

import base64
import sqlite3
import time
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import orjson

from ovsam_core.errors import StoreError
from ovsam_core.store.records import (
    Change,
    ClassRow,
    ObjectRow,
    PictureRow,
    Ref,
    Row,
    SettingRow,
    Step,
    Table,
    UndoResult,
    with_export_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["history", "next_step", "prune", "record", "reverse", "row_columns", "unpack_row"]

_ROWS: dict[Table, type[ClassRow | PictureRow | ObjectRow | SettingRow]] = {
    "class": ClassRow,
    "picture": PictureRow,
    "object": ObjectRow,
    "setting": SettingRow,
}
_ORDER: tuple[Table, ...] = ("class", "picture", "object", "setting")  # what others refer to is written first
_KEY: dict[Table, str] = {"class": "uid", "picture": "id", "object": "uid", "setting": "name"}
_NAMES: dict[Table, str] = {t: ", ".join(f'"{c}"' for c in row.columns) for t, row in _ROWS.items()}
_STAMPS = frozenset({"changed"})  # says when, not what: takes no part in comparisons

_OF_PICTURE = """AND step IN (
  SELECT step FROM journal WHERE picture = :picture UNION SELECT step FROM journal_row WHERE picture = :picture)"""

Columns = dict[str, Any]


class _Entry(NamedTuple):
    """One row of a step: what it was and is, and the picture in whose history it stands."""

    ref: Ref
    picture: int | None
    before: Columns | None
    after: Columns | None


def record(connection: sqlite3.Connection, change: Change) -> tuple[Step, tuple[Row, ...]]:
    """Write a change and its journal inside the caller's transaction.

    Returns:
        The step, and the rows as written (with ids for COCO files).

    Raises:
        StoreError: a row to drop does not exist, a row is put twice, or a value is none of its set.
    """
    now = time.time()
    current = {row.ref: _current(connection, row.ref) for row in change.put}
    if len(current) != len(change.put):
        raise StoreError(f"{change.label}: the same row is put twice in one change")
    put = _numbered(connection, change.put, current)
    entries: list[_Entry] = []
    for table in _ORDER:
        entries += _put(connection, table, [row for row in put if row.table == table], current, now)
    for table in reversed(_ORDER):
        entries += [_drop(connection, ref) for ref in change.drop if ref.table == table]
    if change.undoable:
        _forget_redo(connection, change.picture, {entry.picture for entry in entries})
    return _write_step(connection, change, entries, now), put


def _numbered(
    connection: sqlite3.Connection, rows: tuple[Row, ...], current: dict[Ref, Columns | None]
) -> tuple[Row, ...]:
    """Give new rows the next id for COCO files; ids once given, and ids of pictures, are never given again."""
    given: dict[str, int] = dict(connection.execute("SELECT name, value FROM counter"))
    greatest = dict(given)
    for row in rows:
        if not isinstance(row, SettingRow) and row.export_id is not None:
            greatest[row.table] = max(greatest.get(row.table, 0), row.export_id)
        if isinstance(row, PictureRow):
            greatest["picture.id"] = max(greatest.get("picture.id", 0), row.id)
    result: list[Row] = []
    for row in rows:
        if isinstance(row, SettingRow) or row.export_id is not None:
            result.append(row)
            continue
        stored = current[row.ref]
        number = None if stored is None else stored["export_id"]
        if number is None:
            number = greatest[row.table] = greatest.get(row.table, 0) + 1
        result.append(with_export_id(row, number))
    changed = [(name, value) for name, value in greatest.items() if given.get(name) != value]
    connection.executemany(
        "INSERT INTO counter VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET value=excluded.value", changed
    )
    return tuple(result)


def _put(
    connection: sqlite3.Connection, table: Table, rows: list[Row], current: dict[Ref, Columns | None], now: float
) -> list[_Entry]:
    entries: list[_Entry] = []
    fresh: list[Columns] = []
    for row in rows:
        after = row.to_columns()
        if table == "object":
            after["changed"] = now
        before = current[row.ref]
        if before is None:
            fresh.append(after)
            entries.append(_Entry(row.ref, _history_of(row.ref, None, after), None, after))
            continue
        changed = [c for c in after if after[c] != before[c]]
        if not set(changed) - _STAMPS:
            continue
        _update(connection, row.ref, {c: after[c] for c in changed})
        picture = _history_of(row.ref, before, after)
        entries.append(_Entry(row.ref, picture, {c: before[c] for c in changed}, {c: after[c] for c in changed}))
    _insert(connection, table, fresh)
    return entries


def _drop(connection: sqlite3.Connection, ref: Ref) -> _Entry:
    before = _current(connection, ref)
    if before is None:
        raise StoreError(f"{ref.table} {ref.key}: to be deleted, but the project does not hold it")
    _delete(connection, ref)
    return _Entry(ref, _history_of(ref, before, None), before, None)


def _history_of(ref: Ref, before: Columns | None, after: Columns | None) -> int | None:
    """Picture in whose history a row stands; adding and removing pictures belong to the project's history."""
    if ref.table == "picture":
        return cast("int", ref.key) if before is not None and after is not None else None
    if ref.table == "object":
        whole = before if after is None else after
        assert whole is not None
        return cast("int", whole["picture"])
    return None


def _write_step(connection: sqlite3.Connection, change: Change, entries: list[_Entry], now: float) -> Step:
    count = len({entry.picture for entry in entries if entry.picture is not None})
    cursor = connection.execute(
        "INSERT INTO journal(label, picture, time, state, rows, pictures) VALUES (?, ?, ?, ?, ?, ?)",
        (change.label, change.picture, now, "done" if change.undoable else "note", len(entries), count),
    )
    step = cast("int", cursor.lastrowid)
    connection.executemany(
        "INSERT INTO journal_row(step, n, tbl, key, picture, before, after) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (step, n, e.ref.table, e.ref.key, e.picture, _packed(e.before), _packed(e.after))
            for n, e in enumerate(entries)
        ),
    )
    return Step(step, change.label, change.picture, now, undone=False, rows=len(entries), pictures=count)


def next_step(connection: sqlite3.Connection, picture: int | None, *, redo: bool) -> Step | None:
    """Return the step that undo (or redo) would take next for a picture, or for the project with None."""
    order, state = ("ASC", "undone") if redo else ("DESC", "done")
    scope = "" if picture is None else _OF_PICTURE
    found = connection.execute(
        "SELECT step, label, picture, time, state = 'undone', rows, pictures FROM journal "  # noqa: S608 - fixed texts
        f"WHERE state = :state {scope} ORDER BY step {order} LIMIT 1",
        {"state": state, "picture": picture},
    ).fetchone()
    return None if found is None else _step(found)


def history(connection: sqlite3.Connection, picture: int | None, limit: int) -> list[Step]:
    """List the latest steps, newest first, undone ones included; of a picture, or of everything with None."""
    scope = "" if picture is None else _OF_PICTURE
    rows = connection.execute(
        "SELECT step, label, picture, time, state = 'undone', rows, pictures FROM journal "  # noqa: S608 - fixed texts
        f"WHERE state IN ('done', 'undone') {scope} ORDER BY step DESC LIMIT :limit",
        {"picture": picture, "limit": limit},
    )
    return [_step(row) for row in rows]


def _step(row: tuple[Any, ...]) -> Step:
    number, label, picture, when, undone, rows, pictures = row
    return Step(number, label, picture, when, bool(undone), rows, pictures)


def reverse(connection: sqlite3.Connection, step: Step, *, redo: bool) -> UndoResult:
    """Undo a done step or redo an undone one, inside the caller's transaction.

    A row that another step has changed since is left as it is and reported: later work wins.
    """
    order, wanted = ("ASC", 1) if redo else ("DESC", 0)
    entries = connection.execute(
        f"SELECT n, tbl, key, picture, before, after FROM journal_row WHERE step=? AND reverted=? ORDER BY n {order}",  # noqa: S608
        (step.id, wanted),
    ).fetchall()
    left: list[Ref] = []
    pictures: set[int] = set()
    (known,) = connection.execute("SELECT count(*) FROM class").fetchone()
    classes = False
    turned: list[tuple[int, int, int]] = []
    for n, table, key, picture, before, after in entries:
        ref = Ref(table, key)
        source, target = (unpack_row(before), unpack_row(after)) if redo else (unpack_row(after), unpack_row(before))
        if not _turn(connection, ref, source, target):
            left.append(ref)
            continue
        turned.append((int(not redo), step.id, n))
        classes = classes or table == "class"
        if picture is not None:
            pictures.add(picture)
        elif table == "picture":
            pictures.add(key)
    (now_known,) = connection.execute("SELECT count(*) FROM class").fetchone()
    classes = classes or known != now_known  # an object can bring its class back
    connection.executemany("UPDATE journal_row SET reverted=? WHERE step=? AND n=?", turned)
    connection.execute("UPDATE journal SET state=? WHERE step=?", ("done" if redo else "undone", step.id))
    now = Step(step.id, step.label, step.picture, step.time, not redo, step.rows, step.pictures)
    return UndoResult(now, frozenset(pictures), classes, tuple(left))


def _turn(connection: sqlite3.Connection, ref: Ref, source: Columns | None, target: Columns | None) -> bool:
    """Bring one row from `source` to `target` if it still is as `source` says; None stands for absent."""
    current = _current(connection, ref)
    if source is None:
        if current is not None:
            return False
        assert target is not None
        fresh = target
        if ref.table == "object" and not _referents_exist(connection, target):
            return False
        _free_export_id(connection, ref, target)
        return _fits(connection, lambda: _insert(connection, ref.table, [fresh]))
    if current is None or any(current[c] != source[c] for c in source if c not in _STAMPS):
        return False
    if target is None:
        if _in_use(connection, ref):
            return False
        _delete(connection, ref)
        return True
    if ref.table == "object":
        whole = current | target
        if not _referents_exist(connection, whole):
            return False
        target = {c: whole[c] for c in target}
    values = target
    return _fits(connection, lambda: _update(connection, ref, values))


def _fits(connection: sqlite3.Connection, write: Callable[[], None]) -> bool:
    """Write, unless it contradicts what was done since (a name or path that another row took)."""
    connection.execute("SAVEPOINT turn")
    try:
        write()
    except sqlite3.IntegrityError:
        connection.execute("ROLLBACK TO turn")
        return False
    finally:
        connection.execute("RELEASE turn")
    return True


def _free_export_id(connection: sqlite3.Connection, ref: Ref, row: Columns) -> None:
    """Give a row that comes back another id for COCO files where an import took its own meanwhile."""
    number = row.get("export_id")
    taken = f'SELECT 1 FROM "{ref.table}" WHERE export_id=?'  # noqa: S608 - names of our own tables
    if number is not None and connection.execute(taken, (number,)).fetchone() is not None:
        row["export_id"] = connection.execute(
            "UPDATE counter SET value=value+1 WHERE name=? RETURNING value", (ref.table,)
        ).fetchone()[0]


def _referents_exist(connection: sqlite3.Connection, columns: Columns) -> bool:
    """See that an object's picture exists, and bring its class back if it went since (its namesake, where one is)."""
    if connection.execute("SELECT 1 FROM picture WHERE id=?", (columns["picture"],)).fetchone() is None:
        return False
    uid = columns.get("class")
    if uid is None or connection.execute("SELECT 1 FROM class WHERE uid=?", (uid,)).fetchone() is not None:
        return True
    lost = connection.execute(
        "SELECT coalesce(before, after) FROM journal_row "
        "WHERE tbl='class' AND key=? AND (before IS NULL OR after IS NULL) ORDER BY step DESC LIMIT 1",
        (uid,),
    ).fetchone()
    if lost is None:
        return False
    row = cast("Columns", unpack_row(lost[0]))
    namesake = connection.execute("SELECT uid FROM class WHERE name=?", (row["name"],)).fetchone()
    if namesake is not None:
        columns["class"] = namesake[0]
        return True
    _insert(connection, "class", [row])
    return True


def _in_use(connection: sqlite3.Connection, ref: Ref) -> bool:
    if ref.table not in ("class", "picture"):
        return False
    return connection.execute(f'SELECT 1 FROM object WHERE "{ref.table}"=? LIMIT 1', (ref.key,)).fetchone() is not None  # noqa: S608


def _forget_redo(connection: sqlite3.Connection, picture: int | None, touched: set[int | None]) -> None:
    """A new action ends the redo of the histories it stands in."""
    pictures = {p for p in (*touched, picture) if p is not None}
    if picture is None:
        connection.execute("UPDATE journal SET state='dropped' WHERE state='undone' AND picture IS NULL")
    for step, owner in connection.execute("SELECT step, picture FROM journal WHERE state='undone'").fetchall():
        if owner in pictures or any(_touches(connection, step, picture) for picture in pictures):
            connection.execute("UPDATE journal SET state='dropped' WHERE step=?", (step,))


def _touches(connection: sqlite3.Connection, step: int, picture: int) -> bool:
    sql = "SELECT 1 FROM journal_row WHERE picture=? AND step=? LIMIT 1"
    return connection.execute(sql, (picture, step)).fetchone() is not None


def prune(connection: sqlite3.Connection, *, keep_steps: int, max_bytes: int) -> int:
    """Drop the oldest steps while the journal exceeds `max_bytes`, never the newest `keep_steps`.

    Returns:
        Number of steps dropped.
    """
    sizes = connection.execute(
        "SELECT step, sum(coalesce(length(before), 0) + coalesce(length(after), 0)) FROM journal_row "
        "GROUP BY step ORDER BY step DESC"
    )
    total = kept = 0
    for step, size in sizes:
        total, kept = total + size, kept + 1
        if kept > keep_steps and total > max_bytes:
            sizes.close()
            return connection.execute("DELETE FROM journal WHERE step<=?", (step,)).rowcount
    return 0


def _current(connection: sqlite3.Connection, ref: Ref) -> Columns | None:
    found = connection.execute(
        f'SELECT {_NAMES[ref.table]} FROM "{ref.table}" WHERE {_KEY[ref.table]}=?',  # noqa: S608 - names of our own tables
        (ref.key,),
    ).fetchone()
    return None if found is None else dict(zip(_ROWS[ref.table].columns, found, strict=True))


def _insert(connection: sqlite3.Connection, table: Table, rows: Iterable[Columns]) -> None:
    columns = _ROWS[table].columns
    marks = ", ".join("?" for _ in columns)
    connection.executemany(
        f'INSERT INTO "{table}" ({_NAMES[table]}) VALUES ({marks})',  # noqa: S608 - names of our own tables
        ([row[c] for c in columns] for row in rows),
    )


def _update(connection: sqlite3.Connection, ref: Ref, values: Columns) -> None:
    names = ", ".join(f'"{c}"=?' for c in values)
    connection.execute(
        f'UPDATE "{ref.table}" SET {names} WHERE {_KEY[ref.table]}=?',  # noqa: S608 - names of our own tables
        (*values.values(), ref.key),
    )


def _delete(connection: sqlite3.Connection, ref: Ref) -> None:
    connection.execute(f'DELETE FROM "{ref.table}" WHERE {_KEY[ref.table]}=?', (ref.key,))  # noqa: S608 - our own tables


def _packed(columns: Columns | None) -> bytes | None:
    return None if columns is None else orjson.dumps(columns, default=_pack_bytes)


def _pack_bytes(value: object) -> dict[str, str]:
    assert isinstance(value, bytes), type(value)
    return {"b64": base64.b64encode(value).decode()}


def row_columns(table: Table) -> tuple[str, ...]:
    """Columns of a table in the order of its row class."""
    return _ROWS[table].columns


def unpack_row(packed: bytes | None) -> Columns | None:
    """Columns of a journal row; a column's own values are never objects, so an object is packed bytes."""
    if packed is None:
        return None
    columns: Columns = orjson.loads(packed)
    return {c: base64.b64decode(v["b64"]) if isinstance(v, dict) else v for c, v in columns.items()}
