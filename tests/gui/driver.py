"""A person at the real window: mouse and keys, and patience measured in signals."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest

from ovsam_annotator.app import build
from ovsam_annotator.model.settings import Settings

PATIENCE = 30_000  # ms; an upper limit for a machine that is busy with other things, never a pause


class Driver:
    """Uses the window as a person does."""

    def __init__(self, qtbot, program):
        self.qtbot, self.program = qtbot, program
        self.window, self.workspace = program.window, program.workspace
        self.canvas = program.window.canvas

    @property
    def document(self):
        return self.workspace.session.document

    @property
    def annotation(self):
        return self.workspace.annotation

    @property
    def project(self):
        return self.workspace.session.store.project

    def until(self, condition):
        self.qtbot.waitUntil(condition, timeout=PATIENCE)

    def signal(self, signal):
        return self.qtbot.waitSignal(signal, timeout=PATIENCE)

    def open(self, *paths):
        with self.signal(self.workspace.navigation.opened):
            self.workspace.open([str(p) for p in paths])

    def click(self, x, y, button=Qt.MouseButton.LeftButton, modifier=Qt.KeyboardModifier.NoModifier):
        QTest.mouseClick(self.canvas.viewport(), button, modifier, QPoint(self.canvas.mapFromScene(x, y)))

    def point(self, x, y, button=Qt.MouseButton.LeftButton):
        """Click a prompt and wait for mask and names."""
        self.click(x, y, button)
        self.until(lambda: self.annotation.suggested is not None and not self.annotation.waiting)

    def key(self, key, modifier=Qt.KeyboardModifier.NoModifier):
        QTest.keyClick(self.window.focusWidget() or self.canvas, key, modifier)

    def next_picture(self, key=Qt.Key.Key_D):
        with self.signal(self.workspace.navigation.opened):
            self.key(key)

    def settle(self):
        """Wait until everything is written and every task is done."""
        self.until(lambda: not self.workspace.session.store.pending)
        self.qtbot.wait(0)


def start(qtbot, engine, model, folder, *, hover=False):
    """The whole program with a window on the offscreen platform."""
    program = build(
        engine,
        model=model,
        settings=Settings(hover=hover),
        settings_path=folder / "settings.json",
        samples=folder / "samples",
    )
    program.window.resize(1200, 800)
    program.window.show()
    qtbot.waitExposed(program.window)
    return Driver(qtbot, program)


def stop(driver):
    """Close as a person does; returns the number of changes that were lost."""
    driver.window.close()
    lost = driver.program.close()
    driver.window.deleteLater()
    return lost
