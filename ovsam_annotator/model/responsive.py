"""Habits of the interpreter that make a window stutter, and what is set against them."""

from __future__ import annotations

import gc
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["loading_for_good", "settle", "share_evenly"]

_SWITCH_S = 0.001  # by default a busy thread keeps the interpreter for 5 ms while the window waits; a frame has 16
_guard = threading.Lock()
_loading: set[object] = set()


def share_evenly() -> None:
    """Let background threads hand the interpreter over sooner."""
    sys.setswitchinterval(_SWITCH_S)


def settle() -> None:
    """Leave everything that exists now out of later garbage collections: it lives as long as the program.

    A full collection looks at every object while nothing else runs; with modules and vocabularies among them that
    takes longer than a frame.
    """
    gc.freeze()


@contextmanager
def loading_for_good() -> Iterator[None]:
    """Make many long-lived objects without collections, each of which would look at all of them again.

    Threads may overlap; the last one to leave switches collections on again.
    """
    mine = object()
    with _guard:
        _loading.add(mine)
        gc.disable()
    try:
        yield
    finally:
        with _guard:
            _loading.discard(mine)
            if not _loading:
                gc.freeze()
                gc.enable()
