"""The keys of the guide, pressed one after another on the demo program: each does what the guide says."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from ovsam_annotator.views.data import Tool
from ovsam_core.masks import Mask

Key = Qt.Key
CONTROL, SHIFT, ALT = (
    Qt.KeyboardModifier.ControlModifier,
    Qt.KeyboardModifier.ShiftModifier,
    Qt.KeyboardModifier.AltModifier,
)
LEFT, NONE = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


@pytest.fixture
def person(driver, folder):
    driver.open(folder)
    return driver


def items(person):
    return list(person.document)


def accept(person, x, y, key=Key.Key_1):
    """One object; its uid."""
    before = {item.uid for item in items(person)}
    person.point(x, y)
    person.key(key)
    person.until(lambda: len(items(person)) == len(before) + 1)
    return next(item.uid for item in items(person) if item.uid not in before)


def select(person, x, y, *, more=False):
    person.click(x, y, modifier=CONTROL | SHIFT if more else CONTROL)


def area(person, uid):
    return person.document.get(uid).row.mask.area


def changes(person, uid, act):
    """Area before and after something that works in the background."""
    before = area(person, uid)
    act()
    person.until(lambda: area(person, uid) != before)
    return before, area(person, uid)


def drag(person, points):
    view = person.canvas.viewport()

    def at(x, y):
        return QPoint(person.canvas.mapFromScene(QPointF(x, y)))

    QTest.mousePress(view, LEFT, NONE, at(*points[0]))
    for point in points[1:]:
        place = QPointF(at(*point))
        move = QMouseEvent(QEvent.Type.MouseMove, place, view.mapToGlobal(place), LEFT, LEFT, NONE)
        QApplication.sendEvent(view, move)
    QTest.mouseRelease(view, LEFT, NONE, at(*points[-1]))


def replace_mask(person, uid, pixels):
    """Give an object another mask, as a correction by another program would."""
    from dataclasses import replace

    from ovsam_annotator.model.document import Item
    from ovsam_annotator.model.shapes import mask_shape

    mask = Mask.of(pixels)
    person.workspace.session.put_items(
        "Test", [Item(replace(person.document.get(uid).row, mask=mask), mask_shape(mask))]
    )


def test_brush_adds_and_eraser_takes(person):
    uid = accept(person, 60, 50)
    select(person, 60, 50)
    person.key(Key.Key_B)
    before, after = changes(person, uid, lambda: drag(person, [(60, 50), (100, 50)]))
    assert after > before
    person.key(Key.Key_B, SHIFT)
    before, after = changes(person, uid, lambda: drag(person, [(60, 40), (60, 60)]))
    assert after < before


def test_the_brush_changes_its_size(person):
    person.key(Key.Key_B)
    radius = person.canvas._brush.radius
    person.key(Key.Key_Equal)
    assert person.canvas._brush.radius > radius
    person.key(Key.Key_Minus)
    person.key(Key.Key_Minus)
    assert person.canvas._brush.radius < radius


def test_a_polygon_becomes_an_object_that_a_digit_names_and_its_corners_move(person):
    person.key(Key.Key_P)
    for point in ((40, 20), (90, 20), (90, 70)):
        person.click(*point)
    person.key(Key.Key_Return)
    person.until(lambda: len(items(person)) == 1)
    uid = items(person)[0].uid
    assert area(person, uid) == pytest.approx(50 * 50 / 2, rel=0.05)
    person.until(lambda: person.annotation.suggested is not None)  # names beside the mask, and no dialog
    name = person.annotation.labels[1].name
    person.key(Key.Key_2)
    assert person.workspace.session.classes.name(person.document.get(uid).row.class_uid) == name
    assert len(items(person)) == 1
    person.key(Key.Key_P, SHIFT)
    assert person.canvas._tool is Tool.VERTICES
    person.until(lambda: person.canvas._vertices.active)
    before, after = changes(person, uid, lambda: drag(person, [(90, 70), (90, 100)]))
    assert after > before


def test_a_drawn_object_gets_the_fixed_class_at_once(person):
    first = accept(person, 150, 90)
    person.key(Key.Key_L)
    assert person.annotation.locked_class
    person.key(Key.Key_B)
    drag(person, [(30, 30), (60, 30)])
    person.until(lambda: len(items(person)) == 2)
    row = next(item.row for item in items(person) if item.uid != first)
    person.until(lambda: person.document.get(row.uid).row.class_uid == person.document.get(first).row.class_uid)
    assert not person.annotation.busy


def test_no_preview_in_review_mode(person):
    person.workspace.run_command("review.toggle")
    assert person.annotation.reviewing
    person.workspace.run_command("review.toggle")
    assert not person.annotation.reviewing


def test_holes_crumbs_growing_and_shrinking(person):
    uid = accept(person, 60, 50)
    pixels = np.zeros((120, 200), bool)
    pixels[20:60, 20:60] = True
    pixels[38:42, 38:42] = False  # a hole
    pixels[100:102, 100:102] = True  # a crumb
    replace_mask(person, uid, pixels)
    person.workspace.session.select([uid])
    assert changes(person, uid, lambda: person.key(Key.Key_F, SHIFT)) == (1600 - 16 + 4, 1604)
    assert changes(person, uid, lambda: person.key(Key.Key_D, SHIFT)) == (1604, 1600)
    before, after = changes(person, uid, lambda: person.key(Key.Key_Up, ALT))
    assert after > before
    back, again = changes(person, uid, lambda: person.key(Key.Key_Down, ALT))
    assert again < back


def test_parts_are_split_and_merged(person):
    uid = accept(person, 60, 50)
    pixels = np.zeros((120, 200), bool)
    pixels[10:40, 10:40] = pixels[70:100, 70:110] = True
    replace_mask(person, uid, pixels)
    person.workspace.session.select([uid])
    person.key(Key.Key_S, SHIFT)
    person.until(lambda: len(items(person)) == 2)
    assert sorted(item.row.mask.area for item in items(person)) == [900, 1200]
    person.workspace.session.select([item.uid for item in items(person)])
    person.key(Key.Key_M)
    person.until(lambda: len(items(person)) == 1)
    assert items(person)[0].row.mask.area == 2100


def test_the_previous_pictures_objects_are_suggested_and_class_keys_name(person):
    first = accept(person, 60, 50)
    name = person.workspace.session.classes.name(person.document.get(first).row.class_uid)
    person.next_picture()
    person.point(150, 90)
    person.key(Key.Key_1, CONTROL)
    person.until(lambda: len(items(person)) == 1)
    assert person.workspace.session.classes.name(items(person)[0].row.class_uid) == name
    person.key(Key.Key_D, CONTROL)
    person.until(lambda: bool(person.canvas._over.proposed))
    assert person.canvas._over.proposed[0][1] == name


def test_the_fixed_class_shows_at_the_cursor_until_it_is_released(person):
    uid = accept(person, 60, 50)
    name = person.workspace.session.classes.name(person.document.get(uid).row.class_uid)
    person.key(Key.Key_L)
    assert name in person.canvas._tag.text()
    second = accept(person, 150, 90, Key.Key_Return)
    assert person.document.get(second).row.class_uid == person.document.get(uid).row.class_uid
    person.key(Key.Key_L)
    assert person.canvas._tag.text() == ""


def test_what_the_eye_needs(person):
    accept(person, 60, 50)
    canvas = person.canvas
    fill = canvas.display.fill
    person.key(Key.Key_Right, ALT)
    assert canvas.display.fill > fill
    person.key(Key.Key_Left, ALT)
    person.key(Key.Key_Left, ALT)
    assert canvas.display.fill < fill
    person.key(Key.Key_O)
    assert canvas.display.fill == 0
    person.key(Key.Key_N)
    assert not canvas.display.names
    person.key(Key.Key_W, SHIFT)
    assert canvas.display.crosshair
    QTest.keyPress(canvas, Key.Key_H)
    assert canvas.display.hidden
    QTest.keyRelease(canvas, Key.Key_H)
    assert not canvas.display.hidden
    person.key(Key.Key_0)
    assert canvas.scale_now * canvas.devicePixelRatioF() == 1
    person.key(Key.Key_F)
    assert canvas.scale_now > 2


def test_the_hands_need_no_mouse(person):
    canvas = person.canvas
    canvas.setFocus()
    for _ in range(3):
        person.key(Key.Key_Left)
    person.key(Key.Key_C)
    person.until(lambda: person.annotation.suggested is not None and not person.annotation.waiting)
    names = person.window.label_list
    first = names.highlighted()
    person.key(Key.Key_Tab)
    assert names.highlighted() == (1 if first == 0 else 0)
    chosen = person.annotation.suggested
    person.key(Key.Key_Period)
    person.key(Key.Key_Comma)
    assert person.annotation.suggested is not None
    assert chosen is not None
    for _ in range(4):
        person.key(Key.Key_Down)
    person.key(Key.Key_C, SHIFT)
    assert [positive for _, _, positive in canvas._over.marks.points] == [True, False]
    person.until(lambda: not person.annotation.waiting)
    person.key(Key.Key_Return)
    person.until(lambda: len(items(person)) == 1)
