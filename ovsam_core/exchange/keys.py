"""The keys under which projects and COCO files keep each other's facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovsam_core.results import Label

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovsam_core.store import ClassRow, ObjectRow, PictureRow

__all__ = ["PRIVATE", "class_provenance", "object_from_provenance", "object_provenance", "picture_provenance"]

PRIVATE = "ovsam"
"""Key of our own facts in images, annotations and categories of a COCO file; other programs pass over it."""

_PLAIN = ("source", "state", "score", "model_id", "head_hash", "rank", "created", "seconds", "locked", "hidden")


def object_provenance(row: ObjectRow) -> dict[str, Any]:
    """What a COCO annotation cannot say of an object: who made it, with which model, from which prompts, and when."""
    facts: dict[str, Any] = {"uid": row.uid, **{name: getattr(row, name) for name in _PLAIN}}
    facts["prompts"] = list(row.prompts)
    facts["suggestions"] = [[s.entry_id, s.name, s.score, s.decided_by] for s in row.suggestions]
    # Not "in (None, [], False)": a rank of 0 equals False.
    return {name: value for name, value in facts.items() if not (value is None or value is False or value == [])}


def object_from_provenance(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of an ObjectRow from the private key of an annotation; fields of a wrong type are passed over."""
    kinds: dict[str, type | tuple[type, ...]] = {
        **dict.fromkeys(("source", "state", "model_id", "head_hash"), str),
        **dict.fromkeys(("score", "created", "seconds"), (int, float)),
        **dict.fromkeys(("locked", "hidden"), bool),
        "rank": int,
    }
    fields = {name: facts[name] for name, kind in kinds.items() if isinstance(facts.get(name), kind)}
    if isinstance(facts.get("prompts"), list):
        fields["prompts"] = tuple(facts["prompts"])
    offered = facts.get("suggestions")
    if isinstance(offered, list) and all(isinstance(s, list) and len(s) == 4 for s in offered):
        fields["suggestions"] = tuple(Label(*s) for s in offered)
    return fields


def picture_provenance(row: PictureRow) -> dict[str, Any]:
    """What a COCO image cannot say: state, group and content key."""
    facts = {"state": row.state, "group": row.group, "key": row.key}
    return {name: value for name, value in facts.items() if value is not None}


def class_provenance(row: ClassRow) -> dict[str, Any]:
    """What a COCO category cannot say: vocabulary entry, colour and hotkey."""
    facts = {"entry_id": row.entry_id, "colour": row.colour, "hotkey": row.hotkey}
    return {name: value for name, value in facts.items() if value is not None}
