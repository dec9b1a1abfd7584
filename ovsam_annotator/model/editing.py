"""Changing masks by hand: strokes, polygons, vertices. Pure and slow: never on the GUI thread."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ovsam_core.masks import Mask, union_all
from ovsam_core.polygons import PolygonPart, mask_to_polygons, polygons_to_mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Overlap", "filled_rings", "resolve_overlap", "rings_of", "stroke_mask"]

_SHIFT = 4  # fractional bits of OpenCV's drawing: sixteenths of a pixel


class Overlap(StrEnum):
    """What happens where a new mask lies on an older one; one rule for each project."""

    ALLOW = "allow"
    GIVE_WAY = "new gives way"
    CUT = "new cuts in"


def stroke_mask(points: NDArray[np.floating], radius: float, height: int, width: int) -> Mask:
    """Mask of a round brush moved along points.

    Args:
        points: (N, 2) picture coordinates, at least one.
        radius: of the brush in picture pixels.
        height: picture height.
        width: picture width.
    """
    points = np.asarray(points, np.float64).reshape(-1, 2)
    reach = int(np.ceil(radius)) + 2
    left = int(np.clip(np.floor(points[:, 0].min()) - reach, 0, width))
    top = int(np.clip(np.floor(points[:, 1].min()) - reach, 0, height))
    right = int(np.clip(np.ceil(points[:, 0].max()) + reach, 0, width))
    bottom = int(np.clip(np.ceil(points[:, 1].max()) + reach, 0, height))
    if right <= left or bottom <= top:
        return Mask.empty(height, width)
    canvas = np.zeros((bottom - top, right - left), np.uint8)
    # OpenCV's coordinate 0 is the centre of pixel 0, ours its left edge.
    local = np.round((points - (left + 0.5, top + 0.5)) * (1 << _SHIFT)).astype(np.int32)
    if len(local) > 1 and radius >= 1:
        thickness = max(1, round(2 * radius) - 1)
        cv2.polylines(canvas, [local.reshape(-1, 1, 2)], isClosed=False, color=1, thickness=thickness, shift=_SHIFT)
    disc = max(1, round(max(radius - 0.5, 0) * (1 << _SHIFT)))
    for centre in local:
        cv2.circle(canvas, centre.tolist(), disc, 1, cv2.FILLED, shift=_SHIFT)
    return Mask.from_window(canvas.astype(np.bool_), left, top, height, width)


def rings_of(mask: Mask, tolerance: float = 1.0) -> tuple[NDArray[np.float64], ...]:
    """Outer rings and holes of a mask as editable (N, 2) vertices, simplified to within `tolerance` pixels."""
    rings: list[NDArray[np.float64]] = []
    for part in mask_to_polygons(mask, tolerance):
        rings.append(np.asarray(part.shell, np.float64))
        rings += [np.asarray(hole, np.float64) for hole in part.holes]
    return tuple(rings)


def filled_rings(rings: Sequence[NDArray[np.floating]], height: int, width: int) -> Mask:
    """Mask inside rings by the even-odd rule: a ring within a ring is a hole."""
    area: Mask | None = None
    for ring in rings:
        if len(ring) < 3:
            continue
        inside = polygons_to_mask([PolygonPart(np.asarray(ring, np.float64), ())], height, width)
        area = inside if area is None else area.union(inside).subtract(area.intersect(inside))
    return Mask.empty(height, width) if area is None else area


def resolve_overlap(new: Mask, others: Sequence[Mask], rule: Overlap) -> tuple[Mask, dict[int, Mask]]:
    """Apply a project's overlap rule.

    Returns:
        The new mask as it is to be stored, and the older masks that change, by their index in `others`.
    """
    if rule is Overlap.ALLOW:
        return new, {}
    touching = {i: other for i, other in enumerate(others) if other.intersect(new).area}
    if not touching:
        return new, {}
    if rule is Overlap.GIVE_WAY:
        return new.subtract(union_all(list(touching.values()), new.height, new.width)), {}
    return new, {i: other.subtract(new) for i, other in touching.items()}
