"""The program as people start it, on the bundled model: folder, click, digit, next picture, export."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings

import numpy as np
from pycocotools.coco import COCO

from ovsam_core.assets import asset_path
from ovsam_core.store import Project

_PERSON = """
import json, os, sys, traceback
from pathlib import Path
import numpy as np
from PySide6.QtCore import QPoint, Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from ovsam_annotator import __main__, app
from ovsam_annotator.views.data import ExportChoice

folder, out, shown = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
made = []
build = app.build
app.build = lambda *a, **k: made.append(build(*a, **k)) or made[-1]

def person():
    '''Yields what it waits for.'''
    yield lambda: made and made[0].workspace.session is not None
    window, work = made[0].window, made[0].workspace
    canvas, loop = window.canvas, work.annotation
    window.resize(1200, 800)
    seen = []
    for k in range(2):
        yield lambda: work.session.document is not None and canvas.picture is not None
        picture = work.session.document.picture
        yield lambda: (canvas.picture.width, canvas.picture.height) == (picture.w, picture.h)
        spot = QPoint(canvas.mapFromScene(picture.w / 2, picture.h / 2))
        QTest.mouseClick(canvas.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, spot)
        assert loop.waiting
        yield lambda: loop.suggested is not None and not loop.waiting
        mask = loop.suggested.mask
        drawn = canvas._over.suggested
        seen.append({
            "file": Path(picture.path).name, "name": loop.labels[k].name, "rle": mask.rle["counts"],
            "size": list(mask.rle["size"]), "box": list(drawn.box_xyxy), "area": drawn.area,
        })
        QTest.keyClick(window.focusWidget() or canvas, Qt.Key(int(Qt.Key.Key_1) + k))
        assert len(work.session.document) == 1
        before = picture.id
        if k == 0:
            QTest.keyClick(window.focusWidget() or canvas, Qt.Key.Key_D)
            yield lambda: work.session.document is not None and work.session.document.picture.id != before
    done = []
    work.exchange.finished.connect(lambda *a: done.append(a))
    work.exchange.export(ExportChoice(out, scope="all"))
    yield lambda: done
    Path(shown).write_text(json.dumps(seen))
    QApplication.closeAllWindows()

steps = person()
wanted = [next(steps)]

def look():
    try:
        while wanted[0]():
            wanted[0] = next(steps)
    except StopIteration:
        wanted[0] = lambda: False
    except BaseException:
        traceback.print_exc()
        os._exit(4)

application = QApplication([])
timer = QTimer()
timer.timeout.connect(look)
timer.start(5)
QTimer.singleShot(300_000, lambda: QApplication.exit(3))
code = __main__.main(["--model", "starter", str(folder)])
sys.exit(code)
"""


def test_two_pictures_are_labelled_and_exported_with_the_bundled_model(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path in sorted((asset_path("samples") / "images").iterdir())[:2]:
        shutil.copy(path, folder)
    out, shown = folder / "out.json", tmp_path / "shown.json"
    done = subprocess.run(
        [sys.executable, "-c", _PERSON, str(folder), str(out), str(shown)],
        env={**os.environ, "OVSAM_CONFIG": str(tmp_path / "config")},
        capture_output=True,
        text=True,
        check=False,
        timeout=360,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(shown.read_text("utf-8"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools' own, from numpy 2's copy keyword
        coco = COCO(str(out))
        assert len(seen) == len(coco.getImgIds()) == len(coco.getAnnIds()) == 2
        for one in seen:
            (image,) = [i for i in coco.loadImgs(coco.getImgIds()) if i["file_name"] == one["file"]]
            (annotation,) = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
            pixels = coco.annToMask(annotation).astype(bool)
            assert coco.loadCats(annotation["category_id"])[0]["name"] == one["name"]
            assert annotation["segmentation"]["size"] == one["size"] == [image["height"], image["width"]]
            assert annotation["segmentation"]["counts"] == one["rle"]  # what is exported is what was shown, bit by bit
            assert pixels.sum() == one["area"]
            ys, xs = np.nonzero(pixels)
            assert [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] == one["box"]
    with Project.open(folder / "pictures.ovsam") as project:
        assert not project.report.recovered
        assert {row.model_id for row in project.iter_objects()} == {"starter"}
        assert [row.rank for row in project.iter_objects()] == [0, 1]
