"""Outlines as screen pixels: in the right place, as wide as asked, at any zoom."""

from __future__ import annotations

import numpy as np
import pytest

from ovsam_annotator.model.shapes import pixel_shape
from ovsam_annotator.views.data import CanvasObject, DisplayOptions
from ovsam_annotator.views.overlay import OverlayLayer
from ovsam_annotator.views.render import TileStyle, compose_tile
from ovsam_annotator.views.stamp import Look, Placement, stamp

RED = (255, 0, 0)


def _block(x=10, y=20, width=30, height=15):
    return pixel_shape(np.ones((height, width), bool), x, y)


def _on_screen(shape, place, look):
    """(H, W, 4) of the whole view."""
    screen = np.zeros((place.height, place.width, 4), np.uint8)
    made = stamp(shape, place, look)
    if made is not None:
        pixels, left, top = made
        x1, y1 = max(left, 0), max(top, 0)
        x2, y2 = min(left + pixels.shape[1], place.width), min(top + pixels.shape[0], place.height)
        screen[y1:y2, x1:x2] = pixels[y1 - top : y2 - top, x1 - left : x2 - left]
    return screen


@pytest.mark.parametrize("scale", [0.4, 1.0, 1.7, 6.0])
def test_the_inside_lies_where_the_picture_puts_it(scale):
    place = Placement(scale, 12.0, -7.0, 300, 300)
    alpha = _on_screen(_block(), place, Look(RED, fill=0.5, line=1, rim=0))[..., 3]
    filled = np.argwhere(alpha > 100)
    top, left = filled.min(axis=0)
    bottom, right = filled.max(axis=0) + 1
    reach = 2  # line and its smoothed edge
    assert left == pytest.approx(10 * scale + 12, abs=reach)
    assert right == pytest.approx(40 * scale + 12, abs=reach)
    assert top == pytest.approx(20 * scale - 7, abs=reach)
    assert bottom == pytest.approx(35 * scale - 7, abs=reach)


def test_a_line_has_its_width_and_its_rim():
    row = _on_screen(_block(), Placement(4.0, 0.0, 0.0, 200, 200), Look(RED, line=1, rim=2))[110]
    opaque = np.flatnonzero(row[:, 3] > 100)
    reds = np.flatnonzero((row[:, 2] > 200) & (row[:, 3] > 200))
    assert list(reds) == [39, 40, 159, 160]
    assert list(opaque) == [*range(37, 43), *range(157, 163)]


def test_a_dashed_line_is_broken_in_every_direction():
    shape = _block(5, 5, 60, 60)
    screen = _on_screen(shape, Placement(2.0, 0.0, 0.0, 200, 200), Look(RED, dashed=True))
    for line in (screen[10, 10:130], screen[10:130, 10]):
        bright = (line[:, 2] > 128).astype(int)
        assert np.count_nonzero(np.diff(bright)) > 15


def test_what_is_cut_by_the_view_gets_no_edge_there():
    screen = _on_screen(_block(0, 0, 400, 400), Placement(1.0, -100.0, -100.0, 200, 200), Look(RED))
    assert not screen[..., 3].any()


@pytest.mark.parametrize("place", [Placement(1.0, 500.0, 0.0, 100, 100), Placement(1.0, -500.0, 0.0, 100, 100)])
def test_out_of_view_is_nothing(place):
    assert stamp(_block(), place, Look(RED)) is None
    assert stamp(pixel_shape(np.zeros((4, 4), bool)), Placement(1.0, 0.0, 0.0, 50, 50), Look(RED)) is None


def test_thin_parts_survive_a_far_view():
    pixels = np.zeros((2000, 2000), bool)
    pixels[:, 990:1010] = True
    screen = _on_screen(pixel_shape(pixels), Placement(0.05, 0.0, 0.0, 120, 120), Look(RED, fill=0.5))
    assert (screen[10:90, 45:55, 3] > 0).any(axis=1).all()


@pytest.mark.parametrize("shrink", [1, 2])
def test_a_mask_laid_over_a_kept_tile_gives_the_tile_composed_anew(shrink):
    rng = np.random.default_rng(1)
    shapes = [(pixel_shape(rng.random((90, 70)) < 0.6, 20 * k, 15 * k), (40 * k, 200, 99)) for k in range(4)]
    style = TileStyle(0.4, 2)
    arguments = (8, 4, (60, 90), shrink, style)
    whole = compose_tile(shapes, *arguments)
    kept = compose_tile(shapes[:3], *arguments)
    before = kept.copy()
    np.testing.assert_array_equal(compose_tile(shapes[3:], *arguments, kept), whole)
    np.testing.assert_array_equal(kept, before)


def test_an_object_added_while_a_tile_is_composed_is_not_lost(qtbot):
    from PySide6.QtCore import QRectF
    from PySide6.QtGui import QImage, QPainter

    overlay = OverlayLayer(lambda _: None)
    overlay.set_size(200, 200)
    overlay.set_display(DisplayOptions(fill=1.0, outlines=False))
    many = [CanvasObject(str(k), _block(2 * k, 0, 2, 2), "", (0, 0, 255)) for k in range(80)]
    overlay.set_objects(many)

    def painted():
        image = QImage(200, 200, QImage.Format.Format_RGB32)
        image.fill(0)
        painter = QPainter(image)
        overlay.paint(painter, QRectF(image.rect()))
        painter.end()
        return image

    painted()  # asks for the tile
    overlay._pool.waitForDone()  # composed, but not handed over yet
    overlay.put_objects([CanvasObject("new", _block(100, 100, 20, 20), "", (255, 0, 0))])
    qtbot.waitUntil(lambda: painted() is not None and not overlay.busy and painted().pixelColor(110, 110).red() == 255)
    overlay.put_objects([CanvasObject("newer", _block(100, 150, 20, 20), "", (0, 255, 0))])
    assert painted().pixelColor(110, 160).green() == 255  # laid over the kept tile at once
    overlay.close()
