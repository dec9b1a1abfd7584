"""Annotated pictures as training and evaluation read them: COCO, LVIS, SA-1B, and folders named after classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from pycocotools import mask as coco_mask

from ovsam_core.errors import FormatError
from ovsam_core.pictures import PICTURE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["ObjectRecord", "PictureRecord", "decode_mask", "read_class_folder", "read_records", "read_sa1b"]


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """One annotated object.

    Attributes:
        id: annotation id.
        name: category name; empty where the data is class-free.
        box_xyxy: pixels, far edges exclusive.
        area: the annotation's area in pixels, which decides small, medium or large.
        segmentation: COCO polygons or run lengths; None where only a box or a class is known.
        crowd: a region of many objects, left out everywhere.
        category_id: the file's own id, 0 without one.
    """

    id: int
    name: str
    box_xyxy: tuple[float, float, float, float]
    area: float
    segmentation: Any
    crowd: bool = False
    category_id: int = 0


@dataclass(frozen=True, slots=True)
class PictureRecord:
    """One picture with its objects.

    Attributes:
        id: the file's image id, as text.
        path: the picture file.
        height: pixels.
        width: pixels.
        objects: annotated objects, crowd regions among them.
        absent: names that were looked for and are not there (federated data).
        partial: names of which not every object is annotated (federated data).
        group: pictures of one group never stand on both sides of a split.
        whole: the whole picture is the object's box: image classification data.
    """

    id: str
    path: Path
    height: int
    width: int
    objects: tuple[ObjectRecord, ...]
    absent: frozenset[str] = field(default_factory=frozenset)
    partial: frozenset[str] = field(default_factory=frozenset)
    group: str = ""
    whole: bool = False


def read_records(path: Path, images: Path | None = None) -> list[PictureRecord]:
    """Read a COCO or LVIS file (or a folder of SA-1B files).

    Args:
        path: the JSON file; a folder is read as SA-1B.
        images: folder that the file names are relative to; None takes `images` beside the file, or its own folder.

    Raises:
        FormatError: the file is no COCO JSON; the message names the field.
    """
    if path.is_dir():
        return read_sa1b(path)
    data = _read_json(path)
    for key in ("images", "annotations", "categories"):
        if not isinstance(data.get(key), list):
            raise FormatError(f"{path}: {key}: expected a list")
    folder = images or (path.parent / "images" if (path.parent / "images").is_dir() else path.parent)
    names = {c["id"]: str(c["name"]) for c in data["categories"]}
    objects: dict[Any, list[ObjectRecord]] = {}
    for number, item in enumerate(data["annotations"]):
        where = f"{path}: annotations[{number}]"
        try:
            image_id, record = item["image_id"], _object(item, names, where)
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{where}: {type(error).__name__} {error}") from error
        objects.setdefault(image_id, []).append(record)
    pictures = []
    for number, item in enumerate(data["images"]):
        try:
            pictures.append(_picture(item, folder, names, objects.get(item["id"], [])))
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{path}: images[{number}]: {type(error).__name__} {error}") from error
    return pictures


def read_sa1b(folder: Path) -> list[PictureRecord]:
    """Read a folder of SA-1B files: one JSON beside each picture, masks without names.

    Raises:
        FormatError: a file is not as SA-1B writes it.
    """
    pictures = []
    for path in sorted(folder.glob("*.json")):
        data = _read_json(path)
        try:
            image = data["image"]
            objects = tuple(_object(item, {}, f"{path}: {i}") for i, item in enumerate(data["annotations"]))
            pictures.append(
                PictureRecord(
                    str(image["image_id"]), folder / image["file_name"], image["height"], image["width"], objects
                )
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{path}: {type(error).__name__} {error}") from error
    return pictures


def read_class_folder(folder: Path) -> list[PictureRecord]:
    """Read pictures whose folder (`CLASS/x.jpg`) or name (`ID_class.jpg`) says what they show.

    The whole picture is the object's box; sizes are read when the picture is.
    """
    pictures = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES):
        name = path.parent.name if path.parent != folder else path.stem.partition("_")[2]
        thing = ObjectRecord(0, name.replace("_", " "), (0, 0, 0, 0), 0, None)
        pictures.append(PictureRecord(str(path.relative_to(folder)), path, 0, 0, (thing,), whole=True))
    return pictures


def decode_mask(thing: ObjectRecord, height: int, width: int) -> NDArray[np.bool_]:
    """Return the object's mask, (H, W) bool.

    Raises:
        FormatError: it has none, or it is of another size.
    """
    shape = thing.segmentation
    if not shape:
        raise FormatError(f"annotation {thing.id}: segmentation: missing")
    if isinstance(shape, list):
        rle = coco_mask.merge(coco_mask.frPyObjects(shape, height, width))
    elif isinstance(shape["counts"], list):
        rle = coco_mask.frPyObjects(shape, *shape["size"])
    else:
        rle = shape
    mask = coco_mask.decode(rle).view(np.bool_)
    if mask.shape != (height, width):
        raise FormatError(f"annotation {thing.id}: segmentation: expected {(height, width)}, got {mask.shape}")
    return mask


def names_of(pictures: Iterable[PictureRecord]) -> list[str]:
    """Return the category names that objects have, in order of first appearance."""
    return list(dict.fromkeys(o.name for p in pictures for o in p.objects if o.name))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise FormatError(f"{path}: cannot be read ({error})") from error
    if not isinstance(data, dict):
        raise FormatError(f"{path}: expected an object, got {type(data).__name__}")
    return data


def _object(item: dict[str, Any], names: dict[Any, str], where: str) -> ObjectRecord:
    x, y, w, h = (float(v) for v in item["bbox"])
    category = item.get("category_id", 0)
    if names and category not in names:
        raise FormatError(f"{where}: category_id: {category} is not among the categories")
    return ObjectRecord(
        int(item.get("id", 0)),
        names.get(category, ""),
        (x, y, x + w, y + h),
        float(item.get("area", w * h)),
        item.get("segmentation") or None,
        bool(item.get("iscrowd", 0)),
        int(category),
    )


def _picture(item: dict[str, Any], folder: Path, names: dict[Any, str], objects: list[ObjectRecord]) -> PictureRecord:
    # LVIS has no file_name: its pictures are COCO's, named by split and id in the URL.
    file = item.get("file_name") or "/".join(str(item["coco_url"]).split("/")[-2:])
    path = folder / file
    if not path.exists() and (folder / Path(file).name).exists():
        path = folder / Path(file).name
    return PictureRecord(
        str(item["id"]),
        path,
        int(item["height"]),
        int(item["width"]),
        tuple(objects),
        frozenset(names[c] for c in item.get("neg_category_ids", ()) if c in names),
        frozenset(names[c] for c in item.get("not_exhaustive_category_ids", ()) if c in names),
        str(item.get("group", "")),
    )
