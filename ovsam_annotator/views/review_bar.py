"""The bar above the canvas in review mode: what is shown, where it stands, and the three verdicts with their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

if TYPE_CHECKING:
    from ovsam_annotator.views.data import ReviewStep

__all__ = ["ReviewBar"]


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
        self._detail = QLabel()
        self._detail.setObjectName("faint")
        self._detail.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 5, 10, 5)
        row.addWidget(self._where)
        row.addWidget(self._what)
        row.addWidget(self._detail, 1)
        buttons = (
            (self.tr("Approve (Y)"), self.tr("Approve object"), "review.approve"),
            (self.tr("Needs work (U)"), self.tr("Object needs work"), "review.fix"),
            (self.tr("Delete (X)"), self.tr("Delete object"), "review.exclude"),
            (self.tr("Approve picture (⇧Y)"), self.tr("Approve the whole picture"), "review.approve_picture"),
            (self.tr("Leave (R)"), self.tr("Leave review mode"), "review.toggle"),
        )
        for text, name, command in buttons:
            button = QPushButton(text)
            button.setAccessibleName(name)
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
