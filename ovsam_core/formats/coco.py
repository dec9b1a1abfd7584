"""COCO JSON: records, reading that loses nothing, writing that is stable."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

import orjson

from ovsam_core.errors import FormatError, PictureError
from ovsam_core.formats.report import Findings, Report
from ovsam_core.formats.truncated import parse_json
from ovsam_core.masks import Mask, check_polygon
from ovsam_core.pictures import picture_size

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

Polygons = tuple[tuple[float, ...], ...]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """A picture of a COCO file.

    Attributes:
        id: its id.
        file_name: with forward slashes, relative to the folder of pictures.
        width: pixels.
        height: pixels.
        extra: every other key of the file, unchanged.
    """

    id: int
    file_name: str
    width: int
    height: int
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CategoryRecord:
    """A class of a COCO file; `extra` holds supercategory, LVIS's synset and whatever else the file says."""

    id: int
    name: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AnnotationRecord:
    """An object of a COCO file.

    Attributes:
        id: its id; of results files, its position from 1.
        image_id: id of its picture.
        category_id: id of its class.
        segmentation: a Mask (either kind of run lengths), polygons as they stand in the file, or None for a box alone.
        bbox_xywh: box x, y, width, height in pixels as given; None where the file has none.
        area: as given; None where the file has none.
        iscrowd: whether it is a crowd region.
        extra: every other key of the file, unchanged.
    """

    id: int
    image_id: int
    category_id: int
    segmentation: Mask | Polygons | None = None
    bbox_xywh: tuple[float, float, float, float] | None = None
    area: float | None = None
    iscrowd: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)

    def mask(self, image: ImageRecord) -> Mask:
        """Mask at the picture's size: polygons filled as pycocotools does, a box alone filled whole.

        Raises:
            FormatError: the run lengths belong to another size.
        """
        if isinstance(self.segmentation, Mask):
            if (self.segmentation.height, self.segmentation.width) != (image.height, image.width):
                size = f"{self.segmentation.width} x {self.segmentation.height}"
                raise FormatError(f"annotation {self.id}: size: {size}, picture is {image.width} x {image.height}")
            return self.segmentation
        if self.segmentation is not None:
            return Mask.from_polygons(self.segmentation, image.height, image.width)
        return Mask.from_box(self.bbox_xywh or (0, 0, 0, 0), image.height, image.width)


@dataclass(frozen=True, slots=True)
class CocoDataset:
    """A COCO file in memory; records are in ascending order of id.

    Attributes:
        images: pictures.
        annotations: objects.
        categories: classes.
        folder: where the pictures lie.
        extra: other top-level keys ("info", "licenses", …), unchanged.
    """

    images: tuple[ImageRecord, ...] = ()
    annotations: tuple[AnnotationRecord, ...] = ()
    categories: tuple[CategoryRecord, ...] = ()
    folder: Path | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def by_image(self) -> dict[int, list[AnnotationRecord]]:
        """Objects by picture id, with an entry for every picture."""
        groups: dict[int, list[AnnotationRecord]] = {image.id: [] for image in self.images}
        for annotation in self.annotations:
            groups[annotation.image_id].append(annotation)
        return groups

    def path_of(self, image: ImageRecord) -> Path:
        """Where a picture's file lies.

        Raises:
            FormatError: the dataset has no folder.
        """
        if self.folder is None:
            raise FormatError(f"images: the folder of {image.file_name} is not known")
        return self.folder / image.file_name

    def restricted(self, image_ids: set[int]) -> CocoDataset:
        """The same file with some of its pictures and their objects; all classes stay."""
        return replace(
            self,
            images=tuple(i for i in self.images if i.id in image_ids),
            annotations=tuple(a for a in self.annotations if a.image_id in image_ids),
        )


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


def parse_coco(
    document: object, findings: Findings, *, folder: Path | None = None, look_at_pictures: bool = False
) -> tuple[CocoDataset, Report]:
    """Turn a parsed JSON document into records; unsound items are left out and reported.

    Raises:
        FormatError: the document is not a COCO file at all.
    """
    if not isinstance(document, dict) or not isinstance(document.get("images"), list):
        kind = "a list (a results file?)" if isinstance(document, list) else type(document).__name__
        found = f"keys {sorted(document)[:6]}" if isinstance(document, dict) else kind
        raise FormatError(f"{findings.file}: images: expected a COCO file with a list of images, found {found}")
    parser = _Parser(findings)
    images = parser.images(document["images"])
    if look_at_pictures and folder is not None:
        _look_at_pictures(images, folder, findings)
    categories = parser.categories(parser.section(document, "categories"))
    annotations = parser.annotations(parser.section(document, "annotations"), images, categories)
    known = ("images", "annotations", "categories")
    extra = {key: value for key, value in document.items() if key not in known}
    dataset = CocoDataset(
        tuple(images[i] for i in sorted(images)),
        tuple(annotations[i] for i in sorted(annotations)),
        tuple(categories[i] for i in sorted(categories)),
        folder,
        extra,
    )
    counts = {name: len(getattr(dataset, name)) for name in known}
    return dataset, findings.report(counts)


