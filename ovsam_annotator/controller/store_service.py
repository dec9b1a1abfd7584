"""The project file, on a thread of its own: every action is written at once, in order, and none is ever dropped."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from PySide6.QtCore import QObject, Qt, Signal

from ovsam_annotator.views.data import SaveState

if TYPE_CHECKING:
    from collections.abc import Callable

    from ovsam_core.store import Project

__all__ = ["StoreService"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_RETRY_S = 2.0


@dataclass(slots=True, eq=False)
class _Job:
    work: Callable[[Project], Any]
    done: Callable[[Any], None] | None
    failed: Callable[[Exception], None] | None
    writes: bool


class StoreService(QObject):
    """Serial access to one open project.

    Reads and writes run in the order they were asked, on one thread; answers arrive in the thread that made this
    object. A write that fails because of the disk (full, gone, busy) stays at the head of the queue and is tried again
    until it succeeds: nothing is lost as long as the program runs. One that the store refuses goes back to its asker.

    Args:
        project: the open project; closed together with the service.

    Attributes:
        state_changed: (SaveState, text) for the saved chip.
        save_failed: text, once for each streak of failures.
        retry_s: seconds between attempts.
    """

    state_changed = Signal(object, str)
    save_failed = Signal(str)
    _answered = Signal(object, object)

    def __init__(self, project: Project, parent: QObject | None = None, *, retry_s: float = _RETRY_S) -> None:
        super().__init__(parent)
        self.retry_s = retry_s
        self._project = project
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._retry_now = False
        self._failing = False
        self._pending = 0
        self._answered.connect(self._hand_back, Qt.ConnectionType.QueuedConnection)
        self._thread = threading.Thread(target=self._work, name="store")
        self._thread.start()

    @property
    def project(self) -> Project:
        """The project itself: for its plain attributes; methods belong into jobs."""
        return self._project

    @property
    def pending(self) -> int:
        """Number of writes that are not on the disk yet."""
        with self._changed:
            return self._pending

    def read(
        self,
        work: Callable[[Project], _T],
        done: Callable[[_T], None],
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        """Ask something of the project, after everything that was written before."""
        self._add(_Job(work, done, failed, writes=False))

    def write(
        self,
        work: Callable[[Project], _T],
        done: Callable[[_T], None] | None = None,
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        """Change the project. `failed` hears only of what the store refuses for good."""
        self._add(_Job(work, done, failed, writes=True))

    def retry(self) -> None:
        """Try a failed write again now."""
        with self._changed:
            self._retry_now = True
            self._changed.notify_all()

    def close(self) -> int:
        """Write what is left, close the project, and return the number of writes that could not be made."""
        with self._changed:
            if self._closing:
                return 0
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        self._project.close()
        return self._pending

    def _add(self, job: _Job) -> None:
        with self._changed:
            if self._closing:
                return
            self._jobs.append(job)
            if job.writes:
                self._pending += 1
                announce = self._pending == 1 and not self._failing
            else:
                announce = False
            self._changed.notify_all()
        if announce:
            self.state_changed.emit(SaveState.PENDING, self.tr("saving"))

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._jobs and not self._closing:
                    self._changed.wait()
                if not self._jobs:
                    return
                job = self._jobs[0]
            try:
                answer = job.work(self._project)
            except Exception as error:  # every kind is handed to whoever asked
                if job.writes and _will_pass(error) and self._wait_for_retry(error):
                    continue
                if job.writes and _will_pass(error):
                    return  # closing, and the disk still refuses: the rest is counted as lost
                self._finish(job, job.failed, error)
            else:
                self._finish(job, job.done, answer)

    def _finish(self, job: _Job, callback: Callable[[Any], None] | None, value: object) -> None:
        if isinstance(value, Exception) and callback is None:
            _log.error("the project refused a change", exc_info=value)
        with self._changed:
            self._jobs.popleft()
            if job.writes:
                self._pending -= 1
                self._failing = False
            all_written = job.writes and not self._pending
        if callback is not None:
            self._answered.emit(callback, value)
        if all_written:
            self.state_changed.emit(SaveState.SAVED, self.tr("saved {clock}").format(clock=time.strftime("%H:%M:%S")))

    def _wait_for_retry(self, error: Exception) -> bool:
        """Say once that saving fails, and wait; False where the program closes instead."""
        if not self._failing:
            self._failing = True
            _log.warning("saving failed, will be tried again: %s", error)
            self.save_failed.emit(str(error))
            self.state_changed.emit(SaveState.FAILED, self.tr("not saved"))
        with self._changed:
            if self._closing:
                return False
            self._changed.wait_for(lambda: self._retry_now or self._closing, self.retry_s)
            self._retry_now = False
            return True

    def _hand_back(self, callback: Callable[[Any], None], value: object) -> None:
        if not self._closing:
            callback(value)


def _will_pass(error: BaseException) -> bool:
    """Whether trying again can help: the disk or a lock was in the way, not the change itself."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, (sqlite3.OperationalError, OSError)):
            return True
        seen = seen.__cause__
    return False
