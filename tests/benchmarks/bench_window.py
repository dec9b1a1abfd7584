"""Measure the window: start, click to mask and names, and how long the event loop is away.

Run it on a quiet machine: python -m tests.benchmarks.bench_window [--model starter|demo] [--clicks 40] [--json OUT]
It opens the sample project in a folder of its own, on Qt's offscreen platform unless QT_QPA_PLATFORM says otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
from PySide6.QtCore import QPoint, Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from ovsam_annotator.app import build
from ovsam_annotator.inference.child import ChildSettings
from ovsam_annotator.inference.fake import FakeEngine
from ovsam_annotator.inference.process import ProcessEngine
from ovsam_annotator.model.settings import Settings
from ovsam_annotator.views.data import EncodeState

_LIMIT_S = 600.0


class LagMeter:
    """Notes how late a 1 ms timer comes: what a person feels as a stuck window."""

    def __init__(self) -> None:
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)
        self._last = time.perf_counter()
        self._gaps: list[float] = []
        self._timer.start(1)

    def _tick(self) -> None:
        now = time.perf_counter()
        self._gaps.append((now - self._last) * 1000 - 1)
        self._last = now

    def take(self) -> dict[str, float]:
        """Percentiles in milliseconds since the last call."""
        gaps, self._gaps = np.maximum(self._gaps or [0.0], 0), []
        return {
            "p50": round(float(np.percentile(gaps, 50)), 2),
            "p99": round(float(np.percentile(gaps, 99)), 2),
            "max": round(float(gaps.max()), 2),
        }


class Bench:
    """The program, and a person who is in a hurry."""

    def __init__(self, model: str, folder: Path) -> None:
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
        self.lag = LagMeter()

    def since_start(self) -> float:
        return round(time.perf_counter() - self.start, 2)

    def until(self, condition) -> None:
        end = time.perf_counter() + _LIMIT_S
        while not condition():
            if time.perf_counter() > end:
                sys.exit("gave up waiting")
            QApplication.processEvents()
            time.sleep(0.0005)

    def idle(self, seconds: float) -> None:
        end = time.perf_counter() + seconds
        self.until(lambda: time.perf_counter() > end)

    def click(self, x: float, y: float) -> float:
        """Milliseconds from the click to mask and names."""
        loop = self.workspace.annotation
        begin = time.perf_counter()
        spot = QPoint(self.window.canvas.mapFromScene(x, y))
        QTest.mouseClick(self.window.canvas.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, spot)
        self.until(lambda: loop.suggested is not None and not loop.waiting)
        return (time.perf_counter() - begin) * 1000


def measure(model: str, clicks: int, folder: Path) -> dict[str, object]:
    """Run the whole course and return its figures."""
    bench = Bench(model, folder)
    navigation, loop = bench.workspace.navigation, bench.workspace.annotation
    bench.until(bench.window.isVisible)
    result: dict[str, object] = {"model": model, "window_s": bench.since_start()}
    bench.workspace.open_samples()
    bench.until(lambda: bench.workspace.session is not None and bench.workspace.session.document is not None)
    bench.until(lambda: bool(loop.vocabulary_digest))
    picture = bench.workspace.session.document.picture
    bench.lag.take()
    bench.click(picture.w / 2, picture.h / 2)
    result["first_answer_s"] = bench.since_start()
    result["lag_ms_while_encoding"] = bench.lag.take()
    loop.accept_unnamed()
    result["accepted_s"] = bench.since_start()
    bench.until(lambda: navigation.state_of(picture.id) is EncodeState.READY)
    bench.idle(1.0)
    bench.lag.take()
    bench.idle(2.0)
    result["lag_ms_idle"] = bench.lag.take()
    rng = np.random.default_rng(0)
    first, further = [], []
    for _ in range(clicks):
        x, y = rng.uniform(0.1, 0.9, 2) * (picture.w, picture.h)
        first.append(bench.click(x, y))
        further.append(bench.click(x + 6, y))
        loop.accept_unnamed()
    result["lag_ms_while_labelling"] = bench.lag.take()
    for name, times in (("first_click_ms", first), ("further_click_ms", further)):
        result[name] = {"p50": round(float(np.percentile(times, 50))), "p95": round(float(np.percentile(times, 95)))}
    switches = []
    for _ in range(5):
        begin = time.perf_counter()
        before = navigation.current
        navigation.step(1)
        bench.until(lambda: bench.workspace.session.document is not None and navigation.current != before)  # noqa: B023
        switches.append((time.perf_counter() - begin) * 1000)
        bench.until(lambda: navigation.state_of(navigation.current) is EncodeState.READY)
    result["next_picture_ms_p50"] = round(float(np.percentile(switches, 50)))
    result["lag_ms_while_switching"] = bench.lag.take()
    bench.window.close()
    result["lost"] = bench.program.close()
    return result


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="starter")
    parser.add_argument("--clicks", type=int, default=40)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    application = QApplication([])
    with tempfile.TemporaryDirectory() as folder:
        text = json.dumps(measure(options.model, options.clicks, Path(folder)), indent=1)
    sys.stdout.write(text + "\n")
    if options.json:
        options.json.write_text(text, "utf-8")
    del application


if __name__ == "__main__":
    main()
