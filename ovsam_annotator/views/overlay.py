"""All stored masks as one layer: raster tiles composed once, vector outlines when few and near.

Composing thousands of masks takes longer than a frame, so it happens on a pool thread and the old tile stays until the
new one is there; a handful is composed at once, so that an accepted mask appears with the key that accepted it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QObject, QRect, QRectF, QRunnable, Qt, QThreadPool, Signal, Slot
from PySide6.QtGui import QColor, QImage, QPainter, QPen
from shiboken6 import isValid

from ovsam_annotator.views.paths import outline_path
from ovsam_annotator.views.pyramid import SMALLEST_SIDE, level_for_scale
from ovsam_annotator.views.render import TileStyle, compose_tile
from ovsam_annotator.views.tiles import TILE, TileCache, exposed_tiles, painter_scale, tile_image, tile_pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray
    from PySide6.QtGui import QPainterPath

    from ovsam_annotator.model.shapes import MaskShape
    from ovsam_annotator.views.data import CanvasObject, DisplayOptions, Rgb

__all__ = ["OverlayLayer"]

AT_ONCE = 60  # masks of one tile that are composed inside the paint event: about 2 ms …
AT_ONCE_PIXELS = 2 * TILE * TILE  # … if their boxes cover no more than this of it
VECTOR_CORNERS = 20_000  # outline corners that are stroked inside the paint event, one pixel wide: about 4 ms
BROAD_CORNERS = 4_000  # that are stroked two pixels wide, which takes ten times as long
BOTH_FROM = 1.0  # scale from which outlines are vectors, so that they stay thin over big pixels

Key = tuple[int, int, int, TileStyle]


class _Answer(QObject):
    """Carries a composed tile from the pool to the GUI thread."""

    done = Signal(int, object, QImage)


class _Compose(QRunnable):
    """Compose one tile on the pool."""

    def __init__(
        self,
        answer: _Answer,
        serial: int,
        key: Key,
        shapes: Sequence[tuple[MaskShape, Rgb]],
        size: tuple[int, int],
    ) -> None:
        super().__init__()
        self._answer = answer
        self._serial = serial
        self._key = key
        self._shapes = shapes
        self._size = size

    def run(self) -> None:
        """Compose, and hand the image over by a queued signal."""
        index, column, row, style = self._key
        pixels = compose_tile(self._shapes, column * TILE, row * TILE, self._size, 2**index, style)
        self._answer.done.emit(self._serial, self._key, tile_image(pixels, alpha=True))


class OverlayLayer:
    """Stored masks of one picture in their class colours.

    Args:
        changed: told the scene rectangle that must be painted again.
    """

    def __init__(self, changed: Callable[[QRectF], None]) -> None:
        self._changed = changed
        self._size = (0, 0)
        self._hidden = False
        self._line = 0  # width of vector outlines; 0 where tiles carry them
        self._levels = 1
        self._fill = 0.4
        self._outlines = True
        self._objects: dict[str, CanvasObject] = {}
        self._shown: list[CanvasObject] = []
        self._boxes: NDArray[np.int64] = np.zeros((0, 4), np.int64)
        self._corners: NDArray[np.int64] = np.zeros(0, np.int64)
        self._areas: NDArray[np.int64] = np.zeros(0, np.int64)
        self._paths: dict[str, QPainterPath] = {}
        self._tiles: TileCache[Key] = TileCache()
        self._stale: set[Key] = set()
        self._added: dict[Key, list[CanvasObject]] = {}
        self._asked: dict[Key, int] = {}
        self._serial = 0
        self._version = 0
        self._pool = QThreadPool()
        self._pool.setMaxThreadCount(1)
        self._answer = _Answer()
        self._answer.done.connect(self._take, Qt.ConnectionType.QueuedConnection)

    @property
    def objects(self) -> dict[str, CanvasObject]:
        """Objects by uid, lowest first."""
        return self._objects

    def largest_in(self, x1: float, y1: float, x2: float, y2: float, most: int) -> list[CanvasObject]:
        """Objects that are not hidden and touch a picture rectangle, the largest first, at most so many."""
        hit = self._under(QRectF(x1, y1, x2 - x1, y2 - y1))
        if len(hit) > most:
            hit = hit[np.argpartition(-self._areas[hit], most)[:most]]
        return [self._shown[i] for i in hit[np.argsort(-self._areas[hit], kind="stable")]]

    @property
    def version(self) -> int:
        """Rises whenever an object comes, goes or changes."""
        return self._version

    @property
    def busy(self) -> bool:
        """Whether tiles are still being composed."""
        return bool(self._asked)

    def close(self) -> None:
        """Stop composing and wait for the pool; at the end of the program Qt may have taken it down already."""
        if not isValid(self._pool):
            return
        self._pool.clear()
        self._asked.clear()
        self._pool.waitForDone()

    def set_size(self, width: int, height: int) -> None:
        """Take the size of a new picture and forget all objects."""
        self._changed(self._bounds)
        self._size = (width, height)
        self._levels = 1
        while max(width, height) / 2 ** (self._levels - 1) > SMALLEST_SIDE:
            self._levels += 1
        self.set_objects(())

    def set_objects(self, objects: Iterable[CanvasObject]) -> None:
        """Replace all objects."""
        self._objects = {o.uid: o for o in objects}
        self._paths.clear()
        self._tiles.clear()
        self._stale.clear()
        self._added.clear()
        self._asked.clear()
        self._pool.clear()
        self._index()
        self._changed(self._bounds)

    def put_objects(self, objects: Iterable[CanvasObject]) -> None:
        """Add or replace objects; only tiles they touch are composed again."""
        objects = list(objects)
        fresh = all(new.uid not in self._objects for new in objects)
        for new in objects:
            old = self._objects.get(new.uid)
            self._objects[new.uid] = new
            self._paths.pop(new.uid, None)
            if old is not None:
                self._touch(old.shape.box_xyxy)
                self._touch(new.shape.box_xyxy)
            elif not new.hidden:
                self._touch(new.shape.box_xyxy, new)
        if fresh:
            self._extend([new for new in objects if not new.hidden])
        else:
            self._index()

    def remove_objects(self, uids: Iterable[str]) -> None:
        """Remove objects."""
        for uid in uids:
            old = self._objects.pop(uid, None)
            self._paths.pop(uid, None)
            if old is not None:
                self._touch(old.shape.box_xyxy)
        self._index()

    def set_display(self, options: DisplayOptions) -> None:
        """Choose fill and outlines, or hide everything."""
        wanted = (options.fill, options.outlines or options.fill == 0, options.hidden)
        if wanted != (self._fill, self._outlines, self._hidden):
            self._fill, self._outlines, self._hidden = wanted
            self._changed(self._bounds)

    @property
    def _bounds(self) -> QRectF:
        return QRectF(0, 0, *self._size)

    def aim(self, seen: QRectF, scale: float) -> bool:
        """Choose how outlines are painted in a view: as vectors where they are few and near, else with the tiles.

        Args:
            seen: what is in view, in picture coordinates.
            scale: screen pixels for one picture pixel.

        Returns:
            Whether everything must be painted again, because it was painted the other way.
        """
        before, self._line = self._line, 0
        if self._outlines and scale >= BOTH_FROM:
            corners = int(self._corners[self._under(seen)].sum())
            self._line = 0 if corners > VECTOR_CORNERS else 2 if corners <= BROAD_CORNERS else 1
        return self._line != before and bool(self._shown)

    def paint(self, painter: QPainter, exposed: QRectF) -> None:
        """Paint the tiles that touch a scene rectangle, and vector outlines when near; leaves the painter changed."""
        if not self._shown or self._hidden:
            return
        scale = painter_scale(painter)
        style = TileStyle(self._fill, 0 if self._line or not self._outlines else 2)
        index = level_for_scale(scale, self._levels)
        shrink = 2**index
        width, height = (-(-side // shrink) for side in self._size)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, on=scale < 1)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, on=False)
        if style.fill or style.outline:
            for column, row in exposed_tiles(exposed, height, width, shrink):
                image = self._tile((index, column, row, style), width, height)
                if image is not None:
                    x, y = column * TILE * shrink, row * TILE * shrink
                    target = QRectF(x, y, image.width() * shrink, image.height() * shrink)
                    painter.drawImage(target, image, QRectF(QRect(0, 0, image.width(), image.height())))
        if self._line:
            self._stroke(painter, [self._shown[i] for i in self._under(exposed)], self._line)

    def _under(self, rect: QRectF) -> NDArray[np.intp]:
        return self._touching(int(rect.left()), int(rect.top()), int(rect.right()) + 1, int(rect.bottom()) + 1)

    def _stroke(self, painter: QPainter, objects: Sequence[CanvasObject], width: int) -> None:
        for item in objects:
            path = self._paths.get(item.uid)
            if path is None:
                path = self._paths[item.uid] = outline_path(item.shape.loops)
            pen = QPen(QColor(*item.colour), width)
            pen.setCosmetic(True)
            painter.setPen(pen)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawPath(path)

    def _tile(self, key: Key, width: int, height: int) -> QImage | None:
        """Return the newest image of a tile, composed now if that is quick, later otherwise."""
        index, column, row, _ = key
        image = self._tiles.get(key)
        shrink = 2**index
        left, top = column * TILE, row * TILE
        size = (min(TILE, height - top), min(TILE, width - left))
        if image is not None and key not in self._stale:
            added = self._added.pop(key, None)
            if added:  # they lie on top: only they are painted
                shapes = [(item.shape, item.colour) for item in added]
                below = tile_pixels(image)
                image = tile_image(compose_tile(shapes, left, top, size, shrink, key[3], below), alpha=True)
                self._tiles.put(key, image)
            return image
        hit = self._touching(left * shrink, top * shrink, (left + size[1]) * shrink, (top + size[0]) * shrink)
        if len(hit) <= AT_ONCE and self._covered(hit, left, top, size, shrink) <= AT_ONCE_PIXELS:
            self._stale.discard(key)
            self._added.pop(key, None)
            self._asked.pop(key, None)
            shapes = [(self._shown[i].shape, self._shown[i].colour) for i in hit]
            image = tile_image(compose_tile(shapes, left, top, size, shrink, key[3]), alpha=True)
            self._tiles.put(key, image)
        elif key not in self._asked:
            self._serial += 1
            self._asked[key] = self._serial
            shapes = [(self._shown[i].shape, self._shown[i].colour) for i in hit]
            self._pool.start(_Compose(self._answer, self._serial, key, shapes, size))
        return self._in_another_style(key) if image is None else image

    def _covered(self, hit: NDArray[np.intp], left: int, top: int, size: tuple[int, int], shrink: int) -> float:
        """Pixels of a tile under the boxes of masks, counted for each mask."""
        boxes = self._boxes[hit] / shrink - (left, top, left, top)
        width = np.minimum(boxes[:, 2], size[1]) - np.maximum(boxes[:, 0], 0)
        height = np.minimum(boxes[:, 3], size[0]) - np.maximum(boxes[:, 1], 0)
        return float((width * height).sum())

    def _in_another_style(self, key: Key) -> QImage | None:
        """A tile with other lines, while the wanted one is being composed: masks do not vanish meanwhile."""
        other = next((kept for kept in reversed(self._tiles.keys()) if kept[:3] == key[:3]), None)
        return self._tiles.get(other) if other is not None else None

    @Slot(int, object, QImage)
    def _take(self, serial: int, key: Key, image: QImage) -> None:
        """Keep a composed tile unless a newer one has been asked for."""
        if self._asked.get(key) != serial:
            return
        del self._asked[key]
        self._stale.discard(key)
        self._added.pop(key, None)
        self._tiles.put(key, image)
        shrink = 2 ** key[0]
        self._changed(QRectF(key[1] * TILE * shrink, key[2] * TILE * shrink, TILE * shrink, TILE * shrink))

    def _touching(self, x1: int, y1: int, x2: int, y2: int) -> NDArray[np.intp]:
        """Indices into the shown objects whose boxes overlap a picture rectangle, lowest first."""
        b = self._boxes
        return np.flatnonzero((b[:, 0] < x2) & (b[:, 2] > x1) & (b[:, 1] < y2) & (b[:, 3] > y1))

    def _touch(self, box_xyxy: tuple[int, int, int, int], added: CanvasObject | None = None) -> None:
        """Ask for repainting under a box; kept tiles there are stale, or only lack an object that was added on top."""
        x1, y1, x2, y2 = box_xyxy
        for key in {*self._tiles.keys(), *self._asked}:
            span = TILE * 2 ** key[0]
            if key[1] * span < x2 and (key[1] + 1) * span > x1 and key[2] * span < y2 and (key[2] + 1) * span > y1:
                under_way = self._asked.pop(key, None) is not None  # without this change: its answer is dropped
                if added is None or under_way or key in self._stale:
                    self._stale.add(key)
                else:
                    self._added.setdefault(key, []).append(added)
        margin = 2 ** (self._levels - 1)  # an outline reaches one pixel of the coarsest level beyond its box
        self._changed(QRectF(x1, y1, x2 - x1, y2 - y1).adjusted(-margin, -margin, margin, margin))

    def _index(self) -> None:
        self._shown = []
        self._boxes = np.zeros((0, 4), np.int64)
        self._areas = self._corners = np.zeros(0, np.int64)
        self._extend([o for o in self._objects.values() if not o.hidden])

    def _extend(self, objects: Sequence[CanvasObject]) -> None:
        """Index objects that lie on top of those indexed already."""
        self._version += 1
        self._shown += objects
        boxes = np.array([o.shape.box_xyxy for o in objects], np.int64).reshape(-1, 4)
        self._boxes = np.concatenate([self._boxes, boxes])
        self._areas = np.append(self._areas, np.array([o.shape.area for o in objects], np.int64))
        corners = np.array([sum(map(len, o.shape.loops)) for o in objects], np.int64)
        self._corners = np.append(self._corners, corners)
