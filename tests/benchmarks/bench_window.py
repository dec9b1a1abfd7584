"""Measure the window: start, click to mask and names, and how long the event loop is away.

Run it on a quiet machine: python -m tests.benchmarks.bench_window [--model starter|demo] [--clicks 40] [--json OUT]
It opens the sample project in a folder of its own, on Qt's offscreen platform unless QT_QPA_PLATFORM says otherwise.
Embeddings of pictures are never found in a cache; what was measured once for this machine is, unless --first-start.
"""

# Nothing of the program is imported before `main`: the model's process imports this module again.

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from platformdirs import user_cache_path


def measure(model: str, clicks: int, folder: Path, stall_ms: float) -> dict[str, object]:
    """Run the whole course and return its figures."""
    import numpy as np
    from PySide6.QtWidgets import QApplication

    from ovsam_annotator.views.data import EncodeState
    from tests.benchmarks.window_person import Person

    application = QApplication([])
    person = Person(model, folder, stall_ms)
    navigation, loop, workspace = person.workspace.navigation, person.loop, person.workspace
    person.until(person.window.isVisible)
    result: dict[str, object] = {"model": model, "window_s": person.since_start()}
    workspace.open_samples()
    person.until(lambda: workspace.session is not None and workspace.session.document is not None)
    person.until(lambda: bool(loop.vocabulary_digest))
    result["picture_s"] = person.since_start()
    picture = workspace.session.document.picture
    result["lag_ms_while_starting"] = person.lag.take()
    person.click(picture.w / 2, picture.h / 2)
    result["first_answer_s"] = person.since_start()
    result["lag_ms_while_encoding"] = person.lag.take()
    loop.accept_unnamed()
    result["accepted_s"] = person.since_start()
    person.until(lambda: navigation.state_of(picture.id) is EncodeState.READY)
    person.until(lambda: not navigation.states() & {EncodeState.QUEUED, EncodeState.RUNNING})
    result["lag_ms_while_prefetching"] = person.lag.take()
    rng = np.random.default_rng(0)  # loads a module, which is not the program's doing
    person.idle(2.0)
    result["lag_ms_idle"] = person.lag.take()
    first, further = [], []
    for _ in range(clicks):
        x, y = rng.uniform(0.1, 0.9, 2) * (picture.w, picture.h)
        first.append(person.click(x, y))
        further.append(person.click(x + 6, y))
        loop.accept_unnamed()
    result["lag_ms_while_labelling"] = person.lag.take()
    for name, times in (("first_click_ms", first), ("further_click_ms", further)):
        result[name] = {"p50": round(float(np.percentile(times, 50))), "p95": round(float(np.percentile(times, 95)))}
    switches = []
    for _ in range(5):
        begin = person.since_start()
        before = navigation.current
        navigation.step(1)
        person.until(lambda: workspace.session.document is not None and navigation.current != before)  # noqa: B023
        switches.append((person.since_start() - begin) * 1000)
        person.until(lambda: navigation.state_of(navigation.current) is EncodeState.READY)
    result["next_picture_ms_p50"] = round(float(np.percentile(switches, 50)))
    result["lag_ms_while_switching"] = person.lag.take()
    result["lost"] = person.close()
    del application
    return result


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="starter")
    parser.add_argument("--clicks", type=int, default=40)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--first-start", action="store_true", help="as on a machine that has never run the program")
    parser.add_argument("--stalls", type=float, default=0.0, metavar="MS", help="print stacks when the loop is away")
    options = parser.parse_args()
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not options.first_start:
            _take_along(folder / "cache")
        os.environ["OVSAM_CACHE"] = str(folder / "cache")
        text = json.dumps(measure(options.model, options.clicks, folder, options.stalls), indent=1)
    sys.stdout.write(text + "\n")
    if options.json:
        options.json.write_text(text, "utf-8")


def _take_along(cache: Path) -> None:
    """Copy what the person's own cache knows about this machine and about names, but no picture's embedding."""
    cache.mkdir()
    given = os.environ.get("OVSAM_CACHE")
    known = Path(given) if given else user_cache_path("ovsam", appauthor=False)
    if (known / "speed.json").exists():
        shutil.copy(known / "speed.json", cache)
    if (known / "text").is_dir():
        shutil.copytree(known / "text", cache / "text")


if __name__ == "__main__":
    main()
