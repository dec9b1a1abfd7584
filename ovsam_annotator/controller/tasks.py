"""Work off the GUI thread whose result is handed back on it."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from PySide6.QtCore import QObject, Qt, Signal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Runner", "Tasks"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Runner(Protocol):
    """What controllers need of it; tests may run everything at once."""

    def run(
        self,
        job: Callable[[], _T],
        done: Callable[[_T], None] | None = None,
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        """Run `job` in the background, then `done` with its result or `failed` with its error on the GUI thread."""


class Tasks(QObject):
    """A small thread pool. Results arrive in the thread that made this object, in no particular order.

    Args:
        threads: how many jobs run at once.
    """

    _finished = Signal(object, object)

    def __init__(self, threads: int = 2, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="task")
        together = threading.Barrier(threads)  # starts them all now: later the window would wait for a busy interpreter
        for _ in range(threads):
            self._pool.submit(together.wait)
        self._closed = False
        self._finished.connect(self._hand_back, Qt.ConnectionType.QueuedConnection)

    def run(
        self,
        job: Callable[[], _T],
        done: Callable[[_T], None] | None = None,
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        """Run `job` in the background, then `done` with its result or `failed` with its error on the GUI thread."""
        if self._closed:
            return

        def work() -> None:
            try:
                result: Any = job()
            except Exception as error:  # every kind is handed to whoever asked
                if failed is None:
                    _log.exception("background job failed")
                else:
                    self._finished.emit(failed, error)
            else:
                if done is not None:
                    self._finished.emit(done, result)

        self._pool.submit(work)

    def close(self) -> None:
        """Drop what has not started, and wait for what has."""
        self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _hand_back(self, callback: Callable[[Any], None], value: object) -> None:
        if not self._closed:
            callback(value)
