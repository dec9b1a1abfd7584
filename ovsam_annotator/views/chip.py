"""Small notes that lie on the canvas: what the model does with this picture, what is hidden, what is locked."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QProgressBar, QPushButton, QWidget

from ovsam_annotator.views.data import EncodeState

__all__ = ["CursorTag", "EncodeChip", "NoteChip"]


class EncodeChip(QFrame):
    """Says how far the model is with the open picture; offers Retry when it failed."""

    retry_asked = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("chip")
        self.setAccessibleName(self.tr("Model state"))
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 4, 10, 4)
        self._text = QLabel()
        self._bar = QProgressBar()
        self._bar.setAccessibleName(self.tr("Progress of the model on this picture"))
        self._bar.setTextVisible(False)
        self._bar.setFixedSize(90, 8)
        self._retry = QPushButton(self.tr("Retry"))
        self._retry.setAccessibleName(self.tr("Retry this picture"))
        self._retry.clicked.connect(self.retry_asked)
        for widget in (self._text, self._bar, self._retry):
            row.addWidget(widget)
        self.hide()

    def set_state(self, state: EncodeState, text: str, fraction: float | None) -> None:
        """Show a state; ready and none hide the chip unless there is a text."""
        running = state in {EncodeState.QUEUED, EncodeState.RUNNING}
        self._text.setText(text or self._default(state))
        self._bar.setVisible(running)
        self._bar.setRange(0, 0 if fraction is None else 100)
        if fraction is not None:
            self._bar.setValue(round(fraction * 100))
        self._retry.setVisible(state is EncodeState.FAILED)
        self.setProperty("failed", state is EncodeState.FAILED)
        self.style().unpolish(self)
        self.style().polish(self)
        self.setAccessibleDescription(self._text.text())
        self.setVisible(running or state is EncodeState.FAILED)
        self.adjustSize()

    def _default(self, state: EncodeState) -> str:
        return {
            EncodeState.QUEUED: self.tr("Waiting for the model"),
            EncodeState.RUNNING: self.tr("Reading the picture…"),
            EncodeState.FAILED: self.tr("The model could not read this picture"),
        }.get(state, "")


class NoteChip(QLabel):
    """One line of text on the canvas; hidden while empty."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("chip")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.hide()

    def set_text(self, text: str) -> None:
        """Show a text, or hide."""
        self.setText(text)
        self.adjustSize()
        self.setVisible(bool(text))


class CursorTag(NoteChip):
    """The locked class, beside the pointer."""

    def follow(self, x: int, y: int) -> None:
        """Move beside the pointer, inside the parent."""
        parent = self.parentWidget()
        if parent is not None:
            x = min(x + 16, parent.width() - self.width() - 4)
            y = min(y + 18, parent.height() - self.height() - 4)
            self.move(x, y)
