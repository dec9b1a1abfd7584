"""The objects of a picture as rows that Qt paints and sorts by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, QTimer, Signal
from PySide6.QtGui import QPalette, QStandardItem, QStandardItemModel

from ovsam_annotator.views.icons import icon, swatch
from ovsam_annotator.views.picture_delegate import state_pixmap
from ovsam_annotator.views.translation import state_word

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ovsam_annotator.views.data import ObjectRow

__all__ = ["AREA", "HIDE", "LOCK", "NAME", "SCORE", "SORT_ROLE", "STATE", "ObjectModel"]

NAME, SCORE, AREA, STATE, LOCK, HIDE = range(6)
SORT_ROLE = Qt.ItemDataRole.UserRole + 1
_SLICE = 150  # rows made in one go: about 4 ms
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class ObjectModel(QStandardItemModel):
    """Rows of the panel, made when they come and not when they are painted: painting asks for a thousand values.

    Thousands of rows are made between events, the first ones at once.

    Args:
        palette: colours of the icons.

    Attributes:
        grown: rows that had been waiting are there.
    """

    grown = Signal()

    def __init__(self, palette: Callable[[], QPalette], parent: QObject | None = None) -> None:
        super().__init__(0, 6, parent)
        self._palette = palette
        self._rows: list[ObjectRow] = []
        self._timer = QTimer(self, interval=0)
        self._timer.timeout.connect(self._grow)
        self.setHorizontalHeaderLabels([self.tr("Name"), self.tr("Score"), self.tr("Area"), "", "", ""])
        for column in range(6):
            side = _RIGHT if column in {SCORE, AREA} else Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
            self.setHeaderData(column, Qt.Orientation.Horizontal, side, Qt.ItemDataRole.TextAlignmentRole)

    @property
    def rows(self) -> Sequence[ObjectRow]:
        """All objects; the first `rowCount` of them are there."""
        return self._rows

    def set_rows(self, rows: Sequence[ObjectRow]) -> None:
        """Replace all rows; those that stay are only made anew when they differ."""
        wanted = {row.uid for row in rows}
        shown = self._rows[: self.rowCount()]
        for i in range(len(shown) - 1, -1, -1):
            if shown[i].uid not in wanted:
                self.removeRow(i)
                del shown[i]
        if any(old.uid != new.uid for old, new in zip(shown, rows, strict=False)):
            self.setRowCount(0)
            shown = []
        self._rows = list(rows)
        for i, old in enumerate(shown):
            if rows[i] is not old and rows[i] != old:
                self._replace(i)
        self._append()

    def repaint(self) -> None:
        """Make what is there anew: the colours have changed."""
        for i in range(self.rowCount()):
            self._replace(i)

    def _replace(self, i: int) -> None:
        for column, item in enumerate(self._items(self._rows[i])):
            self.setItem(i, column, item)

    def _grow(self) -> None:
        self._append()
        self.grown.emit()

    def _append(self) -> None:
        """Make the next rows."""
        first = self.rowCount()
        for row in self._rows[first : first + _SLICE]:
            self.appendRow(self._items(row))
        if self.rowCount() < len(self._rows):
            self._timer.start()
        else:
            self._timer.stop()

    def _items(self, row: ObjectRow) -> list[QStandardItem]:
        """The cells of a row."""
        palette = self._palette()
        lines = [row.origin or row.source, state_word(row.state.value)]
        tip = "\n".join([*lines, *(f"{key}: {value}" for key, value in row.attributes)])
        score = -1.0 if row.score is None else row.score
        cells: list[tuple[str, object, object]] = [  # text, picture, what it is sorted by
            (row.name or self.tr("(no name)"), swatch(row.colour), row.name.casefold()),
            ("" if row.score is None else f"{row.score:.0%}", None, score),
            (f"{row.area:,}", None, row.area),
            ("", state_pixmap(row.state.value), row.state.value),
            ("", icon("lock", palette) if row.locked else None, row.locked),
            ("", icon("eye-off" if row.hidden else "eye", palette), row.hidden),
        ]
        items = []
        for text, picture, key in cells:
            item = QStandardItem(text)
            item.setEditable(False)
            item.setToolTip(tip)
            item.setData(key, SORT_ROLE)
            if picture is not None:
                item.setData(picture, Qt.ItemDataRole.DecorationRole)
            items.append(item)
        for column in (SCORE, AREA):
            items[column].setTextAlignment(_RIGHT)
        items[STATE].setAccessibleText(state_word(row.state.value))
        items[LOCK].setAccessibleText(self.tr("locked") if row.locked else self.tr("not locked"))
        items[HIDE].setAccessibleText(self.tr("hidden") if row.hidden else self.tr("shown"))
        return items
