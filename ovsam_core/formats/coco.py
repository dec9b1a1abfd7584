"""COCO JSON files: reading that loses nothing, writing that is stable."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from ovsam_core.errors import FormatError
from ovsam_core.formats.coco_parser import file_name_of, leaves_folder, parse_coco
from ovsam_core.formats.records import AnnotationRecord, CategoryRecord, CocoDataset, ImageRecord, Polygons
from ovsam_core.formats.report import Findings, Report
from ovsam_core.formats.truncated import parse_json
from ovsam_core.masks import Mask

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AnnotationRecord",
    "CategoryRecord",
    "CocoDataset",
    "ImageRecord",
    "Polygons",
    "coco_document",
    "parse_coco",
    "read_coco",
    "write_bytes_atomically",
    "write_coco",
]

Json = dict[str, Any]


def read_coco(path: str | Path, *, images: str | Path | None = None, strict: bool = True) -> tuple[CocoDataset, Report]:
    """Read a COCO or LVIS file and check every record.

    Args:
        path: the JSON file; a truncated one gives what stands before the cut.
        images: folder of the pictures; when given, every file is looked for and its size compared. Otherwise they are
            not looked at, and the folder is that of the JSON file or `images` beside it, wherever the first one lies.
        strict: raise at errors. Otherwise unsound items are left out and kept in `Report.rejected`.

    Raises:
        FormatError: the file cannot be read or is no COCO file; with `strict`, at any error in it.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    findings = Findings(path)
    document = parse_json(data, findings)
    folder = _picture_folder(path, document) if images is None else Path(images)
    dataset, report = parse_coco(document, findings, folder=folder, look_at_pictures=images is not None)
    if strict and report.errors:
        more = f" (and {len(report.errors) - 1} more)" if len(report.errors) > 1 else ""
        raise FormatError(f"{report.errors[0]}{more}".removeprefix("error: "))
    return dataset, report


def _picture_folder(path: Path, document: object) -> Path:
    images = document.get("images") if isinstance(document, dict) else None
    first = images[0] if isinstance(images, list) and images and isinstance(images[0], dict) else {}
    name = file_name_of(first)
    for folder in (path.parent, path.parent / "images"):
        if name is not None and not leaves_folder(name) and (folder / name).is_file():
            return folder
    return path.parent


def coco_document(dataset: CocoDataset) -> Json:
    """The JSON document of a dataset: records by id, keys in fixed order, missing boxes and areas from the masks."""
    images = {image.id: image for image in dataset.images}
    return {
        **{key: dataset.extra[key] for key in ("info", "licenses") if key in dataset.extra},
        "images": [
            {"id": i.id, "file_name": i.file_name, "width": i.width, "height": i.height, **_sorted(i.extra)}
            for i in sorted(dataset.images, key=lambda i: i.id)
        ],
        "annotations": [
            _annotation_document(a, images[a.image_id]) for a in sorted(dataset.annotations, key=lambda a: a.id)
        ],
        "categories": [
            {"id": c.id, "name": c.name, **_sorted(c.extra)} for c in sorted(dataset.categories, key=lambda c: c.id)
        ],
        **{key: dataset.extra[key] for key in sorted(dataset.extra) if key not in ("info", "licenses")},
    }


def _sorted(extra: Mapping[str, Any]) -> Json:
    return {key: extra[key] for key in sorted(extra)}


def _annotation_document(annotation: AnnotationRecord, image: ImageRecord) -> Json:
    segmentation = annotation.segmentation
    box, area = annotation.bbox_xywh, annotation.area
    if (box is None or area is None) and segmentation is not None:
        mask = annotation.mask(image)
        box = mask.bbox_xywh if box is None else box
        area = mask.area if area is None else area
    if area is None and box is not None:
        area = box[2] * box[3]
    document: Json = {
        "id": annotation.id,
        "image_id": annotation.image_id,
        "category_id": annotation.category_id,
        "iscrowd": int(annotation.iscrowd),
        "area": area,
        "bbox": box,
    }
    if segmentation is not None:
        document["segmentation"] = segmentation.rle if isinstance(segmentation, Mask) else segmentation
    return document | _sorted(annotation.extra)


def write_coco(dataset: CocoDataset, path: str | Path) -> Report:
    """Write a dataset; the same dataset gives the same bytes, and a file is replaced whole or not at all.

    Raises:
        FormatError: the file cannot be written, or an object's picture is not in the dataset.
    """
    known = {image.id for image in dataset.images}
    for annotation in dataset.annotations:
        if annotation.image_id not in known:
            raise FormatError(f"{path}: annotation {annotation.id}: image_id: no image has id {annotation.image_id}")
    try:
        data = orjson.dumps(coco_document(dataset))
    except TypeError as error:
        raise FormatError(f"{path}: a value cannot be written as JSON ({error})") from error
    write_bytes_atomically(path, data)
    counts = {"images": len(dataset.images), "annotations": len(dataset.annotations)}
    return Report(counts=counts | {"categories": len(dataset.categories)})


def write_bytes_atomically(path: str | Path, data: bytes) -> None:
    """Write beside the file, flush to disk, then replace it: a reader sees the old file or the new one.

    Raises:
        FormatError: the folder cannot be written or the disk is full; the old file is as it was.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise FormatError(f"{path}: cannot be written ({error.strerror}); the old file is as it was") from error
