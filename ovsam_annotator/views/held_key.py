"""Something that lasts while a key is held, wherever the keyboard is meanwhile."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QEvent, QObject, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QApplication

__all__ = ["HeldKey"]


class HeldKey(QObject):
    """Waits for the release of a key, also in other widgets, and for the program to lose the keyboard.

    Attributes:
        released: the key was let go.
    """

    released = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._key = 0

    def hold(self, key: int) -> bool:
        """Wait for the release of this key; False while one is held already."""
        if self._key:
            return False
        self._key = key
        QApplication.instance().installEventFilter(self)  # type: ignore[union-attr]
        return True

    def eventFilter(self, watched: Any, event: QEvent) -> bool:  # noqa: N802
        """Look for the release."""
        released = (
            event.type() == QEvent.Type.KeyRelease
            and isinstance(event, QKeyEvent)
            and event.key() == self._key
            and not event.isAutoRepeat()
        )
        if self._key and (released or event.type() == QEvent.Type.ApplicationDeactivate):
            self._key = 0
            QApplication.instance().removeEventFilter(self)  # type: ignore[union-attr]
            self.released.emit()
        return super().eventFilter(watched, event)
