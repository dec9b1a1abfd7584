"""A guard against a reference that PySide6 6.12.0 does not take.

Its `Signal.emit` returns `True` without holding it, so each emission lowers the reference count of `True` by one. Since
Python 3.12 that object is immortal and nothing happens; before, the interpreter aborts after some thousand emissions
("bool_dealloc: deallocating True or False"). Measured: 1,000 emissions lower `sys.getrefcount(True)` by 1,000.
"""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_true"]

_FOR_EVER = 1 << 40  # more emissions than a program lives to make


def keep_true() -> None:
    """Raise the reference count of `True` out of reach; does nothing where it is immortal or already raised."""
    if sys.version_info < (3, 12) and sys.implementation.name == "cpython" and sys.getrefcount(True) < _FOR_EVER // 2:
        ctypes.c_ssize_t.from_address(id(True)).value += _FOR_EVER
