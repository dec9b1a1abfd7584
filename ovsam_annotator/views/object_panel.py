"""The objects of the open picture: sort, filter, select, rename, lock, hide, attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QItemSelection, QItemSelectionModel, QSortFilterProxyModel, Qt, Signal
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

from ovsam_annotator.views.object_model import AREA, HIDE, LOCK, NAME, SCORE, SORT_ROLE, STATE, ObjectModel
from ovsam_annotator.views.text_field import TextField

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PySide6.QtCore import QModelIndex, QPoint

    from ovsam_annotator.views.data import ObjectRow

__all__ = ["ObjectPanel"]


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
        self._model = ObjectModel(self.palette, self)
        self._model.grown.connect(lambda: self.set_selection(self._chosen))
        self._chosen: tuple[str, ...] = ()
        self._proxy = QSortFilterProxyModel(self)
        self._proxy.setSourceModel(self._model)
        self._proxy.setSortRole(SORT_ROLE)
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
            title = str(self._model.headerData(column, Qt.Orientation.Horizontal, Qt.ItemDataRole.DisplayRole))
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
        elif event.type() == QEvent.Type.PaletteChange and hasattr(self, "_view"):
            self._model.repaint()

    # --- verbs ---------------------------------------------------------------------------------------------------

    def set_rows(self, rows: Sequence[ObjectRow]) -> None:
        """Replace all rows; what is selected stays selected."""
        chosen = self._chosen
        self._quiet = True
        self._model.set_rows(rows)
        self._quiet = False
        self.set_selection(chosen)

    def set_selection(self, uids: Sequence[str]) -> None:
        """Select rows; emits nothing."""
        self._chosen = tuple(uids)
        wanted = set(uids)
        picked = QItemSelection()
        first: QModelIndex | None = None
        for i, row in enumerate(self._model.rows[: self._model.rowCount()]):
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

    def _row(self, index: QModelIndex) -> ObjectRow:
        return self._model.rows[self._proxy.mapToSource(index).row()]

    def _on_selection(self) -> None:
        if not self._quiet:
            self._chosen = self.selection()
            self.selection_changed.emit(self._chosen)

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
