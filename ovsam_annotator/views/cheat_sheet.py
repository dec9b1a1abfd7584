"""All keys at a glance, over the window; any key or click takes it away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, QEvent, QSize, Qt, Signal
from PySide6.QtGui import QFont, QFontInfo, QFontMetrics, QKeyEvent, QKeySequence
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from ovsam_annotator.views.commands import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from PySide6.QtGui import QMouseEvent

__all__ = ["CheatSheet"]

_COLUMNS = (("Label",), ("Edit", "Object"), ("Picture", "Review", "Model"), ("View", "File", "Help"))


class CheatSheet(QFrame):
    """A sheet of keys that covers its parent."""

    closed = Signal()

    def __init__(self, keys: Mapping[str, Sequence[str]], parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("cheatSheet")
        self.setAutoFillBackground(True)
        self.setAccessibleName(self.tr("All keys"))
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        inner = QWidget()
        columns = QHBoxLayout(inner)
        columns.setContentsMargins(0, 0, 0, 0)
        columns.setSpacing(16)
        for i, menus in enumerate(_COLUMNS):
            column = QVBoxLayout()
            column.setSpacing(3)
            if i == 0:
                self._section(column, self.tr("Mouse and digits"), self._mouse())
            for menu in menus:
                rows = []
                for command in COMMANDS:
                    texts = _shown(keys[command.command_id])
                    if command.menu == menu and texts:
                        rows.append((QCoreApplication.translate("Command", command.text).rstrip("…"), ", ".join(texts)))
                self._section(column, QCoreApplication.translate("Menu", menu), rows)
            column.addStretch(1)
            columns.addLayout(column)
        area = QScrollArea()
        area.setAccessibleName(self.tr("All keys"))
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setWidgetResizable(True)
        area.setWidget(inner)
        foot = QLabel(self.tr("Any key closes this. File › Keyboard shortcuts… changes the keys."))
        foot.setObjectName("faint")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 12, 12, 10)
        layout.addWidget(area, 1)
        layout.addWidget(foot)
        room = parent.rect().adjusted(12, 12, -12, -12)
        inside = layout.contentsMargins()
        wanted = inner.sizeHint() + QSize(inside.left() + inside.right(), inside.top() + inside.bottom())
        wanted += QSize(24, foot.sizeHint().height() + 24)  # a scroll bar's width beside, and some air
        self.resize(wanted.boundedTo(room.size()))
        self.move(room.center() - self.rect().center())
        self.show()
        self.raise_()
        self.setFocus(Qt.FocusReason.PopupFocusReason)

    def _mouse(self) -> tuple[tuple[str, str], ...]:
        """What is no command, and digits, which would fill a column of their own."""
        return (
            (self.tr("Click on the object"), self.tr("left button")),
            (self.tr("Click off the object"), self.tr("right button")),
            (self.tr("Box"), self.tr("left drag")),
            (self.tr("Select"), self.tr("Ctrl+click")),
            (self.tr("Pan"), self.tr("Space+drag")),
            (self.tr("Pan as well"), self.tr("middle drag")),
            (self.tr("Zoom"), self.tr("wheel")),
            (self.tr("Crosshair"), self.tr("arrow keys")),
            (self.tr("Accept name 1 to 9"), "1 … 9"),
            (self.tr("Class with hotkey"), self.tr("Ctrl+1 … Ctrl+0")),
        )

    def _section(self, column: QVBoxLayout, title: str, rows: Sequence[tuple[str, str]]) -> None:
        small = QFont(self.font())
        small.setPointSizeF(QFontInfo(small).pointSizeF() * 0.9)  # all of it fits a window of 1280 × 720
        bold = QFont(small)
        bold.setBold(True)
        head = QLabel(title)
        head.setFont(bold)
        column.addWidget(head)
        grid = QGridLayout()
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(1)
        for i, (text, key) in enumerate(rows):
            words, label = QLabel(text), QLabel(key)
            words.setFont(small)
            label.setFont(small)
            label.setObjectName("key")
            grid.addWidget(words, i, 0)
            grid.addWidget(label, i, 1, Qt.AlignmentFlag.AlignLeft)
        grid.setColumnStretch(0, 1)
        grid.setColumnMinimumWidth(1, QFontMetrics(small).horizontalAdvance("Ctrl+Shift+Z, Ctrl+Y") * 7 // 8)
        column.addLayout(grid)
        column.addSpacing(8)

    def event(self, event: QEvent) -> bool:
        """Any key closes the sheet and does nothing else."""
        if isinstance(event, QKeyEvent) and event.type() in {QEvent.Type.ShortcutOverride, QEvent.Type.KeyPress}:
            event.accept()
            if event.type() == QEvent.Type.KeyPress:
                self.leave()
            return True
        return super().event(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: ARG002, N802
        """A click closes the sheet."""
        self.leave()

    def leave(self) -> None:
        """Go away."""
        self.hide()
        self.closed.emit()
        self.deleteLater()


def _shown(keys: Sequence[str]) -> list[str]:
    """Keys as the platform writes them; the key pad's Enter goes without saying beside Return."""
    told = [key for key in keys if not (key.endswith("Enter") and key.replace("Enter", "Return") in keys)]
    return [QKeySequence(key).toString(QKeySequence.SequenceFormat.NativeText) for key in told]
