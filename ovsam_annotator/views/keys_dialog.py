"""Edit keyboard shortcuts; a key that two commands claim is shown as long as it lasts, and cannot be kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QSize, Signal
from PySide6.QtGui import QColor, QKeySequence
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QHeaderView,
    QKeySequenceEdit,
    QLabel,
    QLineEdit,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from ovsam_annotator.views.commands import COMMANDS, command_by_id, conflicts, default_keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["KeysDialog"]

_PORTABLE = QKeySequence.SequenceFormat.PortableText


class KeysDialog(QDialog):
    """A table of commands; the chosen one's keys are edited below it."""

    keys_changed = Signal(dict)

    def __init__(self, keys: Mapping[str, Sequence[str]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Keyboard shortcuts"))
        self._keys: dict[str, tuple[str, ...]] = default_keys() | {i: tuple(k) for i, k in keys.items()}
        self._field = QLineEdit()
        self._field.setAccessibleName(self.tr("Search commands"))
        self._field.setPlaceholderText(self.tr("Search commands or keys"))
        self._field.setClearButtonEnabled(True)
        self._field.textChanged.connect(self._search)
        self._tree = QTreeWidget()
        self._tree.setAccessibleName(self.tr("Commands and their keys"))
        self._tree.setHeaderLabels([self.tr("Command"), self.tr("Keys"), self.tr("Menu")])
        self._tree.setRootIsDecorated(False)
        self._tree.setAlternatingRowColors(True)
        self._tree.header().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self._items: dict[str, QTreeWidgetItem] = {}
        for command in COMMANDS:
            item = QTreeWidgetItem([self.tr(command.text), "", command.menu or self.tr("keys only")])
            self._items[command.command_id] = item
            self._tree.addTopLevelItem(item)
        self._tree.currentItemChanged.connect(lambda *_: self._show_current())
        self._edit = QKeySequenceEdit()
        self._edit.setAccessibleName(self.tr("New key for the chosen command"))
        self._edit.setMaximumSequenceLength(1)
        add = QPushButton(self.tr("Add key"))
        add.setAccessibleName(self.tr("Add this key to the chosen command"))
        add.clicked.connect(self._add)
        clear = QPushButton(self.tr("No key"))
        clear.setAccessibleName(self.tr("Take all keys from the chosen command"))
        clear.clicked.connect(lambda: self._set(()))
        reset = QPushButton(self.tr("Default"))
        reset.setAccessibleName(self.tr("Give the chosen command its default keys"))
        reset.clicked.connect(self._reset)
        row = QHBoxLayout()
        row.addWidget(self._edit, 1)
        for button in (add, clear, reset):
            row.addWidget(button)
        self._warning = QLabel()
        self._warning.setWordWrap(True)
        kinds = QDialogButtonBox.StandardButton
        self._buttons = QDialogButtonBox(kinds.Ok | kinds.Cancel | kinds.RestoreDefaults)
        self._buttons.accepted.connect(self._accept)
        self._buttons.rejected.connect(self.reject)
        self._buttons.button(kinds.RestoreDefaults).clicked.connect(self._reset_all)
        layout = QVBoxLayout(self)
        for widget in (self._field, self._tree):
            layout.addWidget(widget)
        layout.addLayout(row)
        layout.addWidget(self._warning)
        layout.addWidget(self._buttons)
        self._refresh()
        if (first := self._tree.topLevelItem(0)) is not None:
            self._tree.setCurrentItem(first)

    def sizeHint(self) -> QSize:  # noqa: N802
        """Grows with the font."""
        line = self.fontMetrics().height()
        return QSize(line * 38, line * 34)

    def edited(self) -> dict[str, tuple[str, ...]]:
        """Keys that differ from the defaults."""
        shipped = default_keys()
        return {i: keys for i, keys in self._keys.items() if keys != shipped[i]}

    def choose(self, command_id: str) -> None:
        """Choose a command in the table."""
        self._tree.setCurrentItem(self._items[command_id])

    def add_key(self, key: str) -> None:
        """Add a key, as portable text, to the chosen command."""
        self._edit.setKeySequence(QKeySequence(key, _PORTABLE))
        self._add()

    @property
    def warning(self) -> str:
        """What stands in the way of keeping the keys."""
        return self._warning.text()

    def _current(self) -> str:
        item = self._tree.currentItem()
        return next(i for i, known in self._items.items() if known is item)

    def _show_current(self) -> None:
        self._edit.clear()

    def _add(self) -> None:
        key = self._edit.keySequence().toString(_PORTABLE)
        if key:
            self._set((*dict.fromkeys((*self._keys[self._current()], key)),))

    def _reset(self) -> None:
        self._set(command_by_id(self._current()).keys)

    def _reset_all(self) -> None:
        self._keys = default_keys()
        self._refresh()

    def _set(self, keys: tuple[str, ...]) -> None:
        self._keys[self._current()] = keys
        self._edit.clear()
        self._refresh()

    def _refresh(self) -> None:
        clashes = conflicts(self._keys)
        clashing = {i for ids in clashes.values() for i in ids}
        for command_id, item in self._items.items():
            item.setText(1, "  ".join(self._keys[command_id]))
            wrong = command_id in clashing
            item.setForeground(1, QColor("#d5453a") if wrong else self.palette().text().color())
            item.setText(1, item.text(1) + ("  ⚠" if wrong else ""))
        lines = []
        for key, ids in clashes.items():
            names = ", ".join(f"“{command_by_id(i).text}”" for i in ids)
            lines.append(self.tr("{key} is claimed by {names}").format(key=key, names=names))
        self._warning.setText("\n".join(lines))
        self._buttons.button(QDialogButtonBox.StandardButton.Ok).setEnabled(not clashes)

    def _search(self, text: str) -> None:
        words = text.casefold().split()
        for item in self._items.values():
            haystack = " ".join(item.text(column) for column in range(3)).casefold()
            item.setHidden(not all(word in haystack for word in words))

    def _accept(self) -> None:
        self.keys_changed.emit(self.edited())
        self.accept()
