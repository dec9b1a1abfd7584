"""Fixtures for every test: nothing outside the test's own folder is touched, and no thread outlives its test."""

from __future__ import annotations

import os
import threading
import time

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

# The gate asks the same of every change; HYPOTHESIS_PROFILE=default draws new examples at every run.
settings.register_profile("gate", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory, monkeypatch):
    """Point caches and models at a folder of this test run."""
    root = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("OVSAM_CACHE", str(root / "cache"))
    monkeypatch.setenv("OVSAM_MODELS", str(root / "models"))


@pytest.fixture(autouse=True)
def _no_leaked_threads():
    """Fail a test that leaves a non-daemon thread behind."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 5
    while True:
        leaked = [t for t in threading.enumerate() if t not in before and not t.daemon and t.is_alive()]
        if not leaked or time.monotonic() > deadline:
            break
        time.sleep(0.01)
    assert not leaked, f"threads left running: {[t.name for t in leaked]}"
