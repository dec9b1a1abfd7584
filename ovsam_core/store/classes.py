"""Changes to a project's classes: merge, rename and delete everywhere, each as one step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from ovsam_core.errors import StoreError
from ovsam_core.store.records import Change, ClassRow, Ref, new_uid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ovsam_core.store.project import Applied, Project

__all__ = ["PALETTE", "add_class", "delete_class", "merge_classes", "new_class", "rename_class"]

PALETTE = (
    *("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee7733", "#009988"),
    *("#cc3311", "#33bbee", "#ee3377", "#997700", "#994455", "#6699cc", "#bbcc33", "#882255"),
)
"""Colours told apart with every common colour blindness (Paul Tol's bright, vibrant and muted sets)."""


def new_class(project: Project, entry_id: str, name: str, position: int | None = None) -> ClassRow:
    """Make a row for a class the project does not hold yet, with the next colour and position; not written.

    Put it into the same change as the first object that carries it. For several at once, say their positions.
    """
    if position is None:
        position = max((row.position for row in project.classes()), default=-1) + 1
    return ClassRow(new_uid(), entry_id, name, PALETTE[position % len(PALETTE)], position=position)


def add_class(project: Project, entry_id: str, name: str) -> ClassRow:
    """Add a class, or return the one that stands for the entry already.

    Raises:
        StoreError: another class has this display name.
    """
    present = project.class_with(entry_id=entry_id)
    if present is not None:
        return present
    _check_free(project, name)
    row = project.apply(Change(f"Add class {name}", put=(new_class(project, entry_id, name),))).rows[0]
    assert isinstance(row, ClassRow)
    return row


def rename_class(project: Project, uid: str, name: str) -> Applied:
    """Give a class another display name; its objects follow.

    Raises:
        StoreError: another class has this name (merge them instead), or the name is empty.
    """
    row = project.class_of(uid)
    if name != row.name:
        _check_free(project, name)
    return project.apply(Change(f"Rename {row.name} to {name}", put=(replace(row, name=name),)))


def merge_classes(project: Project, uids: Iterable[str], into: str) -> Applied:
    """Move the objects of classes to another class and delete the emptied ones.

    Raises:
        StoreError: a class does not exist.
    """
    target = project.class_of(into)
    merged = [project.class_of(uid) for uid in dict.fromkeys(uids) if uid != into]
    moved = tuple(replace(o, class_uid=into) for row in merged for o in project.objects_with_class(row.uid))
    label = f"Merge {', '.join(row.name for row in merged)} into {target.name}"
    return project.apply(Change(label, put=moved, drop=tuple(row.ref for row in merged)))


def delete_class(project: Project, uid: str, objects: Literal["unname", "delete"] | Ref = "unname") -> Applied:
    """Delete a class.

    Args:
        project: the project.
        uid: the class.
        objects: what becomes of its objects: they lose their name, are deleted too, or move to the class of a Ref.
    """
    row = project.class_of(uid)
    if isinstance(objects, Ref):
        return merge_classes(project, [uid], str(objects.key))
    mine = project.objects_with_class(uid)
    label = f"Delete class {row.name}"
    if objects == "delete":
        return project.apply(Change(label, drop=(*(o.ref for o in mine), row.ref)))
    return project.apply(Change(label, put=tuple(replace(o, class_uid=None) for o in mine), drop=(row.ref,)))


def _check_free(project: Project, name: str) -> None:
    if project.class_with(name=name) is not None:
        raise StoreError(f"{project.path}: a class is called {name!r} already; merge the two, or choose another name")
