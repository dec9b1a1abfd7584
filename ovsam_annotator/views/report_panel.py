"""Figures of the project as small charts: what there is, how sure, how fast, how often the first name fits."""

from __future__ import annotations

import statistics
from itertools import pairwise
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QLabel, QPushButton, QScrollArea, QVBoxLayout, QWidget

from ovsam_annotator.views.charts import Bar, BarChart
from ovsam_annotator.views.translation import state_word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovsam_annotator.views.data import ReportData

__all__ = ["ReportPanel", "histogram"]

MOST_CLASSES = 20


def histogram(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    """Count values between edges; below the first and from the last edge on count as well.

    Args:
        values: numbers.
        edges: growing limits.

    Returns:
        One more count than there are edges.
    """
    counts = [0] * (len(edges) + 1)
    for value in values:
        counts[sum(value >= edge for edge in edges)] += 1
    return counts


def _ranges(edges: Sequence[float], unit: str = "") -> list[str]:
    middle = [f"{a:g}–{b:g}{unit}" for a, b in pairwise(edges)]
    return [f"< {edges[0]:g}{unit}", *middle, f"≥ {edges[-1]:g}{unit}"]


class ReportPanel(QWidget):
    """Implements `protocols.ReportView`."""

    refresh_asked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._summary = QLabel()
        self._summary.setWordWrap(True)
        self._charts = {
            "pictures": BarChart(self.tr("Pictures by state")),
            "classes": BarChart(self.tr("Objects by class")),
            "areas": BarChart(self.tr("Objects by area (pixels)")),
            "scores": BarChart(self.tr("Accepted names by score")),
            "ranks": BarChart(self.tr("Which name was accepted")),
            "seconds": BarChart(self.tr("Seconds per object")),
            "clicks": BarChart(self.tr("Clicks per object")),
        }
        refresh = QPushButton(self.tr("Refresh"))
        refresh.setAccessibleName(self.tr("Refresh the report"))
        refresh.clicked.connect(self.refresh_asked)
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setSpacing(12)
        column.addWidget(self._summary)
        for chart in self._charts.values():
            column.addWidget(chart)
        column.addWidget(refresh, 0, Qt.AlignmentFlag.AlignLeft)
        column.addStretch(1)
        area = QScrollArea()
        area.setAccessibleName(self.tr("Report of the project"))
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidgetResizable(True)
        area.setWidget(inner)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(area)

    def set_report(self, report: ReportData) -> None:
        """Show figures."""
        total = sum(count for _, count, _ in report.classes)
        lines = [self.tr("{n} objects in {m} classes").format(n=f"{total:,}", m=len(report.classes))]
        if report.seconds:
            text = self.tr("Per object (median): {s} s, clicks: {c}")
            clicks = statistics.median(report.clicks) if report.clicks else 0
            lines.append(text.format(s=f"{statistics.median(report.seconds):.1f}", c=f"{clicks:g}"))
        if report.ranks:
            first = sum(rank == 1 for rank in report.ranks) / len(report.ranks)
            five = sum(1 <= rank <= 5 for rank in report.ranks) / len(report.ranks)
            text = self.tr("The first name was right {one}, one of the first five {five}")
            lines.append(text.format(one=f"{first:.0%}", five=f"{five:.0%}"))
        self._summary.setText("\n".join(lines))
        self._charts["pictures"].set_bars([Bar(state_word(state), n) for state, n in report.pictures])
        bars = [Bar(name, count, colour=colour) for name, count, colour in report.classes[:MOST_CLASSES]]
        rest = sum(count for _, count, _ in report.classes[MOST_CLASSES:])
        self._charts["classes"].set_bars([*bars, Bar(self.tr("all others"), rest)] if rest else bars)
        self._plain("areas", report.areas, (256, 1024, 4096, 9216, 36864))
        self._plain("scores", report.scores, (0.1, 0.25, 0.5, 0.75, 0.9))
        self._plain("seconds", report.seconds, (2, 5, 10, 20, 60))
        self._plain("clicks", report.clicks, (2, 3, 4, 6))
        counts = [(self.tr("name {n}").format(n=n), sum(rank == n for rank in report.ranks)) for n in range(1, 10)]
        counts.append((self.tr("searched"), sum(rank == 0 for rank in report.ranks)))
        self._charts["ranks"].set_bars([Bar(label, n) for label, n in counts if n])

    def _plain(self, name: str, values: Sequence[float], edges: Sequence[float]) -> None:
        counts = histogram(values, edges)
        bars = [Bar(label, n) for label, n in zip(_ranges(edges), counts, strict=True)]
        self._charts[name].set_bars(bars if values else [])
