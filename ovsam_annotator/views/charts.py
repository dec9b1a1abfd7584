"""Small bar charts painted with QPainter: no plotting library, the colours of the theme, readable at any font size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPalette
from PySide6.QtWidgets import QSizePolicy, QWidget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PySide6.QtGui import QPaintEvent

    from ovsam_annotator.views.data import Rgb

__all__ = ["Bar", "BarChart"]


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar.

    Attributes:
        label: what it stands for.
        value: its length.
        text: what stands at its end; the value by default.
        colour: its colour; the theme's highlight by default.
    """

    label: str
    value: float
    text: str = ""
    colour: Rgb | None = None


class BarChart(QWidget):
    """Horizontal bars with labels on the left and values at their ends."""

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title = title
        self._bars: tuple[Bar, ...] = ()
        self.setAccessibleName(title)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def set_bars(self, bars: Sequence[Bar]) -> None:
        """Replace all bars."""
        self._bars = tuple(bars)
        words = [f"{bar.label}: {bar.text or f'{bar.value:g}'}" for bar in bars]
        self.setAccessibleDescription("; ".join(words))
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802
        """One line for the title and one for each bar."""
        line = self.fontMetrics().height() * 1.35
        return QSize(240, round(line * (max(1, len(self._bars)) + 1.4)))

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: ARG002, N802
        """Paint title and bars."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        metrics = QFontMetricsF(self.font())
        line = metrics.height() * 1.35
        bold = self.font()
        bold.setBold(True)
        painter.setFont(bold)
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        painter.drawText(QRectF(0, 0, self.width(), line), Qt.AlignmentFlag.AlignVCenter, self._title)
        painter.setFont(self.font())
        if not self._bars:
            painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
            painter.drawText(QRectF(0, line, self.width(), line), Qt.AlignmentFlag.AlignVCenter, self.tr("nothing yet"))
            return
        texts = [bar.text or f"{bar.value:g}" for bar in self._bars]
        labels = min(max(metrics.horizontalAdvance(bar.label) for bar in self._bars) + 8, self.width() * 0.45)
        numbers = max(metrics.horizontalAdvance(text) for text in texts) + 8
        room = max(10.0, self.width() - labels - numbers)
        longest = max(bar.value for bar in self._bars) or 1.0
        for i, (bar, text) in enumerate(zip(self._bars, texts, strict=True)):
            top = line * (i + 1)
            painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
            label = metrics.elidedText(bar.label, Qt.TextElideMode.ElideRight, labels - 6)
            painter.drawText(QRectF(0, top, labels, line), Qt.AlignmentFlag.AlignVCenter, label)
            colour = QColor(*bar.colour) if bar.colour else self.palette().color(QPalette.ColorRole.Highlight)
            length = max(1.5, room * bar.value / longest)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(colour)
            painter.drawRoundedRect(QRectF(labels, top + line * 0.22, length, line * 0.56), 2, 2)
            painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
            at = QRectF(labels + length + 5, top, numbers, line)
            painter.drawText(at, Qt.AlignmentFlag.AlignVCenter, text)
