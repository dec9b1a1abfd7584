"""Annotated pictures as training and evaluation read them: COCO, LVIS, SA-1B, and folders named after classes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from ovsam_core.errors import FormatError
from ovsam_core.exchange.exporting import project_to_coco
from ovsam_core.formats.coco import read_coco
from ovsam_core.masks import Mask
from ovsam_core.pictures import PICTURE_SUFFIXES
from ovsam_core.store import Project

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ovsam_core.formats.coco import AnnotationRecord, CocoDataset, ImageRecord, Polygons

__all__ = [
    "ObjectRecord",
    "PictureRecord",
    "decode_mask",
    "mask_of",
    "names_of",
    "read_class_folder",
    "read_records",
    "read_sa1b",
    "thinned",
]


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """One annotated object.

    Attributes:
        id: annotation id.
        name: category name; empty where the data is class-free.
        box_xyxy: pixels, far edges exclusive.
        area: the annotation's area in pixels, which decides small, medium or large.
        segmentation: polygons or a mask; None where only a box or a class is known.
        crowd: a region of many objects, left out everywhere.
        category_id: the file's own id, 0 without one.
    """

    id: int
    name: str
    box_xyxy: tuple[float, float, float, float]
    area: float
    segmentation: Mask | Polygons | None
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
        federated: only the names of the objects and of `absent` were looked for at all (LVIS).
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
    federated: bool = False

    def masked(self) -> list[ObjectRecord]:
        """Return the objects that have a mask and are no crowd."""
        return [o for o in self.objects if not o.crowd and o.segmentation]


def read_records(path: Path, images: Path | None = None, *, group_key: str = "group") -> list[PictureRecord]:
    """Read a COCO or LVIS file, a project file, or a folder of SA-1B files.

    Args:
        path: the JSON file; NAME.ovsam is read as a project, whose reviewed objects count; a folder as SA-1B.
        images: folder that the file names are relative to; None takes `images` beside the file, or its own folder
            where there is none or where the first picture lies there.
        group_key: key of a COCO file's pictures that names their group; a project has groups of its own.

    Raises:
        FormatError: any error the engine's reader reports, with place and field.
    """
    if path.is_dir():
        return read_sa1b(path)
    if path.suffix == ".ovsam":
        with Project.open(path, read_only=True) as project:
            dataset, _ = project_to_coco(project, file=path)
            files = {str(row.export_id): project.file_of(row) for row in project.pictures()}
            groups = {str(row.export_id): row.group or "" for row in project.pictures()}
        found = records_of(dataset, path.parent)
        return [replace(p, path=files.get(p.id, p.path), group=groups.get(p.id, "")) for p in found]
    dataset, _ = read_coco(path)
    return records_of(dataset, images or _beside(path, dataset), group_key=group_key)


def _beside(path: Path, dataset: CocoDataset) -> Path:
    """Return the folder `images` beside a COCO file, or its own where the first picture lies there (V3Det)."""
    inside = path.parent / "images"
    here = dataset.images and (path.parent / dataset.images[0].file_name).is_file()
    return inside if inside.is_dir() and not here else path.parent


def records_of(dataset: CocoDataset, folder: Path, *, group_key: str = "group") -> list[PictureRecord]:
    """Return the records of a COCO file already read; `folder` is where its pictures lie."""
    names = {c.id: c.name for c in dataset.categories}
    objects = dataset.by_image()
    return [
        _picture(item, folder, names, tuple(_coco_object(a, item, names) for a in objects[item.id]), group_key)
        for item in dataset.images
    ]


def read_sa1b(folder: Path) -> list[PictureRecord]:
    """Read a folder of SA-1B files (and its folders): one JSON beside each picture, masks without names.

    Raises:
        FormatError: a file is not as SA-1B writes it.
    """
    pictures = []
    for path in sorted(folder.rglob("*.json")):
        data = _read_json(path)
        try:
            image = data["image"]
            height, width = int(image["height"]), int(image["width"])
            objects = tuple(_sa1b_object(item, height, width) for item in data["annotations"])
            pictures.append(
                PictureRecord(str(image["image_id"]), path.parent / image["file_name"], height, width, objects)
            )
        except (KeyError, TypeError, ValueError, FormatError) as error:
            raise FormatError(f"{path}: {type(error).__name__} {error}") from error
    return pictures


def read_class_folder(folder: Path) -> Iterator[PictureRecord]:
    """Yield pictures whose folder (`CLASS/x.jpg`) or name (`ID_class.jpg`) says what they show.

    The whole picture is the object's box; sizes are read when the picture is. One after the other, because ImageNet-21k
    has 13 million of them.
    """
    for place, folders, files in os.walk(folder):
        folders.sort()
        for path in (Path(place, file) for file in sorted(files)):
            if path.suffix.lower() in PICTURE_SUFFIXES:
                name = path.parent.name if path.parent != folder else path.stem.partition("_")[2]
                thing = ObjectRecord(0, name.replace("_", " "), (0, 0, 0, 0), 0, None)
                yield PictureRecord(str(path.relative_to(folder)), path, 0, 0, (thing,), whole=True)


def mask_of(thing: ObjectRecord, height: int, width: int) -> Mask:
    """Return the object's mask; polygons are filled at the picture's size.

    Raises:
        FormatError: it has none, or it is of another size.
    """
    shape = thing.segmentation
    if shape is None:
        raise FormatError(f"annotation {thing.id}: segmentation: missing")
    mask = shape if isinstance(shape, Mask) else Mask.from_polygons(shape, height, width)
    if (mask.height, mask.width) != (height, width):
        raise FormatError(
            f"annotation {thing.id}: segmentation: {mask.width} x {mask.height}, the picture is {width} x {height}"
        )
    return mask


def decode_mask(thing: ObjectRecord, height: int, width: int) -> NDArray[np.bool_]:
    """Return the pixels of `mask_of`, (H, W) bool."""
    return mask_of(thing, height, width).full()


def thinned(pictures: Sequence[PictureRecord], most: int) -> list[PictureRecord]:
    """Keep about `most` objects with a mask in all, evenly spaced in each picture's list; at least one a picture."""
    share = max(1, most // max(1, len(pictures)))
    thin = []
    for picture in pictures:
        things = picture.masked()
        step = max(1, -(-len(things) // share))
        thin.append(replace(picture, objects=tuple(things[::step])))
    return thin


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


def _coco_object(item: AnnotationRecord, image: ImageRecord, names: dict[int, str]) -> ObjectRecord:
    box, area = item.bbox_xywh, item.area
    if box is None or area is None:
        mask = item.mask(image)
        box = box or mask.bbox_xywh
        area = mask.area if area is None else area
    x, y, w, h = box
    return ObjectRecord(
        item.id,
        names[item.category_id],
        (x, y, x + w, y + h),
        float(area),
        item.segmentation,
        item.iscrowd,
        item.category_id,
    )


def _picture(
    item: ImageRecord, folder: Path, names: dict[int, str], objects: tuple[ObjectRecord, ...], group_key: str
) -> PictureRecord:
    path = folder / item.file_name
    if not path.exists() and (folder / path.name).exists():  # LVIS names split and file, COCO's folders the file alone
        path = folder / path.name
    extra = item.extra
    return PictureRecord(
        str(item.id),
        path,
        item.height,
        item.width,
        objects,
        frozenset(names[c] for c in extra.get("neg_category_ids", ()) if c in names),
        frozenset(names[c] for c in extra.get("not_exhaustive_category_ids", ()) if c in names),
        str(extra.get(group_key, "")),
        federated="neg_category_ids" in extra,
    )


def _sa1b_object(item: dict[str, Any], height: int, width: int) -> ObjectRecord:
    x, y, w, h = (float(v) for v in item["bbox"])
    mask = Mask.from_rle(item["segmentation"], height, width)
    return ObjectRecord(int(item["id"]), "", (x, y, x + w, y + h), float(item["area"]), mask)
