"""The search over the whole vocabulary: a line and its results; what is typed is text, never a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from ovsam_annotator.views.text_field import TextField

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovsam_annotator.views.data import SearchRow

__all__ = ["VocabularySearch"]

_ENTRY = Qt.ItemDataRole.UserRole + 1


class VocabularySearch(QWidget):
    """Line edit and result list."""

    changed = Signal(str)
    chosen = Signal(str)
    typed = Signal(str)
    unnamed = Signal()
    closed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._field = TextField()
        self._field.steps_with_tab = True
        self._field.setAccessibleName(self.tr("Search the vocabulary"))
        self._field.setPlaceholderText(self.tr("Type a name…"))
        self._field.setClearButtonEnabled(True)
        self._field.textChanged.connect(self._on_text)
        self._field.stepped.connect(self._step)
        self._field.escaped.connect(self.closed)
        self._field.entered.connect(self._take)
        self._field.entered_shift.connect(self.unnamed)
        self._results = QListWidget()
        self._results.setObjectName("found")
        self._results.setAccessibleName(self.tr("Names found"))
        self._results.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._results.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._results.setUniformItemSizes(True)
        self._results.setTextElideMode(Qt.TextElideMode.ElideRight)
        self._results.itemClicked.connect(self._take_item)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self._field)
        layout.addWidget(self._results)

    @property
    def text(self) -> str:
        """What is typed."""
        return self._field.text()

    def open(self, text: str) -> None:
        """Start a search and take the keyboard."""
        self._field.setText(text)
        self._on_text(text)
        self._field.setFocus(Qt.FocusReason.OtherFocusReason)  # selects nothing: what is typed next is added

    def set_results(self, text: str, rows: Sequence[SearchRow]) -> None:
        """Show results for a text; late ones are ignored."""
        if text != self._field.text():
            return
        self._results.clear()
        for row in rows:
            shown = row.name if not row.synonym else f"{row.name}  ({row.synonym})"
            if row.score is not None:
                shown += f"  {row.score:.0%}"
            item = QListWidgetItem(shown)
            item.setData(_ENTRY, row.entry_id)
            item.setToolTip(row.definition or row.name)
            self._results.addItem(item)
        wanted = text.strip()
        known = any(wanted.casefold() in {row.name.casefold(), row.synonym.casefold()} for row in rows)
        if wanted and not known:
            item = QListWidgetItem(self.tr("Add “{name}”").format(name=wanted))
            item.setData(_ENTRY, "")
            self._results.addItem(item)
        if self._results.count():
            self._results.setCurrentRow(0)

    def _on_text(self, text: str) -> None:
        if not text:
            self._results.clear()
        self.changed.emit(text)

    def _step(self, step: int) -> None:
        count = self._results.count()
        if count:
            self._results.setCurrentRow((self._results.currentRow() + step) % count)

    def _take(self) -> None:
        if self._results.currentRow() >= 0:
            self._take_item(self._results.currentItem())
        elif self._field.text().strip():
            self.typed.emit(self._field.text().strip())

    def _take_item(self, item: QListWidgetItem) -> None:
        entry = str(item.data(_ENTRY))
        if entry:
            self.chosen.emit(entry)
        else:
            self.typed.emit(self._field.text().strip())
