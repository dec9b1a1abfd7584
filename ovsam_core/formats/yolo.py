"""YOLO segmentation: a text file a picture, one line an object: class and outline in shares of width and height."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import yaml

from ovsam_core.errors import FormatError, PictureError
from ovsam_core.formats.builder import DatasetBuilder, beside, files_below, read_text
from ovsam_core.formats.coco import CocoDataset, ImageRecord, write_bytes_atomically
from ovsam_core.formats.report import Findings, Report
from ovsam_core.pictures import PICTURE_SUFFIXES, picture_size
from ovsam_core.polygons import mask_to_polygons

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovsam_core.formats.coco import AnnotationRecord

__all__ = ["read_yolo", "write_yolo", "yolo_lines"]


def write_yolo(dataset: CocoDataset, folder: str | Path, *, tolerance: float = 0.0) -> Report:
    """Write data.yaml and labels/….txt; pictures belong in images/ beside them and are not copied.

    Args:
        dataset: what to write; classes count from 0 in the order of their ids.
        folder: made where it is missing.
        tolerance: simplification of outlines in pixels.

    Raises:
        FormatError: a file cannot be written.
    """
    folder, findings = Path(folder), Findings(folder)
    index = {category.id: number for number, category in enumerate(dataset.categories)}
    written: dict[str, str] = {}
    count = 0
    groups = dataset.by_image()
    for image in dataset.images:
        name = beside(image.file_name, ".txt")
        if name in written:
            findings.error(image.file_name, "file_name", f"has the same label file as {written[name]}; left out")
            continue
        written[name] = image.file_name
        lines = yolo_lines(image, groups[image.id], index, findings, tolerance)
        count += len(lines)
        write_bytes_atomically(folder / "labels" / name, "".join(f"{line}\n" for line in lines).encode())
    names = "".join(f"  {index[c.id]}: {orjson.dumps(c.name).decode()}\n" for c in dataset.categories)
    text = f"path: .\ntrain: images\nval: images\nnames:\n{names}" if names else "path: .\ntrain: images\nnames: {}\n"
    write_bytes_atomically(folder / "data.yaml", text.encode())
    findings.note("", "ids", "YOLO holds no ids, areas or further keys")
    return findings.report({"images": len(written), "lines": count})


def yolo_lines(
    image: ImageRecord,
    annotations: Sequence[AnnotationRecord],
    index: dict[int, int],
    findings: Findings,
    tolerance: float = 0.0,
) -> list[str]:
    """Lines of one picture; `index` gives a category id's number from 0. What is lost goes to `findings`."""
    lines: list[str] = []
    for annotation in annotations:
        where = f"annotation {annotation.id}"
        if annotation.iscrowd:
            findings.note(where, "iscrowd", "YOLO has no crowd regions: left out")
            continue
        if annotation.segmentation is None and annotation.bbox_xywh is not None:
            x, y, w, h = annotation.bbox_xywh
            box = ((x + w / 2) / image.width, (y + h / 2) / image.height, w / image.width, h / image.height)
            lines.append(_line(index[annotation.category_id], box))
            continue
        parts = mask_to_polygons(annotation.mask(image), tolerance)
        if len(parts) > 1:
            findings.note(where, "segmentation", f"has {len(parts)} parts: written as as many objects")
        if any(part.holes for part in parts):
            findings.note(where, "segmentation", "has holes: they were filled")
        for part in parts:
            shares = tuple((part.shell / (image.width, image.height)).reshape(-1).tolist())
            lines.append(_line(index[annotation.category_id], shares))
    return lines


def _line(number: int, shares: Sequence[float]) -> str:
    # 9 digits: exact to a thousandth of a pixel at a million pixels a side.
    return " ".join((str(number), *(f"{share:.9g}" for share in shares)))


def read_yolo(
    folder: str | Path, *, images: str | Path | None = None, strict: bool = True
) -> tuple[CocoDataset, Report]:
    """Read a YOLO folder: data.yaml, images/ and labels/ (or everything in one folder).

    Lines of five numbers are boxes; longer ones are outlines.

    Args:
        folder: the folder with data.yaml.
        images: folder of the pictures; None takes images/ beside labels/.
        strict: raise at the first error; otherwise unsound lines are left out and reported.

    Raises:
        FormatError: the folder or data.yaml is missing; with `strict`, at any error.
    """
    folder = Path(folder)
    findings = Findings(folder)
    names = _names(folder)
    labels = folder / "labels" if (folder / "labels").is_dir() else folder
    beside_labels = folder / "images" if (folder / "images").is_dir() else folder
    pictured = beside_labels if images is None else Path(images)
    builder = DatasetBuilder(findings, pictured)
    for name in names.values():
        builder.category(name)
    pictures = {
        path.relative_to(pictured).with_suffix("").as_posix(): path
        for path in files_below(pictured, "*")
        if path.suffix.lower() in PICTURE_SUFFIXES
    }
    for key, path in pictures.items():
        try:
            width, height = picture_size(path)
        except PictureError as error:
            findings.error(key, "", str(error))
            continue
        image = builder.image(path.relative_to(pictured).as_posix(), width, height)
        label = labels / f"{key}.txt"
        text = read_text(label, findings) if label.is_file() else None
        for number, line in enumerate((text or "").splitlines(), start=1):
            if line.strip():
                _read_line(line, f"{label.name} line {number}", image, names, builder)
    for label in files_below(labels, "*.txt"):
        if label.relative_to(labels).with_suffix("").as_posix() not in pictures:
            findings.warn(label.name, "", "no picture of this name")
    dataset, report = builder.finish()
    if strict and report.errors:
        raise FormatError(str(report.errors[0]).removeprefix("error: "))
    return dataset, report


def _names(folder: Path) -> dict[int, str]:
    path = next((p for p in (folder / "data.yaml", folder / "dataset.yaml") if p.is_file()), None)
    if path is None:
        raise FormatError(f"{folder}: data.yaml: missing; it names the classes")
    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FormatError(f"{path}: cannot be read ({error})") from error
    names = document.get("names") if isinstance(document, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not all(type(number) is int for number in names):
        raise FormatError(f"{path}: names: expected a list or a table from numbers to names")
    return {number: str(names[number]) for number in sorted(names)}


def _read_line(line: str, where: str, image: ImageRecord, names: dict[int, str], builder: DatasetBuilder) -> None:
    item = ("labels", {"where": where, "line": line})
    try:
        number, values = int(line.split(maxsplit=1)[0]), [float(word) for word in line.split()[1:]]
    except ValueError:
        builder.findings.error(where, "", "expected a class number and shares of the picture", item=item)
        return
    if number not in names:
        builder.findings.error(where, "class", f"{number} is not among the names", item=item)
    elif not all(math.isfinite(v) and -1 <= v <= 2 for v in values):
        builder.findings.error(where, "", "expected shares between 0 and 1", item=item)
    elif len(values) == 4:
        x, y, w, h = values
        box = ((x - w / 2) * image.width, (y - h / 2) * image.height, w * image.width, h * image.height)
        builder.annotation(image, names[number], None, bbox_xywh=box)
    elif len(values) < 6 or len(values) % 2:
        builder.findings.error(
            where, "", f"expected a box or at least three points, got {len(values)} numbers", item=item
        )
    else:
        size = (image.width, image.height)
        ring = tuple(round(value * size[n % 2], 3) for n, value in enumerate(values))
        builder.annotation(image, names[number], (ring,))
