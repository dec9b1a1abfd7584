"""The canvas through real mouse and key events, and what it paints."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QApplication

from ovsam_annotator.model.shapes import pixel_shape
from ovsam_annotator.views.canvas import Canvas
from ovsam_annotator.views.data import CanvasObject, DisplayOptions, EncodeState, PromptMarks, Tool
from ovsam_annotator.views.palette import NEGATIVE, POSITIVE, SUGGESTION
from ovsam_annotator.views.pyramid import picture_image

from .view_data import item, picture, shape, suggestion

LEFT, RIGHT, MIDDLE = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton, Qt.MouseButton.MiddleButton
CONTROL, SHIFT, NONE = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier(0)


@pytest.fixture
def canvas(qtbot):
    view = Canvas()
    qtbot.addWidget(view)
    view.resize(420, 220)
    view.show()
    view.show_picture(picture())  # 200 × 100, about twice as large on screen
    return view


def at(canvas, x, y):
    return canvas.mapFromScene(QPointF(x, y))


def click(qtbot, canvas, x, y, button=LEFT, modifier=NONE):
    qtbot.mouseClick(canvas.viewport(), button, modifier, at(canvas, x, y))


def drag(qtbot, canvas, points, button=LEFT):
    view = canvas.viewport()
    qtbot.mousePress(view, button, NONE, at(canvas, *points[0]))
    for point in points[1:]:
        # a move made by qtbot carries no buttons on every platform; this one does
        from PySide6.QtCore import QEvent
        from PySide6.QtGui import QMouseEvent

        place = QPointF(at(canvas, *point))
        event = QMouseEvent(QEvent.Type.MouseMove, place, view.mapToGlobal(place), button, button, NONE)
        QApplication.sendEvent(view, event)
    qtbot.mouseRelease(view, button, NONE, at(canvas, *points[-1]))


def pixels(canvas):
    image = canvas.viewport().grab().toImage()
    image = image.convertToFormat(image.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : image.width() * 3].reshape(image.height(), image.width(), 3).copy()


def has(canvas, colour, tolerance=3):
    return bool((np.abs(pixels(canvas).astype(int) - colour).max(axis=2) <= tolerance).any())


def settle(qtbot, canvas):
    canvas.viewport().repaint()
    qtbot.waitUntil(lambda: not canvas.composing)
    canvas.viewport().repaint()


# --- prompts ---------------------------------------------------------------------------------------------------------


def test_left_and_right_clicks_are_points_on_and_off(qtbot, canvas):
    heard = []
    canvas.point_added.connect(lambda *point: heard.append(point))
    click(qtbot, canvas, 50, 40)
    click(qtbot, canvas, 120, 60, RIGHT)
    assert [round(v) for v in heard[0][:2]] == [50, 40]
    assert [point[2] for point in heard] == [True, False]


def test_the_dot_is_there_before_any_answer(qtbot, canvas):
    assert not has(canvas, POSITIVE)
    click(qtbot, canvas, 50, 40)
    assert has(canvas, POSITIVE)
    canvas.set_marks(PromptMarks())
    assert not has(canvas, POSITIVE)


def test_a_click_beside_the_picture_is_nothing(qtbot, canvas):
    canvas.zoom_by(0.4)
    with qtbot.assertNotEmitted(canvas.point_added):
        qtbot.mouseClick(canvas.viewport(), LEFT, NONE, QPoint(5, 5))


def test_a_drag_is_a_box_cut_at_the_picture(qtbot, canvas):
    with qtbot.waitSignal(canvas.box_drawn) as box, qtbot.assertNotEmitted(canvas.point_added):
        drag(qtbot, canvas, [(30, 20), (80, 50), (500, 90)])
    assert [round(v) for v in box.args] == [30, 20, 200, 90]


def test_a_hand_that_trembles_still_clicks(qtbot, canvas):
    with qtbot.waitSignal(canvas.point_added), qtbot.assertNotEmitted(canvas.box_drawn):
        drag(qtbot, canvas, [(30, 20), (31, 21)])


def test_two_quick_clicks_are_two_points(qtbot, canvas):
    heard = []
    canvas.point_added.connect(lambda *point: heard.append(point))
    view, place = canvas.viewport(), at(canvas, 50, 50)
    qtbot.mouseClick(view, LEFT, NONE, place)
    qtbot.mouseDClick(view, LEFT, NONE, place)
    qtbot.mouseRelease(view, LEFT, NONE, place)
    assert len(heard) == 2


def test_control_click_selects_and_shift_extends(qtbot, canvas):
    heard = []
    canvas.object_clicked.connect(lambda *args: heard.append(args))
    with qtbot.assertNotEmitted(canvas.point_added):
        click(qtbot, canvas, 50, 40, modifier=CONTROL)
        click(qtbot, canvas, 50, 40, modifier=CONTROL | SHIFT)
    assert [args[2] for args in heard] == [False, True]


def test_the_keyboard_alone_can_click(qtbot, canvas):
    canvas.setFocus()
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Down):
        qtbot.keyClick(canvas, key)
    middle = canvas.mapToScene(canvas.viewport().rect().center())
    with qtbot.waitSignal(canvas.point_added) as point:
        canvas.add_point_at_cursor(positive=False)
    assert point.args[0] == pytest.approx(middle.x() + 16 / canvas.scale_now, abs=0.01)
    assert point.args[1] == pytest.approx(middle.y() + 8 / canvas.scale_now, abs=0.01)
    assert point.args[2] is False


def test_q_goes_where_the_pointer_is(qtbot, canvas):
    qtbot.mouseMove(canvas.viewport(), at(canvas, 150, 30))
    with qtbot.waitSignal(canvas.point_added) as point:
        canvas.add_point_at_cursor(positive=True)
    assert [round(v) for v in point.args[:2]] == [150, 30]


def test_a_rest_asks_for_a_preview_and_a_move_ends_it(qtbot, canvas):
    with qtbot.waitSignal(canvas.rested) as rest:
        qtbot.mouseMove(canvas.viewport(), at(canvas, 60, 50))
    assert [round(v) for v in rest.args] == [60, 50]
    with qtbot.waitSignal(canvas.rest_ended):
        qtbot.mouseMove(canvas.viewport(), at(canvas, 90, 50))


# --- view ------------------------------------------------------------------------------------------------------------


def wheel(canvas, x, y, turned):
    place = QPointF(at(canvas, x, y))
    event = QWheelEvent(
        place,
        canvas.viewport().mapToGlobal(place),
        QPoint(),
        QPoint(0, turned),
        Qt.MouseButton.NoButton,
        NONE,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(canvas.viewport(), event)


def test_the_wheel_zooms_at_the_pointer(canvas):
    before, place = canvas.scale_now, at(canvas, 150, 30)
    wheel(canvas, 150, 30, 240)
    assert canvas.scale_now == pytest.approx(before * 1.25**2)
    after = canvas.mapToScene(place)
    assert abs(after.x() - 150) < 1
    assert abs(after.y() - 30) < 1


@pytest.mark.parametrize("how", ["middle", "space"])
def test_panning_moves_the_picture_and_prompts_nothing(qtbot, canvas, how):
    canvas.zoom_by(3)
    before = canvas.mapToScene(QPoint(0, 0))
    canvas.setFocus()
    with qtbot.assertNotEmitted(canvas.point_added), qtbot.assertNotEmitted(canvas.box_drawn):
        if how == "space":
            qtbot.keyPress(canvas, Qt.Key.Key_Space)
        drag(qtbot, canvas, [(100, 50), (90, 45)], MIDDLE if how == "middle" else LEFT)
        qtbot.keyRelease(canvas, Qt.Key.Key_Space)
    moved = canvas.mapToScene(QPoint(0, 0)) - before
    assert moved.x() == pytest.approx(10, abs=0.5)
    assert moved.y() == pytest.approx(5, abs=0.5)


def test_fit_follows_the_window_until_someone_zooms(canvas):
    fit = canvas.scale_now
    canvas.resize(820, 420)
    assert canvas.scale_now > 1.8 * fit
    canvas.zoom_by(2)
    zoomed = canvas.scale_now
    canvas.resize(420, 220)
    assert canvas.scale_now == zoomed


def test_one_to_one_and_a_box_in_view(canvas):
    canvas.zoom_actual()
    assert canvas.scale_now * canvas.devicePixelRatioF() == 1
    canvas.show_box((190, 90, 196, 96))
    seen = canvas.mapToScene(canvas.viewport().rect()).boundingRect()
    assert seen.contains(190, 90)
    assert 6 * canvas.scale_now >= 39


def test_pixels_are_squares_above_four_hundred_per_cent(canvas):
    rng = np.random.default_rng(3)
    canvas.show_picture(picture_image(2, rng.integers(0, 255, (40, 60, 3), np.uint8)))
    canvas.zoom_by(8 / canvas.scale_now)
    assert canvas.scale_now == pytest.approx(8)
    seen = pixels(canvas)
    left = canvas.mapFromScene(QPointF(30, 20))
    block = seen[left.y() + 1 : left.y() + 7, left.x() + 1 : left.x() + 7].reshape(-1, 3)
    assert (block == block[0]).all()


def test_only_visible_tiles_of_a_large_picture_exist(canvas):
    canvas.show_picture(picture_image(3, np.zeros((3000, 6000, 3), np.uint8)))
    canvas.zoom_actual()
    canvas.viewport().repaint()
    kept = [key for key in canvas._picture._tiles.keys() if key[0] == 0]  # noqa: SIM118
    assert 1 <= len(kept) <= 4


# --- masks -----------------------------------------------------------------------------------------------------------


def test_masks_wear_their_class_colour_and_hidden_ones_nothing(qtbot, canvas):
    canvas.set_objects([item("a", (255, 0, 0), x=20), item("b", (0, 0, 255), x=120, hidden=True)])
    canvas.set_display(DisplayOptions(fill=1.0, names=False))
    settle(qtbot, canvas)
    seen = pixels(canvas)
    inside, hidden = at(canvas, 40, 35), at(canvas, 140, 35)
    assert seen[inside.y(), inside.x()].tolist() == [255, 0, 0]
    assert seen[hidden.y(), hidden.x()].tolist() == [90, 90, 90]
    assert canvas._note.text() == "1 hidden"


def test_outlines_only_leaves_the_inside(qtbot, canvas):
    canvas.set_objects([item("a", (255, 0, 0), x=20)])
    canvas.set_display(DisplayOptions(fill=0.0, names=False))
    settle(qtbot, canvas)
    seen, inside = pixels(canvas), at(canvas, 40, 35)
    assert seen[inside.y(), inside.x()].tolist() == [90, 90, 90]
    assert has(canvas, (255, 0, 0))


def test_put_and_remove_repaint_only_what_changed(qtbot, canvas):
    canvas.set_display(DisplayOptions(fill=1.0, names=False))
    canvas.set_objects([item("a", (255, 0, 0), x=20)])
    settle(qtbot, canvas)
    canvas.put_objects([item("b", (0, 0, 255), x=100)])
    settle(qtbot, canvas)
    assert has(canvas, (0, 0, 255))
    canvas.remove_objects(["b", "unknown"])
    settle(qtbot, canvas)
    assert not has(canvas, (0, 0, 255))
    assert has(canvas, (255, 0, 0))


def test_many_masks_are_composed_in_the_background_and_arrive(qtbot, canvas):
    many = [item(f"m{k}", (255, 0, 0), x=k % 150, y=k // 4, width=30, height=12) for k in range(300)]
    canvas.set_display(DisplayOptions(fill=1.0, names=False))
    canvas.set_objects(many)
    canvas.viewport().repaint()
    assert canvas.composing
    settle(qtbot, canvas)
    assert has(canvas, (255, 0, 0))


def test_late_tiles_of_another_picture_are_dropped(qtbot, canvas):
    many = [item(f"m{k}", (255, 0, 0), x=k % 150, y=k // 4, width=30, height=12) for k in range(300)]
    canvas.set_objects(many)
    canvas.viewport().repaint()
    canvas.show_picture(picture())
    canvas._overlay._pool.waitForDone()
    QApplication.processEvents()
    settle(qtbot, canvas)
    assert not has(canvas, (255, 0, 0), 60)


def test_a_suggestion_is_dashed_and_an_accepted_mask_is_not(qtbot, canvas):
    canvas.set_display(DisplayOptions(fill=0.0, names=False))
    canvas.set_suggestion(suggestion(x=40, y=20, width=100, height=60))
    row = pixels(canvas)[at(canvas, 40, 20).y()]
    bright = np.abs(row.astype(int) - SUGGESTION).max(axis=1) < 40
    edges = np.count_nonzero(np.diff(bright.astype(int)))
    assert edges > 20  # on and off many times along the edge
    canvas.set_suggestion(None)
    canvas.set_objects([item("a", SUGGESTION, x=40, y=20, width=100, height=60)])
    settle(qtbot, canvas)
    row = pixels(canvas)[at(canvas, 40, 20).y()]
    bright = np.abs(row.astype(int) - SUGGESTION).max(axis=1) < 40
    assert np.count_nonzero(np.diff(bright.astype(int))) <= 4


def test_signs_differ_in_shape_as_well_as_in_colour(canvas):
    canvas.set_marks(PromptMarks(((50, 50, True), (150, 50, False))))
    assert has(canvas, POSITIVE)
    assert has(canvas, NEGATIVE)
    seen = pixels(canvas)
    plus, minus = at(canvas, 50, 50), at(canvas, 150, 50)
    assert seen[plus.y() - 3, plus.x()].min() > 200  # the upright of the plus
    assert seen[minus.y() - 3, minus.x()].min() < 120


def test_masks_hide_while_the_key_is_held(qtbot, canvas):
    canvas.set_objects([item("a", (255, 0, 0))])
    canvas.setFocus()
    canvas.hide_while_held(Qt.Key.Key_H)
    assert canvas.display.hidden
    assert canvas._note.text() == "Masks hidden"
    qtbot.keyRelease(canvas, Qt.Key.Key_H)
    assert not canvas.display.hidden


def test_the_contrast_window_changes_what_is_shown(canvas):
    canvas.show_picture(picture_image(4, np.full((50, 50), 3000, np.uint16), (0.0, 6000.0)))
    middle = at(canvas, 25, 25)
    assert pixels(canvas)[middle.y(), middle.x(), 0] in range(126, 130)
    canvas.set_contrast(0, 3000)
    assert pixels(canvas)[middle.y(), middle.x(), 0] == 255


def test_the_chip_tells_how_far_the_model_is(qtbot, canvas):
    canvas.set_encode_state(EncodeState.RUNNING, "Reading", 0.5)
    assert canvas._chip.isVisible()
    canvas.set_encode_state(EncodeState.FAILED, "Out of memory")
    with qtbot.waitSignal(canvas.retry_asked):
        qtbot.mouseClick(canvas._chip._retry, LEFT)
    canvas.set_encode_state(EncodeState.READY)
    assert not canvas._chip.isVisible()


# --- drawing tools ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tool", "erase"), [(Tool.BRUSH, False), (Tool.ERASER, True)])
def test_a_stroke_has_its_points_and_its_radius(qtbot, canvas, tool, erase):
    canvas.set_tool(tool)
    canvas.set_brush_radius(7)
    with qtbot.waitSignal(canvas.stroke_drawn) as stroke:
        drag(qtbot, canvas, [(30, 20), (60, 40), (90, 40)])
    points, radius, erased = stroke.args
    assert points.shape[1] == 2
    assert points[0].round().tolist() == [30, 20]
    assert points[-1].round().tolist() == [90, 40]
    assert (radius, erased) == (7, erase)


def test_a_polygon_closes_with_enter_and_gives_up_with_escape(qtbot, canvas):
    canvas.set_tool(Tool.POLYGON)
    canvas.setFocus()
    for place in ((30, 20), (90, 20), (60, 70)):
        click(qtbot, canvas, *place)
    with qtbot.waitSignal(canvas.polygon_drawn) as drawn:
        qtbot.keyClick(canvas, Qt.Key.Key_Return)
    assert drawn.args[0].round().tolist() == [[30, 20], [90, 20], [60, 70]]
    click(qtbot, canvas, 30, 20)
    qtbot.keyClick(canvas, Qt.Key.Key_Escape)
    with qtbot.assertNotEmitted(canvas.polygon_drawn):
        qtbot.keyClick(canvas, Qt.Key.Key_Return)


def test_a_corner_can_be_dragged_and_removed(qtbot, canvas):
    ring = np.array([(30, 20), (90, 20), (90, 70), (30, 70)], float)
    canvas.set_tool(Tool.VERTICES)
    canvas.set_vertices("a", [ring])
    canvas.setFocus()
    with qtbot.waitSignal(canvas.vertices_edited) as edited:
        drag(qtbot, canvas, [(90, 70), (110, 80)])
    uid, rings = edited.args
    assert uid == "a"
    assert rings[0][2].round().tolist() == [110, 80]
    with qtbot.waitSignal(canvas.vertices_edited) as edited:
        qtbot.keyClick(canvas, Qt.Key.Key_Delete)
    assert len(edited.args[1][0]) == 3


def test_the_select_tool_prompts_nothing(qtbot, canvas):
    canvas.set_tool(Tool.SELECT)
    with qtbot.waitSignal(canvas.object_clicked), qtbot.assertNotEmitted(canvas.point_added):
        click(qtbot, canvas, 50, 40)


def test_an_empty_canvas_takes_any_event(qtbot, canvas):
    canvas.show_picture(None)
    click(qtbot, canvas, 10, 10)
    click(qtbot, canvas, 10, 10, RIGHT)
    drag(qtbot, canvas, [(1, 1), (40, 40)])
    qtbot.keyClick(canvas, Qt.Key.Key_Left)
    canvas.add_point_at_cursor(positive=True)
    canvas.zoom_by(2)
    canvas.zoom_actual()
    canvas.set_suggestion(suggestion(empty=True))
    canvas.set_hover(shape(), "cat")
    canvas.viewport().repaint()


def test_a_name_stands_at_the_main_part_and_not_at_a_crumb(qtbot, canvas):
    pixels = np.zeros((100, 200), bool)
    pixels[50:90, 20:80] = pixels[89:95, 30:40] = True
    pixels[4:6, 180:182] = True
    canvas.set_objects([CanvasObject("a", pixel_shape(pixels), "cat", (255, 0, 0))])
    canvas.set_display(DisplayOptions(fill=0.0))
    settle(qtbot, canvas)
    seen = pixels_of_colour(canvas, (255, 0, 0))
    rows, columns = np.nonzero(seen)
    wide = [c for r, c in zip(rows, columns, strict=True) if r < at(canvas, 0, 45).y()]
    plate = at(canvas, 20, 50)
    assert seen[plate.y() - 12 : plate.y() - 3, plate.x() - 4 : plate.x() + 4].mean() > 0.5
    assert sum(c > at(canvas, 170, 0).x() for c in wide) < 60  # only the crumb's own outline


def pixels_of_colour(canvas, colour):
    return np.abs(pixels(canvas).astype(int) - colour).max(axis=2) < 40
