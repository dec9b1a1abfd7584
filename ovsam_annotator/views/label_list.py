"""The list of names beside the mask: digits accept, Tab cycles, a slash searches; nothing in it takes the keyboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from PySide6.QtCore import QModelIndex, QSize, Qt, Signal
from PySide6.QtGui import QIcon, QImage, QPixmap, QStandardItem, QStandardItemModel
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QListView, QToolButton, QVBoxLayout, QWidget

from ovsam_annotator.views.name_delegate import ROW_ROLE, NameDelegate
from ovsam_annotator.views.vocabulary_search import VocabularySearch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovsam_annotator.views.data import CandidateRow, SearchRow, Suggestion

__all__ = ["LabelList"]

MAX_ROWS = 9
THUMB = 40  # pixels a side of a candidate's picture


class LabelList(QFrame):
    """Implements `protocols.LabelListView`; `MainWindow` places it."""

    name_chosen = Signal(str, int)
    name_typed = Signal(str)
    unnamed_accepted = Signal()
    candidate_chosen = Signal(int)
    search_changed = Signal(str)
    search_closed = Signal()
    dropped = Signal()
    place_asked = Signal(object)  # points to lie beside where the mask is empty: tuple of (x, y) picture coordinates
    focus_back = Signal()  # the keyboard belongs to the canvas again

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("labelList")
        self.setAccessibleName(self.tr("Names for the mask"))
        self.setAutoFillBackground(True)
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self._suggestion: Suggestion | None = None
        self._marks: tuple[tuple[float, float], ...] = ()

        self._title = QLabel()
        self._title.setWordWrap(True)
        close = QToolButton()
        close.setText("✕")
        close.setAutoRaise(True)
        close.setAccessibleName(self.tr("Drop this object"))
        close.setToolTip(self.tr("Drop this object (Esc)"))
        close.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        close.clicked.connect(self.dropped)
        head = QHBoxLayout()
        head.addWidget(self._title, 1)
        head.addWidget(close, 0, Qt.AlignmentFlag.AlignTop)

        self._model = QStandardItemModel(self)
        self._view = self._make_view()

        self._strip = QWidget()
        self._strip_row = QHBoxLayout(self._strip)
        self._strip_row.setContentsMargins(4, 2, 4, 2)
        self._strip_row.setSpacing(4)
        self._strip_row.addStretch(1)
        self._buttons: list[QToolButton] = []

        self._search = VocabularySearch()
        self._search.hide()
        self._search.changed.connect(self.search_changed)
        self._search.chosen.connect(lambda entry: self.name_chosen.emit(entry, 0))
        self._search.typed.connect(self.name_typed)
        self._search.unnamed.connect(self.unnamed_accepted)
        self._search.closed.connect(self._on_search_closed)

        self._foot = QLabel(self._keys_text())
        self._foot.setObjectName("faint")
        self._foot.setWordWrap(True)

        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(4)
        layout.addLayout(head)
        layout.addWidget(self._view)
        layout.addWidget(self._search)
        layout.addWidget(self._strip)
        layout.addWidget(self._foot)
        self.hide()

    def _make_view(self) -> QListView:
        view = QListView()
        view.setObjectName("names")
        view.setAccessibleName(self.tr("Names, best first"))
        view.setModel(self._model)
        self._delegate = NameDelegate(view)
        view.setItemDelegate(self._delegate)
        view.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        view.setMouseTracking(True)
        view.setFrameShape(QFrame.Shape.NoFrame)
        view.setEditTriggers(QListView.EditTrigger.NoEditTriggers)
        view.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        view.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        view.clicked.connect(self._on_clicked)
        return view

    # --- verbs ---------------------------------------------------------------------------------------------------

    def show_suggestion(self, suggestion: Suggestion, marks_xy: Sequence[tuple[float, float]] = ()) -> None:
        """Show names and candidates beside the chosen mask (beside `marks_xy` where it is empty)."""
        same_names = self._suggestion is not None and self._suggestion.names == suggestion.names and self.isVisible()
        self._suggestion = suggestion
        self._marks = tuple(marks_xy)
        if not same_names:
            self._delegate.branches = len({row.decided_by for row in suggestion.names}) > 1
            self._model.clear()
            for number, row in enumerate(suggestion.names[:MAX_ROWS], 1):
                item = QStandardItem(row.name)
                item.setData(row, ROW_ROLE)
                item.setData(f"{number}: {row.name}, {row.score:.0%}", Qt.ItemDataRole.AccessibleTextRole)
                tip = f"{row.name}: {row.score:.1%}, {row.decided_by}"
                item.setToolTip(
                    tip + (self.tr(", {n} of your examples").format(n=row.examples) if row.examples else "")
                )
                self._model.appendRow(item)
            self.highlight(suggestion.preselected)
        self._title.setText(self._title_for(suggestion))
        self._fill_strip(suggestion.candidates, suggestion.chosen)
        self._fit()
        self.place_asked.emit(self._marks)
        self.show()
        self.raise_()

    def clear(self) -> None:
        """Hide the list and forget its rows."""
        had_keyboard = self.isAncestorOf(self.focusWidget()) if self.focusWidget() else False
        self._search.hide()
        self.hide()
        self._suggestion = None
        self._model.clear()
        self._foot.setText(self._keys_text())
        if had_keyboard:
            self.focus_back.emit()

    def highlight(self, index: int | None) -> None:
        """Move the highlight; None takes it away."""
        if index is None or not 0 <= index < self._model.rowCount():
            self._view.clearSelection()
            self._view.setCurrentIndex(QModelIndex())
        else:
            self._view.setCurrentIndex(self._model.index(index, 0))

    def cycle(self, step: int) -> None:
        """Move the highlight by one (Tab: 1, Shift+Tab: -1), round the end."""
        count = self._model.rowCount()
        if not count:
            return
        now = self.highlighted()
        self.highlight((0 if step > 0 else count - 1) if now is None else (now + step) % count)

    def highlighted(self) -> int | None:
        """Index of the row that Enter accepts."""
        index = self._view.currentIndex()
        return index.row() if index.isValid() else None

    def open_search(self, text: str = "") -> None:
        """Open the search line and give it the keyboard."""
        self._view.hide()
        self._strip.hide()
        self._foot.setText(self.tr("⏎ takes it · ↑ ↓ move · Esc back to the names"))
        self._search.show()
        self._title.setText(self.tr("Search the vocabulary"))
        self._fit()
        self.place_asked.emit(self._marks)
        self.show()
        self.raise_()
        self._search.open(text)

    def set_results(self, text: str, rows: Sequence[SearchRow]) -> None:
        """Show results for a search text; ignored when the text has changed since."""
        self._search.set_results(text, rows)

    def close_search(self) -> None:
        """Close the search line and give the keyboard back to the canvas."""
        self._search.hide()
        self._view.show()
        self._foot.setText(self._keys_text())
        if self._suggestion is None:
            self.hide()
        else:
            self._title.setText(self._title_for(self._suggestion))
            self._fill_strip(self._suggestion.candidates, self._suggestion.chosen)
            self._fit()
            self.place_asked.emit(self._marks)
        self.focus_back.emit()

    # --- inside --------------------------------------------------------------------------------------------------

    @property
    def searching(self) -> bool:
        """The search is open."""
        return self._search.isVisibleTo(self)

    def _keys_text(self) -> str:
        return self.tr("1–9 accept · ⏎ highlighted · / search · Esc drop")

    def _title_for(self, suggestion: Suggestion) -> str:
        if suggestion.empty:
            text = self.tr("No mask here; names for this spot")
        elif not suggestion.names:
            text = self.tr("No name found; / searches")
        elif suggestion.preselected is None:
            text = self.tr("Not sure. What is it?")
        else:
            text = self.tr("What is it?")
        return f"{text} · {suggestion.note}" if suggestion.note else text

    def _fill_strip(self, candidates: Sequence[CandidateRow], chosen: int) -> None:
        light = self.palette().window().color().lightness() < 128
        while len(self._buttons) < len(candidates):  # kept from mask to mask: making and styling them takes longer
            self._add_button()
        for index, button in enumerate(self._buttons):
            button.setVisible(index < len(candidates))
            if index >= len(candidates):
                continue
            candidate = candidates[index]
            button.setChecked(index == chosen)
            button.setIcon(_mask_icon(candidate, light=light))
            button.setText(f"{candidate.predicted_iou:.2f}")
            name = self.tr("Mask {number}, predicted IoU {iou}")
            button.setAccessibleName(name.format(number=index + 1, iou=f"{candidate.predicted_iou:.2f}"))
            button.setToolTip(button.accessibleName() + self.tr(" (, and . change it)"))
        self._strip.setVisible(len(candidates) > 1 and not self.searching)

    def _add_button(self) -> None:
        index = len(self._buttons)
        button = QToolButton()
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        button.setCheckable(True)
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
        button.setIconSize(QSize(THUMB, THUMB))
        button.clicked.connect(lambda: self.candidate_chosen.emit(index))
        self._strip_row.insertWidget(index, button)
        self._buttons.append(button)

    def _fit(self) -> None:
        """Exactly as high as the rows need, as wide as the font asks for."""
        metrics = self.fontMetrics()
        rows = self._model.rowCount()
        row_height = self._view.sizeHintForRow(0) if rows else 0
        self._view.setVisible(rows > 0 and not self.searching)
        self._view.setFixedHeight(max(1, rows * row_height + 2))
        self._search.setFixedHeight(metrics.height() * 13)
        self.setFixedWidth(max(250, metrics.height() * 17))
        layout = self.layout()
        if layout is not None:
            layout.activate()
            self.setFixedHeight(layout.totalHeightForWidth(self.width()))

    def _on_clicked(self, index: QModelIndex) -> None:
        if self._suggestion is not None:
            self.name_chosen.emit(self._suggestion.names[index.row()].entry_id, index.row() + 1)

    def _on_search_closed(self) -> None:
        self.close_search()
        self.search_closed.emit()


def _mask_icon(candidate: CandidateRow, *, light: bool) -> QIcon:
    """Small picture of a mask's shape."""
    pixels = candidate.shape.pixels
    if not pixels.size:
        return QIcon()
    height, width = pixels.shape
    scale = (THUMB - 6) / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    stride = max(1, int(0.25 / scale))  # averaging four by four of many pixels looks like averaging all of them
    few = np.ascontiguousarray(pixels[::stride, ::stride]).view(np.uint8) * np.uint8(255)
    small = cv2.resize(few, size, interpolation=cv2.INTER_AREA)
    image = np.zeros((THUMB, THUMB, 4), np.uint8)
    top, left = (THUMB - size[1]) // 2, (THUMB - size[0]) // 2
    image[top : top + size[1], left : left + size[0], 3] = small
    image[..., :3] = image[..., 3:] if light else 0
    return QIcon(QPixmap.fromImage(QImage(image.data, THUMB, THUMB, QImage.Format.Format_ARGB32_Premultiplied).copy()))
