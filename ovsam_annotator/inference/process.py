"""The engine of the product: the model in one process of its own, which may die without taking the window along."""

from __future__ import annotations

import logging
import multiprocessing
import threading
import time
from dataclasses import replace
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from ovsam_annotator.inference.child import ChildSettings, serve
from ovsam_annotator.inference.messages import EncodeText, Everything, Predict, Progress, SelectModel, is_background
from ovsam_annotator.inference.segmenter import EngineCrashError, UnknownVocabularyError
from ovsam_annotator.inference.transfer import discard, pack, unpack
from ovsam_core.errors import CancelledError

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from ovsam_annotator.inference.messages import Answer, Request

__all__ = ["ProcessEngine"]

_log = logging.getLogger(__name__)
_POLL_S = 0.03  # how soon a cancelled request is noticed


class _Child:
    """One run of the model's process."""

    def __init__(self, settings: ChildSettings) -> None:
        context = multiprocessing.get_context("spawn")  # a forked torch would share threads and locks with the window
        pipes = [context.Pipe() for _ in range(2)]
        self.connections: tuple[Connection, ...] = tuple(near for near, _ in pipes)
        self.cancelled = tuple(context.Value("Q", 0) for _ in range(2))
        self.process = context.Process(
            target=serve,
            args=(tuple(far for _, far in pipes), self.cancelled, settings),
            name="ovsam-model",
            daemon=True,
        )
        self.process.start()
        for _, far in pipes:
            far.close()

    def stop(self) -> None:
        """End the process at once: nothing in it is worth waiting for, its caches are written atomically.

        The connections stay open until nobody refers to them: the other thread may be waiting on one.
        """
        self.process.kill()
        self.process.join()


class _ChildDiedError(Exception):
    """The process ended while a request was on its way."""


class ProcessEngine:
    """An `Engine` whose work happens in a child process.

    The child is started by `warm` or the first request and lives until `close`. When it dies, the request on its way is
    repeated in a new one; a request that kills two of them fails with `EngineCrashError`. Vocabularies are sent again
    by themselves after a restart.

    Args:
        settings: how to set the child up.
    """

    def __init__(self, settings: ChildSettings) -> None:
        self._settings = settings
        self._guard = threading.Lock()
        self._child: _Child | None = None
        self._starts = 0
        self._closed = False
        self._tickets = 0
        self._texts: dict[str, EncodeText] = {}

    @property
    def pid(self) -> int | None:
        """Process id of the child; None while there is none."""
        with self._guard:
            return self._child.process.pid if self._child else None

    @property
    def starts(self) -> int:
        """How often a child was started."""
        return self._starts

    def warm(self) -> None:
        """Start the child now, ahead of the first request."""
        self._alive()

    def run(self, request: Request, report: Callable[[Progress], None], cancelled: Callable[[], bool]) -> Answer:
        """Send a request to the child and wait for its answer; see `Engine.run`."""
        if isinstance(request, SelectModel):
            self._select(request.model_id)
        if isinstance(request, EncodeText):
            self._texts[request.vocabulary.digest] = request
        for attempt in range(2):
            child = self._alive()
            try:
                return self._ask_with_names(child, request, report, cancelled)
            except _ChildDiedError:
                if self._closed or cancelled():
                    raise CancelledError("no longer wanted") from None
                _log.warning("the model's process ended (attempt %d); starting it again", attempt + 1)
                self._bury(child)
                report(Progress(getattr(request, "picture_id", None), "loading"))
        raise EngineCrashError("The model's process ended twice on this request")

    def close(self) -> None:
        """End the child."""
        with self._guard:
            self._closed = True
            child, self._child = self._child, None
        if child is not None:
            child.stop()

    def _select(self, model_id: str) -> None:
        with self._guard:
            if model_id == self._settings.model_id:
                return
            self._settings = replace(self._settings, model_id=model_id)
            child, self._child = self._child, None
        if child is not None:
            child.stop()

    def _alive(self) -> _Child:
        with self._guard:
            if self._closed:
                raise CancelledError("the program closes")
            if self._child is None:
                self._child = _Child(self._settings)
                self._starts += 1
            return self._child

    def _bury(self, child: _Child) -> None:
        """Forget a dead child, unless the other thread did so already."""
        with self._guard:
            if self._child is child:
                self._child = None
                child.stop()

    def _ask_with_names(
        self, child: _Child, request: Request, report: Callable[[Progress], None], cancelled: Callable[[], bool]
    ) -> Answer:
        try:
            return self._ask(child, request, report, cancelled)
        except UnknownVocabularyError:
            if not isinstance(request, (Predict, Everything)) or request.vocabulary_digest not in self._texts:
                raise
            self._ask(child, self._texts[request.vocabulary_digest], report, cancelled, lane=_lane(request))
            return self._ask(child, request, report, cancelled)

    def _ask(
        self,
        child: _Child,
        request: Request,
        report: Callable[[Progress], None],
        cancelled: Callable[[], bool],
        *,
        lane: int | None = None,
    ) -> Answer:
        lane = _lane(request) if lane is None else lane
        connection = child.connections[lane]
        with self._guard:
            self._tickets += 1
            ticket = self._tickets
        parcel = pack(request)
        try:
            connection.send((ticket, parcel))
        except (OSError, ValueError):
            discard(parcel)
            raise _ChildDiedError from None
        told = False
        while True:
            if not told and cancelled():
                child.cancelled[lane].value = ticket
                told = True
            reply = _receive(child, connection)
            if reply is None:
                continue
            number, kind, value = reply
            if number != ticket:
                if kind == "answer":
                    discard(value)
                continue
            if kind == "progress":
                report(value)
            elif kind == "answer":
                try:
                    answer: Any = unpack(value)
                except FileNotFoundError:
                    raise _ChildDiedError from None
                return answer  # type: ignore[no-any-return]
            elif kind == "cancelled":
                raise CancelledError("no longer wanted")
            else:
                error, trace = value
                _log.info("the model's process reported:\n%s", trace)
                raise error


def _lane(request: Request) -> int:
    return 1 if is_background(request) else 0


def _receive(child: _Child, connection: Connection) -> Any:
    """One message, or None when none came for a moment.

    Raises:
        _ChildDiedError: the process ended.
    """
    try:
        if not connection.poll(0):
            ready = wait([connection, child.process.sentinel], _POLL_S)
            if connection not in ready:
                if ready:
                    time.sleep(0)
                    if not connection.poll(0):
                        raise _ChildDiedError
                return None
        return connection.recv()
    except (EOFError, OSError, ValueError):
        raise _ChildDiedError from None
