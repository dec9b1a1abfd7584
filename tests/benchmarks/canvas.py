"""Paint times of the canvas and list time of the picture list, measured on this machine.

    QT_QPA_PLATFORM=offscreen python -m tests.benchmarks.canvas [--masks 3000] [--big 20000] [--pictures 100000]

Every frame is a real repaint of the viewport on Qt's raster engine, timed from request to finished pixels. Picture and
masks are painted anew in each, except where a line says that what is kept of them is used.
"""

from __future__ import annotations

import argparse
import sys
import time
from statistics import median

import numpy as np
from PySide6.QtCore import QPoint, QPointF
from PySide6.QtWidgets import QApplication

from ovsam_annotator.model.shapes import pixel_shape
from ovsam_annotator.views.canvas import Canvas
from ovsam_annotator.views.data import CanvasObject, DisplayOptions, PictureRow
from ovsam_annotator.views.picture_list import PictureList
from ovsam_annotator.views.pyramid import picture_image

VIEW = (1600, 1000)
FRAMES = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--masks", type=int, default=3000)
    parser.add_argument("--big", type=int, default=20_000, help="side of the large picture; 0 leaves it out")
    parser.add_argument("--pictures", type=int, default=100_000)
    options = parser.parse_args()
    application = QApplication.instance() or QApplication([])
    canvas = Canvas()
    canvas.resize(*VIEW)
    canvas.show()
    many_masks(application, canvas, options.masks)
    if options.big:
        big_picture(application, canvas, options.big)
    many_pictures(application, options.pictures)


def many_masks(application, canvas, count) -> None:
    width, height = 2400, 1500
    rng = np.random.default_rng(0)
    canvas.show_picture(picture_image(1, noise(width, height)))
    objects = blobs(rng, count, width, height)
    started = time.perf_counter()
    canvas.set_objects(objects)
    settle(application, canvas)
    say(f"{count} masks: composed in the background after {(time.perf_counter() - started) * 1e3:.0f} ms")
    frames(f"{count} masks at fit zoom, whole view", canvas, lambda _: canvas.resetCachedContent())
    frames(f"{count} masks at fit zoom, what is kept under a moving crosshair", canvas, lambda _: None)
    canvas.set_display(DisplayOptions(names=False))
    settle(application, canvas)
    frames(f"{count} masks at fit zoom, names off", canvas, lambda _: canvas.resetCachedContent())
    canvas.set_display(DisplayOptions(fill=0.0))
    settle(application, canvas)
    frames(f"{count} masks at fit zoom, outlines only", canvas, lambda _: canvas.resetCachedContent())
    canvas.set_display(DisplayOptions())
    settle(application, canvas)
    more = blobs(rng, FRAMES, width, height, "n")
    frames(f"{count} masks, one more accepted each frame", canvas, lambda i: canvas.put_objects(more[i : i + 1]))
    settle(application, canvas)
    canvas.zoom_by(3)
    settle(application, canvas)
    frames(f"{count} masks at three times fit, panning", canvas, lambda i: pan(canvas, i))


def big_picture(application, canvas, side) -> None:
    pixels = np.tile(noise(1000, 1000), (side // 1000, side // 1000, 1))
    started = time.perf_counter()
    image = picture_image(2, pixels)
    say(f"{side} x {side}: levels built off the GUI thread in {(time.perf_counter() - started) * 1e3:.0f} ms")
    canvas.set_objects(())
    canvas.show_picture(image)
    frames(f"{side} x {side} at fit zoom", canvas, lambda _: canvas.resetCachedContent())
    canvas.zoom_actual()
    settle(application, canvas)
    frames(f"{side} x {side} at 1:1, panning by 97 pixels", canvas, lambda i: pan(canvas, i, 97))
    frames(f"{side} x {side}, zooming out by 1.25", canvas, lambda _: canvas.zoom_by(0.8))


def many_pictures(application, count) -> None:
    rows = [PictureRow(i, f"folder_{i // 1000:03d}/picture_{i:06d}.jpg", objects=i % 7) for i in range(count)]
    pictures = PictureList()
    pictures.resize(300, 900)
    pictures.show()
    application.processEvents()
    started, begun = time.perf_counter(), time.process_time()
    pictures.set_rows(rows)
    pictures.repaint()
    application.processEvents()
    spent = f"{time.process_time() - begun:.2f} s of processor time"
    say(f"{count} pictures, rows to painted list: {spent} (clock: {time.perf_counter() - started:.2f} s)")


def noise(width, height):
    rng = np.random.default_rng(1)
    small = rng.integers(0, 255, (height // 10, width // 10, 3), np.uint8)
    return np.ascontiguousarray(small.repeat(10, 0).repeat(10, 1))


def blobs(rng, count, width, height, prefix="m"):
    """Round masks of 20 to 60 pixels; the same pixels are shared, the places differ."""
    discs = []
    for radius in range(10, 31, 4):
        ys, xs = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        discs.append(xs * xs + ys * ys <= radius * radius)
    made = []
    for i in range(count):
        x, y = int(rng.integers(0, width - 62)), int(rng.integers(0, height - 62))
        colour = tuple(int(v) for v in rng.integers(60, 255, 3))
        made.append(CanvasObject(f"{prefix}{i}", pixel_shape(discs[i % len(discs)], x, y), f"class {i % 40}", colour))
    return made


def settle(application, canvas) -> None:
    canvas.viewport().repaint()
    while canvas.composing:
        application.processEvents()
    canvas.viewport().repaint()
    application.processEvents()


def pan(canvas, i, by=40) -> None:
    step = by if i % 2 == 0 or by != 40 else -by
    middle = QPointF(canvas.viewport().rect().center())
    canvas.centerOn(canvas.mapToScene((middle + QPointF(step, step / 2)).toPoint() + QPoint(0, 0)))


def frames(what, canvas, change) -> None:
    """Time frames by the clock, and by the processor time of all threads, which other programs cannot inflate."""
    wall, own = [], []
    for i in range(FRAMES):
        started, begun = time.perf_counter(), time.process_time()
        change(i)
        canvas.viewport().repaint()
        wall.append((time.perf_counter() - started) * 1e3)
        own.append((time.process_time() - begun) * 1e3)
    spent = f"median {median(own):.1f} ms, worst {max(own):.1f} ms of processor time"
    say(f"{what}: {spent} (clock: {median(wall):.1f} ms)")


def say(text) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    main()
