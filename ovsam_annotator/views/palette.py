"""Colours that stay apart for colour-blind eyes, and stay with their class. No Qt.

The first eight are Okabe and Ito's (2008, "Color Universal Design"), without black, in an order that puts
neighbours far apart; later ones vary their lightness, since outlines and names carry the difference as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ovsam_annotator.views.data import Rgb

__all__ = ["NEGATIVE", "POSITIVE", "SUGGESTION", "UNNAMED", "class_colour", "luminance", "readable_on"]

_BASE: tuple[Rgb, ...] = (
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky blue
    (0, 158, 115),  # bluish green
    (204, 121, 167),  # reddish purple
    (240, 228, 66),  # yellow
    (0, 114, 178),  # blue
    (213, 94, 0),  # vermilion
    (170, 170, 170),  # grey
)
_TOWARDS: tuple[tuple[Rgb, float], ...] = (
    ((0, 0, 0), 0.0),
    ((255, 255, 255), 0.45),
    ((0, 0, 0), 0.35),
    ((255, 255, 255), 0.7),
    ((0, 0, 0), 0.55),
)

UNNAMED: Rgb = (200, 200, 200)
SUGGESTION: Rgb = (255, 214, 10)  # a bright yellow that no base colour has, seen on dark and on light pictures
POSITIVE: Rgb = (0, 158, 115)
NEGATIVE: Rgb = (213, 94, 0)


def class_colour(index: int) -> Rgb:
    """Colour of the index-th class of a project, counted from 0; repeats after 40."""
    base = _BASE[index % len(_BASE)]
    target, share = _TOWARDS[(index // len(_BASE)) % len(_TOWARDS)]
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(base, target, strict=True))
    return red, green, blue


def luminance(colour: Rgb) -> float:
    """Relative luminance of an sRGB colour, 0 to 1 (WCAG 2.2)."""
    red, green, blue = ((v / 255 / 12.92) if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def readable_on(background: Rgb) -> Rgb:
    """Black or white, whichever has the greater contrast on a background."""
    light = luminance(background)
    return (0, 0, 0) if (light + 0.05) / 0.05 >= 1.05 / (light + 0.05) else (255, 255, 255)
