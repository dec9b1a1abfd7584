"""Pascal VOC: an XML file a picture with boxes, and PNGs that number objects and classes."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ovsam_core.errors import FormatError
from ovsam_core.formats.builder import DatasetBuilder, beside, files_below, label_name
from ovsam_core.formats.coco import CocoDataset, write_bytes_atomically
from ovsam_core.formats.mask_png import instance_map
from ovsam_core.formats.report import Findings, Report
from ovsam_core.masks import Mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ovsam_core.formats.coco import AnnotationRecord, ImageRecord

__all__ = ["read_voc", "voc_document", "write_voc"]

_VOID = 255  # VOC's "do not care": crowd regions are written so
_MOST = 254


def write_voc(dataset: CocoDataset, folder: str | Path) -> Report:
    """Write Annotations/….xml, SegmentationObject/….png and SegmentationClass/….png.

    Raises:
        FormatError: a file cannot be written.
    """
    folder, findings = Path(folder), Findings(folder)
    names = label_name(dataset)
    index = {category.id: number for number, category in enumerate(dataset.categories, start=1)}
    if len(index) > _MOST:
        findings.note("", "categories", f"SegmentationClass holds {_MOST} classes; the others are void there")
    groups = dataset.by_image()
    written: dict[str, str] = {}
    for image in dataset.images:
        name = beside(image.file_name, ".xml")
        if name in written:
            findings.error(image.file_name, "file_name", f"has the same label file as {written[name]}; left out")
            continue
        written[name] = image.file_name
        objects, classes, shown = _maps(image, groups[image.id], index, findings)
        write_bytes_atomically(folder / "Annotations" / name, voc_document(image, shown, names))
        png = beside(image.file_name, ".png")
        write_bytes_atomically(folder / "SegmentationObject" / png, _png(objects))
        write_bytes_atomically(folder / "SegmentationClass" / png, _png(classes))
    listed = "".join(f"{category.name}\n" for category in dataset.categories)
    write_bytes_atomically(folder / "labels.txt", listed.encode())
    findings.note("", "ids", "VOC holds no ids, areas or further keys")
    return findings.report({"images": len(written), "annotations": len(dataset.annotations)})


def _maps(
    image: ImageRecord, annotations: Sequence[AnnotationRecord], index: dict[int, int], findings: Findings
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], list[AnnotationRecord]]:
    """Object and class maps, and the objects in the order of their numbers."""
    single = [annotation for annotation in annotations if not annotation.iscrowd]
    if len(single) > _MOST:
        findings.error(image.file_name, "", f"{len(single)} objects, VOC numbers {_MOST}; the others were left out")
        single = single[:_MOST]
    outlined = [annotation for annotation in single if annotation.segmentation is not None]
    numbers, shown = instance_map(image, outlined, findings)
    boxes = [annotation for annotation in single if annotation.segmentation is None]
    objects = numbers.astype(np.uint8)
    table = np.zeros(256, np.uint8)
    for number, annotation in enumerate(shown, start=1):
        table[number] = min(index[annotation.category_id], _VOID)
    classes = table[objects]
    for annotation in annotations:
        if annotation.iscrowd:
            findings.note(f"annotation {annotation.id}", "iscrowd", "written as void pixels, without its class")
            free = annotation.mask(image).full() & (objects == 0)
            objects[free] = classes[free] = _VOID
    return objects, classes, shown + boxes


def voc_document(image: ImageRecord, annotations: Sequence[AnnotationRecord], names: dict[int, str]) -> bytes:
    """The XML of one picture; boxes count pixels from 1 and include their far edge, as VOC does."""
    root = ET.Element("annotation")
    _add(root, "folder", str(Path(image.file_name).parent))
    _add(root, "filename", Path(image.file_name).name)
    size = ET.SubElement(root, "size")
    for name, value in (("width", image.width), ("height", image.height), ("depth", 3)):
        _add(size, name, str(value))
    _add(root, "segmented", "1")
    for annotation in annotations:
        item = ET.SubElement(root, "object")
        _add(item, "name", names[annotation.category_id])
        for name in ("pose", "truncated", "difficult"):
            _add(item, name, str(annotation.extra.get(name, "Unspecified" if name == "pose" else 0)))
        x, y, w, h = annotation.mask(image).bbox_xywh
        box = ET.SubElement(item, "bndbox")
        for name, value in (("xmin", x + 1), ("ymin", y + 1), ("xmax", x + w), ("ymax", y + h)):
            _add(box, name, str(value))
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _add(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = text


def _png(values: NDArray[np.uint8]) -> bytes:
    picture = Image.fromarray(values).convert("P")
    picture.putpalette(_palette())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _palette() -> list[int]:
    """VOC's colours: the bits of a number spread over red, green and blue, highest first."""
    colours: list[int] = []
    for number in range(256):
        rgb = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                rgb[channel] |= (number >> (3 * bit + channel) & 1) << (7 - bit)
        colours += [value & 255 for value in rgb]
    return colours


