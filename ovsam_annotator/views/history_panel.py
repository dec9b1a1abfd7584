"""The journal of the open picture: every step, the undone ones pale; a click goes there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QAbstractListModel, QModelIndex, QPersistentModelIndex, Qt, Signal
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QAbstractItemView, QListView, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovsam_annotator.views.data import HistoryRow

__all__ = ["HistoryPanel"]

_Index = QModelIndex | QPersistentModelIndex
_ROOT = QModelIndex()


class _HistoryModel(QAbstractListModel):
    """Steps, oldest first: replaced with every action, so that nothing is made for rows out of view."""

    def __init__(self, panel: HistoryPanel) -> None:
        super().__init__(panel)
        self._panel = panel
        self.rows: list[HistoryRow] = []

    def set_rows(self, rows: Sequence[HistoryRow]) -> None:
        """Replace all rows."""
        self.beginResetModel()
        self.rows = list(rows)
        self.endResetModel()

    def rowCount(self, parent: _Index = _ROOT) -> int:  # noqa: N802
        """Number of steps."""
        return 0 if parent.isValid() else len(self.rows)

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Words and look of a step."""
        row = self.rows[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return f"{row.time}  {row.text}" if row.time else row.text
        if role == Qt.ItemDataRole.ForegroundRole and row.undone:
            return self._panel.palette().brush(QPalette.ColorGroup.Disabled, QPalette.ColorRole.Text)
        if role == Qt.ItemDataRole.AccessibleTextRole and row.undone:
            return self.tr("{text}, undone").format(text=row.text)
        return None


class HistoryPanel(QWidget):
    """Implements `protocols.HistoryView`."""

    step_asked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = _HistoryModel(self)
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
        self._model.set_rows(rows)
        here = next((i for i in range(len(rows) - 1, -1, -1) if not rows[i].undone), -1)
        if here >= 0:
            index = self._model.index(here, 0)
            self._view.setCurrentIndex(index)
            self._view.scrollTo(index)

    def _on_activated(self, index: QModelIndex) -> None:
        self.step_asked.emit(self._model.rows[index.row()].step)
