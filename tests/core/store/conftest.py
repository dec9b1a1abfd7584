"""Fixtures for the tests of the store."""

from __future__ import annotations

import pytest

from ovsam_core.store import Project, schema


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    """Only a power cut tells the difference; that the product waits is asserted in test_files."""
    assert schema.SYNCHRONOUS == "FULL"
    monkeypatch.setattr(schema, "SYNCHRONOUS", "OFF")


@pytest.fixture
def project(tmp_path):
    with Project.create(tmp_path / "work" / "p.ovsam") as opened:
        yield opened
