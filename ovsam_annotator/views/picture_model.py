"""The pictures of a project as a list model: a hundred thousand rows, filtered in slices, thumbnails on demand."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, QPersistentModelIndex, Qt, QTimer, Signal
from PySide6.QtGui import QImage, QPixmap

from ovsam_annotator.views.picture_filter import PictureFilter
from ovsam_annotator.views.translation import counted, state_word

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ovsam_annotator.views.data import PictureRow

__all__ = ["PictureModel"]

ROW_ROLE = Qt.ItemDataRole.UserRole + 1
SLICE = 4000  # rows filtered in one go: about 4 ms
KEPT_THUMBS = 600
_Index = QModelIndex | QPersistentModelIndex
_ROOT = QModelIndex()


class PictureModel(QAbstractListModel):
    """Rows that pass the filter."""

    filtered = Signal()
    thumbnail_missing = Signal(int)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows: list[PictureRow] = []
        self._places: dict[int, int] = {}
        self._shown: list[int] = []
        self._shown_places: dict[int, int] = {}
        self._thumbs: OrderedDict[int, QPixmap] = OrderedDict()
        self._filter = PictureFilter()
        self._found: list[int] = []
        self._next = 0
        self._timer = QTimer(self, interval=0)
        self._timer.timeout.connect(self._filter_slice)

    # --- Qt ------------------------------------------------------------------------------------------------------

    def rowCount(self, parent: _Index = _ROOT) -> int:  # noqa: N802
        """Number of rows that pass."""
        return 0 if parent.isValid() else len(self._shown)

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Give a row to the delegate and its words to screen readers."""
        if not index.isValid():
            return None
        row = self._rows[self._shown[index.row()]]
        if role == ROW_ROLE:
            return row
        if role == Qt.ItemDataRole.DisplayRole:
            return row.name
        if role in {Qt.ItemDataRole.AccessibleTextRole, Qt.ItemDataRole.ToolTipRole}:
            lost = self.tr(", cannot be read") if row.missing else ""
            text = self.tr("{name}: {state}, {count}, model {encode}{lost}")
            state, encode = state_word(row.state.value), state_word(row.encode.value)
            return text.format(
                name=row.name, state=state, count=counted("object", row.objects), encode=encode, lost=lost
            )
        if role == Qt.ItemDataRole.DecorationRole:
            return self._thumb(row.picture_id)
        return None

    # --- verbs ---------------------------------------------------------------------------------------------------

    @property
    def total(self) -> int:
        """Number of rows, filtered or not."""
        return len(self._rows)

    def set_rows(self, rows: Sequence[PictureRow]) -> None:
        """Replace all rows; shown at once when there is no filter."""
        self._rows = list(rows)
        self._places = {row.picture_id: i for i, row in enumerate(self._rows)}
        self._thumbs.clear()
        self.set_filter(self._filter)

    def put_rows(self, rows: Sequence[PictureRow]) -> None:
        """Replace rows with the same id, append others."""
        appended = False
        for row in rows:
            place = self._places.get(row.picture_id)
            if place is None:
                self._places[row.picture_id] = len(self._rows)
                self._rows.append(row)
                appended = True
            else:
                self._rows[place] = row
                shown = self._shown_places.get(place)
                if shown is not None:
                    index = self.index(shown)
                    self.dataChanged.emit(index, index)
        if appended:
            self.set_filter(self._filter)

    def set_filter(self, wanted: PictureFilter) -> None:
        """Show only rows that pass; long lists are filtered between events."""
        self._filter = wanted
        self._timer.stop()
        self._found, self._next = [], 0
        if wanted == PictureFilter():
            self._show(list(range(len(self._rows))))
        else:
            self._timer.start()

    def set_thumbnail(self, picture_id: int, pixels: NDArray[np.uint8]) -> None:
        """Keep a thumbnail, (h, w, 3) uint8."""
        height, width = pixels.shape[:2]
        image = QImage(pixels.tobytes(), width, height, width * 3, QImage.Format.Format_RGB888)
        self._thumbs[picture_id] = QPixmap.fromImage(image)
        while len(self._thumbs) > KEPT_THUMBS:
            self._thumbs.popitem(last=False)
        index = self.index_of(picture_id)
        if index.isValid():
            self.dataChanged.emit(index, index)

    def index_of(self, picture_id: int) -> QModelIndex:
        """Index of a picture; invalid when it is filtered out."""
        place = self._places.get(picture_id, -1)
        shown = self._shown_places.get(place, -1)
        return self.index(shown) if shown >= 0 else QModelIndex()

    def visible_ids(self) -> tuple[int, ...]:
        """Ids that pass the filter, in order."""
        return tuple(self._rows[i].picture_id for i in self._shown)

    def neighbours(self, picture_id: int | None, by: int) -> Iterator[int]:
        """Ids that pass the filter after (by 1) or before (by -1) a picture, nearest first; all for an unknown one."""
        place = self._places.get(picture_id, -1) if picture_id is not None else -1
        at = self._shown_places.get(place)
        after = range(0 if at is None else at + 1, len(self._shown))
        for shown in after if by > 0 or at is None else range(at - 1, -1, -1):
            yield self._rows[self._shown[shown]].picture_id

    def row_at(self, index: _Index) -> PictureRow:
        """Row at a valid index."""
        return self._rows[self._shown[index.row()]]

    # --- inside --------------------------------------------------------------------------------------------------

    def _thumb(self, picture_id: int) -> QPixmap | None:
        pixmap = self._thumbs.get(picture_id)
        if pixmap is None:
            self.thumbnail_missing.emit(picture_id)
        else:
            self._thumbs.move_to_end(picture_id)
        return pixmap

    def _filter_slice(self) -> None:
        last = min(self._next + SLICE, len(self._rows))
        passes = self._filter.matches
        self._found.extend(i for i in range(self._next, last) if passes(self._rows[i]))
        self._next = last
        if last == len(self._rows):
            self._timer.stop()
            self._show(self._found)

    def _show(self, places: list[int]) -> None:
        self.beginResetModel()
        self._shown = places
        self._shown_places = {place: i for i, place in enumerate(places)}
        self.endResetModel()
        self.filtered.emit()
