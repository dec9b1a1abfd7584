"""Where the list of names goes: beside the mask, never over it, never off-screen. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Box", "place_beside"]

GAP = 14  # pixels between mask and list: the dashed outline and a dot stay free
MOST_PARTS = 12  # further parts of a mask that are kept free, the largest ones: the rest are crumbs


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels: left, top, width, height."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """First column beyond it."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """First row beyond it."""
        return self.y + self.height

    def overlap(self, other: Box) -> float:
        """Area shared with another box."""
        across = min(self.right, other.right) - max(self.x, other.x)
        down = min(self.bottom, other.bottom) - max(self.y, other.y)
        return max(0.0, across) * max(0.0, down)

    def inside(self, bounds: Box) -> Box:
        """Moved, not cut, so that it lies within bounds as far as it fits."""
        x = max(bounds.x, min(self.x, bounds.right - self.width))
        y = max(bounds.y, min(self.y, bounds.bottom - self.height))
        return Box(x, y, self.width, self.height)


def place_beside(
    size: tuple[float, float],
    target: Box,
    bounds: Iterable[Box],
    anchor_y: float | None = None,
    previous: Box | None = None,
    others: Sequence[Box] = (),
) -> Box:
    """Place a list beside a target.

    Args:
        size: width and height of the list.
        target: visible part of the box of the mask's main part; it stays free when there is any room.
        bounds: areas to stay within, the preferred one first (the canvas, then the window).
        anchor_y: height at which the eye is (the last click); the middle of the target by default.
        previous: where the list lies now; it stays there while that is still right.
        others: boxes of the mask's further parts; the list slides along the target until it covers none of them.

    Returns:
        The place. Where nothing is free, the one in the last of the bounds that covers least of the target, then of
        the other parts.
    """
    width, height = size
    parts = (target, *others[:MOST_PARTS])
    middle = (target.y + target.height / 2 if anchor_y is None else anchor_y) - height / 2
    centre = target.x + target.width / 2 - width / 2
    areas = list(bounds)
    if previous is not None and (previous.width, previous.height) == size:
        reach = Box(target.x - 4 * GAP, target.y - 4 * GAP, target.width + 8 * GAP, target.height + 8 * GAP)
        kept = any(previous.inside(area) == previous for area in areas)
        if kept and previous.overlap(reach) and not any(previous.overlap(part) for part in parts):
            return previous
    # beside the target at the height of the eye, or slid from there until it passes a part of the mask
    downs = _slides(middle, [(part.y, part.bottom) for part in parts], height)
    acrosses = _slides(centre, [(part.x, part.right) for part in parts], width)
    wishes = [
        *(Box(target.right + GAP, y, width, height) for y in downs),
        *(Box(target.x - GAP - width, y, width, height) for y in downs),
        *(Box(x, target.bottom + GAP, width, height) for x in acrosses),
        *(Box(x, target.y - GAP - height, width, height) for x in acrosses),
    ]
    tried: list[Box] = []
    for area in areas:
        tried = [wish.inside(area) for wish in wishes]
        for place in tried:
            if not any(place.overlap(part) for part in parts):
                return place
    area = areas[-1]
    corners = [
        Box(x, y, width, height).inside(area)
        for x in (area.right - width, area.x)
        for y in (area.y, area.bottom - height)
    ]
    return min(
        [*tried, *corners], key=lambda place: (place.overlap(target), sum(place.overlap(part) for part in parts[1:]))
    )


def _slides(start: float, spans: Sequence[tuple[float, float]], length: float) -> list[float]:
    """Places along one axis: the wish itself, then those that end before or begin after a span, the nearest first."""
    ends = [start, *(low - GAP - length for low, _ in spans), *(high + GAP for _, high in spans)]
    return sorted(ends, key=lambda at: abs(at - start))
