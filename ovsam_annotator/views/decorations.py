"""What lies over the masks: suggestion, hover, proposals, selection, names and prompt dots. Functions that paint.

Outlines of suggestions are broken and carry "?"; those of accepted objects are solid. Every line has a dark rim: it can
be seen on any picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QImage, QPainter, QPen, QTransform

from ovsam_annotator.views.palette import NEGATIVE, POSITIVE, SUGGESTION, readable_on
from ovsam_annotator.views.stamp import Look, Placement, stamp
from ovsam_annotator.views.tiles import tile_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ovsam_annotator.model.shapes import MaskShape
    from ovsam_annotator.views.data import CanvasObject, Rgb

__all__ = [
    "DOT_RADIUS",
    "ShapeStamp",
    "paint_box",
    "paint_cross",
    "paint_dots",
    "paint_names",
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


def paint_names(
    painter: QPainter, objects: Sequence[CanvasObject], view: QTransform, area: QRectF, font: QFont, limit: int = 50
) -> None:
    """Write names on masks that are large enough on screen, without plates that overlap; device coordinates.

    Args:
        painter: without a transform.
        objects: objects in view, the largest first; only the first few hundred are tried.
        view: from picture to device coordinates; scale and shift only.
        area: visible area in device coordinates.
        font: font of the names.
        limit: at most so many names.
    """
    metrics = QFontMetricsF(font)
    painter.setFont(font)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, on=False)
    height = metrics.height() + 2
    scale, dx, dy = view.m11(), view.dx(), view.dy()
    taken: dict[int, list[QRectF]] = {}  # plates by rows of their own height: few neighbours to compare
    written = 0
    named = []
    for item in objects[: 4 * limit]:
        x1, y1, x2, y2 = item.shape.box_xyxy
        if (x2 - x1) * scale >= 24 and (y2 - y1) * scale >= height * 0.8 and item.name:
            named.append((item, x1, y1, x2, y2))
    # the largest get names; of these the smaller choose first, since the larger have more places to go to
    for item, x1, y1, x2, y2 in (*reversed(named[:limit]), *named[limit:]):
        if written >= limit:
            break
        wide = (x2 - x1) * scale
        text = f"🔒 {item.name}" if item.locked else item.name
        width = metrics.horizontalAdvance(text) + 10
        if width > max(wide + 20, 60):
            text = metrics.elidedText(text, Qt.TextElideMode.ElideRight, max(wide + 10, 50))
            width = metrics.horizontalAdvance(text) + 10
        # over the mask's topmost pixel, so that it is clear whose name it is; else at the foot of the mask, or inside
        if len(item.shape.loops) > 1:  # crumbs: the part with the longest outline is the one that is seen
            main = max(item.shape.loops, key=len)
            head, foot = int(main[:, 1].min()), int(main[:, 1].max())
            tip = int(main[main[:, 1].argmin(), 0]) * scale + dx
        else:
            head, foot = y1, y2
            tip = (x1 + int(item.shape.pixels[0].argmax())) * scale + dx
        left = min(max(tip - 8, area.left() + 2), area.right() - width - 2)
        for edge in (head * scale + dy - height, foot * scale + dy, head * scale + dy):
            top = min(max(edge, area.top() + 2), area.bottom() - height - 2)
            plate = QRectF(left, top, width, height)
            row = int(top // height)
            near = [other for k in (row - 1, row, row + 1) for other in taken.get(k, ())]
            if not any(plate.intersects(other) for other in near):
                break
        else:
            continue
        taken.setdefault(row, []).append(plate)
        written += 1
        painter.fillRect(plate, QColor(*item.colour, 235))
        painter.setPen(QColor(*readable_on(item.colour)))
        painter.drawText(QPointF(left + 5, top + 1 + metrics.ascent()), text)


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