class _Parser:
    """Checks one item at a time and says what is wrong with it."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings

    def section(self, document: Json, name: str) -> list[Any]:
        section = document.get(name)
        if isinstance(section, list):
            return section
        if section is None:
            self.findings.warn("", name, "missing; read as empty")
        else:
            self.findings.error("", name, f"expected a list, got {type(section).__name__}", item=(name, section))
        return []

    def items(self, section: str, raw: list[Any], taken: Mapping[int, object]) -> list[tuple[str, int, Json]]:
        """Sound items with their place and id, the first of each id."""
        result: list[tuple[str, int, Json]] = []
        seen = set(taken)
        for position, item in enumerate(raw):
            where = f"{section}[{position}]"
            if not isinstance(item, dict):
                self.findings.error(where, "", f"expected an object, got {type(item).__name__}", item=(section, item))
                continue
            number = _whole(item.get("id"))
            if number is None:
                self.findings.error(
                    where, "id", f"expected a whole number, got {item.get('id')!r}", item=(section, item)
                )
            elif number in seen:
                self.findings.error(where, "id", f"{number} is used before", item=(section, item))
            else:
                seen.add(number)
                result.append((f"{section}[{position}] id {number}", number, item))
        return result

    def images(self, raw: list[Any]) -> dict[int, ImageRecord]:
        result: dict[int, ImageRecord] = {}
        names: dict[str, int] = {}
        for where, number, item in self.items("images", raw, {}):
            reject = ("images", item)
            name = _file_name(item)
            size = [_whole(item.get(side)) for side in ("width", "height")]
            wrong = [side for side, value in zip(("width", "height"), size, strict=True) if value is None or value < 1]
            if name is None:
                self.findings.error(
                    where, "file_name", f"expected a file name, got {item.get('file_name')!r}", item=reject
                )
            elif _leaves_folder(name):
                self.findings.error(where, "file_name", f"{name!r} leads out of the folder of pictures", item=reject)
            elif wrong:
                self.findings.error(
                    where, wrong[0], f"expected a positive number, got {item.get(wrong[0])!r}", item=reject
                )
            else:
                if name in names:
                    self.findings.warn(where, "file_name", f"{name!r} is image {names[name]} already")
                names.setdefault(name, number)
                known = {"id", "width", "height", *(("file_name",) if "file_name" in item else ())}
                extra = {key: value for key, value in item.items() if key not in known}
                width, height = (v for v in size if v is not None)
                result[number] = ImageRecord(number, name, width, height, extra)
        return result

    def categories(self, raw: list[Any]) -> dict[int, CategoryRecord]:
        result: dict[int, CategoryRecord] = {}
        names: dict[str, int] = {}
        for where, number, item in self.items("categories", raw, {}):
            name = item.get("name")
            if not isinstance(name, str) or not name.strip():
                self.findings.error(where, "name", f"expected a name, got {name!r}", item=("categories", item))
                continue
            if name in names:
                self.findings.warn(where, "name", f"{name!r} is category {names[name]} already")
            names.setdefault(name, number)
            result[number] = CategoryRecord(number, name, {k: v for k, v in item.items() if k not in ("id", "name")})
        return result

    def annotations(
        self, raw: list[Any], images: Mapping[int, ImageRecord], categories: Mapping[int, CategoryRecord]
    ) -> dict[int, AnnotationRecord]:
        result: dict[int, AnnotationRecord] = {}
        for where, number, item in self.items("annotations", raw, {}):
            try:
                result[number] = self._annotation(where, number, item, images, categories)
            except _FieldError as error:
                self.findings.error(where, error.field, str(error), item=("annotations", item))
        return result

    def _annotation(
        self,
        where: str,
        number: int,
        item: Json,
        images: Mapping[int, ImageRecord],
        categories: Mapping[int, CategoryRecord],
    ) -> AnnotationRecord:
        image = images.get(_number(item, "image_id"))
        if image is None:
            raise _FieldError("image_id", f"no sound image has id {item['image_id']}")
        category = _number(item, "category_id")
        if category not in categories:
            raise _FieldError("category_id", f"no category has id {category}")
        crowd = item.get("iscrowd", 0)
        if crowd not in (0, 1):
            raise _FieldError("iscrowd", f"expected 0 or 1, got {crowd!r}")
        area = item.get("area")
        if area is not None and not _is_number(area):
            raise _FieldError("area", f"expected a number, got {area!r}")
        box = self._box(where, item.get("bbox"), image)
        segmentation = self._segmentation(where, item.get("segmentation"), image)
        if segmentation is None and box is None:
            raise _FieldError("segmentation", "neither a mask nor a box")
        known = ("id", "image_id", "category_id", "iscrowd", "area", "bbox", "segmentation")
        extra = {key: value for key, value in item.items() if key not in known}
        return AnnotationRecord(number, image.id, category, segmentation, box, area, bool(crowd), extra)

    def _box(self, where: str, raw: object, image: ImageRecord) -> tuple[float, float, float, float] | None:
        if raw is None or raw == []:
            return None
        if not isinstance(raw, list) or len(raw) != 4 or not all(_is_number(v) for v in raw):
            raise _FieldError("bbox", f"expected four numbers x, y, width, height, got {raw!r}")
        x, y, w, h = raw
        if w < 0 or h < 0:
            raise _FieldError("bbox", f"width and height must not be negative, got {raw!r}")
        if x < -1 or y < -1 or x + w > image.width + 1 or y + h > image.height + 1:
            self.findings.warn(where, "bbox", f"{raw!r} reaches out of the picture of {image.width} x {image.height}")
        return x, y, w, h

    def _segmentation(self, where: str, raw: object, image: ImageRecord) -> Mask | Polygons | None:
        if raw is None or raw == []:
            return None
        try:
            if isinstance(raw, dict):
                return Mask.from_rle(raw, image.height, image.width)
            if not isinstance(raw, list):
                raise FormatError(f"expected polygons or run lengths, got {type(raw).__name__}")  # noqa: TRY301
        except FormatError as error:
            raise _FieldError("segmentation", str(error)) from error
        sound: list[tuple[float, ...]] = []
        problems: list[str] = []
        for index, ring in enumerate(raw):
            try:
                check_polygon(ring, image.height, image.width)
            except FormatError as error:
                problems.append(f"[{index}] {error}")
            else:
                sound.append(tuple(ring))
        if not sound:
            raise _FieldError("segmentation", "; ".join(problems))
        if problems:
            # The whole item would be lost for one bad ring; it is kept without it, and the item as it stood is too.
            self.findings.warn(
                where, "segmentation", f"{'; '.join(problems)}; the other {len(sound)} polygons were kept"
            )
            self.findings.rejected.append(("annotations.segmentation", {"where": where, "segmentation": raw}))
        return tuple(sound)


class _FieldError(Exception):
    def __init__(self, field_name: str, message: str) -> None:
        super().__init__(message)
        self.field = field_name


def _number(item: Json, name: str) -> int:
    number = _whole(item.get(name))
    if number is None:
        raise _FieldError(name, f"expected a whole number, got {item.get(name)!r}")
    return number


def _whole(value: object) -> int | None:
    """The whole number a value is; 3.0 counts (some tools write floats), True and "3" do not."""
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    return None


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _file_name(item: Json) -> str | None:
    name = item.get("file_name")
    if name is None and isinstance(item.get("coco_url"), str):  # LVIS names pictures by their address alone
        name = "/".join(item["coco_url"].split("/")[-2:])
    return name if isinstance(name, str) and name.strip() else None


def _leaves_folder(name: str) -> bool:
    windows = PureWindowsPath(name)
    if PurePosixPath(name).is_absolute() or windows.is_absolute() or windows.drive or "\0" in name:
        return True
    depth = 0
    for part in name.replace("\\", "/").split("/"):
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        if depth < 0:
            return True
    return False


def _picture_folder(path: Path, document: object) -> Path:
    images = document.get("images") if isinstance(document, dict) else None
    first = images[0] if isinstance(images, list) and images and isinstance(images[0], dict) else {}
    name = _file_name(first)
    for folder in (path.parent, path.parent / "images"):
        if name is not None and not _leaves_folder(name) and (folder / name).is_file():
            return folder
    return path.parent


def _look_at_pictures(images: Mapping[int, ImageRecord], folder: Path, findings: Findings) -> None:
    for image in images.values():
        where, path = f"images id {image.id}", folder / image.file_name
        if not path.is_file():
            findings.warn(where, "file_name", f"no such picture: {path}")
            continue
        try:
            size = picture_size(path)
        except PictureError as error:
            findings.warn(where, "file_name", str(error))
            continue
        if size != (image.width, image.height):
            findings.warn(
                where, "width", f"the file says {image.width} x {image.height}, the picture is {size[0]} x {size[1]}"
            )


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
