"""What is painted or made again when little changes, and what is not: a window that stutters does too much here."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainterPath, QPalette, QPolygonF
from PySide6.QtWidgets import QApplication, QWidget

from ovsam_annotator.views.canvas import Canvas
from ovsam_annotator.views.data import DisplayOptions, ObjectRow, PictureRow, PromptMarks
from ovsam_annotator.views.label_list import LabelList
from ovsam_annotator.views.object_panel import ObjectPanel
from ovsam_annotator.views.overlay import OverlayLayer
from ovsam_annotator.views.paths import outline_path
from ovsam_annotator.views.picture_delegate import PictureDelegate
from ovsam_annotator.views.picture_list import PictureList
from ovsam_annotator.views.tiles import PictureLayer

from .view_data import item, picture, suggestion


@pytest.fixture
def painted(monkeypatch):
    """Scene rectangles that picture and stored masks were asked to paint."""
    asked = {"picture": [], "masks": []}
    for name, layer in (("picture", PictureLayer), ("masks", OverlayLayer)):
        paint = layer.paint

        def noted(self, painter, exposed, paint=paint, name=name):
            asked[name].append(exposed)
            paint(self, painter, exposed)

        monkeypatch.setattr(layer, "paint", noted)
    return asked


@pytest.fixture
def canvas(qtbot, painted):
    view = Canvas()
    qtbot.addWidget(view)
    view.resize(420, 220)
    view.show()
    view.show_picture(picture())
    view.set_objects([item("a", (255, 0, 0), x=20)])
    qtbot.waitExposed(view)
    QApplication.processEvents()
    view.viewport().repaint()
    for rects in painted.values():
        rects.clear()
    return view


def pixel(canvas, x, y):
    at = canvas.mapFromScene(x, y)
    return canvas.viewport().grab().toImage().pixelColor(at).getRgb()[:3]


def test_a_suggestion_and_its_dots_are_painted_over_what_is_kept(canvas, painted):
    canvas.set_marks(PromptMarks(((50.0, 40.0, True),)))
    canvas.set_suggestion(suggestion(x=60, y=20))
    canvas.viewport().repaint()
    canvas.set_suggestion(None)
    canvas.viewport().repaint()
    assert painted == {"picture": [], "masks": []}


def test_an_accepted_mask_is_painted_alone(canvas, painted):
    canvas.put_objects([item("b", (0, 0, 255), x=120, y=20, width=30, height=30)])
    canvas.viewport().repaint()
    (rect,) = painted["masks"]
    assert rect.contains(QRectF(120, 20, 30, 30))
    assert rect.width() < 60
    canvas.set_display(DisplayOptions(fill=1.0, names=False))
    assert pixel(canvas, 135, 35) == (0, 0, 255)


def test_zoom_and_other_colours_paint_everything_anew(canvas, painted):
    canvas.zoom_by(0.5)
    canvas.viewport().repaint()
    assert len(painted["picture"]) == 1
    dark = QPalette(canvas.palette())
    dark.setColor(QPalette.ColorRole.Dark, QColor(1, 2, 3))
    canvas.setPalette(dark)
    assert pixel(canvas, -20, -10) == (1, 2, 3)
    assert len(painted["picture"]) == 2


def test_what_scrolls_into_view_is_painted(canvas):
    canvas.set_display(DisplayOptions(fill=1.0, names=False, outlines=False))
    canvas.zoom_by(6)
    canvas.show_box((20, 20, 24, 24))
    canvas.viewport().repaint()
    for _ in range(3):
        canvas.scroll_by(canvas.viewport().rect().center() / 3)
        canvas.viewport().repaint()
    seen = canvas.viewport().grab().toImage()
    canvas.resetCachedContent()
    assert canvas.viewport().grab().toImage() == seen


def test_outlines_that_become_too_many_are_drawn_the_other_way_everywhere(canvas, painted, monkeypatch):
    monkeypatch.setattr("ovsam_annotator.views.overlay.VECTOR_CORNERS", 4)
    canvas.put_objects([item("b", (0, 0, 255), x=120, y=20, width=30, height=30)])
    canvas.viewport().repaint()
    assert painted["masks"][-1].contains(QRectF(20, 20, 130, 30))


def test_many_large_masks_are_composed_beside_the_paint_event_and_none_vanishes_meanwhile(qtbot, canvas):
    canvas.set_display(DisplayOptions(fill=1.0, names=False, outlines=False))
    canvas.show_picture(picture(500, 500))
    whole = [item(str(k), (0, 9 * k, 255), x=0, y=0, width=500, height=500) for k in range(12)]
    canvas.set_objects(whole)
    canvas.viewport().repaint()
    assert canvas.composing  # one paint event that blends them all would hold the window up
    qtbot.waitUntil(lambda: not canvas.composing)
    assert pixel(canvas, 250, 250) == (0, 99, 255)
    canvas.set_display(DisplayOptions(fill=1.0, names=False))
    canvas.zoom_by(0.9)
    canvas.viewport().repaint()
    assert canvas.composing
    assert pixel(canvas, 250, 250) == (0, 99, 255)


def test_a_canvas_that_goes_leaves_no_tile_behind(qtbot):
    view = Canvas()
    view.resize(420, 220)
    view.show_picture(picture(500, 500))
    view.set_objects([item(str(k), (0, 9 * k, 255), x=0, y=0, width=500, height=500) for k in range(12)])
    view.grab()
    overlay = view._overlay
    assert overlay.busy
    view.deleteLater()
    qtbot.waitUntil(lambda: not overlay.busy)
    qtbot.wait(0)  # an answer on its way would raise here


def test_a_name_stands_where_it_stood_when_a_part_is_painted(canvas):
    canvas.set_display(DisplayOptions(names=True))
    whole = canvas.viewport().grab().toImage()
    canvas.viewport().repaint(canvas.viewport().rect().adjusted(60, 0, 0, 0))
    assert canvas.viewport().grab().toImage() == whole


def test_a_changed_picture_is_painted_alone(qtbot, monkeypatch):
    rows = []
    paint = PictureDelegate.paint

    def noted(self, painter, option, index):
        rows.append(index.row())
        paint(self, painter, option, index)

    monkeypatch.setattr(PictureDelegate, "paint", noted)
    pictures = PictureList()
    qtbot.addWidget(pictures)
    pictures.resize(300, 600)
    pictures.show()
    pictures.set_rows([PictureRow(k, f"{k}.jpg") for k in range(8)])
    pictures.set_current(1)
    qtbot.waitUntil(lambda: len(set(rows)) == 8)
    QApplication.processEvents()
    rows.clear()
    pictures.put_rows([PictureRow(3, "3.jpg", objects=2)])
    qtbot.waitUntil(lambda: bool(rows))
    QApplication.processEvents()
    assert set(rows) == {3}


def test_buttons_of_candidates_are_kept_from_mask_to_mask(qtbot):
    window = QWidget()
    qtbot.addWidget(window)
    names = LabelList(window)
    names.show_suggestion(suggestion(candidates=3))
    before = [names._strip_row.itemAt(k).widget() for k in range(3)]
    names.show_suggestion(suggestion(candidates=4))
    after = [names._strip_row.itemAt(k).widget() for k in range(4)]
    assert after[:3] == before
    assert [button.isChecked() for button in after] == [True, False, False, False]
    names.show_suggestion(suggestion(candidates=2))
    assert [button.isVisibleTo(names) for button in after] == [True, True, False, False]


def test_thousands_of_objects_come_in_slices_and_stay_selected(qtbot):
    panel = ObjectPanel()
    qtbot.addWidget(panel)
    panel.resize(300, 400)
    panel.show()
    rows = [ObjectRow(f"o{k}", f"class {k % 7}", (1, 2, 3), k) for k in range(1000)]
    panel.set_rows(rows)
    assert 0 < panel._model.rowCount() < 1000
    panel.set_selection(["o990"])
    qtbot.waitUntil(lambda: panel._model.rowCount() == 1000)
    assert panel.selection() == ("o990",)
    panel.set_rows([row for row in rows if row.uid != "o500"])
    assert panel._model.rowCount() == 999
    assert panel.selection() == ("o990",)
    panel._view.sortByColumn(2, Qt.SortOrder.DescendingOrder)
    assert panel._proxy.index(0, 2).data() == "999"


def test_an_outline_becomes_the_path_that_qt_would_make():
    loops = [np.array([[0, 0], [9, 0], [9, 7], [0, 7]]), np.array([[2, 2], [2, 4], [5, 4.5]])]
    wanted = QPainterPath()
    wanted.setFillRule(Qt.FillRule.OddEvenFill)
    for loop in loops:
        wanted.addPolygon(QPolygonF([QPointF(x, y) for x, y in loop.tolist()]))
        wanted.closeSubpath()
    made = outline_path(loops)
    assert made == wanted
    assert (made.fillRule(), made.contains(QPointF(1, 1)), made.contains(QPointF(2.5, 3.5))) == (
        Qt.FillRule.OddEvenFill, True, False,
    )  # fmt: skip
    assert outline_path([]).isEmpty()


def test_a_mask_icon_of_a_large_mask_shows_its_shape(qtbot):
    window = QWidget()
    qtbot.addWidget(window)
    names = LabelList(window)
    names.show_suggestion(suggestion(candidates=2, x=0, y=0, width=2000, height=500))
    image = names._strip_row.itemAt(0).widget().icon().pixmap(40, 40).toImage()
    alpha = np.array([[image.pixelColor(x, y).alpha() for x in range(40)] for y in range(40)])
    rows, columns = np.nonzero(alpha > 127)
    assert columns.max() - columns.min() == 33
    assert 7 <= rows.max() - rows.min() <= 9
