"""Collects records of formats that number nothing: ids count from 1 in the order of the files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovsam_core.errors import FormatError
from ovsam_core.formats.coco import AnnotationRecord, CategoryRecord, CocoDataset, ImageRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovsam_core.formats.coco import Polygons
    from ovsam_core.formats.report import Findings, Report
    from ovsam_core.masks import Mask

__all__ = ["DatasetBuilder", "beside", "files_below", "label_name", "read_text"]


class DatasetBuilder:
    """Grows a CocoDataset picture by picture.

    Attributes:
        findings: problems met so far.
        folder: where the pictures lie.
    """

    def __init__(self, findings: Findings, folder: Path) -> None:
        self.findings = findings
        self.folder = folder
        self._images: list[ImageRecord] = []
        self._annotations: list[AnnotationRecord] = []
        self._categories: dict[str, int] = {}

    def image(self, file_name: str, width: int, height: int, extra: dict[str, Any] | None = None) -> ImageRecord:
        """Add a picture."""
        record = ImageRecord(len(self._images) + 1, file_name, width, height, extra or {})
        self._images.append(record)
        return record

    def category(self, name: str) -> int:
        """Id of the class with this name, added where it is new."""
        return self._categories.setdefault(name, len(self._categories) + 1)

    def annotation(
        self,
        image: ImageRecord,
        name: str,
        segmentation: Mask | Polygons | None,
        *,
        bbox_xywh: tuple[float, float, float, float] | None = None,
        iscrowd: bool = False,
        extra: dict[str, Any] | None = None,
    ) -> None:
        """Add an object."""
        number = len(self._annotations) + 1
        record = AnnotationRecord(
            number, image.id, self.category(name), segmentation, bbox_xywh, None, iscrowd, extra or {}
        )
        self._annotations.append(record)

    def finish(self) -> tuple[CocoDataset, Report]:
        """The dataset and the report."""
        categories = tuple(CategoryRecord(number, name) for name, number in self._categories.items())
        dataset = CocoDataset(tuple(self._images), tuple(self._annotations), categories, self.folder)
        counts = {
            "images": len(self._images),
            "annotations": len(self._annotations),
            "categories": len(self._categories),
        }
        return dataset, self.findings.report(counts)


def read_text(path: Path, findings: Findings) -> str | None:
    """Text of a file; None, with the problem recorded, where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        findings.error(path.name, "", f"cannot be read ({error.strerror})")
    except UnicodeDecodeError as error:
        findings.error(path.name, "", f"not UTF-8 text (byte {error.start})")
    return None


def files_below(folder: Path, pattern: str) -> Iterator[Path]:
    """Files below a folder in the order of their names.

    Raises:
        FormatError: the folder does not exist.
    """
    if not folder.is_dir():
        raise FormatError(f"{folder}: no such folder")
    yield from sorted(path for path in folder.rglob(pattern) if path.is_file())


def beside(file_name: str, suffix: str) -> str:
    """A picture's file name with another ending: where its labels lie, relative to their folder."""
    return Path(file_name).with_suffix(suffix).as_posix()


def label_name(dataset: CocoDataset) -> dict[int, str]:
    """Class names by category id."""
    return {category.id: category.name for category in dataset.categories}
