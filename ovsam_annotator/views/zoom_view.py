"""A view of one thing that zooms at a point and scrolls beyond its edges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QPoint, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QTransform
from PySide6.QtWidgets import QFrame, QGraphicsScene, QGraphicsView

if TYPE_CHECKING:
    from PySide6.QtGui import QResizeEvent
    from PySide6.QtWidgets import QWidget

__all__ = ["MAX_SCALE", "ZoomView"]

MAX_SCALE = 64.0
_SMALLEST = 40.0  # screen pixels a side that a box has at least, once it was asked for


class ZoomView(QGraphicsView):
    """Shows a rectangle; whoever derives from it says which, and paints it as the view's background.

    What is painted as background is kept until the view or `invalidateScene` says that it changed: what lies over it
    is then painted alone.

    Attributes:
        view_changed: zoomed, scrolled or resized: whoever lies beside something in the view must move.
    """

    view_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._fitted = True
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTransformationAnchor(QGraphicsView.ViewportAnchor.NoAnchor)
        self.setResizeAnchor(QGraphicsView.ViewportAnchor.NoAnchor)
        self.setViewportUpdateMode(QGraphicsView.ViewportUpdateMode.MinimalViewportUpdate)
        self.setOptimizationFlag(QGraphicsView.OptimizationFlag.DontSavePainterState)
        self.setCacheMode(QGraphicsView.CacheModeFlag.CacheBackground)
        scene = QGraphicsScene(self)
        scene.setItemIndexMethod(QGraphicsScene.ItemIndexMethod.NoIndex)
        self.setScene(scene)

    # --- for whoever derives from it -----------------------------------------------------------------------------

    def bounds(self) -> QRectF:
        """Rectangle of what is shown, in scene coordinates; empty where there is nothing."""
        return QRectF()

    def anchor(self) -> QPointF:
        """Viewport point to zoom at: the middle."""
        return QPointF(self.viewport().rect().center())

    # --- zoom and scroll -----------------------------------------------------------------------------------------

    @property
    def scale_now(self) -> float:
        """Screen pixels for one scene unit."""
        return float(self.transform().m11())

    @property
    def in_view(self) -> QRectF:
        """What the viewport shows, in scene coordinates."""
        inverse, _ = self.viewportTransform().inverted()
        return inverse.mapRect(QRectF(self.viewport().rect()))

    def to_scene(self, at: QPointF) -> QPointF:
        """Scene coordinates of a viewport point, without rounding it to whole pixels."""
        inverse, _ = self.viewportTransform().inverted()
        return inverse.map(at)

    def zoom_fit(self) -> None:
        """Fit everything."""
        rect = self.bounds()
        if rect.isEmpty():
            self.viewport().update()
            return
        area = self.viewport().rect()
        scale = min(area.width() / rect.width(), area.height() / rect.height()) * 0.98
        self.set_scale(min(scale, MAX_SCALE), rect.center(), QPointF(area.center()))
        self._fitted = True

    def zoom_actual(self) -> None:
        """Show one scene unit as one screen pixel, around the anchor."""
        anchor = self.anchor()
        self.set_scale(1 / self.devicePixelRatioF(), self.to_scene(anchor), anchor)

    def zoom_by(self, factor: float) -> None:
        """Zoom around the anchor."""
        self.zoom_at(self.anchor(), factor)

    def zoom_at(self, anchor: QPointF, factor: float) -> None:
        """Zoom around a viewport point."""
        self.set_scale(self.scale_now * factor, self.to_scene(anchor), anchor)

    def show_box(self, box_xyxy: tuple[float, float, float, float]) -> None:
        """Scroll, and zoom where needed, until a box is well in view."""
        x1, y1, x2, y2 = box_xyxy
        area = self.viewport().rect()
        width, height = max(x2 - x1, 1), max(y2 - y1, 1)
        scale = self.scale_now
        if max(width, height) * scale < _SMALLEST:
            scale = _SMALLEST / max(width, height)
        scale = min(scale, 0.9 * area.width() / width, 0.9 * area.height() / height)
        box = QRectF(x1, y1, width, height)
        if scale != self.scale_now or not self.in_view.contains(box):
            self.set_scale(scale, box.center(), QPointF(area.center()))

    def set_scale(self, scale: float, scene: QPointF, at: QPointF) -> None:
        """Zoom, within reason, so that a scene point lies at a viewport point."""
        rect = self.bounds()
        if rect.isEmpty():
            return
        area = self.viewport().rect()
        fit = min(area.width() / rect.width(), area.height() / rect.height())
        scale = min(max(scale, min(fit, 1.0) * 0.25, 1e-4), MAX_SCALE)
        self.setTransform(QTransform.fromScale(scale, scale))
        self.resetCachedContent()
        self._set_scroll_room()
        self.scroll_by((at - QPointF(self.viewportTransform().map(scene))).toPoint())

    def scroll_by(self, by: QPoint) -> None:
        """Move what is shown by screen pixels."""
        across, down = self.horizontalScrollBar(), self.verticalScrollBar()
        across.setValue(across.value() - by.x())
        down.setValue(down.value() - by.y())
        self._fitted = False
        self.viewport().update()
        self.view_changed.emit()

    def _set_scroll_room(self) -> None:
        """Let every corner come to the middle of the view."""
        area = self.viewport().rect()
        across, down = area.width() / self.scale_now, area.height() / self.scale_now
        self.setSceneRect(self.bounds().adjusted(-across, -down, across, down))

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Stay fitted when fitted."""
        super().resizeEvent(event)
        if self._fitted:
            self.zoom_fit()
        else:
            self._set_scroll_room()
        self.view_changed.emit()
