"""Colours of prompts and suggestions, and what can be read on a colour. No Qt.

Colours of classes belong to the project (`ovsam_core.store.classes`). Those here are Okabe and Ito's (2008, "Color
Universal Design") for the two signs, so that they stay apart for colour-blind eyes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ovsam_annotator.views.data import Rgb

__all__ = ["NEGATIVE", "POSITIVE", "SUGGESTION", "luminance", "readable_on"]

SUGGESTION: Rgb = (255, 214, 10)  # a bright yellow that no class has, seen on dark and on light pictures
POSITIVE: Rgb = (0, 158, 115)
NEGATIVE: Rgb = (213, 94, 0)


def luminance(colour: Rgb) -> float:
    """Relative luminance of an sRGB colour, 0 to 1 (WCAG 2.2)."""
    red, green, blue = ((v / 255 / 12.92) if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def readable_on(background: Rgb) -> Rgb:
    """Black or white, whichever has the greater contrast on a background."""
    light = luminance(background)
    return (0, 0, 0) if (light + 0.05) / 0.05 >= 1.05 / (light + 0.05) else (255, 255, 255)
