"""labelme JSON: a file a picture, shapes with points; masks with holes as small embedded PNGs."""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from PIL import Image

from ovsam_core.errors import FormatError
from ovsam_core.formats.builder import DatasetBuilder, beside, files_below, label_name, read_text
from ovsam_core.formats.coco import CocoDataset, write_bytes_atomically
from ovsam_core.formats.report import Findings, Report
from ovsam_core.masks import Mask, union_all
from ovsam_core.polygons import mask_to_polygons

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovsam_core.formats.coco import AnnotationRecord, ImageRecord

__all__ = ["labelme_document", "read_labelme", "write_labelme"]

_VERSION = "5.5.0"  # the first that reads everything written here ("mask" shapes came with 5.3)
_CIRCLE_CORNERS = 64


def write_labelme(dataset: CocoDataset, folder: str | Path, *, tolerance: float = 0.0) -> Report:
    """Write one JSON file a picture, named like it.

    Args:
        dataset: what to write.
        folder: made where it is missing; pictures are named relative to it where they lie on the same drive.
        tolerance: simplification of polygons in pixels.

    Raises:
        FormatError: a file cannot be written.
    """
    folder, findings = Path(folder), Findings(folder)
    names = label_name(dataset)
    groups = dataset.by_image()
    written: dict[str, str] = {}
    for image in dataset.images:
        name = beside(image.file_name, ".json")
        if name in written:
            findings.error(image.file_name, "file_name", f"has the same label file as {written[name]}; left out")
            continue
        written[name] = image.file_name
        document = labelme_document(image, groups[image.id], names, tolerance)
        document["imagePath"] = Path(image.file_name).name
        write_bytes_atomically(folder / name, orjson.dumps(document, option=orjson.OPT_INDENT_2))
    findings.note("", "ids", "labelme holds no ids, areas or further keys")
    return findings.report({"images": len(written), "annotations": len(dataset.annotations)})


def labelme_document(
    image: ImageRecord, annotations: Sequence[AnnotationRecord], names: dict[int, str], tolerance: float = 0.0
) -> dict[str, Any]:
    """The document of one picture: polygons; several parts as one group; masks with holes as mask shapes."""
    shapes: list[dict[str, Any]] = []
    shape: dict[str, Any]
    for number, annotation in enumerate(annotations):
        flags = {"iscrowd": True} if annotation.iscrowd else {}
        common = {"label": names[annotation.category_id], "description": "", "flags": flags}
        if annotation.segmentation is None and annotation.bbox_xywh is not None:
            x, y, w, h = annotation.bbox_xywh
            shape = {"points": [[x, y], [x + w, y + h]], "group_id": None, "shape_type": "rectangle", "mask": None}
            shapes.append(common | shape)
            continue
        mask = annotation.mask(image)
        parts = mask_to_polygons(mask, tolerance)
        if any(part.holes for part in parts):
            shapes.append(common | _mask_shape(mask))
            continue
        group = number + 1 if len(parts) > 1 else None
        for part in parts:
            shape = {"points": part.shell.tolist(), "group_id": group, "shape_type": "polygon", "mask": None}
            shapes.append(common | shape)
    size = {"imageHeight": image.height, "imageWidth": image.width}
    return {"version": _VERSION, "flags": {}, "shapes": shapes, "imagePath": image.file_name, "imageData": None} | size


def _mask_shape(mask: Mask) -> dict[str, Any]:
    crop, x, y = mask.window()
    buffer = io.BytesIO()
    Image.fromarray(crop.view(np.uint8) * 255).save(buffer, "PNG")
    corners = [[x, y], [x + crop.shape[1] - 1, y + crop.shape[0] - 1]]  # labelme's far corner is inclusive
    text = base64.b64encode(buffer.getvalue()).decode()
    return {"points": corners, "group_id": None, "shape_type": "mask", "mask": text}


def read_labelme(folder: str | Path, *, strict: bool = True) -> tuple[CocoDataset, Report]:
    """Read the labelme files of a folder and all below it.

    Polygons, rectangles, circles and masks become objects (those of one group and label become one); points and lines
    have no area and are reported.

    Raises:
        FormatError: the folder is missing; with `strict`, at any error.
    """
    folder = Path(folder)
    findings = Findings(folder)
    builder = DatasetBuilder(findings, folder)
    for path in files_below(folder, "*.json"):
        text = read_text(path, findings)
        if text is None:
            continue
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            findings.error(path.name, "", f"not a JSON file ({error})")
            continue
        _read_document(document, path.relative_to(folder), builder)
    dataset, report = builder.finish()
    if strict and report.errors:
        raise FormatError(str(report.errors[0]).removeprefix("error: "))
    return dataset, report


