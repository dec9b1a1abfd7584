"""The two borders of inference: what the window talks to, and what does the work behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ovsam_core.errors import ModelError, OvsamError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ovsam_annotator.inference.messages import Answer, Encode, Progress, Request

__all__ = ["Engine", "EngineCrashError", "Segmenter", "UnknownVocabularyError"]


class EngineCrashError(ModelError):
    """The process that holds the model died, and died again when the request was repeated."""


class UnknownVocabularyError(OvsamError):
    """A prompt names a vocabulary whose `EncodeText` this engine has not seen."""


class Segmenter(Protocol):
    """What controllers talk to: every call returns at once, answers come by a queued Qt signal."""

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""

    def submit(self, request: Request) -> None:
        """Queue a request. A newer prompt replaces the older one of its kind; a newer open picture likewise."""

    def cancel(self, generation: int) -> None:
        """Forget the request with this generation, running or not; no answer will come."""

    def prefetch(self, wanted: Sequence[Encode]) -> None:
        """Replace the list of pictures to encode in spare time, most wanted first."""

    def close(self) -> None:
        """Stop everything and wait for the threads; later calls do nothing."""


class Engine(Protocol):
    """What does the work, called from the worker's two threads: one for a waiting user, one for spare time."""

    def run(self, request: Request, report: Callable[[Progress], None], cancelled: Callable[[], bool]) -> Answer:
        """Work on one request and return its answer.

        Raises:
            CancelledError: `cancelled` said so.
            OvsamError: the request failed for a reason that its message names.
            EngineCrashError: the process behind it died twice.
        """

    def close(self) -> None:
        """Give everything back; a running request ends with `CancelledError` or `EngineCrashError`."""
