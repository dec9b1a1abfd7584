"""The program on the demo engine, and folders with pictures."""

from __future__ import annotations

import pytest

from ovsam_core.store import Project

from .builders import NAMES, picture_file


@pytest.fixture
def names_file(tmp_path):
    """A vocabulary of twelve names."""
    path = tmp_path / "names.txt"
    path.write_text("\n".join(NAMES), "utf-8")
    return path


@pytest.fixture
def folder(tmp_path, names_file):
    """Three pictures, and a project that ranks the twelve names."""
    place = tmp_path / "pictures"
    place.mkdir()
    for k in range(3):
        picture_file(place, f"{k}.png", size=(200, 120), seed=k)
    with Project.create(place / "pictures.ovsam") as project:
        project.set_setting("vocabulary", str(names_file))
    return place


@pytest.fixture
def driver(qtbot, tmp_path):
    """A person at the window of the demo program."""
    from ovsam_annotator.inference.fake import FAKE_MODEL, FakeEngine

    from .driver import start, stop

    person = start(qtbot, FakeEngine(), FAKE_MODEL, tmp_path)
    yield person
    assert stop(person) == 0
