"""Finding pictures again after files were moved: by name first, and always by content."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ovsam_core.errors import CancelledError, PictureError
from ovsam_core.pictures import PICTURE_SUFFIXES, picture_key
from ovsam_core.store.records import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ovsam_core.store.project import Applied, Project
    from ovsam_core.store.records import PictureRow

__all__ = ["find_by_content", "missing_pictures", "relink"]


def missing_pictures(project: Project) -> list[PictureRow]:
    """Pictures whose file does not exist."""
    return [row for row in project.pictures() if not project.file_of(row).is_file()]


def find_by_content(
    missing: Iterable[PictureRow],
    folder: str | Path,
    *,
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> dict[int, Path]:
    """Look for pictures in a folder and all below it.

    Files of the same name are compared first, so that a moved folder is found without reading everything else. A
    picture whose content key is not known is taken by its name where only one file has it.

    Args:
        missing: rows to look for.
        folder: where.
        progress: told the finished share, 0 to 1.
        cancelled: asked between files.

    Returns:
        Picture id → file.

    Raises:
        CancelledError: `cancelled` said so.
    """
    files = sorted(
        path for path in Path(folder).rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()
    )
    named: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        named[path.name].append(path)
    wanted: dict[str, list[int]] = defaultdict(list)
    found: dict[int, Path] = {}
    names: set[str] = set()
    for row in missing:
        name = Path(row.path).name
        if row.key is not None:
            wanted[row.key].append(row.id)
            names.add(name)
        elif len(named[name]) == 1:
            found[row.id] = named[name][0]
    order = sorted(files, key=lambda path: path.name not in names)  # stable: same names first
    for number, path in enumerate(order):
        if not wanted:
            break
        if cancelled and cancelled():
            raise CancelledError(f"{folder}: the search was stopped; the project is unchanged")
        try:
            key = picture_key(path)
        except PictureError:
            continue
        for picture in wanted.pop(key, ()):
            found[picture] = path
        if progress:
            progress((number + 1) / len(order))
    return found


def relink(project: Project, found: Mapping[int, Path]) -> Applied:
    """Point pictures to other files, as one step.

    Raises:
        StoreError: a file belongs to another picture of the project already; nothing was changed.
    """
    rows = tuple(replace(project.picture(i), path=project.relative(path)) for i, path in found.items())
    return project.apply(Change(f"Find {len(rows)} moved picture{'s' * (len(rows) != 1)}", put=rows))
