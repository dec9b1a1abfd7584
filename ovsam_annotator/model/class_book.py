"""The project's classes as the window knows them: by uid, by vocabulary entry, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovsam_core.store.classes import PALETTE
from ovsam_core.store.records import ClassRow, new_uid
from ovsam_core.vocabulary import normalise, own_entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["ClassBook", "rgb_of"]

_UNNAMED = (200, 200, 200)


def rgb_of(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of "#rrggbb"; grey where it is something else."""
    try:
        value = int(colour.removeprefix("#"), 16)
    except ValueError:
        return _UNNAMED
    return value >> 16 & 255, value >> 8 & 255, value & 255


class ClassBook:
    """Classes in list order, with fast look-ups."""

    def __init__(self, rows: Iterable[ClassRow] = ()) -> None:
        self._rows: dict[str, ClassRow] = {}
        self._by_entry: dict[str, ClassRow] = {}
        self._by_name: dict[str, ClassRow] = {}
        self.replace(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[ClassRow]:
        return iter(self._rows.values())

    def replace(self, rows: Iterable[ClassRow]) -> tuple[str, ...]:
        """Take over all classes of the store; returns the uids of those that came, went or look different."""
        old = self._rows
        self._rows = {row.uid: row for row in sorted(rows, key=lambda row: (row.position, row.name))}
        self._index()
        return tuple(uid for uid in {**old, **self._rows} if _look(old.get(uid)) != _look(self._rows.get(uid)))

    def put(self, row: ClassRow) -> None:
        """Add or replace one."""
        known = row.uid in self._rows
        self._rows[row.uid] = row
        if known:  # its old name must not be found any more
            self._index()
        else:
            self._add(row)

    def get(self, uid: str | None) -> ClassRow | None:
        """The class with this uid; None where there is none."""
        return self._rows.get(uid) if uid else None

    def name(self, uid: str | None) -> str:
        """Display name; empty without a class."""
        row = self.get(uid)
        return row.name if row else ""

    def colour(self, uid: str | None) -> tuple[int, int, int]:
        """Colour; light grey without a class."""
        row = self.get(uid)
        return rgb_of(row.colour) if row else _UNNAMED

    def find(self, entry_id: str, name: str) -> ClassRow | None:
        """The class that stands for an entry, or else has its name in any spelling of case and blanks."""
        return self._by_entry.get(entry_id) or self._by_name.get(normalise(name))

    def with_hotkey(self, hotkey: str) -> ClassRow | None:
        """The class of a hotkey such as "Ctrl+1"."""
        return next((row for row in self._rows.values() if row.hotkey == hotkey), None)

    def claim(self, entry_id: str, name: str) -> tuple[ClassRow, bool]:
        """The class for an accepted name, and whether it is new (then write it with the object).

        A new class gets the next colour and, among the first ten, the next free hotkey.
        """
        found = self.find(entry_id, name)
        if found is not None:
            return found, False
        position = max((row.position for row in self._rows.values()), default=-1) + 1
        taken = {row.hotkey for row in self._rows.values()}
        hotkey = next((key for key in (f"Ctrl+{n % 10}" for n in range(1, 11)) if key not in taken), None)
        row = ClassRow(
            new_uid(),
            entry_id or own_entry(name).id,
            name,
            PALETTE[position % len(PALETTE)],
            hotkey,
            position=position,
        )
        self.put(row)
        return row, True

    def _index(self) -> None:
        self._by_entry, self._by_name = {}, {}
        for row in self._rows.values():
            self._add(row)

    def _add(self, row: ClassRow) -> None:
        self._by_entry.setdefault(row.entry_id, row)
        self._by_name[normalise(row.name)] = row


def _look(row: ClassRow | None) -> tuple[str, str, str | None, int] | None:
    """What the window shows of a class."""
    return None if row is None else (row.name, row.colour, row.hotkey, row.position)
