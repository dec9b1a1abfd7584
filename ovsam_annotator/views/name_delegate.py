"""Paints one row of the list of names: digit, colour, name, score bar, number and what decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, QModelIndex, QPersistentModelIndex, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QPalette
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from ovsam_annotator.views.data import NameRow

if TYPE_CHECKING:
    from PySide6.QtCore import QObject

__all__ = ["ROW_ROLE", "NameDelegate", "branch_word"]

ROW_ROLE = Qt.ItemDataRole.UserRole + 1


def branch_word(branch: str) -> str:
    """What decided a name, in one short word."""
    words = {
        "head": QCoreApplication.translate("Branch", "trained"),
        "clip": QCoreApplication.translate("Branch", "open"),
        "crop": QCoreApplication.translate("Branch", "zoom"),
        "memory": QCoreApplication.translate("Branch", "yours"),
    }
    return words.get(branch, branch)


class NameDelegate(QStyledItemDelegate):
    """Rows with a score bar; the highlighted one is what Enter accepts."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.branches = True  # the list switches it off where one branch decided every row: that tells nothing

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:  # noqa: ARG002, N802
        """Height follows the font, so that 200 per cent text is not clipped."""
        return QSize(160, round(QFontMetrics(option.font).height() * 1.7))

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        """Paint a row."""
        row = index.data(ROW_ROLE)
        if not isinstance(row, NameRow):
            return
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        rect = QRectF(option.rect)
        palette: QPalette = option.palette
        font: QFont = option.font
        chosen = bool(option.state & QStyle.StateFlag.State_Selected)
        hovered = bool(option.state & QStyle.StateFlag.State_MouseOver)
        text = palette.color(QPalette.ColorRole.HighlightedText if chosen else QPalette.ColorRole.Text)
        if chosen or hovered:
            ground = palette.color(QPalette.ColorRole.Highlight)
            ground.setAlpha(255 if chosen else 60)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(ground)
            painter.drawRoundedRect(rect.adjusted(2, 1, -2, -1), 4, 4)
        metrics = QFontMetrics(font)
        unit = metrics.height()
        self._badge(
            painter, QRectF(rect.left() + 7, rect.center().y() - unit * 0.6, unit * 1.2, unit * 1.2), index, text
        )
        left = rect.left() + 7 + unit * 1.2 + 8
        if row.colour is not None:
            painter.setPen(text if chosen else Qt.PenStyle.NoPen)  # a ring, where the highlight has the same colour
            painter.setBrush(QColor(*row.colour))
            painter.drawEllipse(QRectF(left, rect.center().y() - unit * 0.25, unit * 0.5, unit * 0.5))
            left += unit * 0.75
        right = self._score(painter, rect, row.score, metrics, text)
        small = QFont(font)
        small.setPointSizeF(max(6.0, font.pointSizeF() * 0.8))
        hint = branch_word(row.decided_by) if self.branches and row.decided_by != "head" else ""
        if row.decided_by == "memory" and row.examples:
            hint = f"{hint} ·{row.examples}"
        hint_width = QFontMetrics(small).horizontalAdvance(hint) + 8 if hint else 0
        name_rect = QRectF(left, rect.top(), max(10.0, right - left - hint_width - 4), rect.height())
        painter.setPen(text)
        painter.setFont(font)
        name = metrics.elidedText(row.name, Qt.TextElideMode.ElideMiddle, round(name_rect.width()))
        painter.drawText(name_rect, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, name)
        if hint:
            faint = QColor(text)
            faint.setAlpha(170)
            painter.setPen(faint)
            painter.setFont(small)
            hint_rect = QRectF(right - hint_width, rect.top(), hint_width, rect.height())
            painter.drawText(hint_rect, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, hint)
        painter.restore()

    def _badge(self, painter: QPainter, rect: QRectF, index: QModelIndex | QPersistentModelIndex, text: QColor) -> None:
        outline = QColor(text)
        outline.setAlpha(140)
        painter.setPen(outline)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(rect, 3, 3)
        painter.setPen(text)
        painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, str(index.row() + 1))

    def _score(self, painter: QPainter, rect: QRectF, score: float, metrics: QFontMetrics, text: QColor) -> float:
        """Paint bar and number at the right edge; return where they begin."""
        number_width = metrics.horizontalAdvance("100%") + 6
        bar_width = metrics.height() * 3.0
        bar = QRectF(rect.right() - number_width - bar_width - 6, rect.center().y() - 3, bar_width, 6)
        ground = QColor(text)
        ground.setAlpha(45)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(ground)
        painter.drawRoundedRect(bar, 3, 3)
        ground.setAlpha(220)
        painter.setBrush(ground)
        share = min(1.0, max(0.0, score))
        painter.drawRoundedRect(QRectF(bar.left(), bar.top(), max(2.0, bar.width() * share), bar.height()), 3, 3)
        painter.setPen(text)
        number = QRectF(rect.right() - number_width - 4, rect.top(), number_width, rect.height())
        shown = "<1%" if 0 < score < 0.005 else f"{score:.0%}"
        painter.drawText(number, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, shown)
        return bar.left() - 6
