"""Annotation formats by name, and how a file or folder is recognised."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovsam_core.errors import FormatError

if TYPE_CHECKING:
    from pathlib import Path

    from ovsam_core.formats.coco import CocoDataset
    from ovsam_core.formats.report import Report

__all__ = ["FORMATS", "detect", "read", "write"]

FORMATS = ("coco", "lvis", "yolo", "voc", "labelme", "masks")


def detect(source: Path) -> str:
    """Return the format of a file or folder by what lies in it.

    Raises:
        FormatError: it does not exist, or nothing in it is known.
    """
    if source.is_file():
        return "coco"
    if not source.is_dir():
        raise FormatError(f"{source}: no such file or folder")
    if (source / "data.yaml").is_file():
        return "yolo"
    if (source / "masks.json").is_file():
        return "masks"
    for pattern, name in (("*.xml", "voc"), ("*.json", "labelme"), ("*.png", "masks")):
        if next(source.rglob(pattern), None) is not None:
            return name
    raise FormatError(f"{source}: no annotations of a known format; name it with --from")


def read(source: Path, name: str, *, images: str | None, strict: bool) -> tuple[CocoDataset, Report]:
    """Read annotations.

    Args:
        source: file or folder.
        name: one of `FORMATS`.
        images: folder of the pictures, for COCO and LVIS.
        strict: raise at the first error instead of leaving the item out.

    Raises:
        FormatError: unreadable; with `strict`, at any error.
    """
    match name:
        case "coco" | "lvis":
            from ovsam_core.formats.coco import read_coco

            return read_coco(source, images=images, strict=strict)
        case "yolo":
            from ovsam_core.formats.yolo import read_yolo

            return read_yolo(source, strict=strict)
        case "voc":
            from ovsam_core.formats.voc import read_voc

            return read_voc(source, strict=strict)
        case "labelme":
            from ovsam_core.formats.labelme import read_labelme

            return read_labelme(source, strict=strict)
        case "masks":
            from ovsam_core.formats.mask_png import read_mask_png

            return read_mask_png(source, strict=strict)
    raise AssertionError(name)


def write(dataset: CocoDataset, target: Path, name: str, *, tolerance: float) -> Report:
    """Write annotations; arguments as in `read`.

    Args:
        dataset: what to write.
        target: a file for coco and lvis, a folder for the others.
        name: one of `FORMATS`.
        tolerance: simplification of outlines in pixels, for yolo and labelme.
    """
    match name:
        case "coco":
            from ovsam_core.formats.coco import write_coco

            return write_coco(dataset, target)
        case "lvis":
            from ovsam_core.formats.lvis import write_lvis

            return write_lvis(dataset, target)
        case "yolo":
            from ovsam_core.formats.yolo import write_yolo

            return write_yolo(dataset, target, tolerance=tolerance)
        case "voc":
            from ovsam_core.formats.voc import write_voc

            return write_voc(dataset, target)
        case "labelme":
            from ovsam_core.formats.labelme import write_labelme

            return write_labelme(dataset, target, tolerance=tolerance)
        case "masks":
            from ovsam_core.formats.mask_png import write_mask_png

            return write_mask_png(dataset, target)
    raise AssertionError(name)
