"""What lies over the masks: suggestion, hover, proposals, selection and prompt dots. Functions that paint.

Outlines of suggestions are broken and carry "?"; those of accepted objects are solid. Every line has a dark rim: it can
be seen on any picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QImage, QPainter, QPen, QTransform

from ovsam_annotator.views.palette import NEGATIVE, POSITIVE, SUGGESTION
from ovsam_annotator.views.stamp import Look, Placement, stamp
from ovsam_annotator.views.tiles import tile_image

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ovsam_annotator.model.shapes import MaskShape
    from ovsam_annotator.views.data import Rgb

__all__ = [
    "DOT_RADIUS",
    "ShapeStamp",
    "paint_box",
    "paint_cross",
    "paint_dots",
    "paint_plate",
    "selected",
    "suggested",
]

DOT_RADIUS = 7.0  # screen pixels: large enough to aim at, small enough not to hide the object
_DARK = QColor(0, 0, 0, 190)


@dataclass(slots=True)
class ShapeStamp:
    """A mask on the screen, kept for the view in which it was last painted."""

    shape: MaskShape
    _seen: tuple[Placement, Look] | None = None
    _image: QImage | None = None
    _left: int = 0
    _top: int = 0

    def paint(self, painter: QPainter, view: QTransform, area: QRectF, look: Look) -> None:
        """Paint it; device coordinates.

        Args:
            painter: without a transform.
            view: from picture to device coordinates; scale and shift only.
            area: visible area in device coordinates.
            look: colours and widths.
        """
        ratio = painter.device().devicePixelRatioF()
        place = Placement(
            view.m11() * ratio,
            view.dx() * ratio,
            view.dy() * ratio,
            round(area.width() * ratio),
            round(area.height() * ratio),
        )
        if self._seen != (place, look):
            self._seen, self._image = (place, look), None
            made = stamp(self.shape, place, look)
            if made is not None:
                pixels, self._left, self._top = made
                self._image = tile_image(pixels, alpha=True)
                self._image.setDevicePixelRatio(ratio)
        if self._image is not None:
            painter.drawImage(QPointF(self._left / ratio, self._top / ratio), self._image)


def suggested(colour: Rgb = SUGGESTION, *, fill: float, bold: bool) -> Look:
    """Look of a mask that is not accepted yet; `bold` for the one in work, False for hover and proposals."""
    return Look(colour, round(fill, 3), line=1, rim=1 if bold else 0, dashed=True)


def selected(colour: Rgb) -> Look:
    """Look of a selected object's outline."""
    return Look(colour, line=1, rim=1, halo=1)


def _pen(colour: QColor, width: float, *, dashed: bool = False) -> QPen:
    pen = QPen(colour, width)
    pen.setCosmetic(True)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    if dashed:
        pen.setDashPattern([4, 3])
        pen.setCapStyle(Qt.PenCapStyle.FlatCap)
    return pen


def paint_box(painter: QPainter, rect: QRectF, *, pending: bool) -> None:
    """Paint a box prompt; scene coordinates."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, on=False)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(_pen(_DARK, 3))
    painter.drawRect(rect)
    painter.setPen(_pen(QColor("white"), 1.5, dashed=pending))
    painter.drawRect(rect)


def paint_dots(painter: QPainter, dots: Iterable[tuple[QPointF, bool, bool]]) -> None:
    """Paint prompt dots; device coordinates.

    Args:
        painter: without a transform.
        dots: centre, positive, pending for each; the sign is a glyph as well as a colour.
    """
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    arm = DOT_RADIUS * 0.55
    for centre, positive, pending in dots:
        colour = QColor(*(POSITIVE if positive else NEGATIVE))
        painter.setPen(QPen(QColor(0, 0, 0, 200), 1))
        painter.setBrush(QColor("white"))
        painter.drawEllipse(centre, DOT_RADIUS + 1.5, DOT_RADIUS + 1.5)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor("white") if pending else colour)
        painter.drawEllipse(centre, DOT_RADIUS, DOT_RADIUS)
        painter.setPen(QPen(colour if pending else QColor("white"), 2))
        painter.drawLine(centre - QPointF(arm, 0), centre + QPointF(arm, 0))
        if positive:
            painter.drawLine(centre - QPointF(0, arm), centre + QPointF(0, arm))


def paint_cross(painter: QPainter, centre: QPointF, area: QRectF, *, whole: bool) -> None:
    """Paint the crosshair; device coordinates. `whole` runs the lines through the view, else a small cross."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, on=False)
    reach = max(area.width(), area.height()) if whole else 14.0
    gap = 4.0
    for colour, width in ((QColor(0, 0, 0, 150), 3), (QColor(255, 255, 255, 220), 1)):
        painter.setPen(QPen(colour, width))
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            painter.drawLine(centre + QPointF(dx * gap, dy * gap), centre + QPointF(dx * reach, dy * reach))


def paint_plate(painter: QPainter, at: QPointF, text: str, area: QRectF, font: QFont) -> None:
    """Write one line on a dark plate near a point, inside the view; device coordinates."""
    metrics = QFontMetricsF(font)
    width, height = metrics.horizontalAdvance(text) + 12, metrics.height() + 4
    left = min(max(at.x(), area.left() + 2), area.right() - width - 2)
    top = min(max(at.y() - height, area.top() + 2), area.bottom() - height - 2)
    plate = QRectF(left, top, width, height)
    painter.setFont(font)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(20, 20, 20, 220))
    painter.drawRoundedRect(plate, 4, 4)
    painter.setPen(QColor(*SUGGESTION))
    painter.drawText(plate, Qt.AlignmentFlag.AlignCenter, text)
