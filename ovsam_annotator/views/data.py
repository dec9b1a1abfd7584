"""What controllers hand to the views: frozen, plain, decoded off the GUI thread.

Coordinates are pixels of the EXIF-turned original: x right, y down, pixel 0 covers [0, 1); far edges exclusive.
Nothing here needs Qt, a store or a model, so that controllers and tests can build it anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from ovsam_annotator.model.shapes import MaskShape

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "CandidateRow",
    "CanvasObject",
    "ClassRow",
    "DisplayOptions",
    "EncodeState",
    "ExportChoice",
    "HistoryRow",
    "JobRow",
    "MaskShape",
    "Message",
    "ModelRow",
    "NameRow",
    "ObjectRow",
    "ObjectState",
    "PictureImage",
    "PictureRow",
    "PictureState",
    "PromptMarks",
    "ProposalRow",
    "ReportData",
    "ReviewStep",
    "Rgb",
    "SaveState",
    "SearchRow",
    "SettingRow",
    "Suggestion",
    "Tool",
]

Rgb = tuple[int, int, int]


class Tool(StrEnum):
    """What the left mouse button does on the canvas."""

    PROMPT = "prompt"
    SELECT = "select"
    BRUSH = "brush"
    ERASER = "eraser"
    POLYGON = "polygon"
    VERTICES = "vertices"


class EncodeState(StrEnum):
    """How far the model is with a picture."""

    NONE = "none"
    QUEUED = "queued"
    RUNNING = "running"
    READY = "ready"
    FAILED = "failed"


class PictureState(StrEnum):
    """Where a picture stands in the project's work."""

    UNSEEN = "unseen"
    IN_WORK = "in work"
    DONE = "done"
    APPROVED = "approved"
    NEEDS_WORK = "needs work"
    EXCLUDED = "excluded"


class ObjectState(StrEnum):
    """Where an object stands in review."""

    OPEN = "open"
    APPROVED = "approved"
    NEEDS_WORK = "needs work"


class SaveState(StrEnum):
    """What the saved chip says."""

    SAVED = "saved"
    PENDING = "pending"
    FAILED = "failed"
    READ_ONLY = "read only"


