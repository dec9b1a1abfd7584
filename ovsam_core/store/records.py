"""What a project holds: pictures, objects and classes as frozen rows, and the changes made to them."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

import numpy as np
import orjson

from ovsam_core.errors import StoreError
from ovsam_core.masks import Mask
from ovsam_core.results import Label

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = [
    "Change",
    "ClassRow",
    "ObjectRow",
    "ObjectState",
    "PictureRow",
    "PictureState",
    "Ref",
    "Row",
    "SettingRow",
    "Source",
    "Step",
    "Table",
    "UndoResult",
    "new_uid",
    "pack_vector",
    "unpack_vector",
]

PictureState = Literal["unseen", "in_work", "done", "approved", "needs_work", "excluded"]
ObjectState = Literal["open", "approved", "needs_work"]
Source = Literal["prompt", "drawn", "batch", "imported"]
Table = Literal["class", "picture", "object", "setting"]
Columns = dict[str, Any]


def new_uid() -> str:
    """Return a fresh identity for an object or class: 32 random hex digits."""
    return uuid.uuid4().hex


def pack_vector(vector: NDArray[np.floating]) -> bytes:
    """Pack a (D,) embedding as little-endian float16, the form in which rows hold it."""
    return np.asarray(vector, "<f2").reshape(-1).tobytes()


def unpack_vector(packed: bytes) -> NDArray[np.float32]:
    """Return the (D,) float32 embedding that `pack_vector` packed."""
    return np.frombuffer(packed, "<f2").astype(np.float32)


def _checked(value: str, allowed: Any, field_name: str) -> str:
    if value not in get_args(allowed):
        raise StoreError(f"{field_name}: expected one of {', '.join(get_args(allowed))}, got {value!r}")
    return value


def _json(value: object) -> str | None:
    return None if not value else orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY).decode()


def _mapping(text: str | None) -> dict[str, Any]:
    return orjson.loads(text) if text else {}


@dataclass(frozen=True, slots=True)
class PictureRow:
    """A picture of a project.

    Attributes:
        id: its number in the project.
        path: with forward slashes, relative to the project file's folder ("../photos/a.jpg"); absolute only where no
            relative path exists.
        key: content key (`ovsam_core.pictures`); None until the file was read.
        w: width in pixels after the EXIF turn; None until known.
        h: height; None until known.
        state: how far the work on it is.
        group: pictures of one group never fall on both sides of a split.
        export_id: its id in COCO files; given when the row is first written and kept for ever.
        extra: what an imported file said besides.
    """

    table: ClassVar[Table] = "picture"
    columns: ClassVar[tuple[str, ...]] = ("id", "path", "key", "w", "h", "state", "group", "export_id", "extra")

    id: int
    path: str
    key: str | None = None
    w: int | None = None
    h: int | None = None
    state: PictureState = "unseen"
    group: str | None = None
    export_id: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ref(self) -> Ref:
        """What identifies the row."""
        return Ref("picture", self.id)

    def to_columns(self) -> Columns:
        """Column values by name."""
        _checked(self.state, PictureState, "picture.state")
        values = (
            self.id,
            self.path,
            self.key,
            self.w,
            self.h,
            self.state,
            self.group,
            self.export_id,
            _json(self.extra),
        )
        return dict(zip(self.columns, values, strict=True))

    @classmethod
    def from_columns(cls, values: tuple[Any, ...]) -> Self:
        """Rebuild from values in the order of `columns`."""
        *plain, extra = values
        return cls(*plain, _mapping(extra))  # type: ignore[call-arg]


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """One labelled object.

    Attributes:
        uid: identity, never reused.
        picture: id of its picture.
        mask: its mask at the picture's size; the truth from which box, area and polygons follow.
        class_uid: its class; None for an object without a name.
        source: how its mask came about.
        state: of the review.
        score: of the chosen name when it was chosen; None for a typed or imported one.
        prompts: what the person did, in order; JSON values such as {"point": [x, y], "label": 1} or {"box": [...]}.
        model_id: model that drew the mask; None for a drawn or imported one.
        head_hash: its head's hash.
        suggestions: the names offered, best first.
        rank: position of the chosen name among them from 0; None where it was typed.
        region: packed embedding of the final box (`unpack_vector`); None where unknown.
        crop_region: packed crop embedding.
        created: seconds since 1970.
        changed: seconds since 1970; stamped by the store.
        seconds: working time spent on the object; None where unknown.
        attributes: the user's own fields.
        crowd: whether it stands for a group (COCO's iscrowd).
        locked: may not be edited.
        hidden: not shown.
        export_id: its id in COCO files; given when the row is first written and kept for ever.
        extra: what an imported file said besides.
    """

    table: ClassVar[Table] = "object"
    columns: ClassVar[tuple[str, ...]] = (
        *("uid", "picture", "class", "rle", "mask_h", "mask_w", "x", "y", "w", "h", "area"),
        *("source", "state", "score", "prompts", "model_id", "head_hash", "suggestions", "rank"),
        *("region", "crop_region", "created", "changed", "seconds", "attributes"),
        *("crowd", "locked", "hidden", "export_id", "extra"),
    )

    uid: str
    picture: int
    mask: Mask
    class_uid: str | None = None
    source: Source = "prompt"
    state: ObjectState = "open"
    score: float | None = None
    prompts: tuple[Any, ...] = ()
    model_id: str | None = None
    head_hash: str | None = None
    suggestions: tuple[Label, ...] = ()
    rank: int | None = None
    region: bytes | None = None
    crop_region: bytes | None = None
    created: float = field(default_factory=time.time)
    changed: float = 0.0
    seconds: float | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    crowd: bool = False
    locked: bool = False
    hidden: bool = False
    export_id: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ref(self) -> Ref:
        """What identifies the row."""
        return Ref("object", self.uid)

    @property
    def bbox_xywh(self) -> tuple[int, int, int, int]:
        """Tight box of the mask: x, y, width, height."""
        return self.mask.bbox_xywh

    def to_columns(self) -> Columns:
        """Column values by name; box and area are taken from the mask."""
        _checked(self.source, Source, "object.source")
        _checked(self.state, ObjectState, "object.state")
        offered = [(s.entry_id, s.name, s.score, s.decided_by) for s in self.suggestions]
        values = (
            *(self.uid, self.picture, self.class_uid, self.mask.counts, self.mask.height, self.mask.width),
            *self.mask.bbox_xywh,
            *(self.mask.area, self.source, self.state, self.score, _json(self.prompts), self.model_id, self.head_hash),
            *(_json(offered), self.rank, self.region, self.crop_region, self.created, self.changed, self.seconds),
            *(_json(self.attributes), int(self.crowd), int(self.locked), int(self.hidden)),
            *(self.export_id, _json(self.extra)),
        )
        return dict(zip(self.columns, values, strict=True))

    @classmethod
    def from_columns(cls, values: tuple[Any, ...]) -> Self:
        """Rebuild from values in the order of `columns`."""
        c = dict(zip(cls.columns, values, strict=True))
        return cls(
            uid=c["uid"],
            picture=c["picture"],
            mask=Mask(c["rle"], c["mask_h"], c["mask_w"]),
            class_uid=c["class"],
            source=c["source"],
            state=c["state"],
            score=c["score"],
            prompts=tuple(orjson.loads(c["prompts"])) if c["prompts"] else (),
            model_id=c["model_id"],
            head_hash=c["head_hash"],
            suggestions=tuple(Label(*s) for s in orjson.loads(c["suggestions"])) if c["suggestions"] else (),
            rank=c["rank"],
            region=c["region"],
            crop_region=c["crop_region"],
            created=c["created"],
            changed=c["changed"],
            seconds=c["seconds"],
            attributes=_mapping(c["attributes"]),
            crowd=bool(c["crowd"]),
            locked=bool(c["locked"]),
            hidden=bool(c["hidden"]),
            export_id=c["export_id"],
            extra=_mapping(c["extra"]),
        )


@dataclass(frozen=True, slots=True)
class ClassRow:
    """A name that objects of the project carry.

    Attributes:
        uid: identity.
        entry_id: vocabulary entry it stands for ("n02121620", "coco:17", "own:rust-spot").
        name: display name, unique in the project.
        colour: "#rrggbb".
        hotkey: such as "Ctrl+1"; None without one.
        export_id: its category id in COCO files; given when the row is first written and kept for ever.
        position: its place in lists.
        extra: what an imported file said besides (supercategory, …).
    """

    table: ClassVar[Table] = "class"
    columns: ClassVar[tuple[str, ...]] = (
        "uid",
        "entry_id",
        "name",
        "colour",
        "hotkey",
        "export_id",
        "position",
        "extra",
    )

    uid: str
    entry_id: str
    name: str
    colour: str = "#808080"
    hotkey: str | None = None
    export_id: int | None = None
    position: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ref(self) -> Ref:
        """What identifies the row."""
        return Ref("class", self.uid)

    def to_columns(self) -> Columns:
        """Column values by name."""
        if not self.name.strip():
            raise StoreError("class.name: must not be empty")
        values = (self.uid, self.entry_id, self.name, self.colour, self.hotkey, self.export_id, self.position)
        return dict(zip(self.columns, (*values, _json(self.extra)), strict=True))

    @classmethod
    def from_columns(cls, values: tuple[Any, ...]) -> Self:
        """Rebuild from values in the order of `columns`."""
        *plain, extra = values
        return cls(*plain, _mapping(extra))  # type: ignore[call-arg]


@dataclass(frozen=True, slots=True)
class SettingRow:
    """A named JSON value kept with the project."""

    table: ClassVar[Table] = "setting"
    columns: ClassVar[tuple[str, ...]] = ("name", "value")

    name: str
    value: Any

    @property
    def ref(self) -> Ref:
        """What identifies the row."""
        return Ref("setting", self.name)

    def to_columns(self) -> Columns:
        """Column values by name."""
        return {"name": self.name, "value": orjson.dumps(self.value, option=orjson.OPT_SORT_KEYS).decode()}

    @classmethod
    def from_columns(cls, values: tuple[Any, ...]) -> Self:
        """Rebuild from values in the order of `columns`."""
        return cls(values[0], orjson.loads(values[1]))


Row = PictureRow | ObjectRow | ClassRow | SettingRow


@dataclass(frozen=True, slots=True)
class Ref:
    """Identity of a row: its table and its key (uid, picture id or setting name)."""

    table: Table
    key: str | int


@dataclass(frozen=True, slots=True)
class Change:
    """One action of a person or a batch: written whole or not at all, and undone as one step.

    Attributes:
        label: what the history list shows ("Accept cat").
        put: rows to insert or replace, told apart by their key. Columns that stay the same cost nothing.
        drop: rows to delete. Objects of a dropped picture or class must be dropped or put elsewhere in the same change.
        picture: the picture in whose history the action stands; None for one of the whole project.
        undoable: False for what is recorded but never undone (settings, facts read from files).
    """

    label: str
    put: tuple[Row, ...] = ()
    drop: tuple[Ref, ...] = ()
    picture: int | None = None
    undoable: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """A change as the journal remembers it.

    Attributes:
        id: number, rising with time.
        label: of the change.
        picture: of the change.
        time: seconds since 1970.
        undone: whether it is undone at present (and can be redone).
        rows: number of rows it touched.
        pictures: number of pictures whose objects or state it touched; above 1 for a batch.
    """

    id: int
    label: str
    picture: int | None
    time: float
    undone: bool
    rows: int
    pictures: int


@dataclass(frozen=True, slots=True)
class UndoResult:
    """What undo or redo did.

    Attributes:
        step: the step, as it is now.
        pictures: ids of pictures that came or went, or whose objects or state changed.
        classes: whether classes changed.
        left: rows left alone because they were changed since by another step; a person's later work wins.
    """

    step: Step
    pictures: frozenset[int]
    classes: bool
    left: tuple[Ref, ...] = ()


def with_export_id(row: Row, export_id: int) -> Row:
    """Return the row with its id for COCO files set."""
    assert not isinstance(row, SettingRow)
    return replace(row, export_id=export_id)
