"""Kill the program at any moment: at most the last action is lost, and the project opens again.

`OVSAM_KILLS=200 pytest tests/gui/test_kill.py` kills 200 times; the gate 10 times.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading

import pytest

from ovsam_core.store import Project

_KILLS = int(os.environ.get("OVSAM_KILLS", "10"))
_ROUNDS_AT_ONCE = 2


def _label_until_killed(project, lines):
    """Start the program, kill it after so many lines; returns the lines heard."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.gui.labelling_process", str(project)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    heard = []
    try:
        for line in process.stdout:
            heard.append(line.split())
            if len(heard) >= lines:
                break
    finally:
        process.kill()
        heard += [line.split() for line in process.stdout if line.endswith("\n")]
        errors = process.stderr.read()
        process.wait()
        process.stdout.close()
        process.stderr.close()
    assert len(heard) >= lines, errors
    return heard


@pytest.mark.timeout(1200)  # ten programs are started, killed and started again
def test_a_kill_loses_at_most_the_last_action(folder):
    project = folder / "pictures.ovsam"
    rng = random.Random(4)
    with Project.open(project) as made:
        made.add_pictures([folder / "0.png"])
    expected_steps = 0
    for _ in range(_KILLS):
        heard = _label_until_killed(project, rng.randint(1, 25))
        actions = [line for line in heard if line[0] in ("accepted", "undone")]
        with Project.open(project) as stored:
            assert not stored.read_only  # the dead program's lock does not bind
            steps = sum(s.label.startswith("Accept") for s in stored.history(1, 100_000))
            assert all(row.mask.area for row in stored.objects(1))
            for row in stored.objects(1):
                assert row.class_uid is None or stored.class_of(row.class_uid)
            # an undo followed by a new action drops the undone step: count what can be there at least
            accepted = sum(line[0] == "accepted" for line in actions)
            undone = sum(line[0] == "undone" for line in actions)
            assert steps >= expected_steps + accepted - undone - 1
            expected_steps = steps
    assert threading.active_count() < 20
