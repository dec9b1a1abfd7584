"""Outlines as Qt paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QByteArray, QDataStream, Qt
from PySide6.QtGui import QPainterPath

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["outline_path"]

_ELEMENT = np.dtype([("kind", ">i4"), ("x", ">f8"), ("y", ">f8")])  # of a path as QDataStream has it


def outline_path(loops: Iterable[NDArray[np.integer] | NDArray[np.floating]]) -> QPainterPath:
    """Join closed outlines, each (K, 2), into one path whose holes stay open when it is filled.

    The path is read from the bytes that Qt itself would write: a ragged mask has thousands of corners, and a call for
    each of them would take longer than painting it.
    """
    closed = [np.concatenate([loop, loop[:1]]) for loop in loops if len(loop)]
    path = QPainterPath()
    if not closed:
        return path
    elements = np.empty(sum(map(len, closed)), _ELEMENT)
    corners = np.concatenate(closed)
    elements["kind"] = QPainterPath.ElementType.LineToElement.value
    elements["x"], elements["y"] = corners[:, 0], corners[:, 1]
    starts = np.cumsum([0, *map(len, closed[:-1])])
    elements["kind"][starts] = QPainterPath.ElementType.MoveToElement.value
    last = np.array([starts[-1], Qt.FillRule.OddEvenFill.value], ">i4")  # where the last outline begins, and the rule
    data = np.array([len(elements)], ">i4").tobytes() + elements.tobytes() + last.tobytes()
    stream = QDataStream(QByteArray(data))
    stream.setVersion(QDataStream.Version.Qt_6_0)
    stream >> path
    return path
