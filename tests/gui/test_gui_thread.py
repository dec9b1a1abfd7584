"""The window never waits: nothing that may block happens on its thread."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from PySide6.QtCore import Qt

from ovsam_annotator.views.data import ExportChoice, Tool
from ovsam_core.masks import Mask
from ovsam_core.pictures import load_picture
from ovsam_core.store import Project

from .guard import gui_thread_guard


@pytest.mark.parametrize(
    "forbidden",
    [
        lambda path: Mask.of(np.ones((4, 4), bool)),
        lambda path: path.read_bytes(),
        load_picture,
        lambda path: Project.open(path.parent / "pictures.ovsam"),
    ],
)
def test_the_guard_catches(forbidden, folder, monkeypatch):
    with gui_thread_guard(monkeypatch) as found:
        with pytest.raises(AssertionError, match="GUI thread"):
            forbidden(folder / "0.png")
        assert len(found) >= 1
        elsewhere = threading.Thread(target=forbidden, args=(folder / "0.png",))
        elsewhere.start()
        elsewhere.join()
        assert len(found) == 1


def test_a_session_with_everything_in_it_leaves_the_gui_thread_free(driver, folder, tmp_path, monkeypatch):
    with gui_thread_guard(monkeypatch) as found:
        driver.open(folder)
        driver.workspace.annotation.hover = True
        for x, y in ((60, 40), (120, 60), (160, 90)):
            driver.point(x, y)
            driver.key(Qt.Key.Key_1)
        driver.settle()
        objects, masks = driver.workspace.objects, driver.workspace.masks
        history = driver.workspace.session.history_changed
        objects.select_all()
        for edit in (objects.toggle_lock, objects.toggle_lock, lambda: masks.grow(1), masks.merge):
            with driver.signal(history):
                edit()
        uid = next(iter(driver.document)).uid
        for edit in (
            lambda: masks.stroke(np.array([[20.0, 20.0], [40.0, 30.0]]), 5.0, False),
            lambda: masks.stroke(np.array([[60.0, 40.0]]), 3.0, True),
            lambda: objects.set_attribute(uid, "pose", "lying"),
        ):
            objects.select([uid])
            with driver.signal(history):
                edit()
        driver.workspace.tools.set_tool(Tool.VERTICES)
        driver.workspace.tools.set_tool(Tool.PROMPT)
        driver.point(100, 100)
        driver.window.label_list.open_search("ca")
        driver.workspace.names.search("giraf")
        driver.key(Qt.Key.Key_Escape)
        driver.annotation.drop()
        with driver.signal(driver.workspace.navigation.opened):
            driver.workspace.run_command("picture.next")
        with driver.signal(driver.workspace.navigation.opened):
            driver.workspace.run_command("picture.previous")
        for _ in range(3):
            with driver.signal(history):
                driver.workspace.run_command("edit.undo")
        driver.workspace.run_command("model.everything")
        driver.until(lambda: driver.workspace.proposals.active)
        with driver.signal(history):
            driver.workspace.proposals.accept_above(0.1)
        driver.workspace.report.show()
        with driver.signal(driver.workspace.exchange.finished):
            driver.workspace.exchange.export(ExportChoice(str(tmp_path / "out.json"), scope="all"))
        with driver.signal(driver.workspace.exchange.finished):
            driver.workspace.exchange.import_file(str(tmp_path / "out.json"))
        driver.workspace.run_command("review.toggle")
        driver.workspace.run_command("review.approve")
        driver.settle()
    assert not found, "\n".join(found)
