"""Messages above the canvas: what happened, what to do, a button. They never stop the work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QToolButton, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from ovsam_annotator.views.data import Message

__all__ = ["MessageBar"]

INFO_MS = 6000
MOST = 3  # messages on show; the oldest goes


class MessageBar(QWidget):
    """A short stack of messages, newest below."""

    action_pressed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(8, 6, 8, 6)
        self._layout.setSpacing(4)
        self._shown: dict[str, _MessageRow] = {}
        self.hide()

    def show_message(self, message: Message) -> None:
        """Show a message, in place of an earlier one with the same key or that says the same."""
        same = [key for key, row in self._shown.items() if (row.text, row.action) == (message.text, message.action)]
        for key in (message.key, *same):
            self.clear(key)
        while len(self._shown) >= MOST:
            self.clear(next(iter(self._shown)))
        row = _MessageRow(message, self)
        row.closed.connect(lambda: self.clear(message.key))
        row.action_pressed.connect(lambda: self.action_pressed.emit(message.key))
        self._shown[message.key] = row
        self._layout.addWidget(row)
        self.show()

    def clear(self, key: str) -> None:
        """Take a message away."""
        row = self._shown.pop(key, None)
        if row is not None:
            self._layout.removeWidget(row)
            row.hide()
            row.deleteLater()
        self.setVisible(bool(self._shown))

    def texts(self) -> list[str]:
        """Texts on show, oldest first."""
        return [row.text for row in self._shown.values()]


class _MessageRow(QFrame):
    """One message."""

    closed = Signal()
    action_pressed = Signal()

    def __init__(self, message: Message, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("message")
        self.setProperty("level", message.level)
        self.setAccessibleName(message.text)
        self.setAccessibleDescription(message.advice)
        self.text, self.action = message.text, message.action
        words = QLabel(message.text if not message.advice else f"{message.text}\n{message.advice}")
        words.setWordWrap(True)
        words.setTextFormat(Qt.TextFormat.PlainText)
        words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 5, 6, 5)
        row.addWidget(words, 1)
        if message.action:
            button = QPushButton(message.action)
            button.setAccessibleName(message.action)
            button.clicked.connect(self.action_pressed)
            row.addWidget(button)
        close = QToolButton()
        close.setText("✕")
        close.setAutoRaise(True)
        close.setAccessibleName(self.tr("Close this message"))
        close.clicked.connect(self.closed)
        row.addWidget(close)
        if message.level == "info":
            QTimer.singleShot(INFO_MS, self, self.closed.emit)
