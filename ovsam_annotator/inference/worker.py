"""The background worker: owns the queue and the generations, and never lets the window wait.

Two threads work: one for what the user waits for, one for spare time (prefetching, proposals, batches). The engine
behind them pauses spare-time work at the next layer of the network while the first thread has something to do.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from ovsam_annotator.inference.failures import failure_of
from ovsam_annotator.inference.messages import (
    Encode,
    EncodeText,
    Everything,
    Predict,
    Priority,
    SelectModel,
    is_background,
)
from ovsam_core.errors import CancelledError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ovsam_annotator.inference.messages import Answer, Progress, Request
    from ovsam_annotator.inference.segmenter import Engine

__all__ = ["InferenceWorker"]

_log = logging.getLogger(__name__)


class _Ticket:
    """A request on its way, and whether anybody still wants its answer."""

    __slots__ = ("_cancelled", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        self._cancelled.set()

    def cancelled(self) -> bool:
        return self._cancelled.is_set()


@dataclass(slots=True)
class _Lane:
    """What one thread does and what waits for it, most urgent first."""

    waiting: list[_Ticket]
    running: _Ticket | None = None

    def tickets(self) -> list[_Ticket]:
        return [*self.waiting, *([self.running] if self.running else [])]


class InferenceWorker(QObject):
    """A `Segmenter` over an `Engine`.

    Args:
        engine: does the work; closed together with the worker.

    Attributes:
        answered: emits every `Answer` in the thread that connected (queued).
    """

    answered = Signal(object)

    def __init__(self, engine: Engine, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._engine = engine
        self._changed = threading.Condition()
        self._user = _Lane([])
        self._spare = _Lane([])
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, args=(lane,), name=f"inference-{name}")
            for name, lane in (("user", self._user), ("spare", self._spare))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def submit(self, request: Request) -> None:
        """Queue a request; it replaces those of its kind that it makes worthless."""
        with self._changed:
            if self._closed:
                return
            lane = self._spare if is_background(request) else self._user
            # names may be on their way in either lane; a picture that is being prefetched is waited for, not dropped
            for each in (self._user, self._spare) if isinstance(request, EncodeText) else (lane,):
                self._drop(each, lambda old: _replaces(request, old))
            lane.waiting.append(_Ticket(request))
            lane.waiting.sort(key=lambda ticket: _urgency(ticket.request))  # stable: first come, first served
            self._changed.notify_all()

    def cancel(self, generation: int) -> None:
        """Forget the request with this generation, running or not; no answer will come."""
        with self._changed:
            for lane in (self._user, self._spare):
                self._drop(lane, lambda old: getattr(old, "generation", None) == generation)

    def prefetch(self, wanted: Sequence[Encode]) -> None:
        """Replace the list of pictures to encode in spare time, most wanted first."""
        with self._changed:
            if self._closed:
                return
            ids = {request.picture_id for request in wanted}
            self._drop(self._spare, lambda old: _is_prefetch(old) and getattr(old, "picture_id", None) not in ids)
            running = self._spare.running.request if self._spare.running else None
            busy = running.picture_id if isinstance(running, Encode) else None
            kept = [t for t in self._spare.waiting if not _is_prefetch(t.request)]
            fresh = [_Ticket(request) for request in wanted if request.picture_id != busy]
            self._spare.waiting = sorted([*kept, *fresh], key=lambda ticket: _urgency(ticket.request))
            self._changed.notify_all()

    def close(self) -> None:
        """Stop everything and wait for the threads; later calls do nothing."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            for lane in (self._user, self._spare):
                self._drop(lane, lambda _: True)
            self._changed.notify_all()
        self._engine.close()
        for thread in self._threads:
            thread.join()

    def _drop(self, lane: _Lane, worthless: Callable[[Request], bool]) -> None:
        for ticket in lane.tickets():
            if worthless(ticket.request):
                ticket.cancel()
        lane.waiting = [ticket for ticket in lane.waiting if not ticket.cancelled()]

    def _work(self, lane: _Lane) -> None:
        while True:
            with self._changed:
                lane.running = None
                self._changed.notify_all()  # the other lane may have waited for what was done here
                while (ticket := self._next(lane)) is None and not self._closed:
                    self._changed.wait()
                if self._closed or ticket is None:
                    return
                lane.waiting.remove(ticket)
                lane.running = ticket
            self._serve(ticket)

    def _next(self, lane: _Lane) -> _Ticket | None:
        """The most urgent request that can be served: one that ranks names waits until they are encoded."""
        encoded_soon = {
            ticket.request.vocabulary.digest
            for each in (self._user, self._spare)
            for ticket in each.tickets()
            if isinstance(ticket.request, EncodeText) and not ticket.cancelled()
        }
        for ticket in lane.waiting:
            request = ticket.request
            if not isinstance(request, (Predict, Everything)) or request.vocabulary_digest not in encoded_soon:
                return ticket
        return None

    def _serve(self, ticket: _Ticket) -> None:
        def report(progress: Progress) -> None:
            self._deliver(ticket, progress)

        try:
            answer = self._engine.run(ticket.request, report, ticket.cancelled)
        except CancelledError:
            return
        except Exception as error:  # whatever it is, the user hears of it and the worker lives on
            if not ticket.cancelled():
                _log.warning("%s failed", type(ticket.request).__name__, exc_info=error)
            answer = failure_of(ticket.request, error)
        self._deliver(ticket, answer)

    def _deliver(self, ticket: _Ticket, answer: Answer) -> None:
        with self._changed:
            if ticket.cancelled() or self._closed:
                return
        self.answered.emit(answer)


def _is_prefetch(request: Request) -> bool:
    return isinstance(request, Encode) and request.priority is not Priority.OPEN


def _replaces(new: Request, old: Request) -> bool:
    """Whether the answer to `old` is worth nothing once `new` is asked."""
    match new, old:
        case Predict(), Predict():
            return old.hover or not new.hover
        case Encode(), Encode():
            return new.picture_id == old.picture_id or not _is_prefetch(old)
        case Everything(), Everything():
            return new.batch == old.batch and not new.batch
        case SelectModel(), SelectModel():
            return True
        case EncodeText(), EncodeText():  # names that are wanted in spare time displace no names that are waited for
            return old.spare or not new.spare
        case _:
            return False


def _urgency(request: Request) -> int:
    match request:
        case SelectModel():
            return 0
        case EncodeText():
            return 8 if request.spare else 1
        case Predict():
            return 3 if request.hover else 2
        case Encode():
            return 2 if request.priority is Priority.OPEN else 10 + request.priority
        case Everything():
            return 20 if request.batch else 9
