"""LVIS JSON: COCO with synsets, frequencies and federated lists of what was looked for."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ovsam_core.formats.coco import CocoDataset, read_coco, write_coco
from ovsam_core.formats.report import Findings, Report

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_lvis", "to_lvis", "write_lvis"]

_RARE, _COMMON = 10, 100  # LVIS: at most 10 training pictures is rare, at most 100 common, more frequent


def read_lvis(path: str | Path, *, images: str | Path | None = None, strict: bool = True) -> tuple[CocoDataset, Report]:
    """Read an LVIS file; as `read_coco`, which knows its pictures without file names.

    Raises:
        FormatError: as `read_coco`.
    """
    return read_coco(path, images=images, strict=strict)


def write_lvis(dataset: CocoDataset, path: str | Path) -> Report:
    """Write a dataset with every field that LVIS tools expect.

    Raises:
        FormatError: the file cannot be written.
    """
    findings = Findings(path)
    converted = to_lvis(dataset, findings)
    return write_coco(converted, path) + findings.report()


def to_lvis(dataset: CocoDataset, findings: Findings) -> CocoDataset:
    """Add LVIS's fields where they are missing, and note what LVIS cannot hold.

    Classes that a picture is not known to lack are in neither of its lists: a picture's classes count as exhaustively
    labelled, and nothing is claimed of the others.
    """
    pictures: dict[int, set[int]] = defaultdict(set)
    objects: dict[int, int] = defaultdict(int)
    sound = []
    for annotation in dataset.annotations:
        if annotation.iscrowd:
            findings.note(f"annotation {annotation.id}", "iscrowd", "LVIS has no crowd regions: left out")
            continue
        sound.append(annotation)
        pictures[annotation.category_id].add(annotation.image_id)
        objects[annotation.category_id] += 1
    categories = []
    for category in dataset.categories:
        seen = len(pictures[category.id])
        stated: dict[str, Any] = {
            "synset": "",
            "synonyms": [category.name],
            "def": "",
            "frequency": "r" if seen <= _RARE else "c" if seen <= _COMMON else "f",
            **category.extra,
            "image_count": seen,
            "instance_count": objects[category.id],
        }
        if not stated["synset"]:
            findings.note(f"category {category.id}", "synset", f"{category.name!r} has none; left empty")
        categories.append(replace(category, extra=stated))
    federated: dict[str, Any] = {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    images = [replace(image, extra=federated | dict(image.extra)) for image in dataset.images]
    return replace(dataset, images=tuple(images), annotations=tuple(sound), categories=tuple(categories))
