"""Masks as run lengths: the one truth from prediction to export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from pycocotools import mask as coco_mask

from ovsam_core.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["Mask", "iou_matrix", "union_all"]

_LONG_RUN = 64  # pixels of a window per run from which filling runs one by one is faster than a sum over all pixels
_REACH = 4  # polygon points may lie this many picture sizes outside; beyond that the rasteriser's memory explodes


@dataclass(frozen=True, slots=True)
class Mask:
    """An immutable, hashable binary mask of one picture.

    Set operations and `window` work on the runs and cost memory by the object, not by the picture.

    Attributes:
        counts: COCO compressed run lengths (column-major), as pycocotools writes them.
        height: picture height in pixels.
        width: picture width in pixels.
    """

    counts: bytes
    height: int
    width: int

    # ---- making

    @classmethod
    def of(cls, pixels: NDArray[np.bool_] | NDArray[np.uint8]) -> Self:
        """Encode a (H, W) array; every non-zero pixel belongs to the mask."""
        if pixels.ndim != 2:
            raise FormatError(f"mask: expected shape (H, W), got {pixels.shape}")
        rle = coco_mask.encode(np.asfortranarray(pixels != 0).view(np.uint8))
        return cls(cast("bytes", rle["counts"]), *pixels.shape)

    @classmethod
    def empty(cls, height: int, width: int) -> Self:
        """The mask without a pixel."""
        return cls.from_runs(np.array([height * width]), height, width)

    @classmethod
    def from_box(cls, box_xywh: ArrayLike, height: int, width: int) -> Self:
        """The filled box x, y, width, height, rounded to whole pixels and cut at the picture's edges."""
        x, y, w, h = np.asarray(box_xywh, np.float64)
        x1, y1 = (int(np.clip(np.rint(v), 0, top)) for v, top in ((x, width), (y, height)))
        x2, y2 = (int(np.clip(np.rint(v), 0, top)) for v, top in ((x + w, width), (y + h, height)))
        return cls.from_window(np.ones((max(y2 - y1, 0), max(x2 - x1, 0)), np.bool_), x1, y1, height, width)

    @classmethod
    def from_window(cls, pixels: NDArray[np.bool_], x: int, y: int, height: int, width: int) -> Self:
        """Encode a crop (h, w) whose top left pixel is (x, y) of a picture; what lies outside is cut off."""
        left, top = max(0, -x), max(0, -y)
        pixels = pixels[top : max(top, height - y), left : max(left, width - x)] != 0
        x, y = x + left, y + top
        if not pixels.size or not pixels.any():
            return cls.empty(height, width)
        tall = pixels.shape[0] + 1  # a pixel of background below each column ends its last run
        columns = np.zeros((pixels.shape[1], tall), np.bool_)
        columns[:, :-1] = pixels.T
        line = columns.reshape(-1)
        edges = np.flatnonzero(line[1:] != line[:-1]) + 1
        column, row = np.divmod(edges if not line[0] else np.r_[0, edges], tall)
        edges = (column + x) * height + row + y
        starts, ends = edges[0::2], edges[1::2]
        apart = np.flatnonzero(starts[1:] != ends[:-1])  # a run through the bottom edge goes on in the next column
        starts, ends = starts[np.r_[0, apart + 1]], ends[np.r_[apart, len(ends) - 1]]
        kept = np.stack([starts, ends], 1).reshape(-1)
        return cls.from_runs(np.diff(np.r_[0, kept, height * width]), height, width)

    @classmethod
    def from_runs(cls, runs: ArrayLike, height: int, width: int) -> Self:
        """Encode uncompressed run lengths (background first, column-major).

        Raises:
            FormatError: a run is negative or they do not add up to the picture.
        """
        lengths = np.asarray(runs)
        if lengths.ndim != 1 or (lengths.size and lengths.dtype.kind not in "ui"):
            raise FormatError("counts: expected a list of whole numbers")
        if (lengths < 0).any() or int(lengths.sum()) != height * width:
            raise FormatError(f"counts: runs add up to {int(lengths.sum())}, the picture has {height * width} pixels")
        if lengths.size and lengths[-1] == 0 and lengths.size > 1:
            lengths = lengths[:-1]
        rle = coco_mask.frPyObjects({"size": [height, width], "counts": _canonical(lengths).tolist()}, height, width)
        return cls(cast("bytes", rle["counts"]), height, width)

    @classmethod
    def from_rle(cls, rle: Mapping[str, Any], height: int | None = None, width: int | None = None) -> Self:
        """Read COCO's compressed or uncompressed form.

        Every run is checked before any C code sees it.

        Args:
            rle: {"size": [h, w], "counts": str, bytes or list of run lengths}.
            height: expected picture height; None accepts any.
            width: expected picture width.

        Raises:
            FormatError: a field is missing or of a wrong type, or the runs do not fit the size.
        """
        size, counts = rle.get("size"), rle.get("counts")
        if not (isinstance(size, list | tuple) and len(size) == 2 and all(type(v) is int and v > 0 for v in size)):
            raise FormatError(f"size: expected [height, width], got {size!r}")
        if (height is not None and size[0] != height) or (width is not None and size[1] != width):
            raise FormatError(f"size: mask is {size[1]} x {size[0]}, picture is {width} x {height}")
        if isinstance(counts, list | tuple):
            if not all(type(v) is int for v in counts):
                raise FormatError("counts: expected whole numbers")
            return cls.from_runs(np.asarray(counts, np.int64), size[0], size[1])
        if isinstance(counts, str):
            try:
                counts = counts.encode("ascii")
            except UnicodeEncodeError as error:
                raise FormatError("counts: not a compressed run-length text") from error
        if not isinstance(counts, bytes):
            raise FormatError(f"counts: expected a text or a list, got {type(counts).__name__}")
        return cls.from_runs(_decode_counts(counts), size[0], size[1])

    @classmethod
    def from_polygons(cls, polygons: Iterable[Sequence[float]], height: int, width: int) -> Self:
        """Union of COCO polygons [x1, y1, x2, y2, …], filled as pycocotools fills them.

        Raises:
            FormatError: fewer than three points, an odd count, a value that is not finite or far outside.
        """
        rings = [check_polygon(ring, height, width) for ring in polygons]
        if not rings:
            return cls.empty(height, width)
        encoded: Any = coco_mask.frPyObjects(cast("Any", rings), height, width)
        merged = coco_mask.merge(encoded)
        return cls(cast("bytes", merged["counts"]), height, width)

    # ---- looking

    @property
    def rle(self) -> dict[str, object]:
        """COCO's compressed form: {"size": [h, w], "counts": str}."""
        return {"size": [self.height, self.width], "counts": self.counts.decode("ascii")}

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(coco_mask.area(_raw(self)))

    @property
    def bbox_xywh(self) -> tuple[int, int, int, int]:
        """Tight box x, y, width, height in pixels; all 0 for an empty mask."""
        x, y, w, h = (int(v) for v in coco_mask.toBbox(_raw(self)))
        return x, y, w, h

    @property
    def bbox_xyxy(self) -> tuple[int, int, int, int]:
        """Tight box with exclusive far edges; all 0 for an empty mask."""
        x, y, w, h = self.bbox_xywh
        return x, y, x + w, y + h

    def runs(self) -> NDArray[np.int64]:
        """Uncompressed run lengths, background first, column-major."""
        return _decode_counts(self.counts)

    def full(self) -> NDArray[np.bool_]:
        """Decode to (H, W) bool."""
        # Not pycocotools' decode: it warns with current numpy, and this is as fast.
        crop, x, y = self.window()
        whole = np.zeros((self.height, self.width), np.bool_)
        whole[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
        return whole

    def window(self, margin: int = 0) -> tuple[NDArray[np.bool_], int, int]:
        """Decode the tight box only, without the rest of the picture.

        Args:
            margin: pixels to add on every side, cut at the picture's edges.

        Returns:
            (h, w) bool, and x and y of its top left pixel; shape (0, 0) for an empty mask.
        """
        columns, x, y = self.columns()
        w, h = columns.shape
        inside = columns.T
        if not margin:
            return np.ascontiguousarray(inside), x, y
        if not columns.size:
            return columns, x, y
        left, top = max(0, x - margin), max(0, y - margin)
        right, bottom = min(self.width, x + w + margin), min(self.height, y + h + margin)
        wide = np.zeros((bottom - top, right - left), np.bool_)
        wide[y - top : y - top + h, x - left : x - left + w] = inside
        return wide, left, top

    def columns(self) -> tuple[NDArray[np.bool_], int, int]:
        """Decode the tight box, column after column as run lengths go: half of `window`'s time is spent turning them.

        Returns:
            (w, h) bool, and x and y of its top left pixel; shape (0, 0) for an empty mask.
        """
        x, y, w, h = self.bbox_xywh
        edges = np.cumsum(self.runs())
        starts, ends = edges[0:-1:2], edges[1::2]
        # A run reaches into the next column only through the bottom edge, and then the window has the full height:
        # either way every run stays in one piece in the window's own column-major order.
        begin = (starts // self.height - x) * h + starts % self.height - y
        line = np.zeros(w * h, np.bool_)
        if len(begin) * _LONG_RUN < len(line):
            for first, last in zip(begin.tolist(), (begin + (ends - starts)).tolist(), strict=True):
                line[first:last] = True
        elif len(line):
            marks = np.zeros(len(line) + 1, np.int8)
            marks[begin] += 1
            marks[begin + (ends - starts)] -= 1
            line = np.cumsum(marks[:-1], dtype=np.int8).view(np.bool_)
        return line.reshape(w, h), x, y

    def contains(self, x: float, y: float) -> bool:
        """Whether the pixel under a point belongs to the mask; outside the picture it never does."""
        column, row = int(np.floor(x)), int(np.floor(y))
        if not (0 <= column < self.width and 0 <= row < self.height):
            return False
        run = int(np.searchsorted(np.cumsum(self.runs()), column * self.height + row, side="right"))
        return run % 2 == 1

    # ---- combining

    def union(self, other: Mask) -> Mask:
        """Pixels of either mask.

        Raises:
            FormatError: the masks belong to pictures of different sizes.
        """
        return self._merged(other, intersect=False)

    def intersect(self, other: Mask) -> Mask:
        """Pixels of both masks."""
        return self._merged(other, intersect=True)

    def subtract(self, other: Mask) -> Mask:
        """Pixels of this mask that the other does not have."""
        return self._merged(other.invert(), intersect=True)

    def invert(self) -> Mask:
        """All other pixels of the picture."""
        runs = self.runs()
        flipped = runs[1:] if runs[0] == 0 else np.r_[0, runs]
        return Mask.from_runs(flipped, self.height, self.width)

    def iou(self, other: Mask) -> float:
        """Intersection over union, 0 to 1; 1 for two empty masks."""
        _check_same(self, other)
        if not self.area and not other.area:
            return 1.0
        return float(np.asarray(coco_mask.iou([_raw(self)], [_raw(other)], [0]))[0, 0])

    def _merged(self, other: Mask, *, intersect: bool) -> Mask:
        _check_same(self, other)
        merged = coco_mask.merge([_raw(self), _raw(other)], intersect=intersect)
        return Mask(cast("bytes", merged["counts"]), self.height, self.width)

    # ---- shaping

    def fill_holes(self, max_area: int | None = None) -> Mask:
        """Fill background enclosed by the mask (4-neighbours); of any area, or up to `max_area` pixels."""
        import cv2  # noqa: PLC0415 - only shaping needs it

        crop, x, y = self.window()
        if not crop.size:
            return self
        outside = np.pad(~crop, 1, constant_values=True).view(np.uint8)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(outside, connectivity=4)
        small = stats[:, cv2.CC_STAT_AREA] <= (crop.size if max_area is None else max_area)
        small[[0, labels[0, 0]]] = False  # the mask itself, and what surrounds it
        return self._with_window(crop | small[labels[1:-1, 1:-1]], x, y)

    def drop_crumbs(self, min_area: int) -> Mask:
        """Remove parts (8-neighbours) of fewer than `min_area` pixels; the largest part always stays."""
        import cv2  # noqa: PLC0415 - only shaping needs it

        crop, x, y = self.window()
        if not crop.size:
            return self
        _, labels, stats, _ = cv2.connectedComponentsWithStats(crop.view(np.uint8), connectivity=8)
        areas = stats[:, cv2.CC_STAT_AREA].copy()
        areas[0] = 0
        keep = areas >= min_area
        keep[0], keep[int(areas.argmax())] = False, True
        return self._with_window(keep[labels], x, y)

    def split(self) -> list[Mask]:
        """Parts (8-neighbours) as masks of their own, largest first, ties from left to right."""
        import cv2  # noqa: PLC0415 - only shaping needs it

        crop, x, y = self.window()
        if not crop.size:
            return []
        count, labels, stats, _ = cv2.connectedComponentsWithStats(crop.view(np.uint8), connectivity=8)
        order = sorted(range(1, count), key=lambda n: (-int(stats[n, cv2.CC_STAT_AREA]), *map(int, stats[n, :2])))
        return [self._with_window(labels == n, x, y) for n in order]

    def grow(self, pixels: float) -> Mask:
        """Add everything within a distance (Euclidean, pixel centres); a negative one shrinks.

        Shrinking does not eat from the picture's own edge, where the object is cut off rather than at its end.
        """
        import cv2  # noqa: PLC0415 - only shaping needs it

        crop, x, y = self.window(margin=max(1, int(np.ceil(pixels))))
        if not crop.size or not pixels:
            return self
        source = (~crop if pixels > 0 else crop).view(np.uint8)
        if source.all():  # nothing to measure a distance from: the mask fills the picture
            return self
        distance = cv2.distanceTransform(source, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        tolerance = 1e-4  # OpenCV computes roots in float32
        changed = distance <= pixels + tolerance if pixels > 0 else distance > -pixels + tolerance
        return self._with_window(changed, x, y)

    def shrink(self, pixels: float) -> Mask:
        """Remove everything within a distance of the background."""
        return self.grow(-pixels)

    def resized(self, height: int, width: int) -> Mask:
        """The mask on the same picture at another size (nearest pixel)."""
        rows = np.minimum((np.arange(height) + 0.5) * self.height / height, self.height - 1).astype(np.int64)
        columns = np.minimum((np.arange(width) + 0.5) * self.width / width, self.width - 1).astype(np.int64)
        return Mask.of(self.full()[rows[:, None], columns[None]])

    def _with_window(self, crop: NDArray[np.bool_], x: int, y: int) -> Mask:
        return Mask.from_window(crop, x, y, self.height, self.width)


def iou_matrix(rows: Sequence[Mask], columns: Sequence[Mask]) -> NDArray[np.float64]:
    """Intersection over union of every pair, (len(rows), len(columns)); all masks of one picture size."""
    if not rows or not columns:
        return np.zeros((len(rows), len(columns)))
    for mask in (*rows, *columns):
        _check_same(rows[0], mask)
    return np.asarray(coco_mask.iou([_raw(m) for m in rows], [_raw(m) for m in columns], [0] * len(columns)))


def union_all(masks: Sequence[Mask], height: int, width: int) -> Mask:
    """Pixels of any of the masks; the empty mask for none."""
    if not masks:
        return Mask.empty(height, width)
    for mask in masks:
        _check_same(masks[0], mask)
    merged = coco_mask.merge([_raw(mask) for mask in masks])
    return Mask(cast("bytes", merged["counts"]), masks[0].height, masks[0].width)


def check_polygon(ring: Sequence[float], height: int, width: int) -> list[float]:
    """Check one COCO polygon [x1, y1, x2, y2, …] and return it as floats.

    Raises:
        FormatError: fewer than three points, an odd count, a value that is no finite number or far outside.
    """
    if not isinstance(ring, list | tuple) or not all(type(v) in (int, float) for v in ring):
        raise FormatError("polygon: expected a list of numbers x1, y1, x2, y2, …")
    if len(ring) % 2 or len(ring) < 6:
        raise FormatError(
            f"polygon: expected at least three points (6 numbers, an even count), got {len(ring)} numbers"
        )
    values = np.asarray(ring, np.float64)
    if not np.isfinite(values).all():
        raise FormatError("polygon: every coordinate must be finite")
    if np.abs(values).max() > _REACH * (max(height, width) + 256):
        raise FormatError(f"polygon: a point lies far outside the picture of {width} x {height} pixels")
    return [float(v) for v in ring]


def _raw(mask: Mask) -> Any:  # pycocotools' type for it exists in its stubs alone
    return {"size": [mask.height, mask.width], "counts": mask.counts}


def _check_same(one: Mask, other: Mask) -> None:
    if (one.height, one.width) != (other.height, other.width):
        raise FormatError(f"mask: sizes differ: {one.width} x {one.height} and {other.width} x {other.height} pixels")


def _canonical(runs: NDArray[np.integer]) -> NDArray[np.integer]:
    """Join runs that an empty run between them only pretends to separate; a first empty run stays."""
    if not (runs[1:] == 0).any():
        return runs
    joined = [int(runs[0])] if runs.size else [0]
    foreground = False  # kind of the last run in `joined`
    for index, length in enumerate(runs[1:].tolist(), start=1):
        if length == 0:
            continue
        if (index % 2 == 1) == foreground:
            joined[-1] += length
        else:
            joined.append(length)
            foreground = not foreground
    return np.asarray(joined)


def _decode_counts(counts: bytes) -> NDArray[np.int64]:
    """Undo COCO's compression: 5 bits a character, and differences to the run before the last.

    Raises:
        FormatError: a character outside the code, a cut-off number or a negative run.
    """
    codes = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    if not codes.size:
        return np.zeros(0, np.int64)
    if codes.min() < 0 or codes.max() > 63 or codes[-1] & 0x20:
        raise FormatError("counts: not a compressed run-length text")
    last = (codes & 0x20) == 0
    ends = np.flatnonzero(last)
    starts = np.r_[0, ends[:-1] + 1]
    lengths = ends - starts + 1
    if lengths.max() > 8:
        raise FormatError("counts: a run length of more than 40 bits")
    place = np.arange(codes.size) - np.repeat(starts, lengths)
    values = np.add.reduceat((codes & 0x1F) << (5 * place), starts)
    negative = (codes[ends] & 0x10) != 0
    values = np.where(negative, values - (np.int64(1) << (5 * lengths)), values)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    if (values < 0).any():
        raise FormatError("counts: a run length is negative")
    return values
