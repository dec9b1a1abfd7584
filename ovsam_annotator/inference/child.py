"""What the model's process runs: two connections, one for a waiting user and one for spare time."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import threading
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from ovsam_annotator.inference.transfer import discard, pack, unpack
from ovsam_annotator.model.responsive import share_evenly
from ovsam_core.errors import CancelledError

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from ovsam_annotator.inference.messages import Progress, Request
    from ovsam_annotator.inference.segmenter import Engine

__all__ = ["ChildSettings", "serve"]


@dataclass(frozen=True, slots=True)
class ChildSettings:
    """How the model's process is set up.

    Attributes:
        model_id: model to load.
        fallback: let a small untrained model stand in where the wanted one is missing.
        niceness: how far the process gives way to others, above all to the window, on the scale of Unix (0 to 19);
            work in spare time gives way twice as far.
        demo: no model at all, the demo engine.
    """

    model_id: str
    fallback: bool = True
    niceness: int = 5
    demo: bool = False


def serve(connections: tuple[Connection, Connection], cancelled: tuple[Any, Any], settings: ChildSettings) -> None:
    """Answer requests on both connections until their other ends are closed.

    Args:
        connections: for a waiting user, and for spare time.
        cancelled: for each connection a shared integer: tickets up to this number are no longer wanted.
        settings: how to set the process up.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in a terminal reaches the whole group; the window decides
    faulthandler.enable()
    _give_way(settings.niceness)
    share_evenly()
    engine = _engine(settings)

    def spare() -> None:
        _give_way_further(2 * settings.niceness)
        _answer(connections[1], cancelled[1], engine)

    threading.Thread(target=spare, daemon=True).start()
    _answer(connections[0], cancelled[0], engine)
    sys.stderr.flush()
    os._exit(0)  # the other thread may be deep in the network; nothing here needs an orderly end


def _engine(settings: ChildSettings) -> Engine:
    if settings.demo:
        from ovsam_annotator.inference.fake import FakeEngine  # noqa: PLC0415 - only one of the two is wanted

        return FakeEngine()
    from ovsam_core.lean_import import import_libraries  # noqa: PLC0415 - imports torch

    import_libraries()
    from ovsam_annotator.inference.in_process import ModelEngine  # noqa: PLC0415 - imports torch

    return ModelEngine(settings.model_id, fallback=settings.fallback)


def _give_way(niceness: int) -> None:
    with contextlib.suppress(psutil.Error, OSError):
        lower = getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS", None)  # Windows' own scale
        psutil.Process().nice(niceness if lower is None else lower)


def _give_way_further(niceness: int) -> None:
    """Lower the priority of this thread and of those that torch starts for it; only Linux has priorities by thread."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)


def _answer(connection: Connection, cancelled: Any, engine: Engine) -> None:
    while True:
        try:
            ticket, parcel = connection.recv()
        except (EOFError, OSError):
            return
        if not _answer_one(connection, ticket, parcel, cancelled, engine):
            return


def _answer_one(connection: Connection, ticket: int, parcel: Any, cancelled: Any, engine: Engine) -> bool:
    """Work on one request; False where nobody listens any more."""

    def unwanted() -> bool:
        return bool(cancelled.value >= ticket)

    try:
        try:
            request: Request = unpack(parcel)  # type: ignore[assignment]
            answer = engine.run(request, _reporter(connection, ticket), unwanted)
            reply = pack(answer)
            try:
                connection.send((ticket, "answer", reply))
            except OSError:
                discard(reply)
                raise
        except CancelledError:
            connection.send((ticket, "cancelled", None))
        except (EOFError, BrokenPipeError, ConnectionError):
            return False
        except BaseException as error:
            connection.send((ticket, "error", _portable(error)))
    except OSError:
        return False
    return True


def _reporter(connection: Connection, ticket: int) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        connection.send((ticket, "progress", progress))

    return report


def _portable(error: BaseException) -> tuple[BaseException, str]:
    """An exception that survives the pipe, and its traceback as text."""
    trace = "".join(traceback.format_exception(error))
    module = type(error).__module__
    if module.startswith(("ovsam_", "builtins")):
        return error.with_traceback(None), trace
    return RuntimeError(f"{type(error).__name__}: {error}"), trace
