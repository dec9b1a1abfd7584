"""What the views look like, against small reference pictures; see `snapshots` for how to renew them."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QRect
from PySide6.QtGui import QColor, QFont, QImage, QPainter
from PySide6.QtWidgets import QApplication

from . import snapshots
from .snapshots import ALLOWED, REFERENCE, SCENES, differences, pixels_of, render


@pytest.fixture(autouse=True)
def own_looks():
    """Give the program back its font and colours."""
    application = QApplication.instance()
    font, palette = application.font(), application.palette()
    yield
    for widget in QApplication.topLevelWidgets():
        widget.close()
        widget.deleteLater()
    application.setFont(font)
    application.setStyleSheet("")
    application.setPalette(palette)


def reference(name):
    return pixels_of(QImage(str(REFERENCE / f"{name}.png")))


def share(one, other):
    return float(differences(one, other).mean())


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_looks_as_it_did(qapp, tmp_path, name):
    shown = render(name)
    seen, wanted = pixels_of(shown), reference(name)
    assert seen.shape == wanted.shape
    strange = differences(seen, wanted)
    shown.save(str(tmp_path / f"{name}.png"))
    assert strange.mean() <= ALLOWED, f"{strange.sum()} pixels differ; see {tmp_path / name}.png, renew by snapshots.py"


def test_every_reference_is_small_and_used():
    files = {path.stem: path.stat().st_size for path in REFERENCE.glob("*.png")}
    assert set(files) == set(SCENES)
    assert max(files.values()) < 40_000


# --- the comparison itself: what it must bear and what it must not ------------------------------------------------


@pytest.mark.parametrize(
    "hinting", [QFont.HintingPreference.PreferNoHinting, QFont.HintingPreference.PreferFullHinting]
)
def test_letters_drawn_another_way_are_borne(qapp, monkeypatch, hinting):
    use = snapshots.use_font

    def hinted(application):
        use(application)
        font = application.font()
        font.setHintingPreference(hinting)
        application.setFont(font)

    monkeypatch.setattr(snapshots, "use_font", hinted)
    name = "names_beside_a_mask_dark"
    seen, wanted = pixels_of(render(name)), reference(name)
    assert (seen != wanted).any()
    assert share(seen, wanted) <= ALLOWED


def test_a_lost_outline_is_noticed(qapp, monkeypatch):
    name = "canvas_at_fit_dark"
    monkeypatch.setattr("ovsam_annotator.views.overlay.OverlayLayer._stroke", lambda *_: None)
    assert share(pixels_of(render(name)), reference(name)) > 2 * ALLOWED


def test_a_wrong_colour_is_noticed(qapp, monkeypatch):
    monkeypatch.setattr(snapshots, "GREEN", (213, 94, 0))
    name = "canvas_at_fit_dark"
    assert share(pixels_of(render(name)), reference(name)) > 2 * ALLOWED


def test_a_list_that_lies_over_the_mask_is_noticed(qapp, monkeypatch):
    monkeypatch.setattr(
        "ovsam_annotator.views.main_window.place_beside",
        lambda size, target, *_: type(target)(target.x, target.y, *size),
    )
    name = "names_beside_a_mask_dark"
    assert share(pixels_of(render(name)), reference(name)) > 20 * ALLOWED


def test_a_smoothed_pixel_at_800_per_cent_is_noticed(qapp):
    name = "canvas_at_800_dark"
    wanted = reference(name)
    soft = QImage(wanted.shape[1], wanted.shape[0], QImage.Format.Format_RGB888)
    painter = QPainter(soft)
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
    whole = QImage(str(REFERENCE / f"{name}.png"))
    painter.drawImage(soft.rect(), whole.scaled(whole.size() / 8))
    painter.end()
    assert share(pixels_of(soft), wanted) > 20 * ALLOWED


def test_a_small_missing_plate_is_noticed(qapp):
    name = "canvas_at_fit_light"
    changed = QImage(str(REFERENCE / f"{name}.png")).convertToFormat(QImage.Format.Format_RGB888)
    plate = np.argwhere((np.abs(pixels_of(changed).astype(int) - snapshots.BLUE) < 3).all(axis=2))
    (top, left), (bottom, right) = plate.min(axis=0), plate.max(axis=0)
    assert bottom > top
    painter = QPainter(changed)
    painter.fillRect(QRect(QPoint(left, top), QPoint(right, top + 14)), QColor(120, 110, 90))
    painter.end()
    assert share(pixels_of(changed), reference(name)) > ALLOWED
