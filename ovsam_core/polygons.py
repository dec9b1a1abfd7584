"""Masks as polygons along pixel edges, and back: at tolerance 0 both are the very same pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ovsam_core.errors import FormatError
from ovsam_core.masks import Mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

__all__ = ["PolygonPart", "coco_polygons", "mask_to_polygons", "polygons_to_mask", "trace"]


@dataclass(frozen=True, slots=True, eq=False)
class PolygonPart:
    """One connected part (4-neighbours) of a mask.

    Attributes:
        shell: (N, 2) float64 corner points x, y, clockwise on screen, without repeating the first one.
        holes: rings of the same form, counter-clockwise.
    """

    shell: NDArray[np.float64]
    holes: tuple[NDArray[np.float64], ...] = ()


def mask_to_polygons(mask: Mask, tolerance: float = 0.0) -> list[PolygonPart]:
    """Trace the pixel edges of a mask.

    Args:
        mask: any mask.
        tolerance: greatest distance in pixels by which simplification may move the outline (Douglas-Peucker that keeps
            rings valid); 0 keeps every corner, and `polygons_to_mask` gives the same mask back.

    Returns:
        Parts from top to bottom; empty for an empty mask. A part that simplification would flatten keeps its corners.
    """
    parts = trace(mask)
    if tolerance <= 0:
        return parts
    return [simple for part in parts for simple in _simplified(part, tolerance)]


def coco_polygons(mask: Mask, tolerance: float = 0.0) -> tuple[tuple[tuple[float, ...], ...], bool]:
    """COCO's polygons of a mask, and whether they hold it: holes cannot be said in COCO's polygons.

    Args:
        mask: any mask.
        tolerance: simplification in pixels.

    Returns:
        Polygons (x1, y1, x2, y2, …) of the parts without their holes, and True where no hole was lost.
    """
    parts = mask_to_polygons(mask, tolerance)
    rings = tuple(tuple(float(v) for v in part.shell.reshape(-1)) for part in parts)
    return rings, not any(part.holes for part in parts)


def polygons_to_mask(parts: Sequence[PolygonPart], height: int, width: int) -> Mask:
    """Fill polygons with their holes left open, as pycocotools fills them.

    Raises:
        FormatError: a ring has fewer than three points or a coordinate that is not finite or far outside.
    """
    result = Mask.empty(height, width)
    for part in parts:
        filled = Mask.from_polygons([_flat(part.shell)], height, width)
        if part.holes:
            filled = filled.subtract(Mask.from_polygons([_flat(hole) for hole in part.holes], height, width))
        result = result.union(filled)
    return result


def trace(mask: Mask) -> list[PolygonPart]:
    """Follow the pixel edges of a mask with the object on the right hand.

    Pixels that touch only at a corner are traced as separate parts, and a hole that touches the outside only at a
    corner is part of the outline. Edges are found for the whole window at once; the walk goes from corner to corner.
    """
    crop, left, top = mask.window()
    if not crop.size:
        return []
    starts, ends, following = _edges(crop)
    owner = _components(crop)
    shells: dict[int, NDArray[np.float64]] = {}
    holes: dict[int, list[NDArray[np.float64]]] = {}
    todo = np.ones(len(starts), np.bool_)
    order = following.tolist()
    for first in range(len(starts)):
        if not todo[first]:
            continue
        cycle = [first]
        while (edge := order[cycle[-1]]) != first:
            cycle.append(edge)
        todo[cycle] = False
        ring = np.stack([starts[cycle], ends[cycle]], 1).reshape(-1, 2).astype(np.float64)
        rightward = ends[first, 0] > starts[first, 0]
        x, y = starts[first]
        part = int(owner[y, x] if rightward else owner[y - 1, x - 1])  # the pixel on the right hand of the first edge
        ring += (left, top)
        if _signed_area(ring) > 0:
            shells[part] = ring
        else:
            holes.setdefault(part, []).append(ring)
    return [PolygonPart(ring, tuple(holes.get(part, ()))) for part, ring in shells.items()]


def _components(crop: NDArray[np.bool_]) -> NDArray[np.int32]:
    import cv2  # noqa: PLC0415 - slow to import

    return np.asarray(cv2.connectedComponents(crop.view(np.uint8), connectivity=4)[1])


def _edges(crop: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Horizontal edges from corner to corner, (E, 2) starts and ends x, y, and the edge that follows each."""
    padded = np.pad(crop.astype(np.int8), 1)
    across = (padded[1:] - padded[:-1])[:, 1:-1]  # (h + 1, w): +1 an upper edge (walked right), -1 a lower one (left)
    down = (padded[:, 1:] - padded[:, :-1])[1:-1]  # (h, w + 1): +1 a left edge (walked up), -1 a right one (down)
    h_start, h_end = _directed(across)
    v_low, v_high = _directed(-down.T)  # as for rows: +1 is walked towards greater numbers
    v_start, v_end = v_low[:, ::-1], v_high[:, ::-1]
    rightward = h_end[:, 0] > h_start[:, 0]
    downward = v_end[:, 1] > v_start[:, 1]
    # At a corner where two pixels touch diagonally, two edges arrive and two leave; staying with the same pixel means
    # right → down → left → up. Elsewhere only one edge leaves, whatever its direction.
    width = crop.shape[1] + 1
    after_h = _match(h_end, ~rightward, v_start, ~downward, width)
    after_v = _match(v_end, downward, h_start, ~rightward, width)
    return h_start, h_end, after_v[after_h]


