"""Settings with a search line; each change is told at once, and every row says what it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QFrame,
    QLabel,
    QLineEdit,
    QScrollArea,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovsam_annotator.views.data import SettingRow

__all__ = ["SettingsDialog"]


class SettingsDialog(QDialog):
    """Rows made from data; nothing here knows what a setting means."""

    changed = Signal(str, object)

    def __init__(self, rows: Sequence[SettingRow], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Settings"))
        self._parts: list[tuple[str, str, QWidget]] = []
        self._heads: dict[str, QLabel] = {}
        self._field = QLineEdit()
        self._field.setAccessibleName(self.tr("Search settings"))
        self._field.setPlaceholderText(self.tr("Search settings"))
        self._field.setClearButtonEnabled(True)
        self._field.textChanged.connect(self._search)
        inner = QWidget()
        self._column = QVBoxLayout(inner)
        self._column.setSpacing(10)
        for row in rows:
            self._add(row)
        self._none = QLabel(self.tr("No setting has these words."))
        self._none.setObjectName("faint")
        self._none.hide()
        self._column.addWidget(self._none)
        self._column.addStretch(1)
        area = QScrollArea()
        area.setAccessibleName(self.tr("All settings"))
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidgetResizable(True)
        area.setWidget(inner)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(self._field)
        layout.addWidget(area, 1)
        layout.addWidget(buttons)

    def sizeHint(self) -> QSize:  # noqa: N802
        """Grows with the font."""
        line = self.fontMetrics().height()
        return QSize(line * 36, line * 34)

    def _add(self, row: SettingRow) -> None:
        if row.group and row.group not in self._heads:
            head = QLabel(row.group)
            font = head.font()
            font.setBold(True)
            head.setFont(font)
            self._heads[row.group] = head
            self._column.addWidget(head)
        box = QWidget()
        column = QVBoxLayout(box)
        column.setContentsMargins(10, 0, 0, 0)
        column.setSpacing(2)
        editor = self._editor(row)
        editor.setAccessibleName(row.title)
        editor.setAccessibleDescription(row.help)
        if not isinstance(editor, QCheckBox):
            title = QLabel(row.title)
            title.setBuddy(editor)
            column.addWidget(title)
        column.addWidget(editor)
        if row.help:
            words = QLabel(row.help)
            words.setObjectName("faint")
            words.setWordWrap(True)
            column.addWidget(words)
        self._column.addWidget(box)
        self._parts.append((f"{row.group} {row.title} {row.help}".casefold(), row.group, box))

    def _editor(self, row: SettingRow) -> QWidget:
        key, value = row.key, row.value
        if row.choices:
            combo = QComboBox()
            for choice, text in row.choices:
                combo.addItem(text, choice)
            combo.setCurrentIndex(max(0, combo.findData(value)))
            combo.activated.connect(lambda i: self.changed.emit(key, combo.itemData(i)))
            return combo
        if isinstance(value, bool):
            check = QCheckBox(row.title)
            check.setChecked(value)
            check.toggled.connect(lambda on: self.changed.emit(key, on))
            return check
        if isinstance(value, int | float):
            spin: Any = QSpinBox() if isinstance(value, int) else QDoubleSpinBox()
            kind = type(value)
            spin.setRange(kind(row.minimum), kind(row.maximum))
            if isinstance(value, float):
                spin.setSingleStep(0.05 if row.maximum <= 1 else 1.0)
            spin.setValue(value)
            spin.setKeyboardTracking(False)
            spin.valueChanged.connect(lambda v: self.changed.emit(key, v))
            return spin  # type: ignore[no-any-return]
        line = QLineEdit(str(value))
        line.editingFinished.connect(lambda: self.changed.emit(key, line.text()))
        return line

    def _search(self, text: str) -> None:
        words = text.casefold().split()
        groups: set[str] = set()
        for haystack, group, box in self._parts:
            fits = all(word in haystack for word in words)
            box.setVisible(fits)
            if fits:
                groups.add(group)
        for group, head in self._heads.items():
            head.setVisible(group in groups)
        self._none.setVisible(not groups)
