"""Mask pictures: one 16-bit PNG a picture, each pixel the number of its object, and a table of the numbers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from PIL import Image

from ovsam_core.errors import FormatError
from ovsam_core.formats.builder import DatasetBuilder, beside, files_below, label_name
from ovsam_core.formats.coco import AnnotationRecord, CategoryRecord, CocoDataset, ImageRecord, write_bytes_atomically
from ovsam_core.formats.report import Findings, Report
from ovsam_core.masks import Mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["TABLE", "instance_map", "read_mask_png", "write_mask_png"]

TABLE = "masks.json"
_MOST = 65_535


def instance_map(
    image: ImageRecord, annotations: Sequence[AnnotationRecord], findings: Findings
) -> tuple[NDArray[np.uint16], list[AnnotationRecord]]:
    """Paint the objects of a picture, large ones first so that small ones on them stay visible.

    Returns:
        (H, W) uint16: 0 is nothing, n is the n-th object returned; and the objects that can be seen.
    """
    canvas = np.zeros((image.height, image.width), np.uint16)
    shown: list[AnnotationRecord] = []
    masks = [(annotation, annotation.mask(image)) for annotation in annotations]
    for annotation in annotations:
        if annotation.segmentation is None:
            findings.note(f"annotation {annotation.id}", "segmentation", "has a box alone: written as a filled box")
    for annotation, mask in sorted(masks, key=lambda pair: (-pair[1].area, pair[0].id)):
        if len(shown) == _MOST:
            findings.error(f"annotation {annotation.id}", "", f"more than {_MOST} objects on one picture; left out")
            continue
        crop, x, y = mask.window()
        target = canvas[y : y + crop.shape[0], x : x + crop.shape[1]]
        covered = int(np.count_nonzero(target[crop]))
        if covered:
            findings.note(f"annotation {annotation.id}", "segmentation", f"hides {covered} pixels of objects below it")
        shown.append(annotation)
        target[crop] = len(shown)
    visible = set(np.unique(canvas).tolist())
    for number, annotation in enumerate(shown, start=1):
        if number not in visible:
            findings.warn(f"annotation {annotation.id}", "segmentation", "is wholly hidden by others")
    return canvas, shown


def write_mask_png(dataset: CocoDataset, folder: str | Path) -> Report:
    """Write one PNG a picture, named like it, and masks.json, which says what the numbers mean.

    Raises:
        FormatError: a file cannot be written.
    """
    folder, findings = Path(folder), Findings(folder)
    groups = dataset.by_image()
    names = label_name(dataset)
    table: dict[str, Any] = {}
    for image in dataset.images:
        name = beside(image.file_name, ".png")
        if name in table:
            findings.error(
                image.file_name, "file_name", f"has the same mask file as {table[name]['picture']}; left out"
            )
            continue
        canvas, shown = instance_map(image, groups[image.id], findings)
        buffer = io.BytesIO()
        Image.fromarray(canvas).save(buffer, "PNG")
        write_bytes_atomically(folder / name, buffer.getvalue())
        objects = [
            {"value": n, "id": a.id, "category_id": a.category_id, "name": names[a.category_id], "iscrowd": a.iscrowd}
            for n, a in enumerate(shown, start=1)
        ]
        table[name] = {"picture": image.file_name, "id": image.id, "objects": objects}
    categories = [{"id": c.id, "name": c.name} for c in dataset.categories]
    document = {"categories": categories, "masks": table}
    write_bytes_atomically(folder / TABLE, orjson.dumps(document, option=orjson.OPT_INDENT_2))
    return findings.report({"images": len(table), "annotations": len(dataset.annotations)})


def read_mask_png(folder: str | Path, *, strict: bool = True) -> tuple[CocoDataset, Report]:
    """Read mask pictures; with masks.json ids and names come back, without it value n becomes "class n".

    Raises:
        FormatError: the folder is missing or masks.json is damaged; with `strict`, at any error.
    """
    folder = Path(folder)
    findings = Findings(folder)
    if (folder / TABLE).is_file():
        dataset, report = _read_with_table(folder, findings)
    else:
        dataset, report = _read_plain(folder, findings)
    if strict and report.errors:
        raise FormatError(str(report.errors[0]).removeprefix("error: "))
    return dataset, report


def _read_with_table(folder: Path, findings: Findings) -> tuple[CocoDataset, Report]:
    images: list[ImageRecord] = []
    annotations: list[AnnotationRecord] = []
    try:
        document = orjson.loads((folder / TABLE).read_bytes())
        categories = tuple(CategoryRecord(int(c["id"]), str(c["name"])) for c in document["categories"])
        known = {category.id for category in categories}
        for name, entry in document["masks"].items():
            canvas = _canvas(folder / name, findings)
            if canvas is None:
                continue
            image = ImageRecord(int(entry["id"]), str(entry["picture"]), canvas.shape[1], canvas.shape[0])
            images.append(image)
            for item in entry["objects"]:
                pixels = canvas == item["value"]
                if item["category_id"] not in known:
                    findings.error(
                        name, "category_id", f"no category has id {item['category_id']}", item=("masks", item)
                    )
                elif not pixels.any():
                    findings.warn(name, "value", f"no pixel has the value {item['value']}")
                else:
                    annotations.append(
                        AnnotationRecord(
                            int(item["id"]),
                            image.id,
                            int(item["category_id"]),
                            Mask.of(pixels),
                            iscrowd=bool(item["iscrowd"]),
                        )
                    )
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"{folder / TABLE}: damaged ({type(error).__name__}: {error})") from error
    dataset = CocoDataset(
        tuple(sorted(images, key=lambda i: i.id)), tuple(sorted(annotations, key=lambda a: a.id)), categories, folder
    )
    counts = {"images": len(images), "annotations": len(annotations), "categories": len(categories)}
    return dataset, findings.report(counts)


def _read_plain(folder: Path, findings: Findings) -> tuple[CocoDataset, Report]:
    builder = DatasetBuilder(findings, folder)
    for path in files_below(folder, "*.png"):
        canvas = _canvas(path, findings)
        if canvas is None:
            continue
        image = builder.image(path.relative_to(folder).as_posix(), canvas.shape[1], canvas.shape[0])
        for value in np.unique(canvas[canvas != 0]).tolist():
            builder.annotation(image, f"class {value}", Mask.of(canvas == value))
    return builder.finish()


def _canvas(path: Path, findings: Findings) -> NDArray[Any] | None:
    try:
        with Image.open(path) as picture:
            canvas = np.asarray(picture)
    except (OSError, SyntaxError, ValueError) as error:
        findings.error(path.name, "", f"cannot be read ({error})")
        return None
    if canvas.ndim != 2:
        findings.error(path.name, "", "expected one channel of numbers, got a colour picture")
        return None
    return canvas
