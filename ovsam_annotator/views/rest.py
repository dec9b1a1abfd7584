"""Notices when the pointer rests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QPoint, QTimer, Signal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Rest"]

REST_MS = 120  # how long the pointer stays still before the hover preview is asked for
REST_PIXELS = 4.0  # movement on screen that ends a rest


class Rest(QObject):
    """Tells when a pointer has stayed still for a moment, and when it moves on.

    Args:
        begun: called when the pointer has stayed still; returns where it rests, or None where that is nothing.

    Attributes:
        ended: the pointer moved on after a rest.
    """

    ended = Signal()

    def __init__(self, begun: Callable[[], QPoint | None], parent: QObject) -> None:
        super().__init__(parent)
        self._begun = begun
        self._at: QPoint | None = None
        self._timer = QTimer(self, singleShot=True, interval=REST_MS)
        self._timer.timeout.connect(self._on_timeout)

    def wait(self) -> None:
        """The pointer has just moved, and may stay now."""
        self._timer.start()

    def moved(self, at: QPoint) -> None:
        """The pointer is here: a rest is over when that is far from where it began."""
        if self._at is not None and (at - self._at).manhattanLength() > REST_PIXELS:
            self.end()

    def end(self) -> None:
        """There is no rest any more, and none is about to begin."""
        self._timer.stop()
        if self._at is not None:
            self._at = None
            self.ended.emit()

    def _on_timeout(self) -> None:
        self._at = self._begun()