@dataclass(frozen=True, slots=True, eq=False)
class PictureImage:
    """A picture ready to paint; make it with `pyramid.picture_image`, off the GUI thread.

    Attributes:
        picture_id: id in the project.
        levels: full size first, each further one half as large; (h, w, 3) uint8, or uint16 where the file has more than
            8 bits.
        window: darkest and brightest shown value of a picture with more than 8 bits; None for 8 bits.
    """

    picture_id: int
    levels: tuple[NDArray[np.uint8] | NDArray[np.uint16], ...]
    window: tuple[float, float] | None = None

    @property
    def width(self) -> int:
        """Width of the picture in pixels."""
        return int(self.levels[0].shape[1])

    @property
    def height(self) -> int:
        """Height of the picture in pixels."""
        return int(self.levels[0].shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class CanvasObject:
    """A stored object as the canvas shows it: solid outline, class colour.

    Attributes:
        uid: id in the project.
        shape: its mask.
        name: class name; empty for an object without a name.
        colour: colour of its class.
        hidden: not painted; the canvas says how many are hidden.
        locked: painted with a lock beside its name.
    """

    uid: str
    shape: MaskShape
    name: str
    colour: Rgb
    hidden: bool = False
    locked: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class PromptMarks:
    """The points and the box of the object in work.

    Attributes:
        points: (x, y, positive) for each click, in the order given.
        box_xyxy: the dragged box, or None.
        pending: asked, not answered yet; painted hollow.
    """

    points: tuple[tuple[float, float, bool], ...] = ()
    box_xyxy: tuple[float, float, float, float] | None = None
    pending: bool = False


@dataclass(frozen=True, slots=True)
class NameRow:
    """One name offered for the mask.

    Attributes:
        entry_id: id of the vocabulary entry.
        name: display name.
        score: 0 to 1.
        decided_by: "head", "clip", "crop" or "memory"; shown as a hint.
        colour: colour of its class where the project has it already.
        examples: "learned from n examples" where memory decided; 0 otherwise.
    """

    entry_id: str
    name: str
    score: float
    decided_by: str = "head"
    colour: Rgb | None = None
    examples: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class CandidateRow:
    """One of the masks offered for the prompt.

    Attributes:
        shape: its mask.
        predicted_iou: 0 to 1.
    """

    shape: MaskShape
    predicted_iou: float


@dataclass(frozen=True, slots=True, eq=False)
class Suggestion:
    """The answer on show: masks and the names of the chosen one. Dashed outline and "?" until accepted.

    Attributes:
        candidates: best first; at least one.
        chosen: index of the candidate on show.
        names: up to nine, best first.
        preselected: index of the row that Enter accepts, or None below the margin.
        empty: the mask has no pixel; the names describe the prompt's region.
        note: one short line under the names ("after a closer look", "memory off"), may be empty.
        serial: grows with each answer; rows of the same serial never change place.
    """

    candidates: tuple[CandidateRow, ...]
    names: tuple[NameRow, ...]
    chosen: int = 0
    preselected: int | None = None
    empty: bool = False
    note: str = ""
    serial: int = 0


@dataclass(frozen=True, slots=True)
class SearchRow:
    """A vocabulary entry found by the search.

    Attributes:
        entry_id: id of the entry; empty for the row "add this name".
        name: display name.
        synonym: the synonym that matched, where the name itself did not.
        definition: one line, may be empty.
        score: score of this entry for the mask on show, or None.
    """

    entry_id: str
    name: str
    synonym: str = ""
    definition: str = ""
    score: float | None = None


@dataclass(frozen=True, slots=True)
class PictureRow:
    """One line of the picture list.

    Attributes:
        picture_id: id in the project.
        name: file name, with its folder below the project's where needed; any script.
        state: where it stands.
        objects: number of objects.
        encode: how far the model is with it.
        classes: names of the classes on it, for `label:` filters.
        lowest_score: lowest score of an accepted name, for `score<` filters; None without one.
        missing: the file cannot be found.
    """

    picture_id: int
    name: str
    state: PictureState = PictureState.UNSEEN
    objects: int = 0
    encode: EncodeState = EncodeState.NONE
    classes: tuple[str, ...] = ()
    lowest_score: float | None = None
    missing: bool = False


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """One line of the objects panel.

    Attributes:
        uid: id in the project.
        name: class name, empty without one.
        colour: colour of its class.
        area: pixels.
        score: score of the name when it was accepted, or None (drawn, imported, typed).
        source: "prompt", "drawn", "batch" or "imported".
        state: where it stands in review.
        locked: cannot be changed by accident.
        hidden: not painted.
        origin: one line of provenance for the tool tip ("starter: 2nd name, accepted by you").
        attributes: the object's attributes.
    """

    uid: str
    name: str
    colour: Rgb
    area: int
    score: float | None = None
    source: str = "prompt"
    state: ObjectState = ObjectState.OPEN
    locked: bool = False
    hidden: bool = False
    origin: str = ""
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class of the project.

    Attributes:
        uid: id in the project.
        entry_id: id of its vocabulary entry.
        name: display name.
        colour: colour of its masks.
        hotkey: 1 to 9, or 10 for Ctrl+0; None without one.
        count: number of objects in the project.
    """

    uid: str
    entry_id: str
    name: str
    colour: Rgb
    hotkey: int | None = None
    count: int = 0


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One step of the journal.

    Attributes:
        step: id of the step; 0 stands for the state before the first one.
        text: what was done ("Accept chair").
        time: local time of day, already formatted.
        undone: can be redone.
    """

    step: int
    text: str
    time: str = ""
    undone: bool = False


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One installed model.

    Attributes:
        model_id: id.
        title: name to show.
        seconds: seconds per picture measured on this machine, or None.
        licence: short licence name.
    """

    model_id: str
    title: str
    seconds: float | None = None
    licence: str = ""


@dataclass(frozen=True, slots=True)
class JobRow:
    """Something long that runs in the background.

    Attributes:
        job_id: id.
        title: what it is.
        text: what it does now.
        fraction: 0 to 1, or None where the length is unknown.
        can_pause: a pause button is offered.
        paused: it is paused.
        can_cancel: a cancel button is offered.
    """

    job_id: str
    title: str
    text: str = ""
    fraction: float | None = None
    can_pause: bool = False
    paused: bool = False
    can_cancel: bool = True


@dataclass(frozen=True, slots=True)
class Message:
    """A non-modal message.

    Attributes:
        key: a later message with the same key replaces it.
        text: what happened.
        advice: what to do about it.
        level: how loud it is; "info" goes away by itself.
        action: text of a button, empty without one; pressing emits `message_action(key)`.
    """

    key: str
    text: str
    advice: str = ""
    level: Literal["info", "warning", "error"] = "info"
    action: str = ""


@dataclass(frozen=True, slots=True)
class ProposalRow:
    """All proposals of "Label everything" that share a name.

    Attributes:
        name: their best name.
        count: how many.
        best: highest score.
        lowest: lowest score.
        colour: colour they are painted with.
    """

    name: str
    count: int
    best: float
    lowest: float
    colour: Rgb


@dataclass(frozen=True, slots=True)
class ReviewStep:
    """What is under review now.

    Attributes:
        title: name of the object, or of the picture.
        position: index of it, from 1.
        total: how many there are.
        state: where it stands.
        detail: one line (score, source, provenance).
    """

    title: str
    position: int
    total: int
    state: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class DisplayOptions:
    """How masks are painted; changed by the view menu, kept by the settings.

    Attributes:
        fill: fill opacity, 0 to 1; 0 shows outlines only.
        outlines: outlines are painted.
        names: names are painted.
        hidden: everything is hidden while the key is held.
        crosshair: lines through the cursor.
        smooth: smooth below 400 per cent; above it pixels are always crisp.
    """

    fill: float = 0.4
    outlines: bool = True
    names: bool = True
    hidden: bool = False
    crosshair: bool = False
    smooth: bool = True


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One line of the settings dialog.

    Attributes:
        key: id.
        title: what it is.
        value: bool, int, float or str, which decides the widget.
        help: one sentence.
        group: heading.
        choices: (value, text) pairs; a combo box is shown where there are any.
        minimum: lower limit of a number.
        maximum: upper limit of a number.
    """

    key: str
    title: str
    value: Any
    help: str = ""
    group: str = ""
    choices: tuple[tuple[Any, str], ...] = ()
    minimum: float = 0
    maximum: float = 1_000_000


@dataclass(frozen=True, slots=True)
class ReportData:
    """Figures of the project for the report panel.

    Attributes:
        classes: (name, number of objects, colour), most frequent first.
        areas: pixels of every object.
        scores: score of every accepted name that had one.
        seconds: seconds from first click to acceptance, for each object made here.
        clicks: clicks of each object made here.
        ranks: rank of the accepted name, from 1; 0 where the name was typed.
        pictures: (state, number of pictures).
    """

    classes: tuple[tuple[str, int, Rgb], ...] = ()
    areas: tuple[int, ...] = ()
    scores: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()
    clicks: tuple[int, ...] = ()
    ranks: tuple[int, ...] = ()
    pictures: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class ExportChoice:
    """What the export dialog returns, and what it starts with.

    Attributes:
        path: file or folder to write.
        format: "coco", "lvis", "yolo", "voc", "labelme" or "mask_png".
        scope: "approved", "done" or "all" pictures.
        geometry: "rle" or "polygons".
        unnamed: objects without a name are written too.
        validation: share of pictures for a group-safe validation split, 0 for one file.
    """

    path: str
    format: str = "coco"
    scope: str = "done"
    geometry: Literal["rle", "polygons"] = "rle"
    unnamed: bool = False
    validation: float = 0.0
    counts: tuple[tuple[str, int], ...] = field(default=(), compare=False)
