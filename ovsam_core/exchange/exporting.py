"""Exporting a project as COCO: what was reviewed, with stable ids, and a report of what was left out."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import xxhash

from ovsam_core.errors import CancelledError, FormatError, PictureError
from ovsam_core.exchange.keys import PRIVATE, class_provenance, object_provenance, picture_provenance
from ovsam_core.formats.coco import AnnotationRecord, CategoryRecord, CocoDataset, ImageRecord, write_coco
from ovsam_core.formats.report import Findings, Report
from ovsam_core.pictures import picture_size
from ovsam_core.polygons import coco_polygons
from ovsam_core.splits import Split, SplitRule, split_pictures

if TYPE_CHECKING:
    from collections.abc import Callable

    from ovsam_core.formats.coco import Polygons
    from ovsam_core.masks import Mask
    from ovsam_core.store import ClassRow, ObjectRow, PictureRow, Project

__all__ = ["ExportOptions", "export_coco", "export_with", "project_to_coco"]

Include = Literal["reviewed", "approved", "done", "all"]


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to export, and in which form.

    Attributes:
        include: "approved": objects that are approved or stand in an approved picture; "done": also those in done
            pictures; "all": every object of every picture that is not excluded; "reviewed": approved where there is
            anything approved, otherwise done. Objects that need work are only in "all".
        segmentation: "rle" (holds every mask exactly) or "polygons" (a mask with holes is written as RLE and noted).
        tolerance: simplification of polygons in pixels; 0 keeps every mask exactly.
        unnamed: also objects without a name, as a class "unnamed".
        provenance: write who made an object, how and when under the private key.
        images_root: folder that file names are relative to; None takes the names an import gave, or the common folder
            of all pictures.
        split: write NAME_train.json and NAME_val.json instead of one file.
    """

    include: Include = "reviewed"
    segmentation: Literal["rle", "polygons"] = "rle"
    tolerance: float = 0.0
    unnamed: bool = False
    provenance: bool = True
    images_root: Path | None = None
    split: SplitRule | None = None


