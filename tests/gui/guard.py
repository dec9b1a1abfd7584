"""While this guard is up, files, the database, run lengths and the model are out of bounds on the GUI thread."""

from __future__ import annotations

import contextlib
import sys
import threading
import traceback

_BLOCKING = frozenset(
    {"open", "os.listdir", "os.scandir", "os.remove", "os.rename", "os.mkdir", "sqlite3.connect", "shutil.copyfile"}
)
_PYTHON = (".py", ".pyc", ".so", ".pyi", ".pth", ".json.gz")
_state = {"thread": None, "found": None, "installed": False}


def _audit(event, arguments):
    if _state["thread"] != threading.get_ident() or event not in _BLOCKING:
        return
    if event == "open" and isinstance(arguments[0], str) and arguments[0].endswith(_PYTHON):
        return  # a module imported late
    if event in ("os.listdir", "os.scandir") and any("importlib" in f.filename for f in traceback.extract_stack()):
        return
    _caught(f"{event} {arguments!r}")


def _caught(what):
    _state["found"].append(what + "\n" + "".join(traceback.format_stack(limit=12)))
    raise AssertionError(f"on the GUI thread: {what}")


@contextlib.contextmanager
def gui_thread_guard(monkeypatch):
    """Raise, and remember, whatever may block on the calling thread; yields the list of offences."""
    from ovsam_annotator.inference.fake import FakeEngine
    from ovsam_core import masks
    from ovsam_core.store import Project

    if not _state["installed"]:
        sys.addaudithook(_audit)  # cannot be removed again; without a thread to watch it does nothing
        _state["installed"] = True
    gui = threading.get_ident()
    found = []

    def fenced(owner, name):
        real = getattr(owner, name)

        def call(*args, **kwargs):
            if threading.get_ident() == gui and _state["thread"] == gui:
                _caught(f"{name}")
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    for name in ("encode", "decode", "merge", "area", "toBbox", "iou", "frPyObjects"):
        fenced(masks.coco_mask, name)
    for name in ("_reading", "_writing"):
        fenced(Project, name)
    fenced(FakeEngine, "run")
    _state["thread"], _state["found"] = gui, found
    try:
        yield found
    finally:
        _state["thread"] = None
