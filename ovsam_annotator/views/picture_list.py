"""The list of pictures with its filter line and its count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QSize, Qt, QTimer, Signal
from PySide6.QtWidgets import QAbstractItemView, QLabel, QListView, QProgressBar, QVBoxLayout, QWidget

from ovsam_annotator.views.picture_delegate import PictureDelegate
from ovsam_annotator.views.picture_filter import parse_filter
from ovsam_annotator.views.picture_model import PictureModel
from ovsam_annotator.views.text_field import TextField
from ovsam_annotator.views.translation import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ovsam_annotator.views.data import PictureRow

__all__ = ["PictureList"]


class _Rows(QListView):
    """A list whose rows all have one height: a row that changed is painted, and nothing is laid out again."""

    def dataChanged(  # noqa: N802
        self,
        top: QModelIndex | QPersistentModelIndex,
        bottom: QModelIndex | QPersistentModelIndex,
        roles: Sequence[int] = (),
    ) -> None:
        """Paint the row alone; `QListView` would lay out and paint all of them."""
        QAbstractItemView.dataChanged(self, top, bottom, roles)


class PictureList(QWidget):
    """Implements `protocols.PictureListView`."""

    picture_chosen = Signal(int)
    thumbnails_wanted = Signal(object)
    filter_changed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._current: int | None = None
        self._wanted: dict[int, None] = {}
        self._model = PictureModel(self)
        self._model.filtered.connect(self._on_filtered)
        self._model.thumbnail_missing.connect(self._on_missing)

        self._field = TextField()
        self._field.setAccessibleName(self.tr("Filter pictures"))
        self._field.setPlaceholderText(self.tr("Filter: name, label:cat, is:unreviewed, score<0.5"))
        self._field.setToolTip(
            self.tr(
                'Words are looked for in the name.\nlabel:cat   label:"traffic light"\n'
                "is:unseen  in-work  done  approved  needs-work  excluded  unreviewed  missing\n"
                "score<0.5   objects:0   objects>3"
            )
        )
        self._field.setClearButtonEnabled(True)
        self._field.escaped.connect(self._field.clear)
        self._delay = QTimer(self, singleShot=True, interval=150)
        self._delay.timeout.connect(lambda: self._model.set_filter(parse_filter(self._field.text())))
        self._field.textChanged.connect(lambda _: self._delay.start())

        self._view = _Rows()
        self._view.setAccessibleName(self.tr("Pictures"))
        self._view.setModel(self._model)
        self._view.setItemDelegate(PictureDelegate(self._view))
        self._view.setUniformItemSizes(True)
        self._view.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self._view.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._view.clicked.connect(self._on_clicked)
        self._view.activated.connect(self._on_clicked)
        self._batch = QTimer(self, singleShot=True, interval=30)
        self._batch.timeout.connect(self._ask_thumbnails)

        self._count = QLabel()
        self._count.setObjectName("faint")
        self._bar = QProgressBar()
        self._bar.setAccessibleName(self.tr("Progress of the project"))
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(6)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(5)
        for widget in (self._field, self._view, self._count, self._bar):
            layout.addWidget(widget)
        self.setMinimumWidth(self.fontMetrics().height() * 10)
        self._done = (0, 0)
        self._tell()

    def sizeHint(self) -> QSize:  # noqa: N802
        """Wide enough for a name beside its thumbnail."""
        return QSize(max(250, self.fontMetrics().height() * 15), 400)

    # --- verbs ---------------------------------------------------------------------------------------------------

    def set_rows(self, rows: Sequence[PictureRow]) -> None:
        """Replace all rows."""
        self._wanted.clear()
        self._model.set_rows(rows)

    def put_rows(self, rows: Sequence[PictureRow]) -> None:
        """Replace rows with the same id, append others."""
        self._model.put_rows(rows)

    def set_current(self, picture_id: int | None) -> None:
        """Mark the open picture and scroll to it; emits nothing."""
        self._current = picture_id
        index = self._model.index_of(picture_id) if picture_id is not None else QModelIndex()
        self._view.setCurrentIndex(index)
        if index.isValid():
            self._view.scrollTo(index)
        else:
            self._view.clearSelection()

    def set_thumbnail(self, picture_id: int, pixels: NDArray[np.uint8]) -> None:
        """Give a row its thumbnail, (h, w, 3) uint8, at most 128 pixels a side."""
        self._wanted.pop(picture_id, None)
        self._model.set_thumbnail(picture_id, pixels)

    def visible_ids(self) -> tuple[int, ...]:
        """Ids that pass the filter, in order: what A and D walk through."""
        return self._model.visible_ids()

    def neighbours(self, picture_id: int | None, by: int) -> Iterator[int]:
        """Ids that pass the filter after (by 1) or before (by -1) a picture, nearest first; all for an unknown one."""
        return self._model.neighbours(picture_id, by)

    def set_progress(self, done: int, total: int) -> None:
        """Show how much of the project is done."""
        self._done = (done, total)
        self._tell()

    # --- inside --------------------------------------------------------------------------------------------------

    def _on_clicked(self, index: QModelIndex) -> None:
        self.picture_chosen.emit(self._model.row_at(index).picture_id)

    def _on_filtered(self) -> None:
        self.set_current(self._current)
        self._tell()
        self.filter_changed.emit(self._model.visible_ids())

    def _on_missing(self, picture_id: int) -> None:
        if picture_id not in self._wanted:
            self._wanted[picture_id] = None
            self._batch.start()

    def _ask_thumbnails(self) -> None:
        """Ask for the rows in view only; those that were scrolled past are forgotten."""
        area = self._view.viewport().rect()
        first = self._view.indexAt(area.topLeft())
        if not first.isValid():
            return
        last = self._view.indexAt(area.bottomLeft())
        end = last.row() if last.isValid() else self._model.rowCount() - 1
        seen = [self._model.row_at(self._model.index(i)).picture_id for i in range(first.row(), end + 1)]
        wanted = tuple(i for i in seen if i in self._wanted)
        self._wanted = dict.fromkeys(wanted)
        if wanted:
            self.thumbnails_wanted.emit(wanted)

    def _tell(self) -> None:
        shown, total = self._model.rowCount(), self._model.total
        wrong = parse_filter(self._field.text()).wrong
        done, of = self._done
        text = counted("picture", total)
        if wrong:
            text = self.tr("Not understood: {words}").format(words=" ".join(wrong))
        elif shown != total:
            text = self.tr("{shown} of {pictures}").format(shown=f"{shown:,}", pictures=counted("picture", total))
        if of and not wrong:
            text += self.tr(" · {done} done").format(done=f"{done:,}")
        self._count.setText(text)
        self._bar.setRange(0, max(1, of))
        self._bar.setValue(done)
