"""The journal of the open picture: every step, the undone ones pale; a click goes there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QModelIndex, Qt, Signal
from PySide6.QtGui import QPalette, QStandardItem, QStandardItemModel
from PySide6.QtWidgets import QAbstractItemView, QListView, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovsam_annotator.views.data import HistoryRow

__all__ = ["HistoryPanel"]

_STEP = Qt.ItemDataRole.UserRole + 1


class HistoryPanel(QWidget):
    """Implements `protocols.HistoryView`."""

    step_asked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = QStandardItemModel(self)
        self._view = QListView()
        self._view.setAccessibleName(self.tr("Steps that can be undone"))
        self._view.setModel(self._model)
        self._view.setUniformItemSizes(True)
        self._view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self._view.activated.connect(self._on_activated)
        self._view.clicked.connect(self._on_activated)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self._view)

    def set_rows(self, rows: Sequence[HistoryRow]) -> None:
        """Replace all steps, oldest first."""
        self._model.clear()
        pale = self.palette().color(QPalette.ColorGroup.Disabled, QPalette.ColorRole.Text)
        here = -1
        for i, row in enumerate(rows):
            item = QStandardItem(f"{row.time}  {row.text}" if row.time else row.text)
            item.setData(row.step, _STEP)
            if row.undone:
                item.setForeground(pale)
                item.setData(self.tr("{text}, undone").format(text=row.text), Qt.ItemDataRole.AccessibleTextRole)
            else:
                here = i
            self._model.appendRow(item)
        if here >= 0:
            index = self._model.index(here, 0)
            self._view.setCurrentIndex(index)
            self._view.scrollTo(index)

    def _on_activated(self, index: QModelIndex) -> None:
        self.step_asked.emit(int(index.data(_STEP)))
