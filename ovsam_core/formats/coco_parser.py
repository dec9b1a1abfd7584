"""Checking a parsed COCO document item by item: what is sound becomes records, the rest is reported."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from ovsam_core.errors import FormatError, PictureError
from ovsam_core.formats.records import AnnotationRecord, CategoryRecord, CocoDataset, ImageRecord, Polygons
from ovsam_core.masks import Mask, check_polygon
from ovsam_core.pictures import picture_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovsam_core.formats.report import Findings, Report

__all__ = ["file_name_of", "leaves_folder", "parse_coco"]

Json = dict[str, Any]


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
            name = file_name_of(item)
            size = [_whole(item.get(side)) for side in ("width", "height")]
            wrong = [side for side, value in zip(("width", "height"), size, strict=True) if value is None or value < 1]
            if name is None:
                self.findings.error(
                    where, "file_name", f"expected a file name, got {item.get('file_name')!r}", item=reject
                )
            elif leaves_folder(name):
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


def file_name_of(item: Json) -> str | None:
    """File name of an image entry, of LVIS from its address; None where it has none."""
    name = item.get("file_name")
    if name is None and isinstance(item.get("coco_url"), str):  # LVIS names pictures by their address alone
        name = "/".join(item["coco_url"].split("/")[-2:])
    return name if isinstance(name, str) and name.strip() else None


def leaves_folder(name: str) -> bool:
    """Whether a file name leads out of the folder it is relative to, on any system."""
    windows = PureWindowsPath(name)
    if PurePosixPath(name).is_absolute() or windows.is_absolute() or windows.drive or "\0" in name:
        return True
    depth = 0
    for part in name.replace("\\", "/").split("/"):
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        if depth < 0:
            return True
    return False


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
