"""Proposals of "Label everything" and "Find by name": light up, accept by name or above a score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import (
    QDoubleSpinBox,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from ovsam_annotator.views.icons import swatch
from ovsam_annotator.views.text_field import TextField

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovsam_annotator.views.data import ProposalRow

__all__ = ["ProposalsPanel"]

_NAME = Qt.ItemDataRole.UserRole + 1


class ProposalsPanel(QWidget):
    """Implements `protocols.ProposalsView`."""

    everything_asked = Signal()
    find_asked = Signal(str)
    name_lit = Signal(str)
    name_accepted = Signal(str)
    accepted_above = Signal(float)
    cleared = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        everything = QPushButton(self.tr("Label everything"))
        everything.setAccessibleName(self.tr("Propose masks for the whole picture"))
        everything.clicked.connect(self.everything_asked)
        self._field = TextField()
        self._field.setAccessibleName(self.tr("Find by name"))
        self._field.setPlaceholderText(self.tr("Find by name…"))
        self._field.setClearButtonEnabled(True)
        self._field.entered.connect(self._find)
        self._field.escaped.connect(self._field.clear)
        self._tree = self._make_tree()
        self._accept = QPushButton(self.tr("Accept these"))
        self._accept.setAccessibleName(self.tr("Accept all proposals with the chosen name"))
        self._accept.clicked.connect(self._accept_current)
        self._score = QDoubleSpinBox()
        self._score.setAccessibleName(self.tr("Lowest score to accept"))
        self._score.setRange(0.0, 1.0)
        self._score.setSingleStep(0.05)
        self._score.setValue(0.5)
        self._above = QPushButton(self.tr("Accept all from"))
        self._above.setAccessibleName(self.tr("Accept all proposals from this score on"))
        self._above.clicked.connect(lambda: self.accepted_above.emit(self._score.value()))
        self._clear = QPushButton(self.tr("Clear"))
        self._clear.setAccessibleName(self.tr("Clear proposals"))
        self._clear.clicked.connect(self.cleared)
        row = QHBoxLayout()
        row.addWidget(self._accept)
        row.addStretch(1)
        row.addWidget(self._clear)
        limit = QHBoxLayout()
        limit.addWidget(self._above)
        limit.addWidget(self._score)
        limit.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(5)
        layout.addWidget(everything)
        layout.addWidget(self._field)
        layout.addWidget(self._tree)
        layout.addLayout(row)
        layout.addLayout(limit)
        self.set_rows(())

    def _make_tree(self) -> QTreeWidget:
        tree = QTreeWidget()
        tree.setAccessibleName(self.tr("Names of the proposals"))
        tree.setHeaderLabels([self.tr("Name"), self.tr("Masks"), self.tr("Scores")])
        tree.setRootIsDecorated(False)
        tree.setUniformRowHeights(True)
        tree.setAlternatingRowColors(True)
        header = tree.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in (1, 2):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        tree.currentItemChanged.connect(lambda item, _: self.name_lit.emit(item.data(0, _NAME) if item else ""))
        tree.itemDoubleClicked.connect(lambda item, _: self.name_accepted.emit(item.data(0, _NAME)))
        return tree

    def set_rows(self, rows: Sequence[ProposalRow]) -> None:
        """Replace the names of the proposals."""
        current = self._tree.currentItem()
        lit = current.data(0, _NAME) if current is not None else None
        self._tree.blockSignals(True)
        self._tree.clear()
        for row in rows:
            span = f"{row.best:.0%}" if row.count == 1 else f"{row.lowest:.0%}–{row.best:.0%}"
            item = QTreeWidgetItem([row.name or self.tr("(no name)"), f"{row.count}", span])
            item.setIcon(0, QIcon(swatch(row.colour)))
            item.setData(0, _NAME, row.name)
            for column in (1, 2):
                item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self._tree.addTopLevelItem(item)
            if row.name == lit:
                self._tree.setCurrentItem(item)
        self._tree.blockSignals(False)
        for button in (self._accept, self._above, self._clear):
            button.setEnabled(bool(rows))

    def focus_search(self) -> None:
        """Give the keyboard to the search line."""
        self._field.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self._field.selectAll()

    def _find(self) -> None:
        name = self._field.text().strip()
        if name:
            self.find_asked.emit(name)

    def _accept_current(self) -> None:
        item = self._tree.currentItem()
        if item is not None:
            self.name_accepted.emit(item.data(0, _NAME))
