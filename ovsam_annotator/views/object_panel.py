"""The objects of the open picture: sort, filter, select, rename, lock, hide, attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import (
    QAbstractTableModel,
    QEvent,
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    QSortFilterProxyModel,
    Qt,
    Signal,
)
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QInputDialog,
    QMenu,
    QStyle,
    QTreeView,
    QVBoxLayout,
    QWidget,
)

from ovsam_annotator.views.icons import icon, swatch
from ovsam_annotator.views.picture_delegate import state_pixmap
from ovsam_annotator.views.text_field import TextField
from ovsam_annotator.views.translation import state_word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PySide6.QtCore import QPoint

    from ovsam_annotator.views.data import ObjectRow

__all__ = ["ObjectPanel"]

_Index = QModelIndex | QPersistentModelIndex
_ROOT = QModelIndex()
_SORT = Qt.ItemDataRole.UserRole + 1
NAME, SCORE, AREA, STATE, LOCK, HIDE = range(6)


class _ObjectModel(QAbstractTableModel):
    """Rows of the panel."""

    def __init__(self, panel: ObjectPanel) -> None:
        super().__init__(panel)
        self._panel = panel
        self.rows: list[ObjectRow] = []

    def set_rows(self, rows: Sequence[ObjectRow]) -> None:
        """Replace all rows; those that stay in their place are only told when they differ."""
        old, new = self.rows, list(rows)
        if len(new) < len(old) or any(a.uid != b.uid for a, b in zip(old, new, strict=False)):
            self.beginResetModel()
            self.rows = new
            self.endResetModel()
            return
        changed = [i for i, row in enumerate(old) if row is not new[i] and row != new[i]]
        self.rows = [*new[: len(old)]]
        for i in changed:
            self.dataChanged.emit(self.index(i, 0), self.index(i, HIDE))
        if len(new) > len(old):
            self.beginInsertRows(_ROOT, len(old), len(new) - 1)
            self.rows = new
            self.endInsertRows()

    def rowCount(self, parent: _Index = _ROOT) -> int:  # noqa: N802
        """Number of objects."""
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: _Index = _ROOT) -> int:  # noqa: ARG002, N802
        """Number of columns."""
        return 6

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: N802
        """Titles of the columns."""
        if orientation is not Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if section in {SCORE, AREA} else Qt.AlignmentFlag.AlignLeft
            return side | Qt.AlignmentFlag.AlignVCenter
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        return (self.tr("Name"), self.tr("Score"), self.tr("Area"), "", "", "")[section]

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Contents of a cell."""
        row, column = self.rows[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            score = "" if row.score is None else f"{row.score:.0%}"
            name = row.name or self.tr("(no name)")
            return (name, score, f"{row.area:,}", None, None, None)[column]
        if role == _SORT:
            score_key = -1.0 if row.score is None else row.score
            return (row.name.casefold(), score_key, row.area, row.state.value, row.locked, row.hidden)[column]
        if role == Qt.ItemDataRole.DecorationRole:
            return self._panel.decoration(row, column)
        if role == Qt.ItemDataRole.TextAlignmentRole and column in {SCORE, AREA}:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ToolTipRole:
            words = [
                row.origin or row.source,
                state_word(row.state.value),
                *(f"{key}: {value}" for key, value in row.attributes),
            ]
            return "\n".join(words)
        if role == Qt.ItemDataRole.AccessibleTextRole and column == STATE:
            return state_word(row.state.value)
        if role == Qt.ItemDataRole.AccessibleTextRole and column in {LOCK, HIDE}:
            states = (self.tr("locked"), self.tr("not locked"), self.tr("hidden"), self.tr("shown"))
            return states[0 if row.locked else 1] if column == LOCK else states[2 if row.hidden else 3]
        return None


class ObjectPanel(QWidget):
    """Implements `protocols.ObjectPanelView`."""

    selection_changed = Signal(object)
    rename_asked = Signal(object)
    delete_asked = Signal(object)
    refine_asked = Signal(str)
    lock_changed = Signal(object, bool)
    hidden_changed = Signal(object, bool)
    attribute_changed = Signal(str, str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._quiet = False
        self._field = TextField()
        self._field.setAccessibleName(self.tr("Filter objects"))
        self._field.setPlaceholderText(self.tr("Filter objects by name"))
        self._field.setClearButtonEnabled(True)
        self._field.escaped.connect(self._field.clear)
        self._model = _ObjectModel(self)
        self._proxy = QSortFilterProxyModel(self)
        self._proxy.setSourceModel(self._model)
        self._proxy.setSortRole(_SORT)
        self._proxy.setFilterCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self._field.textChanged.connect(self._proxy.setFilterFixedString)
        self._view = self._make_view()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(5)
        layout.addWidget(self._field)
        layout.addWidget(self._view)
        self.setMinimumWidth(self.fontMetrics().height() * 13)

    def _make_view(self) -> QTreeView:
        view = QTreeView()
        view.setAccessibleName(self.tr("Objects of this picture"))
        view.setModel(self._proxy)
        view.setRootIsDecorated(False)
        view.setUniformRowHeights(True)
        view.setSortingEnabled(True)
        view.header().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)  # the order they were made in
        view.setAlternatingRowColors(True)
        view.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        view.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        header = view.header()
        header.setAccessibleName(self.tr("Columns of the objects"))
        header.setStretchLastSection(False)
        header.setMinimumSectionSize(24)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        for column in (SCORE, AREA, STATE, LOCK, HIDE):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
        self._set_widths(view)
        view.selectionModel().selectionChanged.connect(self._on_selection)
        view.clicked.connect(self._on_clicked)
        view.doubleClicked.connect(self._on_double_clicked)
        view.customContextMenuRequested.connect(self._show_menu)
        return view

    def _set_widths(self, view: QTreeView) -> None:
        """Give the narrow columns their widths from the font; measuring contents would ask for every row each time."""
        metrics, header = view.fontMetrics(), view.header()
        gap = 2 * header.style().pixelMetric(QStyle.PixelMetric.PM_HeaderMargin) + metrics.averageCharWidth()
        for column, widest in ((SCORE, "100%"), (AREA, "9,999,999")):
            title = str(self._model.headerData(column, Qt.Orientation.Horizontal))
            arrow = header.style().pixelMetric(QStyle.PixelMetric.PM_HeaderMarkSize)
            width = max(metrics.horizontalAdvance(widest), metrics.horizontalAdvance(title) + arrow)
            header.resizeSection(column, width + gap)
        for column in (STATE, LOCK, HIDE):
            header.resizeSection(column, max(24, view.iconSize().width(), metrics.height()) + 4)

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        """Keep the columns as wide as another font needs."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange and hasattr(self, "_view"):
            self._set_widths(self._view)

    # --- verbs ---------------------------------------------------------------------------------------------------

    def set_rows(self, rows: Sequence[ObjectRow]) -> None:
        """Replace all rows; what is selected stays selected."""
        chosen = self.selection()
        self._quiet = True
        self._model.set_rows(rows)
        self._quiet = False
        self.set_selection(chosen)

    def set_selection(self, uids: Sequence[str]) -> None:
        """Select rows; emits nothing."""
        wanted = set(uids)
        picked = QItemSelection()
        first: QModelIndex | None = None
        for i, row in enumerate(self._model.rows):
            if row.uid in wanted:
                index = self._proxy.mapFromSource(self._model.index(i, 0))
                picked.select(index, index)
                first = first or index
        self._quiet = True
        flags = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
        self._view.selectionModel().select(picked, flags)
        self._quiet = False
        if first is not None and first.isValid():
            self._view.scrollTo(first)

    def selection(self) -> tuple[str, ...]:
        """Uids of the selected rows."""
        rows = self._view.selectionModel().selectedRows()
        return tuple(self._model.rows[self._proxy.mapToSource(i).row()].uid for i in rows)

    # --- inside --------------------------------------------------------------------------------------------------

    def decoration(self, row: ObjectRow, column: int) -> Any:
        """Picture of a cell: class colour, lock or eye."""
        if column == NAME:
            return swatch(row.colour)
        if column == STATE:
            return state_pixmap(row.state.value)
        if column == LOCK:
            return icon("lock" if row.locked else "unlock", self.palette()) if row.locked else None
        if column == HIDE:
            return icon("eye-off" if row.hidden else "eye", self.palette())
        return None

    def _row(self, index: QModelIndex) -> ObjectRow:
        return self._model.rows[self._proxy.mapToSource(index).row()]

    def _on_selection(self) -> None:
        if not self._quiet:
            self.selection_changed.emit(self.selection())

    def _on_clicked(self, index: QModelIndex) -> None:
        row = self._row(index)
        if index.column() == LOCK:
            self.lock_changed.emit((row.uid,), not row.locked)
        elif index.column() == HIDE:
            self.hidden_changed.emit((row.uid,), not row.hidden)

    def _on_double_clicked(self, index: QModelIndex) -> None:
        if index.column() in {NAME, SCORE, AREA, STATE}:
            self.rename_asked.emit((self._row(index).uid,))

    def _show_menu(self, at: QPoint) -> None:
        uids = self.selection()
        if not uids:
            return
        rows = [row for row in self._model.rows if row.uid in uids]
        menu = QMenu(self)
        menu.addAction(self.tr("Rename…"), lambda: self.rename_asked.emit(uids))
        menu.addAction(self.tr("Refine with clicks"), lambda: self.refine_asked.emit(uids[0]))
        lock, hide = not all(r.locked for r in rows), not all(r.hidden for r in rows)
        menu.addAction(self.tr("Lock") if lock else self.tr("Unlock"), lambda: self.lock_changed.emit(uids, lock))
        menu.addAction(self.tr("Hide") if hide else self.tr("Show"), lambda: self.hidden_changed.emit(uids, hide))
        menu.addAction(self.tr("Set attribute…"), lambda: self._ask_attribute(uids[0]))
        menu.addSeparator()
        menu.addAction(self.tr("Delete"), lambda: self.delete_asked.emit(uids))
        menu.popup(self._view.viewport().mapToGlobal(at))

    def _ask_attribute(self, uid: str) -> None:
        text, given = QInputDialog.getText(self, self.tr("Attribute"), self.tr("name = value (no value removes it)"))
        key, _, value = text.partition("=")
        if given and key.strip():
            self.attribute_changed.emit(uid, key.strip(), value.strip())
