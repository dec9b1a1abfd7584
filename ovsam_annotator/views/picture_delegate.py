"""Paints one row of the picture list: thumbnail, name, state, object count, and how far the model is."""

from __future__ import annotations

from functools import cache

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPalette, QPen, QPixmap
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from ovsam_annotator.views.data import EncodeState, PictureRow, PictureState
from ovsam_annotator.views.picture_model import ROW_ROLE
from ovsam_annotator.views.theme import STATE_COLOURS
from ovsam_annotator.views.translation import counted, state_word

__all__ = ["PictureDelegate", "paint_state", "state_pixmap"]


def paint_state(painter: QPainter, rect: QRectF, state: str) -> None:
    """Paint the sign of a state: each has a shape of its own, so that colour is never the only difference."""
    colour = QColor(STATE_COLOURS.get(state, "#8d9096"))
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    pen = QPen(colour, 2)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    painter.setPen(pen)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    centre, radius = rect.center(), rect.width() / 2
    if state in {PictureState.UNSEEN, "open"}:
        painter.drawEllipse(centre, radius * 0.7, radius * 0.7)
    elif state == PictureState.IN_WORK:
        painter.drawEllipse(centre, radius * 0.7, radius * 0.7)
        painter.setBrush(colour)
        painter.drawPie(rect.adjusted(2, 2, -2, -2), 90 * 16, -180 * 16)
    elif state == PictureState.DONE:
        painter.setBrush(colour)
        painter.drawEllipse(centre, radius * 0.7, radius * 0.7)
    elif state == PictureState.APPROVED:
        painter.drawPolyline(
            [
                centre + QPointF(-radius * 0.8, 0),
                centre + QPointF(-radius * 0.2, radius * 0.6),
                centre + QPointF(radius * 0.8, -radius * 0.6),
            ]
        )
    elif state == PictureState.NEEDS_WORK:
        painter.drawLine(centre + QPointF(0, -radius * 0.8), centre + QPointF(0, radius * 0.15))
        painter.drawPoint(centre + QPointF(0, radius * 0.7))
    else:
        arm = radius * 0.6
        for sign in (1, -1):
            painter.drawLine(centre + QPointF(-arm, -arm * sign), centre + QPointF(arm, arm * sign))


@cache
def state_pixmap(state: str) -> QPixmap:
    """The sign of a state as a small picture."""
    pixmap = QPixmap(28, 28)
    pixmap.setDevicePixelRatio(2)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    paint_state(painter, QRectF(1, 1, 12, 12), state)
    painter.end()
    return pixmap


class PictureDelegate(QStyledItemDelegate):
    """Rows of one height, so that a hundred thousand need no measuring."""

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:  # noqa: ARG002, N802
        """Height for two lines of text."""
        return QSize(180, max(52, round(QFontMetrics(option.font).height() * 2.6)))

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        """Paint a row."""
        row = index.data(ROW_ROLE)
        if not isinstance(row, PictureRow):
            return
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        rect = QRectF(option.rect)
        palette: QPalette = option.palette
        chosen = bool(option.state & QStyle.StateFlag.State_Selected)
        if chosen:
            painter.fillRect(rect, palette.color(QPalette.ColorRole.Highlight))
        text = palette.color(QPalette.ColorRole.HighlightedText if chosen else QPalette.ColorRole.Text)
        frame = QRectF(rect.left() + 6, rect.top() + 4, (rect.height() - 8) * 1.33, rect.height() - 8)
        self._thumbnail(painter, frame, index.data(Qt.ItemDataRole.DecorationRole), palette)
        metrics = QFontMetrics(option.font)
        left = frame.right() + 8
        painter.setFont(option.font)
        painter.setPen(text)
        line = metrics.height()
        top = rect.center().y() - line * 1.1
        width = rect.right() - left - 8
        name = metrics.elidedText(row.name.rpartition("/")[2], Qt.TextElideMode.ElideMiddle, round(width))
        painter.drawText(QRectF(left, top, width, line * 1.2), Qt.AlignmentFlag.AlignVCenter, name)
        sign = QRectF(left, top + line * 1.3, line * 0.75, line * 0.75)
        if chosen:
            painter.save()
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(255, 255, 255, 225))
            painter.drawEllipse(sign.adjusted(-2, -2, 2, 2))
            painter.restore()
        paint_state(painter, sign, row.state.value)
        faint = QColor(text)
        faint.setAlpha(190)
        painter.setPen(QColor("#ff8a70") if row.missing and not chosen else faint)
        detail = self._detail(row)
        room = width - line - (12 if row.encode is not EncodeState.NONE else 0)  # the square at the right stays free
        detail_rect = QRectF(sign.right() + 6, top + line * 1.1, room, line * 1.15)
        detail = metrics.elidedText(detail, Qt.TextElideMode.ElideRight, round(detail_rect.width()))
        painter.drawText(detail_rect, Qt.AlignmentFlag.AlignVCenter, detail)
        self._encode(painter, QRectF(rect.right() - 14, rect.bottom() - 14, 8, 8), row.encode, faint)
        painter.restore()

    def _detail(self, row: PictureRow) -> str:
        if row.missing:
            return self.tr("cannot be read")
        count = counted("object", row.objects)
        state = state_word(row.state.value)
        return f"{state} · {count}" if row.objects else state

    def _thumbnail(self, painter: QPainter, frame: QRectF, pixmap: object, palette: QPalette) -> None:
        painter.fillRect(frame, palette.color(QPalette.ColorRole.Mid))
        if isinstance(pixmap, QPixmap) and not pixmap.isNull():
            size = QSize(pixmap.size()).scaled(frame.size().toSize(), Qt.AspectRatioMode.KeepAspectRatio)
            inner = QRectF(0, 0, size.width(), size.height())
            inner.moveCenter(frame.center())
            painter.drawPixmap(inner, pixmap, QRectF(pixmap.rect()))

    def _encode(self, painter: QPainter, rect: QRectF, state: EncodeState, faint: QColor) -> None:
        """A small square: empty queued, half running, full ready, crossed failed; nothing for none."""
        if state is EncodeState.NONE:
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, on=False)
        painter.setPen(QPen(faint, 1))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(rect)
        if state is EncodeState.READY:
            painter.fillRect(rect.adjusted(2, 2, -1, -1), faint)
        elif state is EncodeState.RUNNING:
            painter.fillRect(rect.adjusted(2, rect.height() / 2, -1, -1), faint)
        elif state is EncodeState.FAILED:
            painter.setPen(QPen(QColor("#ff8a70"), 2))
            painter.drawLine(rect.topLeft(), rect.bottomRight())
            painter.drawLine(rect.topRight(), rect.bottomLeft())