def _read_document(document: Any, path: Path, builder: DatasetBuilder) -> None:
    findings, where = builder.findings, path.as_posix()
    shapes = document.get("shapes") if isinstance(document, dict) else None
    if not isinstance(shapes, list):
        findings.error(where, "shapes", "expected a list of shapes: not a labelme file", item=("files", where))
        return
    size = [document.get(side) for side in ("imageWidth", "imageHeight")]
    name = document.get("imagePath")
    if not all(type(side) is int and side > 0 for side in size) or not isinstance(name, str) or not name:
        findings.error(where, "imageWidth", "expected imagePath, imageWidth and imageHeight", item=("files", where))
        return
    name = name.replace("\\", "/")
    if ".." in name.split("/") or name.startswith("/"):
        # labelme allows labels apart from pictures; a path that leaves the folder is not followed.
        findings.warn(where, "imagePath", f"{name!r} leads out of the folder; taken to lie beside the file")
        name = name.rsplit("/", 1)[-1]
    image = builder.image((path.parent / name).as_posix(), size[0], size[1])
    groups: dict[Any, list[tuple[dict[str, Any], Mask]]] = defaultdict(list)
    for number, shape in enumerate(shapes):
        place = f"{where} shapes[{number}]"
        try:
            label, mask = _read_shape(shape, image)
        except FormatError as error:
            findings.error(place, "", str(error), item=("shapes", shape))
            continue
        group = shape.get("group_id")
        groups[("alone", number) if group is None else (group, label)].append((shape, mask))
    for members in groups.values():
        first = members[0][0]
        crowd = isinstance(first.get("flags"), dict) and bool(first["flags"].get("iscrowd"))
        mask = union_all([mask for _, mask in members], image.height, image.width)
        if not mask.area:
            findings.warn(where, "points", f"{first['label']!r} covers no pixel; left out")
            continue
        builder.annotation(image, first["label"], mask, iscrowd=crowd)


def _read_shape(shape: Any, image: ImageRecord) -> tuple[str, Mask]:
    if not isinstance(shape, dict) or not isinstance(shape.get("label"), str) or not shape["label"].strip():
        raise FormatError("label: expected a name")
    points = _points(shape.get("points"))
    kind = shape.get("shape_type") or "polygon"
    height, width = image.height, image.width
    if kind == "polygon":
        return shape["label"], Mask.from_polygons([points.reshape(-1).tolist()], height, width)
    if kind in ("rectangle", "circle", "mask") and len(points) != 2:
        raise FormatError(f"points: a {kind} has two, got {len(points)}")
    if kind == "rectangle":
        near, far = points.min(0), points.max(0)
        return shape["label"], Mask.from_box((*near, *(far - near)), height, width)
    if kind == "circle":
        radius = float(np.hypot(*(points[1] - points[0])))
        angles = np.arange(_CIRCLE_CORNERS) * (2 * math.pi / _CIRCLE_CORNERS)
        ring = points[0] + radius * np.stack([np.cos(angles), np.sin(angles)], 1)
        return shape["label"], Mask.from_polygons([ring.reshape(-1).tolist()], height, width)
    if kind == "mask":
        return shape["label"], _read_mask(shape.get("mask"), points, height, width)
    raise FormatError(f"shape_type: {kind!r} has no area")


def _points(raw: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    try:
        points = np.asarray(raw, np.float64)
    except (TypeError, ValueError) as error:
        raise FormatError("points: expected pairs of numbers") from error
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise FormatError("points: expected pairs of numbers")
    return points


def _read_mask(text: Any, points: np.ndarray[Any, np.dtype[np.float64]], height: int, width: int) -> Mask:
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as picture:
            if picture.width > width or picture.height > height:
                raise FormatError(f"mask: {picture.width} x {picture.height} pixels are more than the picture has")
            crop = np.asarray(picture.convert("L")) > 0
    except (TypeError, binascii.Error, OSError, ValueError) as error:
        raise FormatError(f"mask: not an embedded PNG ({error})") from error
    x, y = (int(v) for v in points.min(0))
    return Mask.from_window(crop, x, y, height, width)
