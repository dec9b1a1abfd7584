"""Preselection: sure enough, and not one of two that score alike."""

from __future__ import annotations

import pytest

from ovsam_annotator.model.certainty import FLOOR, LEAD, is_clear
from ovsam_core.results import Label


def _labels(*scores):
    return [Label(f"own:{k}", str(k), score, "head") for k, score in enumerate(scores)]


@pytest.mark.parametrize(
    ("scores", "clear"),
    [
        ((), False),
        ((FLOOR,), True),
        ((FLOOR - 0.01,), False),
        ((0.8, 0.1), True),
        ((0.5, 0.5 * (1 - LEAD) + 0.01), False),
        ((0.5, 0.5 * (1 - LEAD) - 0.01), True),
    ],
)
def test_a_clear_name_is_likely_and_ahead(scores, clear):
    assert is_clear(_labels(*scores)) is clear
