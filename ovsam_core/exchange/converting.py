"""One door to all formats: recognise, validate, convert."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import orjson

from ovsam_core.errors import FormatError
from ovsam_core.exchange.exporting import ExportOptions, export_coco, export_with, project_to_coco
from ovsam_core.exchange.importing import import_coco, import_dataset
from ovsam_core.formats.coco import CocoDataset, read_coco, write_bytes_atomically, write_coco
from ovsam_core.formats.labelme import read_labelme, write_labelme
from ovsam_core.formats.lvis import read_lvis, write_lvis
from ovsam_core.formats.mask_png import TABLE, read_mask_png, write_mask_png
from ovsam_core.formats.report import Findings, Report
from ovsam_core.formats.voc import read_voc, write_voc
from ovsam_core.formats.yolo import read_yolo, write_yolo
from ovsam_core.masks import Mask
from ovsam_core.polygons import coco_polygons
from ovsam_core.store import SUFFIX, Project, missing_pictures

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Format",
    "convert",
    "detect_format",
    "export_any",
    "import_any",
    "read_any",
    "validate_path",
    "write_any",
]

Format = Literal["coco", "lvis", "yolo", "voc", "labelme", "mask_png", "project"]


def detect_format(path: str | Path) -> Format:
    """Say what a file or folder holds, by its ending and content.

    Raises:
        FormatError: it does not exist, or is none of the formats.
    """
    path = Path(path)
    if path.is_file():
        if path.suffix == SUFFIX:
            return "project"
        if path.suffix.lower() == ".json":
            return _json_format(path)
    if path.is_dir():
        if any((path / name).is_file() for name in ("data.yaml", "dataset.yaml")):
            return "yolo"
        if (path / TABLE).is_file():
            return "mask_png"
        for suffix, name in (("xml", "voc"), ("json", "labelme"), ("png", "mask_png")):
            if next(path.rglob(f"*.{suffix}"), None) is not None:
                return name  # type: ignore[return-value]
    if not path.exists():
        raise FormatError(f"{path}: no such file or folder")
    raise FormatError(f"{path}: none of the formats {', '.join(get_args(Format))}")


def _json_format(path: Path) -> Format:
    try:
        with path.open("rb") as file:
            start = file.read(1 << 20)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    if b'"shapes"' in start and b'"imagePath"' in start:
        return "labelme"
    return "lvis" if b'"neg_category_ids"' in start else "coco"


def read_any(
    path: str | Path, *, format_name: Format | None = None, images: str | Path | None = None, strict: bool = True
) -> tuple[CocoDataset, Report]:
    """Read any format as COCO records.

    Args:
        path: file or folder.
        format_name: None recognises it.
        images: folder of the pictures, where it is not beside the labels; of COCO and LVIS every file is looked for.
        strict: raise at errors; otherwise leave unsound items out and report them.

    Raises:
        FormatError: it cannot be read; with `strict`, at any error.
        StoreError: a project cannot be opened.
    """
    path = Path(path)
    match format_name or detect_format(path):
        case "coco":
            return read_coco(path, images=images, strict=strict)
        case "lvis":
            return read_lvis(path, images=images, strict=strict)
        case "yolo":
            return read_yolo(path, images=images, strict=strict)
        case "voc":
            dataset, report = read_voc(path, strict=strict)
        case "labelme":
            dataset, report = read_labelme(path if path.is_dir() else path.parent, strict=strict)
        case "mask_png":
            dataset, report = read_mask_png(path, strict=strict)
        case "project":
            with Project.open(path, read_only=True) as project:
                return _read_project(project)
    return (dataset if images is None else replace(dataset, folder=Path(images))), report


def _read_project(project: Project) -> tuple[CocoDataset, Report]:
    dataset, report = project_to_coco(project, options=ExportOptions(include="all"))
    return _in_folder(project, dataset), report


def _in_folder(project: Project, dataset: CocoDataset) -> CocoDataset:
    """Say where the pictures lie that the records name."""
    files = {row.export_id: project.file_of(row) for row in project.pictures()}
    for image in dataset.images:
        folder = Path(str(files[image.id]).removesuffix(image.file_name))
        if str(files[image.id]).endswith(image.file_name):
            return replace(dataset, folder=folder)
    return replace(dataset, folder=project.folder)


def write_any(
    dataset: CocoDataset, path: str | Path, format_name: Format, *, polygons: bool = False, tolerance: float = 0.0
) -> Report:
    """Write records in any format.

    Args:
        dataset: what to write.
        path: a JSON file for COCO and LVIS, a new project file, a folder for the others.
        format_name: the format.
        polygons: of COCO and LVIS, write polygons instead of run lengths where they hold the mask.
        tolerance: simplification of outlines in pixels.

    Raises:
        FormatError: a file cannot be written.
        StoreError: the project exists already or cannot be written.
    """
    match format_name:
        case "coco" | "lvis":
            findings = Findings(path)
            dataset = _with_segmentation(dataset, findings, polygons=polygons, tolerance=tolerance)
            write = write_coco if format_name == "coco" else write_lvis
            return write(dataset, path) + findings.report()
        case "yolo":
            return write_yolo(dataset, path, tolerance=tolerance)
        case "voc":
            return write_voc(dataset, path)
        case "labelme":
            return write_labelme(dataset, path, tolerance=tolerance)
        case "mask_png":
            return write_mask_png(dataset, path)
        case "project":
            with Project.create(path) as project:
                return import_dataset(project, dataset, name=Path(path).name)


def export_any(
    project: Project,
    path: str | Path,
    format_name: Format,
    *,
    options: ExportOptions | None = None,
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Report:
    """Write a project in any format; arguments, result and errors as `export_coco`, and of `write_any`."""
    options = options or ExportOptions()
    if format_name == "coco":
        return export_coco(project, path, options=options, progress=progress, cancelled=cancelled)

    def write(dataset: CocoDataset, target: Path) -> Report:
        polygons = options.segmentation == "polygons"
        placed = _in_folder(project, dataset)
        return write_any(placed, target, format_name, polygons=polygons, tolerance=options.tolerance)

    return export_with(project, Path(path), write, options=options, progress=progress, cancelled=cancelled)


def import_any(
    project: Project,
    path: str | Path,
    *,
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Report:
    """Take annotations of any format into a project as one step; what is not sound is left out and reported."""
    kind = detect_format(path)
    if kind == "coco":
        return import_coco(project, path, progress=progress, cancelled=cancelled)
    # YOLO's files know shares of a picture only: the pictures must be found, and the project's folder has them.
    images = project.folder if kind == "yolo" else None
    dataset, report = read_any(path, format_name=kind, images=images, strict=False)
    taken = import_dataset(project, dataset, name=Path(path).name, progress=progress, cancelled=cancelled)
    return Report(report.problems + taken.problems, taken.counts, report.rejected + taken.rejected)


def _with_segmentation(dataset: CocoDataset, findings: Findings, *, polygons: bool, tolerance: float) -> CocoDataset:
    images = {image.id: image for image in dataset.images}
    result = []
    for item in dataset.annotations:
        if item.segmentation is None or isinstance(item.segmentation, Mask) != polygons:
            result.append(item)
            continue
        mask = item.mask(images[item.image_id])
        if not polygons:
            result.append(replace(item, segmentation=mask))
            continue
        rings, whole = coco_polygons(mask, tolerance)
        if not whole:
            text = "has holes, which COCO's polygons cannot hold: written as RLE"
            findings.note(f"annotation {item.id}", "segmentation", text)
        result.append(replace(item, segmentation=rings if whole else mask))
    return replace(dataset, annotations=tuple(result))


def convert(
    source: str | Path,
    target: str | Path,
    *,
    to: Format,
    source_format: Format | None = None,
    images: str | Path | None = None,
    polygons: bool = False,
    tolerance: float = 0.0,
    strict: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Report:
    """Convert between any two formats; pictures are not copied.

    With `strict` False, what is sound is converted; items left out are written as they stood to NAME.rejected.json
    beside the target, so that nothing is lost.

    Args:
        source: file or folder; only read.
        target: file or folder to write; a project must not exist yet.
        to: its format.
        source_format: None recognises it.
        images: folder of the pictures.
        polygons: of COCO and LVIS, polygons instead of run lengths where they hold the mask.
        tolerance: simplification of outlines in pixels.
        strict: raise at the first error in the source.
        progress: told the finished share, 0 to 1.

    Raises:
        FormatError: the source cannot be read or the target cannot be written.
        StoreError: of project files.
    """
    target = Path(target)
    if Path(source).absolute() == target.absolute():
        raise FormatError(f"{target}: source and target are the same")
    dataset, report = read_any(source, format_name=source_format, images=images, strict=strict)
    if progress:
        progress(0.5)
    written = write_any(dataset, target, to, polygons=polygons, tolerance=tolerance)
    rejected = report.rejected + written.rejected
    if rejected:
        beside = target.with_name(f"{target.stem}.rejected.json")
        items = [{"section": section, "item": item} for section, item in rejected]
        write_bytes_atomically(beside, orjson.dumps(items, option=orjson.OPT_INDENT_2, default=str))
    if progress:
        progress(1.0)
    return Report(report.problems + written.problems, written.counts, rejected)


def validate_path(path: str | Path, *, format_name: Format | None = None, images: str | Path | None = None) -> Report:
    """Check a file or folder of any format and every picture it names; nothing is written.

    Raises:
        FormatError: it cannot be read at all, or is none of the formats.
        StoreError: a project cannot be opened.
    """
    path = Path(path)
    kind = format_name or detect_format(path)
    if kind == "project":
        return _validate_project(path)
    dataset, report = read_any(path, format_name=kind, images=images, strict=False)
    if kind in ("coco", "lvis"):
        if images is None and dataset.folder is not None:
            _, report = read_any(path, format_name=kind, images=dataset.folder, strict=False)
        return report
    return report + _missing(dataset, path)


def _missing(dataset: CocoDataset, path: Path) -> Report:
    findings = Findings(path)
    for image in dataset.images:
        if not dataset.path_of(image).is_file():
            findings.warn(image.file_name, "file_name", f"no such picture: {dataset.path_of(image)}")
    return findings.report()


def _validate_project(path: Path) -> Report:
    findings = Findings(path)
    with Project.open(path, read_only=True) as project:
        for problem in project.check():
            findings.error("", "file", problem)
        for row in missing_pictures(project):
            findings.warn(f"picture {row.id}", "path", f"no such picture: {project.file_of(row)}")
        sizes = {row.id: (row.w, row.h) for row in project.pictures()}
        count = 0
        for thing in project.iter_objects():
            count += 1
            where = f"object {thing.uid}"
            mask = thing.mask
            try:
                Mask.from_rle({"size": [mask.height, mask.width], "counts": mask.counts})
            except FormatError as error:
                findings.error(where, "rle", str(error))
            width, height = sizes[thing.picture]
            if width is not None and (width, height) != (mask.width, mask.height):
                size = f"{mask.width} x {mask.height}"
                findings.warn(where, "rle", f"its mask is of {size} pixels, its picture of {width} x {height}")
        counts = {"pictures": len(sizes), "objects": count, "classes": len(project.classes())}
    return findings.report(counts)
