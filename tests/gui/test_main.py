"""The program as it is started: through `main`, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

from ovsam_core.store import Project

_PERSON = """
import sys
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication
from ovsam_annotator import __main__, app

made = []
build = app.build
app.build = lambda *a, **k: made.append(build(*a, **k)) or made[-1]
done = {"object": False, "raised": False}

def look():
    program = made[0]
    loop, session = program.workspace.annotation, program.workspace.session
    if session is None or session.document is None or not loop.vocabulary_digest or loop.waiting:
        return
    if not done["raised"]:
        done["raised"] = True
        raise RuntimeError("a slip in a slot")
    if loop.suggested is None and not done["object"]:
        loop.add_point(60.0, 40.0, True)
    elif not done["object"]:
        loop.accept_rank(1)
        done["object"] = True
    else:
        program.window.close()

application = QApplication([])
timer = QTimer()
timer.timeout.connect(look)
timer.start(5)
sys.exit(__main__.main(["--fake", sys.argv[1]]))
"""


def test_the_program_starts_labels_logs_a_slip_and_saves(folder, tmp_path):
    config = tmp_path / "config"
    done = subprocess.run(
        [sys.executable, "-c", _PERSON, str(folder)],
        env={**os.environ, "OVSAM_CONFIG": str(config)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert "a slip in a slot" in (config / "annotator.log").read_text("utf-8")
    assert str(folder / "pictures.ovsam") in (config / "settings.json").read_text("utf-8")
    with Project.open(folder / "pictures.ovsam") as project:
        assert not project.report.recovered
        (row,) = project.objects(1)
        assert row.model_id == "demo"