def read_voc(folder: str | Path, *, strict: bool = True) -> tuple[CocoDataset, Report]:
    """Read a VOC folder: Annotations/*.xml (or the folder's own *.xml), with masks where SegmentationObject has them.

    Raises:
        FormatError: the folder is missing; with `strict`, at any error.
    """
    folder = Path(folder)
    findings = Findings(folder)
    labels = folder / "Annotations" if (folder / "Annotations").is_dir() else folder
    pictures = folder / "JPEGImages" if (folder / "JPEGImages").is_dir() else folder
    builder = DatasetBuilder(findings, pictures)
    for path in files_below(labels, "*.xml"):
        name = path.relative_to(labels)
        root = _parse(path, name.as_posix(), findings)
        if root is not None:
            _read_document(root, name, folder, builder)
    dataset, report = builder.finish()
    if strict and report.errors:
        raise FormatError(str(report.errors[0]).removeprefix("error: "))
    return dataset, report


def _parse(path: Path, where: str, findings: Findings) -> ET.Element | None:
    try:
        data = path.read_bytes()
        if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
            findings.error(where, "", "declares entities, which annotation files have no use for")
            return None
        return ET.fromstring(data)  # noqa: S314 - entities, the danger of XML, were refused above
    except OSError as error:
        findings.error(where, "", f"cannot be read ({error.strerror})")
    except ET.ParseError as error:
        findings.error(where, "", f"not an XML file ({error})")
    return None


def _read_document(root: ET.Element, name: Path, folder: Path, builder: DatasetBuilder) -> None:
    findings, where = builder.findings, name.as_posix()
    size = [_number(root.find("size"), side) for side in ("width", "height")]
    file_name = (root.findtext("filename") or "").replace("\\", "/").rsplit("/", 1)[-1]
    if root.tag != "annotation" or not file_name or any(side is None or side < 1 for side in size):
        findings.error(where, "size", "expected a filename and a size", item=("files", where))
        return
    width, height = (int(side) for side in size if side is not None)
    image = builder.image((name.parent / file_name).as_posix(), width, height)
    numbers = _object_map(folder / "SegmentationObject" / name.with_suffix(".png"), image, findings)
    for position, item in enumerate(root.findall("object"), start=1):
        place = f"{where} object {position}"
        label = (item.findtext("name") or "").strip()
        edges = [_number(item.find("bndbox"), side) for side in ("xmin", "ymin", "xmax", "ymax")]
        known = [edge for edge in edges if edge is not None]
        if not label:
            findings.error(place, "name", "expected a name", item=("object", ET.tostring(item, "unicode")))
            continue
        if len(known) != 4 or known[2] < known[0] or known[3] < known[1]:
            findings.error(place, "bndbox", "expected four edges", item=("object", ET.tostring(item, "unicode")))
            continue
        box = (known[0] - 1, known[1] - 1, known[2] - known[0] + 1, known[3] - known[1] + 1)
        extra: dict[str, Any] = {"difficult": 1} if item.findtext("difficult") == "1" else {}
        mask = None
        if numbers is not None and (numbers == position).any():
            mask = Mask.of(numbers == position)
        builder.annotation(image, label, mask, bbox_xywh=None if mask else box, extra=extra)


def _number(parent: ET.Element | None, name: str) -> float | None:
    try:
        return float((parent.findtext(name) if parent is not None else None) or "")
    except ValueError:
        return None


def _object_map(path: Path, image: ImageRecord, findings: Findings) -> NDArray[Any] | None:
    if not path.is_file():
        return None
    try:
        with Image.open(path) as picture:
            numbers = np.asarray(picture)
    except (OSError, SyntaxError, ValueError) as error:
        findings.warn(path.name, "", f"cannot be read ({error}); boxes were taken")
        return None
    if numbers.shape != (image.height, image.width):
        findings.warn(
            path.name, "", f"is {numbers.shape}, the picture {image.width} x {image.height}; boxes were taken"
        )
        return None
    return numbers
