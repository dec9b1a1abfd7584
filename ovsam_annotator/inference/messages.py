"""What the window asks of the model and what it hears back: frozen, so that they can cross threads and processes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import orjson

from ovsam_core.vocabulary import Entry, Vocabulary

if TYPE_CHECKING:
    from ovsam_annotator.model.shapes import MaskShape
    from ovsam_core.prompts import Prompt
    from ovsam_core.results import Prediction

__all__ = [
    "Answer",
    "Encode",
    "EncodeText",
    "Encoded",
    "Everything",
    "Failed",
    "FailureKind",
    "ModelReady",
    "Predict",
    "Predicted",
    "Priority",
    "Progress",
    "Proposed",
    "Request",
    "SelectModel",
    "Stage",
    "TextEncoded",
    "is_background",
]

_AT_ONCE = 1000  # names packed in one call: about a millisecond

Stage = Literal["loading", "reading", "encoding", "decoding", "names"]
FailureKind = Literal["picture", "memory", "crash", "model", "vocabulary", "internal"]


class Priority(IntEnum):
    """Who goes first among encodings; prompts go before all of them."""

    OPEN = 0
    NEXT = 1
    KEEP = 2
    BATCH = 3


@dataclass(frozen=True, slots=True)
class Encode:
    """Encode a picture, unless a cache has it. Anything but the open picture gives way to prompts."""

    picture_id: int
    path: str
    priority: Priority = Priority.OPEN


@dataclass(frozen=True, slots=True, eq=False)
class Predict:
    """Answer one prompt.

    Attributes:
        picture_id: id in the project.
        path: the picture's file.
        generation: number of the request; the answer carries it back.
        prompt: points, box and mask, in picture pixels.
        vocabulary_digest: names to rank; its `EncodeText` came before.
        hover: a preview without the crop branch, worth nothing once the pointer has moved.
    """

    picture_id: int
    path: str
    generation: int
    prompt: Prompt
    vocabulary_digest: str
    hover: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Everything:
    """Propose objects of a whole picture, or one object for each box.

    Attributes:
        picture_id: id in the project.
        path: the picture's file.
        generation: number of the request.
        vocabulary_digest: names to rank.
        boxes: (x1, y1, x2, y2) boxes to segment; None lets a grid of points find objects.
        batch: part of a batch; goes behind everything the user waits for.
    """

    picture_id: int
    path: str
    generation: int
    vocabulary_digest: str
    boxes: tuple[tuple[float, float, float, float], ...] | None = None
    batch: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class EncodeText:
    """Encode the names of a vocabulary, unless a cache has them.

    Attributes:
        vocabulary: the names.
        spare: in spare time: other names can be ranked meanwhile. Otherwise the user waits for these.
    """

    vocabulary: Vocabulary
    spare: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross processes piece by piece: 22,000 names packed in one call would hold up every other thread."""
        pieces = [
            orjson.dumps([_columns(entry) for entry in self.vocabulary.entries[start : start + _AT_ONCE]])
            for start in range(0, len(self.vocabulary), _AT_ONCE)
        ]
        return _encode_text, (self.vocabulary.id, pieces, self.spare)


def _columns(entry: Entry) -> tuple[object, ...]:
    return entry.id, entry.name, entry.synonyms, entry.definition, entry.parent, entry.spoken


def _encode_text(vocabulary_id: str, pieces: list[bytes], spare: bool) -> EncodeText:
    entries = (
        Entry(id_, name, tuple(synonyms), definition, parent, tuple(spoken))
        for piece in pieces
        for id_, name, synonyms, definition, parent, spoken in orjson.loads(piece)
    )
    return EncodeText(Vocabulary(vocabulary_id, tuple(entries)), spare)


@dataclass(frozen=True, slots=True)
class SelectModel:
    """Load a model, and drop the one before."""

    model_id: str


Request: TypeAlias = Encode | Predict | Everything | EncodeText | SelectModel


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a request is; `fraction` is None where the length is unknown."""

    picture_id: int | None
    stage: Stage
    fraction: float | None = None


@dataclass(frozen=True, slots=True)
class Encoded:
    """A picture is ready; `cached` says that no network had to run, `seconds` what it took otherwise."""

    picture_id: int
    seconds: float
    cached: bool


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """Answer to a prompt; `shapes` are the candidates' masks, decoded and traced."""

    picture_id: int
    generation: int
    prediction: Prediction
    shapes: tuple[MaskShape, ...]
    hover: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Proposed:
    """Objects found by `Everything`, best first; `shapes` are their best masks."""

    picture_id: int
    generation: int
    predictions: tuple[Prediction, ...]
    shapes: tuple[MaskShape, ...]


@dataclass(frozen=True, slots=True)
class TextEncoded:
    """The names of a vocabulary can be ranked."""

    digest: str


@dataclass(frozen=True, slots=True)
class ModelReady:
    """A model is loaded.

    Attributes:
        model_id: its id.
        device: where it runs.
        head_hash: provenance of the objects it draws.
        licence: of its weights.
        notice: why another model than the wanted one is in use; empty where it is the wanted one.
    """

    model_id: str
    device: str
    head_hash: str = ""
    licence: str = ""
    notice: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """A request has failed.

    Attributes:
        picture_id: of the request; None where it was about no picture.
        generation: of the request; None where it had none.
        kind: what failed.
        text: what happened.
        advice: what a person can do about it.
        stage: what was asked.
    """

    picture_id: int | None
    generation: int | None
    kind: FailureKind
    text: str
    advice: str
    stage: Stage = "decoding"


Answer: TypeAlias = Progress | Encoded | Predicted | Proposed | TextEncoded | ModelReady | Failed


def is_background(request: Request) -> bool:
    """Whether the request gives way to a waiting user at the next layer of the network."""
    match request:
        case Encode():
            return request.priority is not Priority.OPEN
        case Everything():
            return True
        case EncodeText():
            return request.spare
        case _:
            return False
