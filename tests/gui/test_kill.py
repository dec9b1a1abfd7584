"""Kill the program at any moment: at most the last action is lost, and the project opens again.

`OVSAM_KILLS=200 pytest tests/gui/test_kill.py` kills 200 times; the gate 10 times.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time

import pytest

from ovsam_core.store import Project

_KILLS = int(os.environ.get("OVSAM_KILLS", "10"))


def _label_until_killed(project, lines):
    """Start the program, kill it after so many lines; returns the lines heard."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.gui.labelling_process", str(project)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    heard = []
    too_quiet = threading.Timer(120, process.kill)  # a program that says nothing would never be killed
    too_quiet.start()
    try:
        for line in process.stdout:
            heard.append(line.split())
            if len(heard) >= lines:
                break
    finally:
        too_quiet.cancel()
        too_quiet.join()
        process.kill()
        killed = time.monotonic()
        heard += [line.split() for line in process.stdout if line.endswith("\n")]
        errors = process.stderr.read()
        process.wait()
        process.stdout.close()
        process.stderr.close()
    assert len(heard) >= lines, errors
    return [(word, killed - float(when)) for word, when in heard]


def _done(actions):
    """How many accepted objects these actions leave."""
    words = [word for word, _ in actions]
    return words.count("accepted") - words.count("undone")


@pytest.mark.timeout(120 * _KILLS)  # every program is started, killed and started again
def test_a_kill_loses_at_most_the_last_action(folder):
    project = folder / "pictures.ovsam"
    rng = random.Random(4)
    with Project.open(project) as made:
        made.add_pictures([folder / "0.png"])
    before, oldest_lost = 0, 0.0
    for _ in range(_KILLS):
        heard = _label_until_killed(project, rng.randint(1, 25))
        # "saved" speaks for what was done before it, but for an action that came while it was on its way
        told = [i for i, (word, _) in enumerate(heard) if word == "saved"]
        promised = max(_done(heard[: told[-1]]) - 1, 0) if told else 0
        with Project.open(project) as stored:
            assert not stored.read_only  # the dead program's lock does not bind
            # an undone step goes with the next accepted object: only those that stand can be compared
            steps = sum(s.label.startswith("Accept") and not s.undone for s in stored.history(1, 100_000))
            assert all(row.mask.area for row in stored.objects(1))
            for row in stored.objects(1):
                assert row.class_uid is None or stored.class_of(row.class_uid)
        assert steps >= before + promised
        lost = max(before + _done(heard) - steps, 0)
        ages = sorted(age for word, age in heard if word == "accepted")
        oldest_lost = max(oldest_lost, ages[lost - 1] if lost else 0.0)
        before = steps
    print(f"{_KILLS} kills; the oldest lost action was {1000 * oldest_lost:.0f} ms old")  # noqa: T201
    assert threading.active_count() < 20
