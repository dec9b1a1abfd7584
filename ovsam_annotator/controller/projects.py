"""Opening whatever a person has: a project, a folder, pictures, a COCO file. Runs off the GUI thread."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from natsort import natsorted

from ovsam_annotator.controller.session import ProjectFacts, read_facts
from ovsam_core.assets import asset_path
from ovsam_core.errors import PictureError, StoreError
from ovsam_core.exchange import import_coco
from ovsam_core.pictures import PICTURE_SUFFIXES, picture_key
from ovsam_core.store import SUFFIX, Project

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Opened", "find_moved", "open_paths", "open_sample", "pictures_among", "pictures_below"]


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """An open project, its lists, and the picture to show first."""

    project: Project
    facts: ProjectFacts
    first: int | None
    notes: tuple[str, ...] = ()


def pictures_below(folder: Path) -> list[Path]:
    """Every picture file in a folder and its sub-folders, in natural order; hidden ones are left out.

    Raises:
        StoreError: the folder cannot be read.
    """
    found: list[str] = []

    def refuse(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise StoreError(f"{folder}: the folder cannot be read ({error.strerror})") from error

    for root, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            os.path.join(root, name)  # noqa: PTH118 - 100,000 Path objects would cost a second
            for name in files
            if os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES and not name.startswith(".")  # noqa: PTH122
        ]
    return [Path(path) for path in natsorted(found)]


def pictures_among(paths: Iterable[Path]) -> list[Path]:
    """The pictures among files, and those in folders; other files are left out.

    Raises:
        StoreError: a folder cannot be read.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += pictures_below(path)
        elif path.suffix.lower() in PICTURE_SUFFIXES:
            found.append(path)
    return found


def find_moved(folder: Path, name: str, key: str) -> Path | None:
    """Find a picture that was moved or renamed, by its content; files of the same name are looked at first.

    Args:
        folder: where to look, with all sub-folders.
        name: file name that it had.
        key: content key that it had.
    """
    files = pictures_below(folder)
    for path in (*(p for p in files if p.name == name), *(p for p in files if p.name != name)):
        try:
            if picture_key(path) == key:
                return path
        except PictureError:
            continue
    return None


def open_paths(paths: Sequence[Path]) -> Opened:
    """Open a project, a folder, pictures or a COCO file.

    A folder, a picture or a COCO file gets a project beside it; one that is there already is opened. The COCO file is
    imported once and only ever written by an export.

    Raises:
        OvsamError: it cannot be opened; the message says why.
    """
    path = paths[0].absolute()
    if path.suffix.lower() == SUFFIX:
        return _finish(Project.open(path))
    if path.is_dir():
        return _open_folder(path)
    if path.suffix.lower() == ".json":
        return _open_coco(path)
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return _open_pictures([p.absolute() for p in paths])
    if not path.exists():
        raise StoreError(f"{path}: no such file or folder")
    raise StoreError(f"{path}: neither a project, a folder, a picture nor a COCO file")


def open_sample(folder: Path) -> Opened:
    """Open the sample project; its pictures are copied to a folder of the user's on the first call.

    Raises:
        OvsamError: the samples are missing, or the folder cannot be written.
    """
    project = folder / f"samples{SUFFIX}"
    if not project.exists():
        source = asset_path("samples")
        try:
            shutil.copytree(source, folder, dirs_exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder}: the samples cannot be copied ({error.strerror or error})") from error
        with Project.create(project) as made:
            made.add_pictures(pictures_below(folder))
    return _finish(Project.open(project))


def _open_folder(folder: Path) -> Opened:
    files = pictures_below(folder)
    path = folder / f"{folder.name or 'project'}{SUFFIX}"
    if not path.exists() and not files:
        kinds = ", ".join(sorted(PICTURE_SUFFIXES))
        raise StoreError(f"{folder}: no pictures in this folder (looked for {kinds})")
    project = Project.open(path) if path.exists() else Project.create(path)
    return _with_pictures(project, files)


def _open_pictures(files: Sequence[Path]) -> Opened:
    first = files[0]
    if not first.exists():
        raise StoreError(f"{first}: no such file")
    path = first.with_suffix(SUFFIX) if len(files) == 1 else first.parent / f"{first.parent.name}{SUFFIX}"
    project = Project.open(path) if path.exists() else Project.create(path)
    return _with_pictures(project, files, first)


def _with_pictures(project: Project, files: Sequence[Path], show: Path | None = None) -> Opened:
    try:
        added = [] if project.read_only else project.add_pictures(files)
        row = project.picture_at(show) if show is not None else None
    except BaseException:
        project.close()
        raise
    notes = (f"{len(added)} new pictures",) if added and project.report.last_step is not None else ()
    return _finish(project, row.id if row else None, notes)


def _open_coco(path: Path) -> Opened:
    target = path.with_suffix(SUFFIX)
    if target.exists():
        return _finish(Project.open(target))
    project = Project.create(target)
    try:
        report = import_coco(project, path)
    except BaseException:
        project.close()
        target.unlink(missing_ok=True)
        raise
    return _finish(project, None, tuple(report.text().splitlines()))


def _finish(project: Project, first: int | None = None, notes: tuple[str, ...] = ()) -> Opened:
    try:
        facts = read_facts(project)
        last = facts.settings.get("last_picture")
    except BaseException:
        project.close()
        raise
    if first is None and isinstance(last, int) and last in facts.pictures:
        first = last
    if first is None:
        first = next(iter(facts.pictures), None)
    return Opened(project, facts, first, notes)
