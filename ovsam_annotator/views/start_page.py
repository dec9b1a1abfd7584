"""What the window shows before anything is open: recent projects, a folder, a file, the sample project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QSize, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QListWidget, QListWidgetItem, QPushButton, QVBoxLayout, QWidget

from ovsam_annotator.views.icons import app_icon, icon

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["StartPage"]

_PATH = Qt.ItemDataRole.UserRole + 1


class StartPage(QWidget):
    """Three ways in, and the projects of the last days."""

    chosen = Signal(str)
    folder_asked = Signal()
    file_asked = Signal()
    sample_asked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(self.tr("Start page"))
        self._cards: dict[str, QPushButton] = {}
        picture = QLabel()
        picture.setPixmap(app_icon().pixmap(64, 64))
        title = QLabel("OVSAM Annotator")
        title.setObjectName("title")
        words = QLabel(self.tr("Click on an object: its mask and a ranked list of names. One key accepts."))
        words.setObjectName("faint")
        words.setWordWrap(True)
        column = QVBoxLayout()
        column.addWidget(title)
        column.addWidget(words)
        head = QHBoxLayout()
        head.setSpacing(16)
        head.addWidget(picture)
        head.addLayout(column, 1)
        self._build(head)
        self._paint_icons()
        self.set_recent(())

    def _build(self, head: QHBoxLayout) -> None:
        self._recent = QListWidget()
        self._recent.setAccessibleName(self.tr("Recent projects"))
        self._recent.setSpacing(4)
        self._recent.itemActivated.connect(lambda item: self.chosen.emit(item.data(_PATH)))
        self._recent.itemClicked.connect(lambda item: self.chosen.emit(item.data(_PATH)))
        self._recent_title = QLabel(self.tr("Recent projects"))
        drop = QLabel(self.tr("Or drop pictures, a folder, a project or a COCO file anywhere on this window."))
        drop.setObjectName("faint")
        drop.setWordWrap(True)

        inner = QWidget()
        inner.setMaximumWidth(760)
        body = QVBoxLayout(inner)
        body.setSpacing(12)
        body.addLayout(head)
        body.addSpacing(8)
        for name, text, hint, signal in (
            ("folder", self.tr("Open a folder of pictures…"), self.tr("Ctrl+O"), self.folder_asked),
            ("file", self.tr("Open a project, a picture or a COCO file…"), self.tr("Ctrl+Shift+O"), self.file_asked),
            ("sample", self.tr("Try the sample project"), "", self.sample_asked),
        ):
            button = QPushButton(f"  {text}")
            if hint:
                keys = QLabel(hint)
                keys.setObjectName("faint")
                keys.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
                inside = QHBoxLayout(button)
                inside.setContentsMargins(14, 0, 14, 0)
                inside.addWidget(keys, 0, Qt.AlignmentFlag.AlignRight)
            self._cards[name] = button
            button.setObjectName("card")
            button.setIconSize(QSize(26, 26))
            button.setAccessibleName(text)
            button.clicked.connect(signal)
            body.addWidget(button)
        body.addSpacing(8)
        body.addWidget(self._recent_title)
        body.addWidget(self._recent, 6)
        body.addWidget(drop)
        body.addStretch(1)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(24, 48, 24, 24)
        layout.addStretch(1)
        layout.addWidget(inner, 8)
        layout.addStretch(1)

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        """Repaint the icons when the theme changes."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._paint_icons()

    def _paint_icons(self) -> None:
        for name, card in self._cards.items():
            card.setIcon(icon(name, self.palette()))

    def set_recent(self, recent: Sequence[tuple[str, str]]) -> None:
        """Show recent projects, (path, detail)."""
        self._recent.clear()
        for path, detail in recent:
            item = QListWidgetItem(f"{path}\n{detail}" if detail else path)
            item.setData(_PATH, path)
            item.setToolTip(path)
            self._recent.addItem(item)
        self._recent.setVisible(bool(recent))
        self._recent_title.setVisible(bool(recent))
