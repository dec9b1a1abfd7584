"""From exceptions to messages with advice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication

from ovsam_annotator.inference.messages import (
    Encode,
    EncodeText,
    Everything,
    Failed,
    FailureKind,
    Predict,
    SelectModel,
    Stage,
)
from ovsam_annotator.inference.segmenter import EngineCrashError
from ovsam_core.errors import ModelError, PictureError, PromptError, VocabularyError

if TYPE_CHECKING:
    from ovsam_annotator.inference.messages import Request

__all__ = ["failure_of", "is_out_of_memory"]


def _advice(kind: FailureKind) -> str:
    """What a person can do about a failure."""
    return {
        "picture": QCoreApplication.translate(
            "Advice", "Check the file; the project keeps what is labelled. Retry when it is back."
        ),
        "memory": QCoreApplication.translate(
            "Advice", "Close other programs, or choose a smaller model from the Model menu, then retry."
        ),
        "crash": QCoreApplication.translate(
            "Advice", "Your work is safe. Retry, or choose a smaller model from the Model menu."
        ),
        "model": QCoreApplication.translate(
            "Advice", "Choose another model from the Model menu, or reinstall this one."
        ),
        "vocabulary": QCoreApplication.translate("Advice", "Choose another vocabulary in the class manager."),
        "internal": QCoreApplication.translate("Advice", "Your work is safe. Retry; the log has the details."),
    }[kind]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's own error, or one of torch's, which differ by device and version."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text


def failure_of(request: Request, error: BaseException) -> Failed:
    """Describe why a request failed, and what a person can do about it."""
    kind: FailureKind
    if is_out_of_memory(error):
        kind = "memory"
    elif isinstance(error, EngineCrashError):
        kind = "crash"
    elif isinstance(error, (PictureError, PromptError)):
        kind = "picture"
    elif isinstance(error, VocabularyError):
        kind = "vocabulary"
    elif isinstance(error, ModelError):
        kind = "model"
    else:
        kind = "internal"
    # Some libraries' errors are pages long; the log keeps them whole.
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if kind == "memory":
        text = f"Not enough memory for this picture and model ({text})"
    stage: Stage
    match request:
        case Predict():
            return Failed(request.picture_id, request.generation, kind, text, _advice(kind), "decoding")
        case Everything():
            return Failed(request.picture_id, request.generation, kind, text, _advice(kind), "decoding")
        case Encode():
            return Failed(request.picture_id, None, kind, text, _advice(kind), "encoding")
        case EncodeText():
            stage = "names"
        case SelectModel():
            stage = "loading"
    return Failed(None, None, kind, text, _advice(kind), stage)
