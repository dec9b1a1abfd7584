"""Scenes of the views as pixels, and a comparison that survives another FreeType but no lost line.

    QT_QPA_PLATFORM=offscreen python -m tests.gui.snapshots

renews the pictures in tests/gui/reference; look at each before it is committed. Everything is made of builders: no
model, no clock, no path. The font is the DejaVu Sans that comes with matplotlib, so
that letters do not depend on what the machine has installed.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from PySide6.QtCore import QPoint, QRect, QSize
from PySide6.QtGui import QFont, QFontDatabase, QImage
from PySide6.QtWidgets import QApplication

from ovsam_annotator.model.shapes import pixel_shape
from ovsam_annotator.views.canvas import Canvas
from ovsam_annotator.views.data import (
    CandidateRow,
    CanvasObject,
    EncodeState,
    NameRow,
    PictureRow,
    PictureState,
    PromptMarks,
    Suggestion,
)
from ovsam_annotator.views.main_window import MainWindow
from ovsam_annotator.views.picture_list import PictureList
from ovsam_annotator.views.pyramid import picture_image
from ovsam_annotator.views.theme import apply_theme

REFERENCE = Path(__file__).with_name("reference")
DIFFERENT = 64  # levels of a channel from which a pixel counts as another one
ALLOWED = (
    0.0012  # share of pixels that may: fully hinted letters change 0.0008, a lost outline or plate more than twice this
)
ORANGE, BLUE, GREEN = (230, 159, 0), (86, 180, 233), (0, 158, 115)


def use_font(application: QApplication) -> None:
    """Give the program the one font of the references."""
    spec = find_spec("matplotlib")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    file = Path(spec.submodule_search_locations[0]) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    number = QFontDatabase.addApplicationFont(str(file))
    font = QFont(QFontDatabase.applicationFontFamilies(number)[0])
    font.setPixelSize(13)
    application.setFont(font)


def landscape(width=200, height=120):
    """A smooth picture: it compresses well, and a mask stands out everywhere."""
    ys, xs = np.mgrid[:height, :width]
    pixels = np.stack([60 + 90 * xs // width, 90 + 60 * ys // height, 120 - 50 * xs // width], axis=2)
    return picture_image(1, pixels.astype(np.uint8))


def disc(x, y, radius, hole=0):
    ys, xs = np.mgrid[:120, :200]
    far = (xs - x) ** 2 + (ys - y) ** 2
    return pixel_shape((far <= radius**2) & (far >= hole**2))


def objects():
    """A ring with a hole, a disc, and two parts that touch the edge."""
    parts = np.zeros((120, 200), bool)
    parts[80:120, 150:175] = parts[95:120, 180:200] = True
    return [
        CanvasObject("a", disc(45, 60, 30, 12), "doughnut", ORANGE),
        CanvasObject("b", disc(100, 35, 22), "plate", BLUE),
        CanvasObject("c", pixel_shape(parts), "cup", GREEN),
    ]


def suggestion():
    rows = tuple(NameRow(f"e:{name}", name, 0.8 / (k + 1)) for k, name in enumerate(("spoon", "fork", "knife")))
    masks = tuple(CandidateRow(disc(70, 60, 26 - 6 * k), 0.9 - k / 10) for k in range(3))
    return Suggestion(masks, rows, preselected=0)


def canvas(width=420, height=260):
    view = Canvas()
    view.resize(width, height)
    view.show()
    view.show_picture(landscape())
    return view


def shot(widget, part=None) -> QImage:
    QApplication.processEvents()
    grabbed = widget.grab() if part is None else widget.grab(part)
    return grabbed.toImage().convertToFormat(QImage.Format.Format_RGB888)


def canvas_at_fit() -> QImage:
    """Masks with names, one of them selected, and the mask in work with its clicks."""
    view = canvas()
    view.set_objects(objects())
    view.set_selection(["b"])
    view.set_suggestion(Suggestion((CandidateRow(disc(110, 90, 18), 0.9),), ()))
    view.set_marks(PromptMarks(((110, 90, True), (135, 105, False))))
    return shot(view)


def canvas_at_800() -> QImage:
    """Pixels are squares, and so are the corners of a mask."""
    view = canvas()
    view.show_picture(picture_image(2, np.random.default_rng(0).integers(0, 255, (120, 200, 3), np.uint8)))
    view.set_objects(objects())
    view.zoom_by(8 / view.scale_now)
    view.show_box((25, 20, 30, 25))
    return shot(view)


def names_beside_a_mask() -> QImage:
    window = MainWindow()
    window.resize(900, 460)
    window.show()
    window.show_work()
    for dock in window._docks.values():
        dock.hide()
    window.canvas.setFixedSize(800, 400)  # whatever height the menus take
    window.canvas.show_picture(landscape())
    QApplication.processEvents()
    window.canvas.set_suggestion(suggestion())
    window.label_list.show_suggestion(suggestion(), [(70, 60)])
    origin = window.canvas.viewport().mapTo(window, QPoint(0, 0))
    return shot(window, QRect(origin, window.canvas.viewport().size()))


def picture_list() -> QImage:
    view = PictureList()
    view.setFixedSize(QSize(260, 360))
    view.show()
    states, encodes = list(PictureState), list(EncodeState)
    view.set_rows([PictureRow(k, f"port/boat {k}.jpg", state, k, encodes[k % 5]) for k, state in enumerate(states)])
    for k in range(len(states)):
        view.set_thumbnail(k, np.full((30, 40, 3), (30 * k, 120, 200 - 20 * k), np.uint8))
    view.set_current(2)
    view.set_progress(2, len(states))
    return shot(view)


SCENES = {
    f"{make.__name__}_{theme}": (make, theme)
    for make, themes in (
        (canvas_at_fit, ("dark", "light")),
        (canvas_at_800, ("dark",)),
        (names_beside_a_mask, ("dark", "light")),
        (picture_list, ("dark", "light")),
    )
    for theme in themes
}


def render(name) -> QImage:
    """Paint a scene; the application's looks are changed."""
    application = QApplication.instance()
    make, theme = SCENES[name]
    use_font(application)
    apply_theme(application, theme)
    return make()


def pixels_of(image: QImage):
    """(h, w, 3) uint8."""
    image = image.convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : image.width() * 3].reshape(image.height(), image.width(), 3).copy()


def differences(one, other):
    """(h, w) bool: pixels whose colour the other picture has nowhere within one pixel, in either direction.

    Edges of letters move by a pixel and change their grey with every FreeType; lines, plates and colours do not.
    """
    kernel = np.ones((3, 3), np.uint8)

    def strange(a, b):
        low, high = cv2.erode(b, kernel).astype(int), cv2.dilate(b, kernel).astype(int)
        return ((a < low - DIFFERENT) | (a > high + DIFFERENT)).any(axis=2)

    return strange(one, other) | strange(other, one)


def main() -> None:
    application = QApplication.instance() or QApplication([])
    REFERENCE.mkdir(exist_ok=True)
    for name in SCENES:
        path = REFERENCE / f"{name}.png"
        render(name).save(str(path), "PNG", 0)
        sys.stdout.write(f"{path.name}: {path.stat().st_size / 1000:.0f} kB\n")
    application.processEvents()


if __name__ == "__main__":
    main()
