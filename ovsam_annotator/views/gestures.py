"""What the left button does with each tool: small state machines that own their half-done drawing.

A gesture hears presses, moves and releases in picture coordinates and reports a finished one through a callback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen, QPolygonF

from ovsam_annotator.views.decorations import paint_box

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["DRAG_FROM", "BoxGesture", "Gesture", "PolygonGesture", "StrokeGesture", "VertexGesture"]

DRAG_FROM = 5.0  # screen pixels from which a press and a release are a box and not a click


class Gesture(Protocol):
    """One way of drawing with the left button."""

    def press(self, point: QPointF, scale: float) -> None:
        """Button down at picture coordinates; `scale` is screen pixels for one picture pixel."""

    def move(self, point: QPointF, *, held: bool) -> bool:
        """Pointer moved; True when something must be painted again."""

    def release(self, point: QPointF) -> None:
        """Button up."""

    def double_click(self, point: QPointF) -> None:
        """Second press in a row."""

    def key(self, key: int) -> bool:
        """Enter, Esc, Backspace or Delete; True when the gesture had a use for it."""

    def paint(self, painter: QPainter, scale: float) -> None:
        """Paint the half-done drawing; scene coordinates."""

    @property
    def busy(self) -> bool:
        """A drawing is half done."""


class BoxGesture:
    """Click for a point, drag for a box."""

    def __init__(self, clicked: Callable[[QPointF], None], dragged: Callable[[QRectF], None]) -> None:
        self._clicked = clicked
        self._dragged = dragged
        self._start: QPointF | None = None
        self._end = QPointF()
        self._scale = 1.0

    @property
    def busy(self) -> bool:
        """The button is down."""
        return self._start is not None

    def press(self, point: QPointF, scale: float) -> None:
        """Remember where it starts."""
        self._start, self._end, self._scale = point, point, scale

    def move(self, point: QPointF, *, held: bool) -> bool:
        """Follow the drag."""
        if self._start is None or not held:
            return False
        self._end = point
        return True

    def release(self, point: QPointF) -> None:
        """Report a point or a box."""
        if self._start is None:
            return
        start, self._start = self._start, None
        self._end = point
        if self._is_drag(start):
            self._dragged(QRectF(start, point).normalized())
        else:
            self._clicked(start)

    def double_click(self, point: QPointF) -> None:
        """A second click is a second point."""
        self.press(point, self._scale)

    def key(self, key: int) -> bool:
        """Esc gives up the drag."""
        if self._start is not None and key == Qt.Key.Key_Escape:
            self._start = None
            return True
        return False

    def paint(self, painter: QPainter, scale: float) -> None:  # noqa: ARG002
        """Paint the box in the making."""
        if self._start is not None and self._is_drag(self._start):
            paint_box(painter, QRectF(self._start, self._end).normalized(), pending=True)

    def _is_drag(self, start: QPointF) -> bool:
        moved = self._end - start
        return max(abs(moved.x()), abs(moved.y())) * self._scale >= DRAG_FROM


class StrokeGesture:
    """Brush or eraser: a stroke of one radius."""

    def __init__(self, finished: Callable[[NDArray[np.float64], float, bool], None], *, erase: bool) -> None:
        self._finished = finished
        self._erase = erase
        self._points: list[QPointF] = []
        self._cursor: QPointF | None = None
        self.radius = 10.0

    @property
    def busy(self) -> bool:
        """A stroke is being drawn."""
        return bool(self._points)

    def press(self, point: QPointF, scale: float) -> None:  # noqa: ARG002
        """Start a stroke."""
        self._points = [point]
        self._cursor = point

    def move(self, point: QPointF, *, held: bool) -> bool:
        """Follow the pointer."""
        self._cursor = point
        if held and self._points:
            self._points.append(point)
        return True

    def release(self, point: QPointF) -> None:
        """Report the stroke."""
        if self._points:
            points = np.array([(p.x(), p.y()) for p in (*self._points, point)], np.float64)
            self._points = []
            self._finished(points, self.radius, self._erase)

    def double_click(self, point: QPointF) -> None:
        """Start the next stroke."""
        self.press(point, 1)

    def key(self, key: int) -> bool:
        """Esc gives up the stroke."""
        if self._points and key == Qt.Key.Key_Escape:
            self._points = []
            return True
        return False

    def paint(self, painter: QPainter, scale: float) -> None:  # noqa: ARG002
        """Paint the stroke so far and the size of the brush."""
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._points:
            colour = QColor(213, 94, 0, 130) if self._erase else QColor(255, 214, 10, 130)
            pen = QPen(colour, self.radius * 2, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap)
            pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
            painter.setPen(pen)
            painter.drawPolyline(QPolygonF([*self._points, self._points[-1] + QPointF(0.01, 0)]))
        if self._cursor is not None:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            for width, ink in ((3.0, QColor(0, 0, 0, 170)), (1.5, QColor("white"))):
                outline = QPen(ink, width, Qt.PenStyle.DashLine if self._erase else Qt.PenStyle.SolidLine)
                outline.setCosmetic(True)
                painter.setPen(outline)
                painter.drawEllipse(self._cursor, self.radius, self.radius)


class PolygonGesture:
    """Corner by corner; a double click, Enter or a click on the first corner closes it."""

    def __init__(self, finished: Callable[[NDArray[np.float64]], None]) -> None:
        self._finished = finished
        self._points: list[QPointF] = []
        self._cursor = QPointF()

    @property
    def busy(self) -> bool:
        """There is at least one corner."""
        return bool(self._points)

    def press(self, point: QPointF, scale: float) -> None:
        """Add a corner, or close on the first one."""
        if len(self._points) >= 3 and (point - self._points[0]).manhattanLength() * scale < 10:
            self._close()
        else:
            self._points.append(point)
            self._cursor = point

    def move(self, point: QPointF, *, held: bool) -> bool:  # noqa: ARG002
        """Follow the pointer with the last edge."""
        self._cursor = point
        return self.busy

    def release(self, point: QPointF) -> None:
        """Corners are placed on the press."""

    def double_click(self, point: QPointF) -> None:  # noqa: ARG002
        """Close; the first press of the pair has placed the last corner."""
        self._close()

    def key(self, key: int) -> bool:
        """Enter closes, Backspace takes a corner back, Esc gives up."""
        if not self._points:
            return False
        if key in {Qt.Key.Key_Return, Qt.Key.Key_Enter}:
            self._close()
        elif key == Qt.Key.Key_Backspace:
            self._points.pop()
        elif key == Qt.Key.Key_Escape:
            self._points = []
        else:
            return False
        return True

    def paint(self, painter: QPainter, scale: float) -> None:
        """Paint the corners and edges so far."""
        if not self._points:
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        line = QPolygonF([*self._points, self._cursor])
        for width, colour in ((3.5, QColor(0, 0, 0, 190)), (2.0, QColor(255, 214, 10))):
            pen = QPen(colour, width)
            pen.setCosmetic(True)
            painter.setPen(pen)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawPolyline(line)
        _paint_handles(painter, self._points, scale, lit=0)

    def _close(self) -> None:
        points, self._points = self._points, []
        if len(points) >= 3:
            self._finished(np.array([(p.x(), p.y()) for p in points], np.float64))


class VertexGesture:
    """Drag corners of an outline; a double click on an edge adds one, Delete or Backspace removes the one held last."""

    def __init__(self, edited: Callable[[str, tuple[NDArray[np.float64], ...]], None]) -> None:
        self._edited = edited
        self._uid = ""
        self._rings: list[list[QPointF]] = []
        self._at: tuple[int, int] | None = None
        self._dragging = False
        self._scale = 1.0

    @property
    def busy(self) -> bool:
        """A corner is being dragged."""
        return self._dragging

    @property
    def active(self) -> bool:
        """There are rings to edit."""
        return bool(self._rings)

    def set_rings(self, uid: str, rings: Sequence[NDArray[np.floating]]) -> None:
        """Offer the handles of an object."""
        self._uid = uid
        self._rings = [[QPointF(x, y) for x, y in ring.tolist()] for ring in rings]
        self._at = None
        self._dragging = False

    def press(self, point: QPointF, scale: float) -> None:
        """Take hold of the nearest corner within reach."""
        self._scale = scale
        self._at = self._corner_at(point)
        self._dragging = self._at is not None

    def move(self, point: QPointF, *, held: bool) -> bool:
        """Drag the corner."""
        if not held or not self._dragging or self._at is None:
            return False
        ring, index = self._at
        self._rings[ring][index] = point
        return True

    def release(self, point: QPointF) -> None:
        """Report the new rings."""
        if self._dragging:
            self.move(point, held=True)
            self._dragging = False
            self._report()

    def double_click(self, point: QPointF) -> None:
        """Add a corner on the edge under the pointer."""
        best: tuple[float, int, int] | None = None
        for r, ring in enumerate(self._rings):
            for i, start in enumerate(ring):
                distance = _distance_to_edge(point, start, ring[(i + 1) % len(ring)])
                if best is None or distance < best[0]:
                    best = (distance, r, i)
        if best is not None and best[0] * self._scale < 10:
            self._rings[best[1]].insert(best[2] + 1, point)
            self._at = (best[1], best[2] + 1)
            self._dragging = True

    def key(self, key: int) -> bool:
        """Delete or Backspace removes the corner held last; a ring keeps three."""
        if key not in {Qt.Key.Key_Delete, Qt.Key.Key_Backspace} or self._at is None:
            return False
        ring, index = self._at
        if len(self._rings[ring]) > 3:
            del self._rings[ring][index]
            self._at = None
            self._report()
        return True

    def paint(self, painter: QPainter, scale: float) -> None:
        """Paint edges and handles."""
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for r, ring in enumerate(self._rings):
            pen = QPen(QColor("white"), 1.5)
            pen.setCosmetic(True)
            painter.setPen(pen)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawPolygon(QPolygonF(ring))
            _paint_handles(painter, ring, scale, lit=self._at[1] if self._at and self._at[0] == r else -1)

    def _corner_at(self, point: QPointF) -> tuple[int, int] | None:
        corners = [
            ((corner - point).manhattanLength(), r, i)
            for r, ring in enumerate(self._rings)
            for i, corner in enumerate(ring)
        ]
        best = min(corners, default=None)
        return (best[1], best[2]) if best is not None and best[0] * self._scale < 12 else None

    def _report(self) -> None:
        rings = tuple(np.array([(p.x(), p.y()) for p in ring], np.float64) for ring in self._rings)
        self._edited(self._uid, rings)


def _distance_to_edge(point: QPointF, start: QPointF, end: QPointF) -> float:
    """Distance of a point from a line segment."""
    edge, to = end - start, point - start
    length = QPointF.dotProduct(edge, edge)
    share = min(1.0, max(0.0, QPointF.dotProduct(to, edge) / length)) if length else 0.0
    off = to - edge * share
    return float(QPointF.dotProduct(off, off) ** 0.5)


def _paint_handles(painter: QPainter, points: Sequence[QPointF], scale: float, *, lit: int) -> None:
    """Paint square handles of the same size at every zoom, smaller ones where they would hide the outline."""
    corners = QPolygonF(points).boundingRect()
    apart = (corners.width() + corners.height()) * 2 * scale / max(1, len(points))  # screen pixels, roughly
    half = (4.0 if apart > 14 else 2.5) / scale
    pen = QPen(QColor("black"), 1)
    pen.setCosmetic(True)
    painter.setPen(pen)
    for i, point in enumerate(points):
        painter.setBrush(QColor(255, 214, 10) if i == lit else QColor("white"))
        painter.drawRect(QRectF(point.x() - half, point.y() - half, 2 * half, 2 * half))
