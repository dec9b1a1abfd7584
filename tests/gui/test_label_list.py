"""The list of names, alone and in its window."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QRect, Qt
from PySide6.QtGui import QFont, QFontMetrics
from PySide6.QtWidgets import QApplication, QWidget

from ovsam_annotator.model.shapes import pixel_shape
from ovsam_annotator.views.data import CandidateRow, NameRow, SearchRow, Suggestion
from ovsam_annotator.views.label_list import LabelList
from ovsam_annotator.views.main_window import MainWindow

from .view_data import NAMES, picture, suggestion

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def names(qtbot):
    parent = QWidget()
    qtbot.addWidget(parent)
    parent.resize(500, 600)
    parent.show()
    yield LabelList(parent)  # noqa: PT022  returning would let the parent go


@pytest.fixture
def window(qtbot):
    view = MainWindow()
    qtbot.addWidget(view)
    view.resize(1100, 700)
    view.show()
    view.show_work()
    view.canvas.show_picture(picture(400, 250))
    QApplication.processEvents()
    return view


def test_the_first_row_is_highlighted_only_when_told(names):
    names.show_suggestion(suggestion(preselected=0))
    assert names.highlighted() == 0
    names.show_suggestion(suggestion(names=NAMES[1:], preselected=None))
    assert names.highlighted() is None
    assert "Not sure" in names._title.text()


def test_tab_goes_round(names):
    names.show_suggestion(suggestion(names=NAMES[:3], preselected=None))
    walked = []
    for _ in range(4):
        names.cycle(1)
        walked.append(names.highlighted())
    names.cycle(-1)
    assert walked == [0, 1, 2, 0]
    assert names.highlighted() == 2


def test_another_candidate_keeps_the_finger_where_it_is(names):
    first = suggestion(serial=1)
    names.show_suggestion(first)
    names.highlight(4)
    names.show_suggestion(suggestion(serial=2))  # the same names for another mask
    assert names.highlighted() == 4
    names.show_suggestion(suggestion(names=tuple(reversed(NAMES)), serial=3))
    assert names.highlighted() == 0


def test_a_click_on_a_row_chooses_it(qtbot, names):
    names.show_suggestion(suggestion())
    row = names._view.visualRect(names._model.index(2, 0))
    with qtbot.waitSignal(names.name_chosen) as chosen:
        qtbot.mouseClick(names._view.viewport(), LEFT, pos=row.center())
    assert chosen.args == ["e:fox", 3]


def test_every_row_is_whole_and_nothing_takes_the_keyboard(names):
    names.show_suggestion(suggestion())
    QApplication.processEvents()
    last = names._view.visualRect(names._model.index(8, 0))
    assert names._view.viewport().rect().contains(last)
    assert names._view.focusPolicy() == Qt.FocusPolicy.NoFocus


def test_candidates_show_their_quality_and_can_be_chosen(qtbot, names):
    names.show_suggestion(suggestion(candidates=3))
    buttons = [names._strip_row.itemAt(k).widget() for k in range(3)]
    assert [button.text() for button in buttons] == ["0.90", "0.80", "0.70"]
    with qtbot.waitSignal(names.candidate_chosen) as chosen:
        qtbot.mouseClick(buttons[1], LEFT)
    assert chosen.args == [1]
    names.show_suggestion(suggestion(candidates=1))
    assert not names._strip.isVisible()


def test_in_the_search_letters_digits_and_enter_are_text(qtbot, window):
    names = window.label_list
    names.show_suggestion(suggestion())
    names.open_search()
    heard = []
    window.command.connect(heard.append)
    field = QApplication.focusWidget()
    with qtbot.waitSignal(names.search_changed, check_params_cb=lambda text: text == "a1d?/q"):
        qtbot.keyClicks(field, "a1d?/q")
    assert heard == []
    names.set_results("something older", [SearchRow("e:1", "late")])
    names.set_results("a1d?/q", [SearchRow("e:7", "seven"), SearchRow("e:8", "eight")])
    qtbot.keyClick(field, Qt.Key.Key_Down)
    with qtbot.waitSignal(names.name_chosen) as chosen:
        qtbot.keyClick(field, Qt.Key.Key_Return)
    assert chosen.args == ["e:8", 0]
    assert heard == []


def test_a_name_that_nobody_knows_can_be_added(qtbot, window):
    names = window.label_list
    names.open_search("zebrafish")
    names.set_results("zebrafish", [])
    with qtbot.waitSignal(names.name_typed) as typed:
        qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Return)
    assert typed.args == ["zebrafish"]


def test_escape_leads_back_to_the_names_and_the_canvas(qtbot, window):
    names = window.label_list
    names.show_suggestion(suggestion())
    names.open_search()
    with qtbot.waitSignal(names.search_closed):
        qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Escape)
    assert not names.searching
    assert names._view.isVisible()
    assert window.canvas.hasFocus()


@pytest.mark.parametrize(
    "box", [(5, 5, 60, 60), (330, 5, 60, 60), (5, 180, 60, 60), (330, 180, 60, 60), (150, 90, 80, 60), (0, 0, 400, 250)]
)
def test_the_list_lies_in_the_window_and_not_on_the_mask(window, box):
    x, y, width, height = box
    answer = suggestion(x=x, y=y, width=width, height=height)
    window.canvas.set_suggestion(answer)
    window.label_list.show_suggestion(answer, [(x + width / 2, y + height / 2)])
    mask = window.canvas.suggestion_rects()[0].toAlignedRect()
    mask.translate(window.canvas.viewport().mapTo(window, QPoint(0, 0)))
    assert not window.label_list.geometry().intersects(mask)
    assert QRect(QPoint(0, 0), window.size()).contains(window.label_list.geometry())


def test_the_list_follows_a_zoom(window):
    answer = suggestion(x=150, y=90, width=80, height=60)
    window.canvas.set_suggestion(answer)
    window.label_list.show_suggestion(answer, [(190, 120)])
    window.canvas.zoom_by(1.6)
    mask = window.canvas.suggestion_rects()[0].toAlignedRect()
    mask.translate(window.canvas.viewport().mapTo(window, QPoint(0, 0)))
    assert not window.label_list.geometry().intersects(mask)


def test_far_crumbs_do_not_push_the_list_away_and_are_not_covered(window):
    pixels = np.zeros((240, 390), bool)
    pixels[90:150, 40:110] = True  # the main part
    pixels[5:9, 5:9] = pixels[230:236, 380:386] = pixels[100:108, 150:158] = True  # crumbs, one right beside it
    shape = pixel_shape(pixels)
    assert shape.part_boxes()[0] == (40, 90, 110, 150)
    answer = Suggestion((CandidateRow(shape, 0.9),), (NameRow("e:cat", "cat", 0.8),))
    window.canvas.set_suggestion(answer)
    window.label_list.show_suggestion(answer, [(75, 120)])
    origin = window.canvas.viewport().mapTo(window, QPoint(0, 0))
    parts = [rect.translated(origin).toAlignedRect() for rect in window.canvas.suggestion_rects()]
    names = window.label_list.geometry()
    assert not any(names.intersects(part) for part in parts)
    assert QRect(QPoint(0, 0), window.size()).contains(names)
    beside = parts[0].adjusted(-80, -80, 80, 80)
    assert names.intersects(beside)


def test_a_hole_is_no_part_of_a_mask():
    ring = np.ones((9, 9), bool)
    ring[3:6, 3:6] = False
    assert pixel_shape(ring).part_boxes() == [(0, 0, 9, 9)]


@pytest.fixture
def large_print(qtbot):
    """Letters of twice their size, everywhere."""
    application = QApplication.instance()
    usual = application.font()
    large = QFont(usual)
    large.setPointSizeF(2 * usual.pointSizeF())
    application.setFont(large)
    yield
    application.setFont(usual)


@pytest.mark.usefixtures("large_print")
def test_letters_of_twice_their_size_leave_the_list_whole_and_off_the_mask(driver, folder):
    driver.window.resize(1280, 800)
    driver.open(folder)
    driver.point(60, 40)
    driver.settle()
    names, window = driver.window.label_list, driver.window
    place = names.geometry()
    assert window.rect().contains(place)
    last = names._view.visualRect(names._model.index(8, 0))
    assert names._view.viewport().rect().contains(last)
    assert last.height() >= QFontMetrics(QApplication.font()).height()
    mask = driver.canvas.suggestion_rects()[0].toAlignedRect()
    mask.translate(driver.canvas.viewport().mapTo(window, QPoint(0, 0)))
    assert not place.intersects(mask)
