"""Labels by itself until it is killed; `test_kill` runs it: python -m tests.gui.labelling_process PROJECT."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

os.environ["QT_QPA_PLATFORM"] = "offscreen"

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from ovsam_annotator.app import build
from ovsam_annotator.inference.fake import FAKE_MODEL, FakeEngine
from ovsam_annotator.model.settings import Settings
from ovsam_annotator.views.data import SaveState


def main() -> None:
    """Label one object after the other, and say what was accepted and what is saved."""
    application = QApplication([])
    project = Path(sys.argv[1])
    program = build(
        FakeEngine(),
        model=FAKE_MODEL,
        settings=Settings(hover=False),
        settings_path=project.with_suffix(".json"),
        samples=project.parent,
    )
    loop = program.workspace.annotation
    state = {"accepted": 0, "clicks": 0}

    def say(word: str) -> None:
        sys.stdout.write(f"{word} {time.monotonic()}\n")
        sys.stdout.flush()

    def work() -> None:
        session = program.workspace.session
        if session is None or session.document is None or not loop.vocabulary_digest or loop.waiting:
            return
        if loop.suggested is None:
            state["clicks"] += 1
            loop.add_point(10 + 7 * state["clicks"] % 180, 10 + 5 * state["clicks"] % 100, True)
        else:
            loop.accept_rank(1 + state["clicks"] % 9)
            state["accepted"] += 1
            say("accepted")
            if state["accepted"] % 4 == 0:
                program.workspace.history.undo()
                say("undone")

    def opened(_: str) -> None:
        session = program.workspace.session
        assert session is not None
        session.store.state_changed.connect(lambda now, _: say("saved") if now is SaveState.SAVED else None)

    program.workspace.opened.connect(opened)
    program.workspace.open([str(project)])
    timer = QTimer()
    timer.timeout.connect(work)
    timer.start(0)
    application.exec()


if __name__ == "__main__":
    main()