def _directed(signs: NDArray[np.int8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Stretches of equal sign in each row as directed edges (x, row): +1 walked to the right, -1 to the left."""
    framed = np.pad(signs, ((0, 0), (1, 1)))
    changes = framed[:, 1:] != framed[:, :-1]  # (rows, columns + 1): at lattice points
    row_begin, x_begin = np.nonzero(changes & (framed[:, 1:] != 0))
    row_end, x_end = np.nonzero(changes & (framed[:, :-1] != 0))
    low, high = np.stack([x_begin, row_begin], 1), np.stack([x_end, row_end], 1)
    forward = (framed[:, 1:][row_begin, x_begin] > 0)[:, None]
    return np.where(forward, low, high), np.where(forward, high, low)


def _match(
    ends: NDArray[np.int64],
    wanted: NDArray[np.bool_],
    starts: NDArray[np.int64],
    kinds: NDArray[np.bool_],
    width: int,
) -> NDArray[np.int64]:
    """For each end, the edge that starts there, of the wanted kind where two do."""
    keys = (starts[:, 1] * width + starts[:, 0]) * 2 + kinds
    order = np.argsort(keys)
    ranked = keys[order]
    point = (ends[:, 1] * width + ends[:, 0]) * 2
    place = np.minimum(np.searchsorted(ranked, point + wanted), len(ranked) - 1)
    other = np.minimum(np.searchsorted(ranked, point + ~wanted), len(ranked) - 1)
    return order[np.where(ranked[place] == point + wanted, place, other)]


def _signed_area(ring: NDArray[np.float64]) -> float:
    """Positive for rings that run clockwise on screen (y down)."""
    x, y = ring[:, 0], ring[:, 1]
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _simplified(part: PolygonPart, tolerance: float) -> list[PolygonPart]:
    from shapely import Polygon, make_valid  # noqa: PLC0415 - slow to import

    whole: BaseGeometry = Polygon(part.shell, part.holes)
    if not whole.is_valid:  # an outline that touches itself at a corner
        whole = make_valid(whole)
    simple = whole.simplify(tolerance, preserve_topology=True)
    if not simple.is_valid:
        simple = make_valid(simple)
    pieces = [piece for piece in getattr(simple, "geoms", (simple,)) if isinstance(piece, Polygon) and piece.area > 0]
    parts = [
        PolygonPart(
            _oriented(np.asarray(piece.exterior.coords)[:-1], clockwise=True),
            tuple(_oriented(np.asarray(ring.coords)[:-1], clockwise=False) for ring in piece.interiors),
        )
        for piece in pieces
    ]
    return parts or [part]


def _oriented(ring: NDArray[np.float64], *, clockwise: bool) -> NDArray[np.float64]:
    return ring if (_signed_area(ring) > 0) == clockwise else ring[::-1]


def _flat(ring: NDArray[np.float64]) -> list[float]:
    if ring.ndim != 2 or ring.shape[1] != 2:
        raise FormatError(f"polygon: expected points (N, 2), got {ring.shape}")
    flat: list[float] = ring.reshape(-1).tolist()
    return flat
