"""The open picture's objects: what is on show, what is selected, and what lies under the cursor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ovsam_annotator.model.shapes import MaskShape
    from ovsam_core.store.records import ObjectRow, PictureRow

__all__ = ["Document", "Item"]


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One object: its row in the store and its mask, decoded and traced."""

    row: ObjectRow
    shape: MaskShape

    @property
    def uid(self) -> str:
        """Id in the project."""
        return self.row.uid


class Document:
    """Objects of one picture in the order they were made, and the selection among them.

    Attributes:
        picture: the picture's row as the window knows it; the store may be a moment behind.
        version: rises with every change of the objects.
    """

    def __init__(self, picture: PictureRow, items: Iterable[Item] = ()) -> None:
        self.picture = picture
        self._items = {item.uid: item for item in items}
        self._selection: tuple[str, ...] = ()
        self.version = 0

    def __len__(self) -> int:
        return len(self._items)

    def __bool__(self) -> bool:
        return True  # an empty document is a document

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items.values())

    def __contains__(self, uid: object) -> bool:
        return uid in self._items

    def get(self, uid: str) -> Item | None:
        """The object with this uid; None where there is none."""
        return self._items.get(uid)

    def put(self, items: Iterable[Item]) -> None:
        """Add objects, or replace those with the same uid in their place."""
        self.version += 1
        for item in items:
            self._items[item.uid] = item

    def drop(self, uids: Iterable[str]) -> None:
        """Remove objects; unknown uids are ignored."""
        self.version += 1
        for uid in uids:
            self._items.pop(uid, None)
        self._selection = tuple(uid for uid in self._selection if uid in self._items)

    @property
    def selection(self) -> tuple[str, ...]:
        """Uids of the selected objects, in the order they were chosen."""
        return self._selection

    def select(self, uids: Iterable[str]) -> tuple[str, ...]:
        """Select exactly these, leaving out unknown ones; returns the selection."""
        self._selection = tuple(dict.fromkeys(uid for uid in uids if uid in self._items))
        return self._selection

    def selected(self) -> list[Item]:
        """The selected objects."""
        return [self._items[uid] for uid in self._selection]

    def editable(self) -> list[Item]:
        """The selected objects that are not locked."""
        return [item for item in self.selected() if not item.row.locked]

    def under(self, x: float, y: float) -> list[Item]:
        """Visible objects whose mask covers picture coordinates x, y, smallest first (then newest first)."""
        hits = [item for item in reversed(self._items.values()) if not item.row.hidden and item.shape.contains(x, y)]
        return sorted(hits, key=lambda item: item.shape.area)

    def neighbour(self, step: int) -> str | None:
        """Uid of the next (+1) or previous (-1) object after the selected one, round the end; None without objects."""
        uids = list(self._items)
        if not uids:
            return None
        if not self._selection:
            return uids[0 if step > 0 else -1]
        return uids[(uids.index(self._selection[-1]) + step) % len(uids)]
