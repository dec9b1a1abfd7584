"""Small windows: a report to read and copy, a name to choose, the contrast of a picture with more than 8 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QCompleter,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QSlider,
    QVBoxLayout,
    QWidget,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ContrastDialog", "NameDialog", "TextReport"]

_STEPS = 1000  # positions of a slider


class TextReport(QDialog):
    """Lines to read, select and copy."""

    def __init__(self, title: str, lines: Sequence[str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        text = QPlainTextEdit("\n".join(lines))
        text.setAccessibleName(title)
        text.setReadOnly(True)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        copy = buttons.addButton(self.tr("Copy"), QDialogButtonBox.ButtonRole.ActionRole)
        copy.setAccessibleName(self.tr("Copy the report"))
        copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(text.toPlainText()))
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(text)
        layout.addWidget(buttons)

    def sizeHint(self) -> QSize:  # noqa: N802
        """Grows with the font."""
        line = self.fontMetrics().height()
        return QSize(line * 36, line * 20)


class NameDialog(QDialog):
    """A name, completed among those known."""

    def __init__(self, title: str, start: str, names: Sequence[str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self._line = QLineEdit(start)
        self._line.setAccessibleName(title)
        self._line.setMinimumWidth(self.fontMetrics().averageCharWidth() * 36)
        completer = QCompleter(list(names), self)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        self._line.setCompleter(completer)
        self._line.selectAll()
        kinds = QDialogButtonBox.StandardButton
        buttons = QDialogButtonBox(kinds.Ok | kinds.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        words = QLabel(title)
        words.setBuddy(self._line)
        layout.addWidget(words)
        layout.addWidget(self._line)
        layout.addWidget(buttons)

    def name(self) -> str:
        """What stands in the line."""
        return self._line.text().strip()


class ContrastDialog(QDialog):
    """Darkest and brightest shown value; changes the display only."""

    changed = Signal(float, float)

    def __init__(self, window: tuple[float, float], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Contrast window"))
        self._start = window
        span = max(window[1] - window[0], 1.0)
        self._from = max(0.0, window[0] - span)
        self._to = min(65535.0, window[1] + span)
        self._low = self._slider(self.tr("Darkest value"), window[0])
        self._high = self._slider(self.tr("Brightest value"), window[1])
        self._text = QLabel()
        note = QLabel(self.tr("Only what you see changes: neither the file nor what the model reads."))
        note.setObjectName("faint")
        note.setWordWrap(True)
        kinds = QDialogButtonBox.StandardButton
        buttons = QDialogButtonBox(kinds.Close | kinds.Reset)
        buttons.rejected.connect(self.reject)
        buttons.button(kinds.Reset).clicked.connect(self._reset)
        form = QFormLayout()
        form.addRow(self.tr("&Darkest"), self._low)
        form.addRow(self.tr("&Brightest"), self._high)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(self._text)
        layout.addWidget(note)
        layout.addWidget(buttons)
        self._tell()

    def values(self) -> tuple[float, float]:
        """Darkest and brightest value."""
        span = self._to - self._from
        low = self._from + span * self._low.value() / _STEPS
        high = self._from + span * self._high.value() / _STEPS
        return min(low, high), max(low, high, min(low, high) + 1)

    def _slider(self, name: str, value: float) -> QSlider:
        slider = QSlider(Qt.Orientation.Horizontal)
        slider.setAccessibleName(name)
        slider.setRange(0, _STEPS)
        slider.setMinimumWidth(280)
        slider.setValue(self._place(value))
        slider.valueChanged.connect(self._on_changed)
        return slider

    def _place(self, value: float) -> int:
        return round((value - self._from) / max(self._to - self._from, 1e-6) * _STEPS)

    def _reset(self) -> None:
        self._low.setValue(self._place(self._start[0]))
        self._high.setValue(self._place(self._start[1]))

    def _on_changed(self) -> None:
        self._tell()
        self.changed.emit(*self.values())

    def _tell(self) -> None:
        low, high = self.values()
        self._text.setText(self.tr("shows {low} … {high}").format(low=f"{low:,.0f}", high=f"{high:,.0f}"))
