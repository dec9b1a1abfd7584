"""Records of annotated pictures: the common tongue of all formats."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ovsam_core.errors import FormatError
from ovsam_core.masks import Mask

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["AnnotationRecord", "CategoryRecord", "CocoDataset", "ImageRecord", "Polygons"]

Polygons = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """A picture of a COCO file.

    Attributes:
        id: its id.
        file_name: with forward slashes, relative to the folder of pictures.
        width: pixels.
        height: pixels.
        extra: every other key of the file, unchanged.
    """

    id: int
    file_name: str
    width: int
    height: int
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CategoryRecord:
    """A class of a COCO file; `extra` holds supercategory, LVIS's synset and whatever else the file says."""

    id: int
    name: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AnnotationRecord:
    """An object of a COCO file.

    Attributes:
        id: its id.
        image_id: id of its picture.
        category_id: id of its class.
        segmentation: a Mask (either kind of run lengths), polygons as they stand in the file, or None for a box alone.
        bbox_xywh: box x, y, width, height in pixels as given; None where the file has none.
        area: as given; None where the file has none.
        iscrowd: whether it is a crowd region.
        extra: every other key of the file, unchanged.
    """

    id: int
    image_id: int
    category_id: int
    segmentation: Mask | Polygons | None = None
    bbox_xywh: tuple[float, float, float, float] | None = None
    area: float | None = None
    iscrowd: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)

    def mask(self, image: ImageRecord) -> Mask:
        """Mask at the picture's size: polygons filled as pycocotools does, a box alone filled whole.

        Raises:
            FormatError: the run lengths belong to another size.
        """
        if isinstance(self.segmentation, Mask):
            if (self.segmentation.height, self.segmentation.width) != (image.height, image.width):
                size = f"{self.segmentation.width} x {self.segmentation.height}"
                raise FormatError(f"annotation {self.id}: size: {size}, picture is {image.width} x {image.height}")
            return self.segmentation
        if self.segmentation is not None:
            return Mask.from_polygons(self.segmentation, image.height, image.width)
        return Mask.from_box(self.bbox_xywh or (0, 0, 0, 0), image.height, image.width)


@dataclass(frozen=True, slots=True)
class CocoDataset:
    """A COCO file in memory; records are in ascending order of id.

    Attributes:
        images: pictures.
        annotations: objects.
        categories: classes.
        folder: where the pictures lie.
        extra: other top-level keys ("info", "licenses", …), unchanged.
    """

    images: tuple[ImageRecord, ...] = ()
    annotations: tuple[AnnotationRecord, ...] = ()
    categories: tuple[CategoryRecord, ...] = ()
    folder: Path | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def by_image(self) -> dict[int, list[AnnotationRecord]]:
        """Objects by picture id, with an entry for every picture."""
        groups: dict[int, list[AnnotationRecord]] = {image.id: [] for image in self.images}
        for annotation in self.annotations:
            groups[annotation.image_id].append(annotation)
        return groups

    def path_of(self, image: ImageRecord) -> Path:
        """Where a picture's file lies.

        Raises:
            FormatError: the dataset has no folder.
        """
        if self.folder is None:
            raise FormatError(f"images: the folder of {image.file_name} is not known")
        return self.folder / image.file_name

    def restricted(self, image_ids: set[int]) -> CocoDataset:
        """The same file with some of its pictures and their objects; all classes stay."""
        return replace(
            self,
            images=tuple(i for i in self.images if i.id in image_ids),
            annotations=tuple(a for a in self.annotations if a.image_id in image_ids),
        )
