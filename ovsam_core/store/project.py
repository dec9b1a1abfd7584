"""A project: one file NAME.ovsam with the pictures, objects and classes of a piece of work."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from filelock import FileLock, Timeout

from ovsam_core.errors import StoreError
from ovsam_core.store import journal
from ovsam_core.store.records import (
    Change,
    ClassRow,
    ObjectRow,
    PictureRow,
    Ref,
    Row,
    SettingRow,
    Step,
    UndoResult,
)
from ovsam_core.store.schema import connect, guarded, migrate, write_schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    from ovsam_core.store.records import ObjectState, PictureState, Source

__all__ = ["SUFFIX", "Applied", "ObjectSummary", "OpenReport", "PictureCounts", "Project"]

SUFFIX = ".ovsam"
_R = TypeVar("_R", PictureRow, ObjectRow, ClassRow, SettingRow)
_PARAMETERS = 30_000  # SQLite takes 32,766 values in one statement
_HISTORY_BYTES = 256 << 20
_HISTORY_STEPS = 1000  # five times what is promised


@dataclass(frozen=True, slots=True)
class OpenReport:
    """What was found when the file was opened.

    Attributes:
        recovered: the program had not closed the file properly; everything up to `last_step` is there.
        last_step: the newest action in the file; None without one.
        migrated_from: schema version before; None where nothing was to do.
        backup: copy made before migrating.
        read_only_reason: why the project cannot be changed; None where it can.
    """

    recovered: bool = False
    last_step: Step | None = None
    migrated_from: int | None = None
    backup: Path | None = None
    read_only_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """Answer to a change: its step, and its rows as they were written (numbered for COCO files)."""

    step: Step
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class PictureCounts:
    """Objects of one picture: all of them, those without a name, and those approved."""

    objects: int
    unnamed: int
    approved: int


@dataclass(frozen=True, slots=True)
class ObjectSummary:
    """What lists and statistics need of an object, without its mask."""

    uid: str
    picture: int
    class_uid: str | None
    area: int
    bbox_xywh: tuple[int, int, int, int]
    source: Source
    state: ObjectState
    score: float | None
    rank: int | None
    created: float
    seconds: float | None


class Project:
    """An open project file.

    Every mutation goes through `apply`, which writes the rows and their journal in one transaction; the journal is the
    undo history and survives restarts and crashes. All methods may be called from several threads; they wait for one
    another, so none belongs on a thread that must not wait.

    Attributes:
        path: the file.
        read_only: True where another program holds the file, it cannot be written, or it was opened so.
        report: what was found when it was opened.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: FileLock | None, report: OpenReport) -> None:
        self.path = path
        self.report = report
        self._base = str(path.parent)
        self._connection = connection
        self._lock = lock
        self._guard = threading.RLock()
        self._closed = False

    # ---- opening and closing

    @classmethod
    def create(cls, path: str | Path) -> Self:
        """Make a new, empty project; its folder is made where it is missing.

        Raises:
            StoreError: the file exists already or cannot be written.
        """
        path = Path(path).absolute()
        if path.exists():
            raise StoreError(f"{path}: exists already; open it, or choose another name")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{path.parent}: the folder cannot be made ({error.strerror})") from error
        with guarded(path):
            connection = sqlite3.connect(path, isolation_level=None)
            try:
                write_schema(connection)
            finally:
                connection.close()
        return cls.open(path)

    @classmethod
    def open(cls, path: str | Path, *, read_only: bool = False) -> Self:
        """Open a project; an older one is migrated after a copy was made.

        Where another program has it open, or file or folder cannot be written, the project opens read-only and
        `report.read_only_reason` says why.

        Raises:
            StoreError: missing, not a project, damaged, or of a newer version; the message says what to do.
        """
        path = Path(path).absolute()
        if not path.is_file():
            raise StoreError(f"{path}: no such project file")
        reason: str | None = "opened for reading only" if read_only else None
        lock = None
        if not read_only:
            lock, reason = _acquire(path)
        try:
            crashed = reason is None and _holds_frames(path)
            connection = connect(path, read_only=reason is not None)
        except BaseException:
            _release(lock)
            raise
        try:
            migrated = migrate(connection, path) if reason is None else None
            with guarded(path):
                if crashed:
                    _check_whole(connection, path)
                last = journal.history(connection, None, 1)
        except BaseException:
            connection.close()
            _release(lock)
            raise
        version, backup = migrated or (None, None)
        return cls(path, connection, lock, OpenReport(crashed, last[0] if last else None, version, backup, reason))

    def close(self) -> None:
        """Fold the write-ahead log into the file and give the lock back; closing twice is allowed."""
        with self._guard:
            if self._closed:
                return
            self._closed = True
            try:
                if not self.read_only:
                    with contextlib.suppress(
                        sqlite3.Error, OSError
                    ):  # everything is committed already; this only tidies
                        if self.path.stat().st_size > _HISTORY_BYTES:
                            journal.prune(self._connection, keep_steps=_HISTORY_STEPS, max_bytes=_HISTORY_BYTES)
                        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self._connection.close()
            finally:
                _release(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def read_only(self) -> bool:
        """Whether the project cannot be changed."""
        return self.report.read_only_reason is not None

    @property
    def folder(self) -> Path:
        """The folder to which picture paths are relative."""
        return self.path.parent

    # ---- changing

    def apply(self, change: Change) -> Applied:
        """Write a change as one transaction, on disk when this returns.

        Raises:
            StoreError: read-only, disk full, a contradiction (name taken, class still used): nothing was changed.
        """
        with self._writing() as connection:
            step, rows = journal.record(connection, change)
        return Applied(step, rows)

    def undo(self, picture: int | None = None) -> UndoResult | None:
        """Undo the newest step of a picture's history (of everything, with None); None where there is none left.

        A batch or import that touched several pictures is undone as a whole; look at `peek_undo` before.
        """
        return self._reverse(picture, redo=False)

    def redo(self, picture: int | None = None) -> UndoResult | None:
        """Redo what `undo` undid last; None where there is nothing."""
        return self._reverse(picture, redo=True)

    def peek_undo(self, picture: int | None = None) -> Step | None:
        """The step `undo` would take."""
        with self._reading() as connection:
            return journal.next_step(connection, picture, redo=False)

    def peek_redo(self, picture: int | None = None) -> Step | None:
        """The step `redo` would take."""
        with self._reading() as connection:
            return journal.next_step(connection, picture, redo=True)

    def history(self, picture: int | None = None, limit: int = 500) -> list[Step]:
        """Steps of a picture (of everything, with None), newest first, undone ones included."""
        with self._reading() as connection:
            return journal.history(connection, picture, limit)

    def _reverse(self, picture: int | None, *, redo: bool) -> UndoResult | None:
        with self._writing() as connection:
            step = journal.next_step(connection, picture, redo=redo)
            return None if step is None else journal.reverse(connection, step, redo=redo)

    # ---- pictures

    def add_pictures(self, paths: Iterable[str | Path], *, label: str | None = None) -> list[PictureRow]:
        """Add picture files that the project does not hold yet, in the order given; the files are not read.

        Returns:
            The new rows.
        """
        with self._guard:
            stored = dict.fromkeys(self.relative(path) for path in paths)
            with self._reading() as connection:
                known = {path for (path,) in connection.execute("SELECT path FROM picture")}
            first = self.next_picture_id()
            fresh = [path for path in stored if path not in known]
            rows = tuple(PictureRow(first + n, path) for n, path in enumerate(fresh))
            if rows:
                text = label or f"Add {len(rows)} picture{'s' * (len(rows) != 1)}"
                return [row for row in self.apply(Change(text, put=rows)).rows if isinstance(row, PictureRow)]
            return []

    def remove_pictures(self, ids: Iterable[int]) -> Applied:
        """Take pictures and their objects out of the project (one step, undoable); files are not touched."""
        with self._guard:
            drop = [Ref("picture", i) for i in dict.fromkeys(ids)]
            objects = [Ref("object", uid) for ref in drop for uid in self._uids(int(ref.key))]
            text = f"Remove {len(drop)} picture{'s' * (len(drop) != 1)}"
            return self.apply(Change(text, drop=(*objects, *drop)))

    def note_facts(self, rows: Iterable[PictureRow]) -> None:
        """Record what reading files told (key, w, h); no step of the undo history."""
        with self._guard:
            put = []
            for row in rows:
                now = self.picture(row.id)
                put.append(replace(now, key=row.key, w=row.w, h=row.h))
            self.apply(Change("Read picture files", put=tuple(put), undoable=False))

    def set_picture_state(self, ids: Iterable[int], state: PictureState) -> Applied:
        """Set the state of pictures as one step."""
        with self._guard:
            rows = tuple(replace(self.picture(i), state=state) for i in dict.fromkeys(ids))
            picture = rows[0].id if len(rows) == 1 else None
            return self.apply(Change(f"Mark {state.replace('_', ' ')}", put=rows, picture=picture))

    def relative(self, path: str | Path) -> str:
        """Path as the project stores it: relative to its folder where possible, with forward slashes."""
        # Texts, not Path objects, of which 100,000 take seconds; abspath, not resolve, so that links stay links and a
        # project of links moves with them.
        absolute = os.path.abspath(os.path.join(self._base, path))  # noqa: PTH100, PTH118
        if absolute.startswith(self._base + os.sep):
            stored = absolute[len(self._base) + 1 :]
        else:
            try:
                stored = os.path.relpath(absolute, self._base)
            except ValueError:  # another drive
                stored = absolute
        return stored.replace(os.sep, "/")

    def file_of(self, picture: PictureRow) -> Path:
        """Where a picture's file lies."""
        return Path(os.path.normpath(self.folder / picture.path))

    def next_picture_id(self) -> int:
        """A picture id that was never used."""
        with self._reading() as connection:
            found = connection.execute("SELECT value FROM counter WHERE name='picture.id'").fetchone()
            return found[0] + 1 if found else 1

    def picture(self, picture: int) -> PictureRow:
        """The picture with this id.

        Raises:
            StoreError: there is none.
        """
        return self._one(PictureRow, "id=?", (picture,), f"picture {picture}")

    def picture_at(self, path: str | Path) -> PictureRow | None:
        """The picture with this file; None where the project does not hold it."""
        found = self._rows(PictureRow, "path=?", (self.relative(path),))
        return found[0] if found else None

    def pictures(self) -> list[PictureRow]:
        """All pictures in the order they were added."""
        return self._rows(PictureRow, "1 ORDER BY id")

    def picture_counts(self) -> dict[int, PictureCounts]:
        """Object counts by picture id; pictures without objects are left out."""
        sql = "SELECT picture, count(*), sum(class IS NULL), sum(state='approved') FROM object GROUP BY picture"
        with self._reading() as connection:
            return {row[0]: PictureCounts(*row[1:]) for row in connection.execute(sql)}

    def find_pictures(
        self,
        *,
        text: str = "",
        states: Sequence[PictureState] = (),
        class_uid: str | None = None,
        score_below: float | None = None,
        with_objects: bool | None = None,
    ) -> list[int]:
        """Ids of pictures that meet every condition given, in the order they were added.

        Args:
            text: part of the path, upper and lower case alike (for ASCII letters).
            states: one of these.
            class_uid: has an object of this class.
            score_below: has an object whose name was chosen at a lower score.
            with_objects: True: has objects; False: has none.
        """
        where, values = ["1"], list[Any]()
        if text:
            where.append("instr(lower(path), lower(?))")
            values.append(text)
        if states:
            where.append(f"state IN ({', '.join('?' for _ in states)})")
            values += states
        conditions = [("class=?", class_uid), ("score<?", score_below)]
        for condition, value in conditions:
            if value is not None:
                where.append(f"EXISTS (SELECT 1 FROM object o WHERE o.picture=p.id AND o.{condition})")  # noqa: S608
                values.append(value)
        if with_objects is not None:
            where.append("EXISTS (SELECT 1 FROM object o WHERE o.picture=p.id) = ?")
            values.append(with_objects)
        with self._reading() as connection:
            sql = f"SELECT id FROM picture p WHERE {' AND '.join(where)} ORDER BY id"  # noqa: S608 - fixed texts
            return [i for (i,) in connection.execute(sql, values)]

    # ---- objects

    def object(self, uid: str) -> ObjectRow:
        """The object with this uid.

        Raises:
            StoreError: there is none.
        """
        return self._one(ObjectRow, "uid=?", (uid,), f"object {uid}")

    def objects(self, picture: int) -> list[ObjectRow]:
        """Objects of a picture, oldest first."""
        return self._rows(ObjectRow, "picture=? ORDER BY created, uid", (picture,))

    def objects_of(self, uids: Iterable[str]) -> list[ObjectRow]:
        """The objects among these uids that exist, oldest first."""
        wanted = list(dict.fromkeys(uids))
        found: list[ObjectRow] = []
        for start in range(0, len(wanted), _PARAMETERS):
            part = wanted[start : start + _PARAMETERS]
            found += self._rows(ObjectRow, f"uid IN ({', '.join('?' for _ in part)})", tuple(part))
        return sorted(found, key=lambda row: (row.created, row.uid))

    def objects_with_class(self, class_uid: str | None) -> list[ObjectRow]:
        """Objects of a class in all pictures; with None those without a name."""
        if class_uid is None:
            return self._rows(ObjectRow, "class IS NULL ORDER BY picture, created, uid")
        return self._rows(ObjectRow, "class=? ORDER BY picture, created, uid", (class_uid,))

    def iter_objects(self) -> Iterator[ObjectRow]:
        """All objects, picture by picture; the project may be changed meanwhile."""
        for picture in self.pictures():
            yield from self.objects(picture.id)

    def summaries(self, picture: int | None = None) -> list[ObjectSummary]:
        """Objects without masks, of a picture or of the whole project."""
        sql = "SELECT uid, picture, class, area, x, y, w, h, source, state, score, rank, created, seconds FROM object"
        where, values = ("", ()) if picture is None else (" WHERE picture=?", (picture,))
        with self._reading() as connection:
            rows = connection.execute(f"{sql}{where} ORDER BY picture, created, uid", values)
            return [
                ObjectSummary(uid, of, kind, area, (x, y, w, h), *rest)
                for uid, of, kind, area, x, y, w, h, *rest in rows
            ]

    def _uids(self, picture: int) -> list[str]:
        with self._reading() as connection:
            return [uid for (uid,) in connection.execute("SELECT uid FROM object WHERE picture=?", (picture,))]

    # ---- classes

    def classes(self) -> list[ClassRow]:
        """All classes in the order of lists."""
        return self._rows(ClassRow, "1 ORDER BY position, name")

    def class_of(self, uid: str) -> ClassRow:
        """The class with this uid.

        Raises:
            StoreError: there is none.
        """
        return self._one(ClassRow, "uid=?", (uid,), f"class {uid}")

    def class_with(self, *, entry_id: str | None = None, name: str | None = None) -> ClassRow | None:
        """The class that stands for a vocabulary entry or has a display name; None where there is none."""
        column, value = ("entry_id", entry_id) if entry_id is not None else ("name", name)
        found = self._rows(ClassRow, f"{column}=? ORDER BY position", (value,))
        return found[0] if found else None

    def class_counts(self) -> dict[str | None, int]:
        """Number of objects by class uid; None counts those without a name."""
        with self._reading() as connection:
            return dict(connection.execute("SELECT class, count(*) FROM object GROUP BY class"))

    # ---- settings

    def setting(self, name: str, default: Any = None) -> Any:
        """JSON value kept under a name."""
        found = self._rows(SettingRow, "name=?", (name,))
        return found[0].value if found else default

    def settings(self) -> dict[str, Any]:
        """All settings."""
        return {row.name: row.value for row in self._rows(SettingRow, "1 ORDER BY name")}

    def set_setting(self, name: str, value: Any) -> None:
        """Keep a JSON value; recorded in the journal, no step of the undo history."""
        self.apply(Change(f"Set {name}", put=(SettingRow(name, value),), undoable=False))

    # ---- health

    def check(self) -> list[str]:
        """Read the whole file and say what is damaged in it; empty where nothing is."""
        try:
            with self._reading() as connection:
                found = [text for (text,) in connection.execute("PRAGMA integrity_check(100)") if text != "ok"]
                rows = connection.execute("PRAGMA foreign_key_check").fetchall()
        except StoreError as error:
            return [str(error)]
        return found + [
            f"{table} row {number} refers to a {parent} that is missing" for table, number, parent, _ in rows
        ]

    # ---- inside

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._guard, guarded(self.path):
            if self._closed:
                raise StoreError(f"{self.path}: the project is closed")
            yield self._connection

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        if self.read_only:
            raise StoreError(f"{self.path}: cannot be changed ({self.report.read_only_reason})")
        with self._reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _rows(self, kind: type[_R], where: str, values: tuple[Any, ...] = ()) -> list[_R]:
        names = ", ".join(f'"{c}"' for c in kind.columns)
        with self._reading() as connection:
            rows = connection.execute(f'SELECT {names} FROM "{kind.table}" WHERE {where}', values).fetchall()  # noqa: S608
        return [kind.from_columns(row) for row in rows]

    def _one(self, kind: type[_R], where: str, values: tuple[Any, ...], what: str) -> _R:
        found = self._rows(kind, where, values)
        if not found:
            raise StoreError(f"{self.path}: no {what} in this project")
        return found[0]


def _acquire(path: Path) -> tuple[FileLock | None, str | None]:
    """Take the lock beside the file, or say why the project must be read-only."""
    if not os.access(path, os.W_OK):
        return None, "no permission to write the file"
    real = path.resolve()  # two links to one file meet at one lock
    lock = FileLock(real.with_name(f".{real.name}.lock"), thread_local=False)  # may be closed on another thread
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None, "another window or program has it open"
    except OSError as error:
        return None, f"its folder cannot be written ({error.strerror})"
    return lock, None


def _release(lock: FileLock | None) -> None:
    if lock is not None:
        lock.release()


def _holds_frames(path: Path) -> bool:
    """Whether a write-ahead log was left behind, which only an unclean end does."""
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def _check_whole(connection: sqlite3.Connection, path: Path) -> None:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(f"{path.name}: {verdict}")
