"""Names on masks: where they go without lying over each other, kept until view or masks change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QTransform

from ovsam_annotator.views.palette import readable_on

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from ovsam_annotator.views.data import CanvasObject, Rgb

__all__ = ["NamePlate", "NamePlates", "lay_names"]

_LIMIT = 50  # names in one view


@dataclass(frozen=True, slots=True)
class NamePlate:
    """A name and where it stands, in device coordinates."""

    rect: QRectF
    text: str
    colour: Rgb


class NamePlates:
    """Paints the names of the masks in view."""

    def __init__(self) -> None:
        self._seen: Hashable = None
        self._plates: list[NamePlate] = []

    def paint(
        self,
        painter: QPainter,
        view: QTransform,
        area: QRectF,
        font: QFont,
        version: int,
        objects: Callable[[], Sequence[CanvasObject]],
    ) -> None:
        """Paint the names; device coordinates.

        Args:
            painter: without a transform.
            view: from picture to device coordinates; scale and shift only.
            area: visible area in device coordinates.
            font: font of the names.
            version: rises whenever the masks change.
            objects: asked for the masks in view, the largest first, where the names must be placed anew.
        """
        seen = (view.m11(), view.dx(), view.dy(), area.width(), area.height(), font.key(), version)
        if seen != self._seen:
            self._seen = seen
            self._plates = lay_names(objects(), view, area, font)
        metrics = QFontMetricsF(font)
        painter.setFont(font)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, on=False)
        for plate in self._plates:
            painter.fillRect(plate.rect, QColor(*plate.colour, 235))
            painter.setPen(QColor(*readable_on(plate.colour)))
            painter.drawText(QPointF(plate.rect.left() + 5, plate.rect.top() + 1 + metrics.ascent()), plate.text)


def lay_names(
    objects: Sequence[CanvasObject], view: QTransform, area: QRectF, font: QFont, limit: int = _LIMIT
) -> list[NamePlate]:
    """Place names on masks that are large enough on screen, without plates that overlap.

    Args:
        objects: objects in view, the largest first; only the first few hundred are tried.
        view: from picture to device coordinates; scale and shift only.
        area: visible area in device coordinates.
        font: font of the names.
        limit: at most so many names.
    """
    metrics = QFontMetricsF(font)
    height = metrics.height() + 2
    scale, dx, dy = view.m11(), view.dx(), view.dy()
    taken: dict[int, list[QRectF]] = {}  # plates by rows of their own height: few neighbours to compare
    plates: list[NamePlate] = []
    named = []
    for item in objects[: 4 * limit]:
        x1, y1, x2, y2 = item.shape.box_xyxy
        if (x2 - x1) * scale >= 24 and (y2 - y1) * scale >= height * 0.8 and item.name:
            named.append((item, x1, y1, x2, y2))
    # the largest get names; of these the smaller choose first, since the larger have more places to go to
    for item, x1, y1, x2, y2 in (*reversed(named[:limit]), *named[limit:]):
        if len(plates) >= limit:
            break
        text, width = _fitted(f"🔒 {item.name}" if item.locked else item.name, (x2 - x1) * scale, metrics)
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
        plates.append(NamePlate(plate, text, item.colour))
    return plates


def _fitted(text: str, wide: float, metrics: QFontMetricsF) -> tuple[str, float]:
    """A name, cut where it is much wider than its mask, and the width of its plate."""
    width = metrics.horizontalAdvance(text) + 10
    if width > max(wide + 20, 60):
        text = metrics.elidedText(text, Qt.TextElideMode.ElideRight, max(wide + 10, 50))
        width = metrics.horizontalAdvance(text) + 10
    return text, width
