"""A line edit in which every letter, digit and Enter is text, whatever the menus say."""

from __future__ import annotations

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QLineEdit

__all__ = ["TextField"]

_MENU_MODIFIERS = (
    Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier | Qt.KeyboardModifier.MetaModifier
)


class TextField(QLineEdit):
    """Claims plain keys before the program's shortcuts, and tells about Up, Down, Tab and Esc."""

    stepped = Signal(int)
    escaped = Signal()
    entered = Signal()
    entered_shift = Signal()

    steps_with_tab = False

    def event(self, event: QEvent) -> bool:
        """Claim plain keys; Tab steps where a list belongs to the field."""
        if isinstance(event, QKeyEvent):
            if event.type() == QEvent.Type.ShortcutOverride and not event.modifiers() & _MENU_MODIFIERS:
                event.accept()
                return True
            if event.type() == QEvent.Type.KeyPress and self.steps_with_tab:
                step = {Qt.Key.Key_Tab: 1, Qt.Key.Key_Backtab: -1}.get(Qt.Key(event.key()))
                if step is not None:
                    self.stepped.emit(step)
                    return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """Report the keys that steer a list."""
        key = event.key()
        if key in {Qt.Key.Key_Up, Qt.Key.Key_Down}:
            self.stepped.emit(1 if key == Qt.Key.Key_Down else -1)
        elif key == Qt.Key.Key_Escape:
            self.escaped.emit()
        elif key in {Qt.Key.Key_Return, Qt.Key.Key_Enter}:
            shifted = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            (self.entered_shift if shifted else self.entered).emit()
        else:
            super().keyPressEvent(event)
