"""Importing COCO into a project: ids, crowd flags and unknown keys are kept, nothing of a person's is touched."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import xxhash

from ovsam_core.errors import CancelledError, FormatError
from ovsam_core.exchange.keys import PRIVATE, object_from_provenance
from ovsam_core.formats.coco import CocoDataset, read_coco
from ovsam_core.formats.report import Findings, Report
from ovsam_core.masks import Mask
from ovsam_core.store import Change, ClassRow, ObjectRow, PictureRow, new_class
from ovsam_core.store.records import ObjectState, PictureState, Source, new_uid
from ovsam_core.vocabulary import normalise, own_entry, preset, preset_column

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ovsam_core.formats.coco import AnnotationRecord, CategoryRecord, ImageRecord
    from ovsam_core.store import Project
    from ovsam_core.vocabulary import Entry

__all__ = ["ImportOptions", "import_coco", "import_dataset"]


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How to import.

    Attributes:
        picture_state: state of new pictures that have objects, where the file does not say it.
        object_state: state of objects, where the file does not say it.
    """

    picture_state: PictureState = "done"
    object_state: ObjectState = "open"


def import_coco(
    project: Project,
    path: str | Path,
    *,
    images: str | Path | None = None,
    options: ImportOptions | None = None,
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Report:
    """Import a COCO or LVIS file as one step that can be undone.

    Args:
        project: where to.
        path: the JSON file; it is only read.
        images: folder of the pictures; None looks beside the file.
        options: states.
        progress: told the finished share, 0 to 1.
        cancelled: asked between pictures.

    Returns:
        Problems of the file (unsound items are left out, see `Report.rejected`) and counts of what is new.

    Raises:
        FormatError: the file is no COCO file.
        CancelledError: `cancelled` said so; the project is unchanged.
    """
    dataset, report = read_coco(path, strict=False)
    if images is not None:
        dataset = replace(dataset, folder=Path(images))
    done = import_dataset(
        project, dataset, name=Path(path).name, options=options, progress=progress, cancelled=cancelled
    )
    return Report(report.problems + done.problems, done.counts, report.rejected + done.rejected)


def import_dataset(
    project: Project,
    dataset: CocoDataset,
    *,
    name: str,
    options: ImportOptions | None = None,
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Report:
    """Import records; see `import_coco`. `name` is what the history list calls the source."""
    work = _Import(project, dataset, name, options or ImportOptions())
    groups = dataset.by_image()
    for number, image in enumerate(dataset.images):
        if cancelled and cancelled():
            raise CancelledError(f"{name}: the import was stopped; the project is unchanged")
        work.take(image, groups[image.id])
        if progress:
            progress((number + 1) / len(dataset.images))
    return work.finish()


class _Import:
    """Collects the rows of one import."""

    def __init__(self, project: Project, dataset: CocoDataset, name: str, options: ImportOptions) -> None:
        if dataset.folder is None:
            raise FormatError(f"{name}: images: their folder is not known")
        self.project = project
        self.dataset = dataset
        self.folder = dataset.folder
        self.name = name
        self.options = options
        self.findings = Findings(name)
        self.pictures = {row.path: row for row in project.pictures()}
        self.used_pictures = {row.export_id for row in self.pictures.values()}
        self.next_picture = project.next_picture_id()
        self.used_objects, self.known_objects = self._stored_objects()
        self.put: list[PictureRow | ObjectRow] = []
        self.counts = {"pictures": 0, "objects": 0, "classes": 0, "already there": 0}
        self.new_classes: list[ClassRow] = []
        self.class_of = self._classes()
        self.now = time.time()

    def _stored_objects(self) -> tuple[set[int | None], dict[int, set[tuple[str | None, bytes]]]]:
        used: set[int | None] = set()
        known: dict[int, set[tuple[str | None, bytes]]] = {}
        for row in self.project.iter_objects():
            used.add(row.export_id)
            known.setdefault(row.picture, set()).add((row.class_uid, row.mask.counts))
        return used, known

    def _classes(self) -> dict[int, ClassRow]:
        """Class of every category: one of the project by entry or by name, otherwise a new one."""
        known = self.project.classes()
        by_entry = {row.entry_id: row for row in known}
        by_name = {normalise(row.name): row for row in known}
        used = {row.export_id for row in known}
        self.first_position = max((row.position for row in known), default=-1) + 1
        result: dict[int, ClassRow] = {}
        for category in self.dataset.categories:
            entry_id = _entry_id(category)
            row = by_name.get(normalise(category.name)) or by_entry.get(entry_id)
            if row is None:
                row = self._new_class(category, entry_id, keep_id=category.id not in used)
                used.add(category.id)
                self.new_classes.append(row)
                by_entry[entry_id] = by_name[normalise(category.name)] = row
            result[category.id] = row
        self.counts["classes"] = len(self.new_classes)
        return result

    def _new_class(self, category: CategoryRecord, entry_id: str, *, keep_id: bool) -> ClassRow:
        row = new_class(self.project, entry_id, category.name, self.first_position + len(self.new_classes))
        private = _private(category.extra)
        extra = {key: value for key, value in category.extra.items() if key != PRIVATE}
        if not keep_id:
            self.findings.note(
                f"category {category.id}", "id", f"{category.name!r} gets a new id: {category.id} is taken"
            )
        colour = private.get("colour")
        return replace(
            row,
            colour=colour if isinstance(colour, str) else row.colour,
            hotkey=private["hotkey"] if isinstance(private.get("hotkey"), str) else None,
            export_id=category.id if keep_id else None,
            extra=extra,
        )

    def take(self, image: ImageRecord, annotations: list[AnnotationRecord]) -> None:
        """Collect a picture and its objects."""
        path = self.project.relative(self.folder / image.file_name)
        row = self.pictures.get(path)
        if row is None:
            row = self._new_picture(image, path, labelled=bool(annotations))
            self.counts["pictures"] += 1
            self.put.append(row)
        elif row.w is not None and (row.w, row.h) != (image.width, image.height):
            size = f"{image.width} x {image.height}"
            self.findings.error(
                f"images id {image.id}",
                "width",
                f"the file says {size}, the project's picture is {row.w} x {row.h}; its objects were left out",
                item=("images", {"id": image.id, "file_name": image.file_name}),
            )
            return
        for annotation in annotations:
            self._take_object(image, annotation, row)

    def _new_picture(self, image: ImageRecord, path: str, *, labelled: bool) -> PictureRow:
        private = _private(image.extra)
        state: PictureState = self.options.picture_state if labelled else "unseen"
        if private.get("state") in get_args(PictureState):
            state = private["state"]
        keep = image.id not in self.used_pictures
        if not keep:
            self.findings.note(f"images id {image.id}", "id", f"{image.file_name!r} gets a new id: {image.id} is taken")
        self.used_pictures.add(image.id)
        extra: dict[str, Any] = {"file_name": image.file_name}
        unknown = {key: value for key, value in image.extra.items() if key != PRIVATE}
        if unknown:
            extra["coco"] = unknown
        row = PictureRow(
            id=self.next_picture,
            path=path,
            w=image.width,
            h=image.height,
            state=state,
            group=private["group"] if isinstance(private.get("group"), str) else None,
            export_id=image.id if keep else None,
            extra=extra,
        )
        self.next_picture += 1
        self.pictures[path] = row
        return row

    def _take_object(self, image: ImageRecord, annotation: AnnotationRecord, picture: PictureRow) -> None:
        try:
            mask = annotation.mask(image)
        except FormatError as error:
            self.findings.error(f"annotation {annotation.id}", "segmentation", str(error))
            return
        category = self.class_of[annotation.category_id]
        if (category.uid, mask.counts) in self.known_objects.get(picture.id, ()):
            self.counts["already there"] += 1
            return
        keep = annotation.id not in self.used_objects
        self.used_objects.add(annotation.id)
        private = _private(annotation.extra)
        facts = object_from_provenance(private)
        if facts.get("source") not in get_args(Source):
            facts["source"] = "imported"
        if facts.get("state") not in get_args(ObjectState):
            facts["state"] = self.options.object_state
        facts.setdefault("created", self.now + self.counts["objects"] * 1e-6)  # in the order of the file
        attributes = annotation.extra.get("attributes")
        self.put.append(
            ObjectRow(
                uid=new_uid(),
                picture=picture.id,
                mask=mask,
                class_uid=category.uid,
                crowd=annotation.iscrowd,
                attributes=attributes if isinstance(attributes, dict) else {},
                export_id=annotation.id if keep else None,
                extra=_remembered(annotation, mask),
                **facts,
            )
        )
        if not keep:
            self.findings.note(f"annotation {annotation.id}", "id", "gets a new id: this one is taken")
        self.counts["objects"] += 1

    def finish(self) -> Report:
        """Write everything as one step."""
        if self.put or self.new_classes:
            label = f"Import {self.counts['objects']} objects from {self.name}"
            self.project.apply(Change(label, put=(*self.new_classes, *self.put)))
        extra = dict(self.dataset.extra)
        if extra and self.project.setting("coco.top") is None:
            self.project.set_setting("coco.top", extra)
        return self.findings.report(self.counts)


def _remembered(annotation: AnnotationRecord, mask: Mask) -> dict[str, Any]:
    """What the file said besides the mask, so that an untouched object is exported as it came.

    `as_given` holds for the mask with the digest beside it: once a person edits the mask it no longer does.
    """
    unknown = {k: v for k, v in annotation.extra.items() if k not in (PRIVATE, "attributes")}
    if "attributes" in annotation.extra and not isinstance(annotation.extra["attributes"], dict):
        unknown["attributes"] = annotation.extra["attributes"]
    given: dict[str, Any] = {"mask": xxhash.xxh3_64_hexdigest(mask.counts)}
    if not isinstance(annotation.segmentation, Mask):
        given["segmentation"] = annotation.segmentation
    if annotation.bbox_xywh is not None and tuple(annotation.bbox_xywh) != mask.bbox_xywh:
        given["bbox"] = annotation.bbox_xywh
    if annotation.area is not None and annotation.area != mask.area:
        given["area"] = annotation.area
    extra: dict[str, Any] = {"coco": unknown} if unknown else {}
    return extra | ({"as_given": given} if len(given) > 1 else {})


def _private(extra: Mapping[str, Any]) -> dict[str, Any]:
    private = extra.get(PRIVATE)
    return private if isinstance(private, dict) else {}


def _entry_id(category: CategoryRecord) -> str:
    """Vocabulary entry of a category: what our own export says, COCO's and LVIS's classes by id and name, or own."""
    stated = _private(category.extra).get("entry_id")
    if isinstance(stated, str) and stated:
        return stated
    for vocabulary, column in (("coco", "coco_id"), ("lvis", "lvis_id")):
        entry = _numbered(vocabulary, column).get(category.id)
        if entry is not None and normalise(category.name) in map(normalise, (entry.name, *entry.phrases)):
            return entry.id
    return own_entry(category.name).id


@cache
def _numbered(vocabulary: str, column: str) -> dict[int, Entry]:
    entries = preset(vocabulary)
    return {int(number): entries[entries.index_of[i]] for i, number in preset_column(vocabulary, column).items()}
