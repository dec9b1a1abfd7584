"""Small rows for the tests of the store."""

from __future__ import annotations

import numpy as np

from ovsam_core.masks import Mask
from ovsam_core.store import Change, ObjectRow, new_uid


def a_mask(seed=0, size=(12, 15)):
    return Mask.of(np.random.default_rng(seed).random(size) < 0.4)


def an_object(picture=1, seed=0, **fields):
    return ObjectRow(new_uid(), picture, a_mask(seed), created=float(seed), **fields)


def put(project, *rows, label="Accept", picture=1, **fields):
    return project.apply(Change(label, put=rows, picture=picture, **fields))


def with_pictures(project, count=3):
    return project.add_pictures([project.folder / f"pics/{n}.png" for n in range(count)])


def contents(project):
    return project.pictures(), list(project.iter_objects()), project.classes()
