"""The bar above the canvas in review mode: what is shown, where it stands, and the three verdicts with their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QPainter, QPalette
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

if TYPE_CHECKING:
    from PySide6.QtGui import QPaintEvent

    from ovsam_annotator.views.data import ReviewStep

__all__ = ["ReviewBar"]


class _Elided(QLabel):
    """One line that ends in dots where it does not fit: half a number would be another number."""

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: ARG002, N802
        """Paint as much as there is room for."""
        painter = QPainter(self)
        painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
        shown = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, self.width())
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, shown)


class ReviewBar(QFrame):
    """Implements `protocols.ReviewView`; its buttons trigger commands."""

    command = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("reviewBar")
        self.setAccessibleName(self.tr("Review"))
        self._where = QLabel()
        self._what = QLabel()
        font = self._what.font()
        font.setBold(True)
        self._what.setFont(font)
        self._detail = _Elided()
        self._detail.setObjectName("faint")
        self._detail.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 5, 10, 5)
        row.setSpacing(6)
        row.addWidget(self._where)
        row.addWidget(self._what)
        row.addWidget(self._detail, 1)
        buttons = (
            (self.tr("Approve (Y)"), self.tr("Approve object"), "review.approve"),
            (self.tr("Fix (U)"), self.tr("Object needs work"), "review.fix"),
            (self.tr("Delete (X)"), self.tr("Delete object"), "review.exclude"),
            (self.tr("Picture (⇧Y)"), self.tr("Approve the whole picture"), "review.approve_picture"),
            (self.tr("Leave (R)"), self.tr("Leave review mode"), "review.toggle"),
        )
        for text, name, command in buttons:
            button = QPushButton(text)
            button.setAccessibleName(name)
            button.setToolTip(name)
            button.clicked.connect(lambda _=False, c=command: self.command.emit(c))
            row.addWidget(button)
        self.hide()

    def set_step(self, step: ReviewStep | None) -> None:
        """Show what is under review; None leaves review mode."""
        self.setVisible(step is not None)
        if step is not None:
            self._where.setText(self.tr("{n} of {m}").format(n=step.position, m=step.total))
            self._what.setText(step.title)
            self._detail.setText(" · ".join(part for part in (step.state, step.detail) if part))
            self._detail.setToolTip(self._detail.text())
            self.setAccessibleDescription(f"{self._where.text()}, {step.title}, {self._detail.text()}")
