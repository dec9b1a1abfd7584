"""The picture as a layer made of tiles: only visible ones exist, and only the newest are kept."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from PySide6.QtCore import QRect, QRectF, Qt
from PySide6.QtGui import QImage, QPainter

from ovsam_annotator.views.pyramid import level_for_scale
from ovsam_annotator.views.render import picture_tile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from ovsam_annotator.views.data import PictureImage

__all__ = [
    "CRISP_FROM",
    "TILE",
    "PictureLayer",
    "TileCache",
    "exposed_tiles",
    "painter_scale",
    "tile_image",
    "tile_pixels",
]

TILE = 512  # pixels a side: 28 tiles cover a 1600 × 1000 view at worst, 1 MiB each
CRISP_FROM = 4.0  # screen pixels for one picture pixel from which pixels are shown as squares
Key = TypeVar("Key")

KEPT_BYTES = 192 * 2**20  # about six full views


class TileCache(Generic[Key]):
    """Images by key, newest kept, bounded by bytes."""

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self._limit = limit
        self._bytes = 0
        self._images: OrderedDict[Key, QImage] = OrderedDict()

    def get(self, key: Key) -> QImage | None:
        """Return an image and mark it as used."""
        image = self._images.get(key)
        if image is not None:
            self._images.move_to_end(key)
        return image

    def put(self, key: Key, image: QImage) -> None:
        """Keep an image; the longest unused ones go when there are too many bytes."""
        self.drop(key)
        self._images[key] = image
        self._bytes += image.sizeInBytes()
        while self._bytes > self._limit and len(self._images) > 1:
            _, old = self._images.popitem(last=False)
            self._bytes -= old.sizeInBytes()

    def drop(self, key: Key) -> None:
        """Forget one image."""
        old = self._images.pop(key, None)
        if old is not None:
            self._bytes -= old.sizeInBytes()

    def keys(self) -> list[Key]:
        """Keys of all images kept."""
        return list(self._images)

    def clear(self) -> None:
        """Forget everything."""
        self._images.clear()
        self._bytes = 0


def tile_image(pixels: NDArray[np.uint8], *, alpha: bool) -> QImage:
    """Copy (h, w, 4) B, G, R, A bytes into an image of the format that Qt paints fastest."""
    height, width = pixels.shape[:2]
    form = QImage.Format.Format_ARGB32_Premultiplied if alpha else QImage.Format.Format_RGB32
    return QImage(pixels.data, width, height, width * 4, form).copy()


def tile_pixels(image: QImage) -> NDArray[np.uint8]:
    """(h, w, 4) B, G, R, A bytes of such an image, without a copy: not to be written, not to outlive it."""
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : image.width() * 4].reshape(image.height(), image.width(), 4)


def painter_scale(painter: QPainter) -> float:
    """Screen pixels for one scene unit."""
    return painter.combinedTransform().m11() or 1.0


def exposed_tiles(exposed: QRectF, height: int, width: int, shrink: int) -> Iterator[tuple[int, int]]:
    """Yield (column, row) of every tile of a level that a scene rectangle touches.

    Args:
        exposed: scene rectangle.
        height: height of the level in its own pixels.
        width: width of the level in its own pixels.
        shrink: scene units for one pixel of the level.
    """
    first_column = max(0, int(exposed.left() / shrink) // TILE)
    first_row = max(0, int(exposed.top() / shrink) // TILE)
    last_column = min((width - 1) // TILE, int(exposed.right() / shrink) // TILE)
    last_row = min((height - 1) // TILE, int(exposed.bottom() / shrink) // TILE)
    for row in range(first_row, last_row + 1):
        for column in range(first_column, last_column + 1):
            yield column, row


class PictureLayer:
    """Paints a picture from its levels; scene units are picture pixels.

    Args:
        changed: told the scene rectangle that must be painted again.
    """

    def __init__(self, changed: Callable[[QRectF], None]) -> None:
        self._changed = changed
        self._picture: PictureImage | None = None
        self._window: tuple[float, float] | None = None
        self._tiles: TileCache[tuple[int, int, int]] = TileCache()
        self._smooth = True

    @property
    def picture(self) -> PictureImage | None:
        """The picture on show."""
        return self._picture

    @property
    def shown_range(self) -> tuple[float, float] | None:
        """Value range on show of a picture with more than 8 bits."""
        return self._window

    @property
    def bounds(self) -> QRectF:
        """Area of the picture; empty without one."""
        return QRectF(0, 0, self._picture.width, self._picture.height) if self._picture else QRectF()

    def set_picture(self, picture: PictureImage | None) -> None:
        """Show another picture."""
        self._changed(self.bounds)
        self._picture = picture
        self._window = picture.window if picture else None
        self._tiles.clear()
        self._changed(self.bounds)

    def set_window(self, low: float, high: float) -> None:
        """Change the shown value range; nothing for an 8-bit picture."""
        if self._picture is not None and self._picture.window is not None:
            self._window = (low, max(high, low + 1e-6))
            self._tiles.clear()
            self._changed(self.bounds)

    def set_smooth(self, smooth: bool) -> None:
        """Smooth or square pixels below the crisp zoom."""
        if smooth != self._smooth:
            self._smooth = smooth
            self._changed(self.bounds)

    def paint(self, painter: QPainter, exposed: QRectF) -> None:
        """Paint the tiles that touch a scene rectangle; the painter's settings are left changed."""
        if self._picture is None:
            return
        scale = painter_scale(painter)
        index = level_for_scale(scale, len(self._picture.levels))
        level = self._picture.levels[index]
        height, width = level.shape[:2]
        shrink = 2**index
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, self._smooth and scale < CRISP_FROM)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, on=False)
        painter.setClipRect(self.bounds, Qt.ClipOperation.IntersectClip)
        for column, row in exposed_tiles(exposed, height, width, shrink):
            image = self._tile(index, column, row)
            x, y = column * TILE * shrink, row * TILE * shrink
            target = QRectF(x, y, image.width() * shrink, image.height() * shrink)
            painter.drawImage(target, image, QRectF(QRect(0, 0, image.width(), image.height())))

    def _tile(self, index: int, column: int, row: int) -> QImage:
        key = (index, column, row)
        image = self._tiles.get(key)
        if image is None:
            assert self._picture is not None
            pixels = picture_tile(self._picture.levels[index], column * TILE, row * TILE, TILE, self._window)
            image = tile_image(pixels, alpha=False)
            self._tiles.put(key, image)
        return image
