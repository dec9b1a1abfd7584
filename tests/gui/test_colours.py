"""Colours under the three colour blindnesses, and against the pictures' two extremes."""

from __future__ import annotations

from itertools import combinations

import cv2
import numpy as np
import pytest

from ovsam_annotator.model.class_book import rgb_of
from ovsam_annotator.views.palette import NEGATIVE, POSITIVE, SUGGESTION
from ovsam_core.store.classes import PALETTE

# Machado, Oliveira and Fernandes (2009), severity 1.0, for linear RGB
SIGHTS = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TOLD_APART = 10.0  # CIE76; from about 2.3 two patches side by side differ, small areas apart need several times that


def seen(colours, sight):
    """(n, 3) CIE Lab of sRGB colours as an eye sees them."""
    srgb = np.asarray(colours, np.float64) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    shown = np.clip(linear @ np.asarray(SIGHTS[sight]).T, 0, 1)
    back = np.where(shown <= 0.0031308, shown * 12.92, 1.055 * shown ** (1 / 2.4) - 0.055)
    return cv2.cvtColor(back[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0]


def nearest(colours, sight):
    lab = seen(colours, sight)
    return min(float(np.linalg.norm(lab[i] - lab[j])) for i, j in combinations(range(len(lab)), 2))


@pytest.mark.parametrize("sight", SIGHTS)
def test_the_first_classes_are_told_apart_by_every_eye(sight):
    assert nearest([rgb_of(colour) for colour in PALETTE[:6]], sight) >= TOLD_APART


@pytest.mark.parametrize("sight", SIGHTS)
def test_signs_and_suggestion_are_told_apart_by_every_eye(sight):
    assert nearest([POSITIVE, NEGATIVE, SUGGESTION], sight) >= 2 * TOLD_APART


def test_all_class_colours_differ_and_none_is_that_of_suggestions():
    colours = [rgb_of(colour) for colour in PALETTE]
    assert nearest([*colours, SUGGESTION], "normal") >= TOLD_APART


def test_red_and_green_would_not_pass():
    assert nearest([(200, 60, 40), (120, 120, 30)], "deuteranopia") < TOLD_APART
    assert nearest([(200, 60, 40), (120, 120, 30)], "normal") > 4 * TOLD_APART
