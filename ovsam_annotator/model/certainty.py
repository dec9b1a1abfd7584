"""How sure the first name must be before the program puts it forward by itself; measured, see ADR 0063."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovsam_core.results import Label

__all__ = ["FLOOR", "LEAD", "is_clear"]

FLOOR = 0.4
"""Score from which on a first name is right at least every other time in each measured range of scores."""

LEAD = 0.1
"""Share of its score by which the first name must lead the second: of two that score alike, neither is "the" name."""


def is_clear(labels: Sequence[Label]) -> bool:
    """Whether the first of these names, best first, may be preselected, or written by a batch."""
    if not labels:
        return False
    second = labels[1].score if len(labels) > 1 else 0.0
    return labels[0].score >= FLOOR and labels[0].score - second >= LEAD * labels[0].score
