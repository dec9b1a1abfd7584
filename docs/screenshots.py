"""Make the README's pictures from the real program on the sample pictures.

    QT_QPA_PLATFORM=offscreen python -m docs.screenshots [--model starter] [--fake] [--out docs/images]
    xvfb-run -s "-screen 0 1600x1000x24" python -m docs.screenshots

A person is played by real mouse and key events: one click in the middle of an annotated object, then the digit of its
name, or the search where the name is not among the nine. What the program answers is shown as it is.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from PySide6.QtCore import QEventLoop, QPoint, QPointF, QRect, Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from ovsam_annotator.app import Application, build
from ovsam_annotator.inference.child import ChildSettings
from ovsam_annotator.inference.fake import FAKE_MODEL, FakeEngine
from ovsam_annotator.inference.process import ProcessEngine
from ovsam_annotator.model.settings import Settings
from ovsam_core.assets import asset_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from PySide6.QtGui import QPixmap

LIMIT_S = 300  # a slow machine may take so long to load the model
LARGEST = 400_000  # bytes of a picture in the README
LEFT, NO_KEY = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


def pause(milliseconds: int) -> None:
    """Let the program work for a while; an event loop, unlike `QTest.qWait`, leaves Python to other threads."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


class Person:
    """Looks at the window, clicks and types."""

    def __init__(self, program: Application, out: Path) -> None:
        self.program = program
        self.window = program.window
        self.canvas = program.window.canvas
        self.out = out
        truth = json.loads(asset_path("samples", "samples.json").read_text("utf-8"))
        self._truth = truth
        self._names = {c["id"]: c["name"] for c in truth["categories"]}

    def wait(self, what: str, ready: Callable[[], bool]) -> None:
        """Let the program work until something is there."""
        deadline = time.monotonic() + LIMIT_S
        while not ready():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {LIMIT_S} s for {what}")
            pause(20)

    def open(self, name: str) -> None:
        """Open a picture from the list."""
        model = self.window.pictures._model  # noqa: SLF001 - the list has no verb that presses a row
        rows = [model.row_at(model.index(i)) for i in range(model.rowCount())]
        picture_id = next(row.picture_id for row in rows if row.name.endswith(name))
        self.window.pictures.picture_chosen.emit(picture_id)
        self.wait(name, lambda: self.program.workspace.navigation.current == picture_id and self._shown(picture_id))

    def _shown(self, picture_id: int) -> bool:
        shown = self.canvas.picture
        return shown is not None and shown.picture_id == picture_id

    def objects(self, name: str) -> list[tuple[str, float, float]]:
        """Annotated objects of a picture, largest first: name, and the point deepest inside."""
        image = next(i for i in self._truth["images"] if i["file_name"].endswith(name))
        found = []
        for note in sorted(self._truth["annotations"], key=lambda a: -a["area"]):
            if note["image_id"] == image["id"] and not note["iscrowd"]:
                rle = note["segmentation"]
                if isinstance(rle, list):
                    rle = coco_mask.merge(coco_mask.frPyObjects(rle, image["height"], image["width"]))
                elif isinstance(rle["counts"], list):
                    rle = coco_mask.frPyObjects(rle, image["height"], image["width"])
                depth = cv2.distanceTransform(np.pad(coco_mask.decode(rle), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
                y, x = np.unravel_index(int(depth.argmax()), depth.shape)
                found.append((self._names[note["category_id"]], x + 0.5, y + 0.5))
        return found

    def click(self, x: float, y: float) -> None:
        """Click, and wait for the names."""
        place = self.canvas.mapFromScene(QPointF(x, y))
        QTest.mouseClick(self.canvas.viewport(), LEFT, NO_KEY, place)
        self.wait("names", lambda: self.window.label_list.isVisible() and not self.program.workspace.annotation.waiting)
        pause(150)

    def accept(self, name: str) -> None:
        """Press the digit of a name, or search it."""
        offered = [label.name for label in self.program.workspace.annotation.labels[:9]]
        if name in offered:
            QTest.keyClicks(self.canvas, str(offered.index(name) + 1))
        else:
            QTest.keyClicks(self.canvas, "/")
            field = QApplication.focusWidget()
            assert field is not None
            QTest.keyClicks(field, name)
            pause(400)
            QTest.keyClick(field, Qt.Key.Key_Return)
        self.wait("the accepted mask", lambda: not self.window.label_list.isVisible())
        pause(200)

    def keep(self, name: str, part: QRect | None = None) -> None:
        """Write what the window, or a part of it, shows."""
        self.wait("masks", lambda: not self.canvas.composing)
        pause(300)
        pixmap: QPixmap = self.window.grab() if part is None else self.window.grab(part)
        path = self.out / f"{name}.png"
        pixmap.toImage().save(str(path), "PNG", 0)
        _shrink(path)
        sys.stdout.write(f"{path}: {pixmap.width()} × {pixmap.height()}, {path.stat().st_size / 1000:.0f} kB\n")


def _shrink(path: Path) -> None:
    """Use 256 colours where the file is larger than a README should carry."""
    if path.stat().st_size > LARGEST:
        from PIL import Image  # noqa: PLC0415 - needed for large files only

        Image.open(path).convert("RGB").quantize(256, kmeans=2, dither=Image.Dither.FLOYDSTEINBERG).save(
            path, optimize=True
        )


def main() -> None:
    """Play the person and keep the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--fake", action="store_true", help="the demo engine instead of a model")
    parser.add_argument("--theme", default="dark", choices=("dark", "light"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    application = QApplication.instance() or QApplication([])
    model = FAKE_MODEL if options.fake else options.model
    engine = FakeEngine() if options.fake else ProcessEngine(ChildSettings(model))
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        program = build(
            engine, model=model, settings=Settings(), settings_path=home / "settings.json", samples=home / "samples"
        )
        try:
            play(program, options.out, options.theme)
        finally:
            program.close()
    application.processEvents()


def play(program: Application, out: Path, theme: str) -> None:
    """Three scenes: at work, the list of names, review."""
    window = program.window
    window.set_theme(theme)
    window.resize(1280, 760)
    window.show()
    names_ready: list[str] = []
    program.workspace.names.ready.connect(names_ready.append)
    program.workspace.open_samples()
    person = Person(program, out)
    person.wait("the sample project", lambda: window.canvas.picture is not None)
    person.wait("the vocabulary", lambda: bool(names_ready))
    pause(1500)  # thumbnails

    person.open("000000126107.jpg")
    first, second, *_ = person.objects("000000126107.jpg")
    person.click(*second[1:])
    person.accept(second[0])
    person.click(*first[1:])
    person.keep("window")
    person.accept(first[0])

    person.open("000000303818.jpg")
    person.click(*person.objects("000000303818.jpg")[0][1:])
    names = window.label_list.geometry()
    mask = window.canvas.suggestion_rects()[0].toAlignedRect()
    mask.translate(window.canvas.viewport().mapTo(window, QPoint(0, 0)))
    person.keep("names", names.united(mask).adjusted(-12, -12, 12, 12).intersected(window.rect()))

    person.open("000000214753.jpg")
    for name, x, y in person.objects("000000214753.jpg"):
        person.click(x, y)
        person.accept(name)
    window.command.emit("review.toggle")
    pause(400)
    person.keep("review")


if __name__ == "__main__":
    main()
