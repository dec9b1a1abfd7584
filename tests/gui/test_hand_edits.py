"""Masks drawn and changed by hand are kept, however soon the person goes elsewhere."""

import numpy as np
import pytest

from ovsam_core.store import Project

SQUARE = np.array([[40, 20], [90, 20], [90, 70], [40, 70]], np.float32)


class LateRunner:
    """Collects the jobs of a runner until it is told to let them go."""

    def __init__(self, runner):
        self.runner, self.jobs = runner, []

    def run(self, *job):
        self.jobs.append(job)

    def let_go(self):
        for job in self.jobs:
            self.runner.run(*job)


@pytest.fixture
def person(driver, folder):
    driver.open(folder)
    return driver


@pytest.fixture
def late(person):
    masks = person.workspace.masks
    masks._runner = late = LateRunner(masks._runner)
    return late


def stored(person, picture_id):
    return person.project.objects(picture_id)


def test_a_drawing_reaches_its_own_picture_when_another_is_opened_at_once(person, late):
    first = person.document.picture.id
    person.canvas.polygon_drawn.emit(SQUARE)
    person.next_picture()
    assert person.document.picture.id != first
    late.let_go()
    person.until(lambda: len(stored(person, first)) == 1)
    assert stored(person, first)[0].mask.area == 2500
    assert not len(person.document)
    assert person.annotation.suggested is None  # no names for what is not on show


def test_an_edit_reaches_its_own_picture_when_another_is_opened_at_once(person, late):
    first = person.document.picture.id
    person.canvas.polygon_drawn.emit(SQUARE)
    late.let_go()
    person.until(lambda: len(person.document) == 1)
    person.settle()
    late.jobs.clear()
    person.workspace.masks.grow(1)
    person.next_picture()
    late.let_go()
    person.until(lambda: stored(person, first)[0].mask.area > 2500)


def test_what_is_being_worked_out_is_written_when_the_project_is_left(person, late):
    project = person.project
    first = person.document.picture.id
    person.canvas.polygon_drawn.emit(SQUARE)
    late.let_go()
    person.until(lambda: len(person.document) == 1)
    person.settle()
    old = stored(person, first)[0].uid
    late.jobs.clear()
    person.workspace.masks.grow(1)
    person.workspace.masks.grow(1)
    person.canvas.polygon_drawn.emit(SQUARE + 5)
    assert len(late.jobs) == 1  # one after the other
    assert person.workspace.close() == 0
    late.let_go()  # too late: nothing is written twice
    project = Project.open(project.path)
    rows = {row.uid: row.mask.area for row in project.objects(first)}
    project.close()
    assert len(rows) == 2
    assert rows.pop(old) == 54 * 54 - 4 * 3  # corners stay round
    assert list(rows.values()) == [2500]