def export_coco(
    project: Project,
    path: str | Path,
    *,
    options: ExportOptions | None = None,
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Report:
    """Write a project as a COCO file (or two, with a split); the same project gives the same bytes.

    Returns:
        Counts of what was written, and notes of what was left out or written in another form.

    Raises:
        FormatError: a file cannot be written; old files are as they were.
        CancelledError: `cancelled` said so; nothing was written.
    """
    return export_with(
        project, Path(path), write_coco, options=options or ExportOptions(), progress=progress, cancelled=cancelled
    )


def export_with(
    project: Project,
    path: Path,
    write: Callable[[CocoDataset, Path], Report],
    *,
    options: ExportOptions,
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Report:
    """Hand a project's records to a writer, whole or in two parts; see `export_coco`.

    Args:
        project: what to export.
        path: file or folder; the parts of a split are `NAME_train.json` and `NAME_val.json`, or folders `train`, `val`.
        write: writes records to a path and reports.
        options: what is taken.
        progress: told the finished share, 0 to 1.
        cancelled: asked between pictures.
    """
    share = 0.5 if options.split is not None and options.split.near_duplicates else 1.0
    first = (lambda part: progress(part * share)) if progress else None
    dataset, report = project_to_coco(project, options=options, file=path, progress=first, cancelled=cancelled)
    if options.split is None:
        said = write(dataset, path)
        return Report(report.problems + said.problems, report.counts, report.rejected + said.rejected)
    second = (lambda part: progress(share + part * (1 - share))) if progress else None
    split = _split(project, dataset, options.split, second, cancelled)
    findings = Findings(path)
    if split.by_picture:
        findings.note("", "group", f"{options.split.group}: all pictures are one group; each was taken for itself")
    if split.unread:
        findings.warn("", "images", f"{len(split.unread)} pictures could not be read to look for near-duplicates")
    findings.note("", "split", f"{split.groups} groups; {split.joined} pictures look like another one and stay with it")
    counts = dict(report.counts)
    for name, side in (("train", split.train), ("val", split.val)):
        part = dataset.restricted({dataset.images[i].id for i in side})
        target = path.with_name(f"{path.stem}_{name}{path.suffix}") if path.suffix else path / name
        said = write(part, target)
        findings.problems.extend(said.problems)
        counts |= {f"{name} images": len(part.images), f"{name} annotations": len(part.annotations)}
    return Report(report.problems + tuple(findings.problems), counts, report.rejected)


def project_to_coco(
    project: Project,
    *,
    options: ExportOptions | None = None,
    file: str | Path = "",
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[CocoDataset, Report]:
    """Make the COCO records of a project; see `export_coco`. `file` is named in the report."""
    work = _Export(project, options or ExportOptions(), Findings(str(file) or project.path))
    pictures = work.pictures()
    for number, picture in enumerate(pictures):
        if cancelled and cancelled():
            raise CancelledError(f"{file}: the export was stopped; nothing was written")
        work.take(picture)
        if progress:
            progress((number + 1) / len(pictures))
    return work.finish()


def _split(
    project: Project,
    dataset: CocoDataset,
    rule: SplitRule,
    progress: Callable[[float], None] | None,
    cancelled: Callable[[], bool] | None,
) -> Split:
    rows = {row.export_id: row for row in project.pictures()}
    chosen = [rows[image.id] for image in dataset.images]
    names = [row.path for row in chosen]
    field_name = rule.group.partition(":")[2]
    values = [row.group if field_name == "group" else row.extra.get("coco", {}).get(field_name) for row in chosen]
    files = [project.file_of(row) for row in chosen]
    return split_pictures(names, files, rule, fields=values, progress=progress, cancelled=cancelled)


@dataclass(slots=True)
class _Left:
    """Counts of what was left out."""

    pictures: int = 0
    objects: int = 0
    unnamed: int = 0
    needs_work: int = 0
    excluded: int = 0
    empty: int = 0


@dataclass(slots=True)
class _Export:
    """Collects the records of one export."""

    project: Project
    options: ExportOptions
    findings: Findings
    left: _Left = field(default_factory=_Left)
    images: list[ImageRecord] = field(default_factory=list)
    annotations: list[AnnotationRecord] = field(default_factory=list)
    include: Include = "all"
    unnamed_id: int = 0
    category_of: dict[str, int] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)

    def pictures(self) -> list[PictureRow]:
        """Pictures that may take part."""
        every = self.project.pictures()
        self.include = self._include(every)
        classes = self.project.classes()
        self.category_of = {row.uid: row.export_id for row in classes if row.export_id is not None}
        self.unnamed_id = max(self.category_of.values(), default=0) + 1
        chosen = [row for row in every if row.state != "excluded"]
        self.left.excluded = len(every) - len(chosen)
        self.names = self._file_names(chosen)
        return chosen

    def _include(self, pictures: list[PictureRow]) -> Include:
        if self.options.include != "reviewed":
            return self.options.include
        approved = any(row.state == "approved" for row in pictures) or any(
            row.state == "approved" for row in self.project.summaries()
        )
        return "approved" if approved else "done"

    def _file_names(self, pictures: list[PictureRow]) -> dict[int, str]:
        """File name of every picture, relative to one folder."""
        files = {row.id: self.project.file_of(row) for row in pictures}
        root = self.options.images_root
        if root is None:
            given = {row.id: row.extra.get("file_name") for row in pictures}
            if all(isinstance(name, str) for name in given.values()) and len(set(given.values())) == len(given):
                return {i: str(name) for i, name in given.items()}
            root = _common_folder(list(files.values())) or self.project.folder
        base = Path(os.path.abspath(root))  # noqa: PTH100 - links stay links
        outside = [file for file in files.values() if not file.is_relative_to(base)]
        if outside:
            raise FormatError(f"images_root: {outside[0]} does not lie in {base}")
        self.findings.note("", "images", f"file names are relative to {base}")
        return {i: file.relative_to(base).as_posix() for i, file in files.items()}

    def take(self, picture: PictureRow) -> None:
        """Collect a picture and those of its objects that take part."""
        whole = self.include == "all" or picture.state in self._states()
        rows = self.project.objects(picture.id)
        chosen = [row for row in rows if self._takes(row, whole=whole)]
        if not chosen and not whole:
            self.left.pictures += 1
            return
        size = self._size(picture, rows)
        if size is None:
            return
        image = self._image(picture, size)
        self.images.append(image)
        for row in chosen:
            annotation = self._annotation(row, image)
            if annotation is not None:
                self.annotations.append(annotation)

    def _states(self) -> tuple[str, ...]:
        return ("approved",) if self.include == "approved" else ("approved", "done")

    def _takes(self, row: ObjectRow, *, whole: bool) -> bool:
        if row.state == "needs_work" and self.include != "all":
            self.left.needs_work += 1
            return False
        if not (whole or row.state == "approved"):
            self.left.objects += 1
            return False
        if row.class_uid is None and not self.options.unnamed:
            self.left.unnamed += 1
            return False
        return True

    def _size(self, picture: PictureRow, rows: list[ObjectRow]) -> tuple[int, int] | None:
        """Width and height; of a picture nobody opened yet, from its masks or its file."""
        if picture.w is not None and picture.h is not None:
            return picture.w, picture.h
        if rows:
            return rows[0].mask.width, rows[0].mask.height
        try:
            return picture_size(self.project.file_of(picture))
        except PictureError as error:
            self.findings.error(f"picture {picture.id}", "path", f"{error}; left out, for its size is not known")
            return None

    def _image(self, picture: PictureRow, size: tuple[int, int]) -> ImageRecord:
        extra: dict[str, Any] = dict(picture.extra.get("coco", {}))
        if self.options.provenance:
            extra[PRIVATE] = picture_provenance(picture)
        assert picture.export_id is not None
        return ImageRecord(picture.export_id, self.names[picture.id], size[0], size[1], extra)

    def _annotation(self, row: ObjectRow, image: ImageRecord) -> AnnotationRecord | None:
        where = f"annotation {row.export_id}"
        if not row.mask.area:
            self.left.empty += 1
            return None
        if (row.mask.width, row.mask.height) != (image.width, image.height):
            size = f"{row.mask.width} x {row.mask.height}"
            self.findings.error(
                where, "segmentation", f"its mask is of {size}, the picture {image.width} x {image.height}"
            )
            return None
        given = row.extra.get("as_given", {})
        if given.get("mask") != xxhash.xxh3_64_hexdigest(row.mask.counts):
            given = {}
        extra: dict[str, Any] = dict(row.extra.get("coco", {}))
        if row.attributes:
            extra["attributes"] = dict(row.attributes)
        if self.options.provenance:
            extra[PRIVATE] = object_provenance(row)
        assert row.export_id is not None
        category = self.unnamed_id if row.class_uid is None else self.category_of[row.class_uid]
        box = tuple(given.get("bbox") or row.mask.bbox_xywh)
        return AnnotationRecord(
            id=row.export_id,
            image_id=image.id,
            category_id=category,
            segmentation=self._segmentation(row.mask, given, where),
            bbox_xywh=(box[0], box[1], box[2], box[3]),
            area=given.get("area", row.mask.area),
            iscrowd=row.crowd,
            extra=extra,
        )

    def _segmentation(self, mask: Mask, given: dict[str, Any], where: str) -> Mask | Polygons | None:
        if "segmentation" in given:
            original = given["segmentation"]
            if original is None:
                return None  # it came as a box alone
            if self.options.segmentation == "polygons":
                return tuple(tuple(ring) for ring in original)
        if self.options.segmentation == "rle":
            return mask
        polygons, whole = coco_polygons(mask, self.options.tolerance)
        if whole:
            return polygons
        self.findings.note(where, "segmentation", "has holes, which COCO's polygons cannot hold: written as RLE")
        return mask

    def finish(self) -> tuple[CocoDataset, Report]:
        """The records and the report."""
        categories = [
            CategoryRecord(self.category_of[row.uid], row.name, _category_extra(row, private=self.options.provenance))
            for row in self.project.classes()
        ]
        if any(a.category_id == self.unnamed_id for a in self.annotations):
            categories.append(CategoryRecord(self.unnamed_id, "unnamed"))
        texts = {
            "pictures": f"pictures that are not {' or '.join(self._states())}",
            "objects": f"objects that are not {' or '.join(self._states())}",
            "unnamed": "objects without a name",
            "needs_work": "objects that need work",
            "excluded": "excluded pictures",
            "empty": "objects with an empty mask",
        }
        for name, text in texts.items():
            number = getattr(self.left, name)
            if number:
                self.findings.note("", "left out", f"{number} {text}")
        dataset = CocoDataset(
            tuple(sorted(self.images, key=lambda i: i.id)),
            tuple(sorted(self.annotations, key=lambda a: a.id)),
            tuple(sorted(categories, key=lambda c: c.id)),
            None,
            self.project.setting("coco.top", {}),
        )
        counts = {"images": len(self.images), "annotations": len(self.annotations), "categories": len(categories)}
        return dataset, self.findings.report(counts)


def _common_folder(files: list[Path]) -> Path | None:
    try:
        return Path(os.path.commonpath([file.parent for file in files]))
    except ValueError:  # no files, or several drives
        return None


def _category_extra(row: ClassRow, *, private: bool) -> dict[str, Any]:
    return dict(row.extra) | ({PRIVATE: class_provenance(row)} if private else {})
