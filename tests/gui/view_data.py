"""Builders for what views are given; everything has a default."""

from __future__ import annotations

import numpy as np

from ovsam_annotator.model.shapes import pixel_shape
from ovsam_annotator.views.data import CandidateRow, CanvasObject, NameRow, Suggestion
from ovsam_annotator.views.pyramid import picture_image

NAMES = ("cat", "dog", "fox", "hare", "lynx", "mole", "otter", "owl", "wolf")


def picture(width=200, height=100, value=90):
    return picture_image(1, np.full((height, width, 3), value, np.uint8))


def shape(x=20, y=20, width=40, height=30):
    return pixel_shape(np.ones((height, width), bool), x, y)


def item(uid="a", colour=(230, 159, 0), name="cat", **changes):
    box = {key: changes.pop(key) for key in ("x", "y", "width", "height") if key in changes}
    return CanvasObject(uid, shape(**box), name, colour, **changes)


def suggestion(*, names=NAMES, preselected=0, candidates=3, empty=False, serial=1, **box):
    rows = tuple(NameRow(f"e:{name}", name, 0.8 / (k + 1)) for k, name in enumerate(names))
    made = shape(**box) if not empty else pixel_shape(np.zeros((2, 2), bool))
    masks = tuple(CandidateRow(made, 0.9 - k / 10) for k in range(candidates))
    return Suggestion(masks, rows, preselected=preselected, empty=empty, serial=serial)
