"""The classes of the project: colours, hotkeys, counts; add, rename, merge, delete, import, fix one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QColor, QIcon
from PySide6.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QInputDialog,
    QLabel,
    QMenu,
    QMessageBox,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from ovsam_annotator.views.icons import swatch
from ovsam_annotator.views.text_field import TextField
from ovsam_annotator.views.translation import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PySide6.QtCore import QPoint

    from ovsam_annotator.views.data import ClassRow

__all__ = ["ClassManager"]

NAME, HOTKEY, COUNT = range(3)


class ClassManager(QWidget):
    """Implements `protocols.ClassManagerView`."""

    add_asked = Signal(str)
    rename_asked = Signal(str, str)
    merge_asked = Signal(object, str)
    delete_asked = Signal(str, str)
    colour_changed = Signal(str, object)
    hotkey_changed = Signal(str, int)
    lock_asked = Signal(str)
    import_asked = Signal(str)
    vocabulary_asked = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: list[ClassRow] = []
        self._locked = ""
        self._vocabulary = QComboBox()
        self._vocabulary.setAccessibleName(self.tr("Vocabulary of the project"))
        self._vocabulary.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._vocabulary.activated.connect(lambda i: self.vocabulary_asked.emit(str(self._vocabulary.itemData(i))))
        label = QLabel(self.tr("&Vocabulary"))
        label.setBuddy(self._vocabulary)
        top = QHBoxLayout()
        top.addWidget(label)
        top.addWidget(self._vocabulary, 1)

        self._table = self._make_table()
        self._field = TextField()
        self._field.setAccessibleName(self.tr("Name of a new class"))
        self._field.setPlaceholderText(self.tr("New class"))
        self._field.entered.connect(self._add)
        self._field.escaped.connect(self._field.clear)
        add = QPushButton(self.tr("Add"))
        add.setAccessibleName(self.tr("Add class"))
        add.clicked.connect(self._add)
        load = QPushButton(self.tr("Import…"))
        load.setAccessibleName(self.tr("Import classes from a text or COCO file"))
        load.setToolTip(load.accessibleName())
        load.clicked.connect(self._import)
        bottom = QHBoxLayout()
        bottom.addWidget(self._field, 1)
        bottom.addWidget(add)
        bottom.addWidget(load)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(5)
        layout.addLayout(top)
        layout.addWidget(self._table)
        layout.addLayout(bottom)

    def _make_table(self) -> QTableWidget:
        table = QTableWidget(0, 3)
        table.setAccessibleName(self.tr("Classes"))
        table.setHorizontalHeaderLabels([self.tr("Class"), self.tr("Key"), self.tr("Objects")])
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(round(table.fontMetrics().height() * 1.6))
        table.horizontalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        table.setShowGrid(False)
        table.setAlternatingRowColors(True)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        table.setEditTriggers(
            QAbstractItemView.EditTrigger.EditKeyPressed | QAbstractItemView.EditTrigger.SelectedClicked
        )
        header = table.horizontalHeader()
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        for column in (HOTKEY, COUNT):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        table.customContextMenuRequested.connect(self._show_menu)
        table.itemChanged.connect(self._on_edited)
        return table

    # --- verbs ---------------------------------------------------------------------------------------------------

    def set_rows(self, rows: Sequence[ClassRow]) -> None:
        """Replace all classes; only rows that differ are written."""
        chosen = {row.uid for row in self._chosen()}
        old, self._rows = self._rows, list(rows)
        changed = [i for i, row in enumerate(rows) if i >= len(old) or row != old[i]]
        with QSignalBlocker(self._table):
            if len(old) != len(rows):
                self._table.setRowCount(len(rows))
            for i in changed:
                self._write_row(i, rows[i], chosen=rows[i].uid in chosen)
        if changed:
            self.set_locked(self._locked)

    def _write_row(self, i: int, row: ClassRow, *, chosen: bool) -> None:
        name = QTableWidgetItem(QIcon(swatch(row.colour)), row.name)
        hotkey = "" if row.hotkey is None else f"Ctrl+{row.hotkey % 10}"
        cells = (name, QTableWidgetItem(hotkey), QTableWidgetItem(f"{row.count:,}"))
        for column, cell in enumerate(cells):
            if column != NAME:
                cell.setFlags(cell.flags() & ~Qt.ItemFlag.ItemIsEditable)
            self._table.setItem(i, column, cell)
        cells[COUNT].setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        for cell in cells:
            cell.setSelected(chosen)

    def set_locked(self, uid: str) -> None:
        """Mark the class that every accepted object gets; empty for none."""
        self._locked = uid
        with QSignalBlocker(self._table):
            for i, row in enumerate(self._rows):
                item = self._table.item(i, NAME)
                if item is None:
                    continue
                if item.text() != row.name:
                    item.setText(row.name)
                if item.font().bold() != (row.uid == uid):
                    font = item.font()
                    font.setBold(row.uid == uid)
                    item.setFont(font)
                    item.setToolTip(self.tr("Every accepted object gets this class") if row.uid == uid else "")

    def set_vocabularies(self, presets: Sequence[tuple[str, str]], current: str) -> None:
        """Offer vocabularies, (id, title)."""
        self._vocabulary.clear()
        for preset, title in presets:
            self._vocabulary.addItem(title, preset)
        self._vocabulary.setCurrentIndex(max(0, self._vocabulary.findData(current)))

    # --- inside --------------------------------------------------------------------------------------------------

    def _chosen(self) -> list[ClassRow]:
        places = sorted({index.row() for index in self._table.selectedIndexes()})
        return [self._rows[i] for i in places if i < len(self._rows)]

    def _add(self) -> None:
        name = self._field.text().strip()
        if name:
            self._field.clear()
            self.add_asked.emit(name)

    def _import(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, self.tr("Import classes"), "", self.tr("Names (*.txt *.json *.csv *.tsv);;All files (*)")
        )
        if path:
            self.import_asked.emit(path)

    def _on_edited(self, item: QTableWidgetItem) -> None:
        row = self._rows[item.row()]
        name = item.text().strip()
        if item.column() == NAME and name and name != row.name:
            self.rename_asked.emit(row.uid, name)
        self.set_locked(self._locked)  # the old name stays until the project has the new one

    def _show_menu(self, at: QPoint) -> None:
        chosen = self._chosen()
        if not chosen:
            return
        first = chosen[0]
        menu = QMenu(self)
        if first.uid == self._locked:
            menu.addAction(self.tr("Release"), lambda: self.lock_asked.emit(""))
        else:
            menu.addAction(self.tr("Give this class to every accepted object"), lambda: self.lock_asked.emit(first.uid))
        menu.addAction(self.tr("Rename…"), lambda: self._edit_name(first))
        menu.addAction(self.tr("Colour…"), lambda: self._ask_colour(first))
        keys = menu.addMenu(self.tr("Hotkey"))
        keys.addAction(self.tr("None"), lambda: self.hotkey_changed.emit(first.uid, 0))
        for n in range(1, 11):
            keys.addAction(f"Ctrl+{n % 10}", partial(self.hotkey_changed.emit, first.uid, n))
        if len(chosen) > 1:
            menu.addAction(self.tr("Merge…"), lambda: self._ask_merge(chosen))
        menu.addSeparator()
        menu.addAction(self.tr("Delete…"), lambda: self._ask_delete(first))
        menu.popup(self._table.viewport().mapToGlobal(at))

    def _edit_name(self, row: ClassRow) -> None:
        item = self._table.item(self._rows.index(row), NAME)
        if item is not None:
            self._table.editItem(item)

    def _ask_colour(self, row: ClassRow) -> None:
        colour = QColorDialog.getColor(QColor(*row.colour), self, self.tr("Colour of {name}").format(name=row.name))
        if colour.isValid():
            self.colour_changed.emit(row.uid, (colour.red(), colour.green(), colour.blue()))

    def _ask_merge(self, rows: Sequence[ClassRow]) -> None:
        names = [row.name for row in rows]
        name, given = QInputDialog.getItem(
            self, self.tr("Merge classes"), self.tr("All objects of these classes become"), names, 0, editable=False
        )
        if given:
            into = rows[names.index(name)].uid
            self.merge_asked.emit(tuple(row.uid for row in rows if row.uid != into), into)

    def _ask_delete(self, row: ClassRow) -> None:
        if not row.count:
            self.delete_asked.emit(row.uid, "unnamed")
            return
        box = QMessageBox(self)
        box.setWindowTitle(self.tr("Delete class"))
        box.setText(self.tr("Called “{name}”: {objects}.").format(name=row.name, objects=counted("object", row.count)))
        box.setInformativeText(self.tr("What becomes of them? This can be undone."))
        unnamed = box.addButton(self.tr("Keep without a name"), QMessageBox.ButtonRole.AcceptRole)
        other = box.addButton(self.tr("Give them another class…"), QMessageBox.ButtonRole.ActionRole)
        delete = box.addButton(self.tr("Delete them"), QMessageBox.ButtonRole.DestructiveRole)
        box.addButton(QMessageBox.StandardButton.Cancel)
        box.exec()
        if box.clickedButton() is unnamed:
            self.delete_asked.emit(row.uid, "unnamed")
        elif box.clickedButton() is delete:
            self.delete_asked.emit(row.uid, "delete")
        elif box.clickedButton() is other:
            others = [r for r in self._rows if r.uid != row.uid]
            names = [r.name for r in others]
            name, given = QInputDialog.getItem(self, self.tr("Delete class"), self.tr("They become"), names, 0)
            if given and name in names:
                self.delete_asked.emit(row.uid, others[names.index(name)].uid)
