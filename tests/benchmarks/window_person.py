"""A person in a hurry at the real window, with a stopwatch on every click and on the event loop."""

from __future__ import annotations

import faulthandler
import gc
import sys
import time

import numpy as np
from PySide6.QtCore import QEventLoop, QPoint, Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from ovsam_annotator.app import build
from ovsam_annotator.inference.child import ChildSettings
from ovsam_annotator.inference.fake import FakeEngine
from ovsam_annotator.inference.process import ProcessEngine
from ovsam_annotator.model.settings import Settings

_LIMIT_S = 600.0
_BEAT_MS = 4  # a quarter of a frame: often enough to see a late one, rare enough to leave the processor to the model


class LagMeter:
    """Notes how late a timer comes: what a person feels as a stuck window.

    Args:
        stall_ms: print every thread's stack to stderr when the loop is away for longer; 0 for never.
    """

    def __init__(self, stall_ms: float = 0.0) -> None:
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)
        self._stall_s = stall_ms / 1000
        self._last = time.perf_counter()
        self._gaps: list[float] = []
        self._collected: list[float] = []
        self._collecting = 0.0
        if stall_ms:
            gc.callbacks.append(self._note_collection)
        self._timer.start(_BEAT_MS)

    def _tick(self) -> None:
        now = time.perf_counter()
        late = (now - self._last) * 1000 - _BEAT_MS
        self._gaps.append(late)
        self._last = now
        if self._stall_s:
            if late > self._stall_s * 1000:
                sys.stderr.write(f"--- the loop was away for {late:.0f} ms\n\n")
            faulthandler.dump_traceback_later(self._stall_s + _BEAT_MS / 1000)

    def _note_collection(self, phase: str, facts: dict[str, int]) -> None:
        if phase == "start":
            self._collecting = time.perf_counter()
        elif (took := (time.perf_counter() - self._collecting) * 1000) > self._stall_s * 500:
            sys.stderr.write(f"--- garbage collection {facts} took {took:.0f} ms\n")

    def take(self) -> dict[str, float]:
        """Percentiles in milliseconds since the last call."""
        gaps, self._gaps = np.maximum(self._gaps or [0.0], 0), []
        p50, p99 = (round(float(np.percentile(gaps, q)), 2) for q in (50, 99))
        self._last = time.perf_counter()  # what was done here is not the program's
        return {"p50": p50, "p99": p99, "max": round(float(gaps.max()), 2)}

    def stop(self) -> None:
        """Measure no more."""
        self._timer.stop()
        faulthandler.cancel_dump_traceback_later()
        if self._note_collection in gc.callbacks:
            gc.callbacks.remove(self._note_collection)


class Person:
    """Starts the program, and uses it as fast as it answers."""

    def __init__(self, model: str, folder, stall_ms: float = 0.0) -> None:
        self.start = time.perf_counter()
        engine = FakeEngine() if model == "demo" else ProcessEngine(ChildSettings(model))
        self.program = build(
            engine,
            model=model,
            settings=Settings(hover=False),
            settings_path=folder / "settings.json",
            samples=folder / "samples",
        )
        self.window, self.workspace = self.program.window, self.program.workspace
        self.window.resize(1600, 1000)
        self.window.show()
        self.lag = LagMeter(stall_ms)

    @property
    def loop(self):
        return self.workspace.annotation

    def since_start(self) -> float:
        return round(time.perf_counter() - self.start, 2)

    def until(self, condition) -> None:
        """Let the program work until something holds; sleeps between events, as a real event loop does."""
        end = time.perf_counter() + _LIMIT_S
        while not condition():
            if time.perf_counter() > end:
                sys.exit("gave up waiting")
            QApplication.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents)

    def idle(self, seconds: float) -> None:
        end = time.perf_counter() + seconds
        self.until(lambda: time.perf_counter() > end)

    def click(self, x: float, y: float) -> float:
        """Milliseconds from the click to mask and names."""
        begin = time.perf_counter()
        spot = QPoint(self.window.canvas.mapFromScene(x, y))
        QTest.mouseClick(self.window.canvas.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, spot)
        self.until(lambda: self.loop.suggested is not None and not self.loop.waiting)
        return (time.perf_counter() - begin) * 1000

    def close(self) -> int:
        """Leave; returns the number of changes that were lost."""
        self.lag.stop()
        self.window.close()
        return self.program.close()
