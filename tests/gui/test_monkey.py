"""A seeded monkey at the window: whatever it does, the project stays valid and nothing is raised.

`OVSAM_MONKEY=10000 pytest tests/gui/test_monkey.py` for a longer run; 1,500 events in the gate.
"""

from __future__ import annotations

import gc
import os
import random

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication

from ovsam_annotator.views.commands import COMMANDS
from ovsam_annotator.views.data import PictureImage
from ovsam_core.store import Project

from .builders import NAMES

_EVENTS = int(os.environ.get("OVSAM_MONKEY", "1500"))
_LEFT_OUT = ("file.", "help.", "view.contrast", "model.batch")  # they open dialogs that wait for a person


def _quiet_dialogs(driver, rng, monkeypatch):
    window = driver.window
    monkeypatch.setattr(window, "ask_name", lambda *_: rng.choice(["", *NAMES, "own name"]))
    monkeypatch.setattr(window, "ask_choice", lambda *_: rng.randint(-1, 1))
    monkeypatch.setattr(window, "show_report_text", lambda *_: None)


def _act(driver, rng, commands):
    x, y = rng.uniform(-5, 205), rng.uniform(-5, 125)
    match rng.randrange(12):
        case 0 | 1 | 2:
            driver.click(x, y, rng.choice([Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton]))
        case 3 | 4:
            driver.key(Qt.Key(int(Qt.Key.Key_1) + rng.randrange(9)))
        case 5:
            driver.click(x, y, modifier=Qt.KeyboardModifier.ControlModifier)
        case 6:
            driver.workspace.masks.stroke(
                np.array([[x, y], [rng.uniform(0, 200), rng.uniform(0, 120)]]), rng.uniform(0.5, 15), rng.random() < 0.5
            )
        case 7:
            driver.canvas.box_drawn.emit(10.0, 10.0, max(x, 12.0), max(y, 12.0))
        case 8:
            driver.workspace.classes.add(rng.choice(NAMES))
            rows = list(driver.workspace.session.classes)
            if len(rows) > 2 and rng.random() < 0.3:
                first, second = rng.sample(rows, 2)
                rng.choice(
                    [
                        lambda: driver.workspace.classes.merge([first.uid], second.uid),
                        lambda: driver.workspace.classes.delete(first.uid, rng.choice(["unnamed", "delete"])),
                        lambda: driver.workspace.classes.rename(first.uid, f"renamed {rng.randrange(1000)}"),
                    ]
                )()
        case _:
            driver.workspace.run_command(rng.choice(commands))
    if rng.random() < 0.3:
        QApplication.processEvents()


def test_the_monkey_leaves_a_valid_project(driver, folder, monkeypatch):
    rng = random.Random(7)
    _quiet_dialogs(driver, rng, monkeypatch)
    commands = [c.command_id for c in COMMANDS if not c.local and not c.command_id.startswith(_LEFT_OUT)]
    driver.open(folder)
    for _ in range(_EVENTS):
        _act(driver, rng, commands)
    driver.annotation.drop()
    driver.settle()
    session = driver.workspace.session
    driver.until(lambda: session.document is not None)
    known = {item.uid: item.row.mask for item in session.document}
    stored = {row.uid: row.mask for row in driver.project.objects(session.document.picture.id)}
    assert known == stored
    path = driver.project.path
    driver.workspace.close()
    with Project.open(path) as project:
        assert not project.report.recovered
        classes = {row.uid for row in project.classes()}
        for row in project.iter_objects():
            assert row.mask.area > 0
            assert (row.mask.width, row.mask.height) == (200, 120)
            assert row.class_uid is None or row.class_uid in classes
        while project.undo() is not None:
            pass


def test_switching_pictures_leaks_nothing(driver, folder):
    driver.open(folder)
    driver.point(60, 40)
    driver.key(Qt.Key.Key_1)

    def alive():
        gc.collect()
        return sum(type(o) is PictureImage for o in gc.get_objects()), len(driver.window.findChildren(object))

    def switch(times):
        for _ in range(times):
            for picture in (2, 3, 1):
                with driver.signal(driver.workspace.navigation.opened):
                    driver.workspace.navigation.open(picture)
        driver.settle()

    switch(2)
    before = alive()
    switch(6)
    assert alive() <= before
