"""The project file: what was labelled, by whom and how, safe against crashes, with its history."""

from ovsam_core.store.classes import PALETTE, add_class, delete_class, merge_classes, new_class, rename_class
from ovsam_core.store.moved import find_by_content, missing_pictures, relink
from ovsam_core.store.project import SUFFIX, Applied, ObjectSummary, OpenReport, PictureCounts, Project
from ovsam_core.store.records import (
    Change,
    ClassRow,
    ObjectRow,
    ObjectState,
    PictureRow,
    PictureState,
    Ref,
    SettingRow,
    Source,
    Step,
    UndoResult,
    new_uid,
    pack_vector,
    unpack_vector,
)
from ovsam_core.store.recovery import SalvageReport, salvage

__all__ = [
    "PALETTE",
    "SUFFIX",
    "Applied",
    "Change",
    "ClassRow",
    "ObjectRow",
    "ObjectState",
    "ObjectSummary",
    "OpenReport",
    "PictureCounts",
    "PictureRow",
    "PictureState",
    "Project",
    "Ref",
    "SalvageReport",
    "SettingRow",
    "Source",
    "Step",
    "UndoResult",
    "add_class",
    "delete_class",
    "find_by_content",
    "merge_classes",
    "missing_pictures",
    "new_class",
    "new_uid",
    "pack_vector",
    "relink",
    "rename_class",
    "salvage",
    "unpack_vector",
]
