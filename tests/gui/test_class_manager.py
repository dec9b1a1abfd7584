"""The class manager by hand: add, rename, merge, delete with each choice, hotkeys, colours, import, vocabulary."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QPoint, Qt, QTimer
from PySide6.QtGui import QColor
from PySide6.QtWidgets import (
    QApplication,
    QColorDialog,
    QFileDialog,
    QInputDialog,
    QMenu,
    QMessageBox,
    QPushButton,
)

from ovsam_annotator.views.class_manager import COUNT, HOTKEY, NAME, ClassManager
from ovsam_annotator.views.data import ClassRow

CAT = ClassRow("c", "e:cat", "cat", (230, 159, 0), 1, 4)
DOG = ClassRow("d", "e:dog", "dog", (86, 180, 233), None, 0)
FOX = ClassRow("f", "e:fox", "fox", (0, 158, 115), 10, 2)


@pytest.fixture
def panel(qtbot, monkeypatch):
    monkeypatch.setattr(QMenu, "popup", lambda *_: None)  # the offscreen platform cannot open one without a warning
    view = ClassManager()
    qtbot.addWidget(view)
    view.resize(360, 300)
    view.set_rows([CAT, DOG, FOX])
    view.show()
    return view


def answer(*steps):
    """Use the modal windows that come up, one step each: a button's text, or what to choose in an input dialog."""
    left = list(steps)

    def use():
        modal = QApplication.activeModalWidget()
        if modal is None:
            timer.start()
            return
        step = left.pop(0)
        if left:
            timer.start()
        if isinstance(modal, QInputDialog):
            if step:
                modal.setTextValue(step)
                modal.accept()
            else:
                modal.reject()
        else:
            assert isinstance(modal, QMessageBox)
            next(b for b in modal.buttons() if b.text().replace("&", "") == step).click()

    timer = QTimer(singleShot=True, interval=10)
    timer.timeout.connect(use)
    timer.start()
    return timer


def menu_of(panel, rows):
    """Open the menu of some rows; its actions by text, those of the hotkeys under "Hotkey"."""
    panel._table.clearSelection()
    for row in rows:
        for column in (NAME, HOTKEY, COUNT):
            panel._table.item(row, column).setSelected(True)
    place = panel._table.visualItemRect(panel._table.item(rows[0], NAME)).center()
    panel._table.customContextMenuRequested.emit(QPoint(place))
    menu = panel.findChildren(QMenu, options=Qt.FindChildOption.FindDirectChildrenOnly)[-1]
    found = {a.text(): a for a in menu.actions()}
    found |= {a.text(): a for a in found["Hotkey"].menu().actions()}
    return found


def test_rows_show_name_key_and_count(panel):
    shown = [[panel._table.item(r, c).text() for c in range(3)] for r in range(3)]
    assert shown == [["cat", "Ctrl+1", "4"], ["dog", "", "0"], ["fox", "Ctrl+0", "2"]]


def test_an_empty_name_adds_nothing(qtbot, panel):
    add = next(b for b in panel.findChildren(QPushButton) if b.accessibleName() == "Add class")
    with qtbot.assertNotEmitted(panel.add_asked):
        qtbot.keyClicks(panel._field, "   ")
        qtbot.mouseClick(add, Qt.MouseButton.LeftButton)
    with qtbot.waitSignal(panel.add_asked) as added:
        qtbot.keyClicks(panel._field, "red fox ")
        qtbot.mouseClick(add, Qt.MouseButton.LeftButton)
    assert added.args == ["red fox"]
    assert panel._field.text() == ""


def test_renaming_starts_from_the_menu(qtbot, panel):
    menu_of(panel, [1])["Rename…"].trigger()
    editor = QApplication.focusWidget()
    with qtbot.waitSignal(panel.rename_asked) as renamed:
        editor.setText("puppy")
        qtbot.keyClick(editor, Qt.Key.Key_Return)
    assert renamed.args == ["d", "puppy"]
    assert panel._table.item(1, NAME).text() == "dog"  # until the project says so


@pytest.mark.parametrize(("into", "others"), [("cat", ("f",)), ("fox", ("c",))])
def test_merging_asks_which_name_stays(qtbot, panel, into, others):
    with qtbot.waitSignal(panel.merge_asked) as merged:
        answer(into)
        menu_of(panel, [0, 2])["Merge…"].trigger()
    assert merged.args == [others, {"cat": "c", "fox": "f"}[into]]


def test_one_class_cannot_be_merged(panel):
    assert "Merge…" not in menu_of(panel, [0])


@pytest.mark.parametrize(
    ("steps", "becomes"), [(["Keep without a name"], "unnamed"), (["Delete them"], "delete")], ids=["keep", "delete"]
)
def test_deleting_asks_what_becomes_of_the_objects(qtbot, panel, steps, becomes):
    with qtbot.waitSignal(panel.delete_asked) as deleted:
        answer(*steps)
        menu_of(panel, [0])["Delete…"].trigger()
    assert deleted.args == ["c", becomes]


def test_objects_of_a_deleted_class_can_get_another(qtbot, panel):
    with qtbot.waitSignal(panel.delete_asked) as deleted:
        answer("Give them another class…", "fox")
        menu_of(panel, [0])["Delete…"].trigger()
    assert deleted.args == ["c", "f"]


@pytest.mark.parametrize("steps", [["Cancel"], ["Give them another class…", ""]], ids=["cancel", "no class"])
def test_deleting_can_be_called_off(qtbot, panel, steps):
    with qtbot.assertNotEmitted(panel.delete_asked):
        answer(*steps)
        menu_of(panel, [0])["Delete…"].trigger()


def test_a_class_without_objects_goes_without_a_question(qtbot, panel):
    with qtbot.waitSignal(panel.delete_asked) as deleted:
        menu_of(panel, [1])["Delete…"].trigger()
    assert deleted.args == ["d", "unnamed"]


def test_hotkeys_are_given_and_taken(qtbot, panel):
    actions = menu_of(panel, [1])
    with qtbot.waitSignal(panel.hotkey_changed) as changed:
        actions["Ctrl+0"].trigger()
    assert changed.args == ["d", 10]
    with qtbot.waitSignal(panel.hotkey_changed) as changed:
        actions["None"].trigger()
    assert changed.args == ["d", 0]


def test_a_class_is_fixed_and_released(qtbot, panel):
    with qtbot.waitSignal(panel.lock_asked) as locked:
        menu_of(panel, [0])["Give this class to every accepted object"].trigger()
    assert locked.args == ["c"]
    panel.set_locked("c")
    assert panel._table.item(0, NAME).font().bold()
    assert not panel._table.item(1, NAME).font().bold()
    with qtbot.waitSignal(panel.lock_asked) as locked:
        menu_of(panel, [0])["Release"].trigger()
    assert locked.args == [""]


def test_a_colour_is_chosen_or_left(qtbot, panel, monkeypatch):
    chosen = [QColor(1, 2, 3), QColor()]
    monkeypatch.setattr(QColorDialog, "getColor", lambda *_: chosen.pop(0))
    with qtbot.waitSignal(panel.colour_changed) as changed:
        menu_of(panel, [0])["Colour…"].trigger()
    assert changed.args == ["c", (1, 2, 3)]
    with qtbot.assertNotEmitted(panel.colour_changed):
        menu_of(panel, [0])["Colour…"].trigger()


def test_classes_come_from_a_file(qtbot, panel, monkeypatch):
    paths = ["/lists/classes.txt", ""]
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (paths.pop(0), ""))
    load = next(b for b in panel.findChildren(QPushButton) if b.text() == "Import…")
    with qtbot.waitSignal(panel.import_asked) as asked:
        load.click()
    assert asked.args == ["/lists/classes.txt"]
    with qtbot.assertNotEmitted(panel.import_asked):
        load.click()


def test_the_vocabulary_is_chosen_by_hand_only(qtbot, panel):
    with qtbot.assertNotEmitted(panel.vocabulary_asked):
        panel.set_vocabularies([("coco", "COCO"), ("lvis", "LVIS")], "lvis")
    assert panel._vocabulary.currentText() == "LVIS"
    panel._vocabulary.setFocus()
    with qtbot.waitSignal(panel.vocabulary_asked) as asked:
        qtbot.keyClick(panel._vocabulary, Qt.Key.Key_Up)
    assert asked.args == ["coco"]


def test_the_selection_stays_with_its_class_when_the_rows_change(panel):
    panel._table.selectRow(0)
    panel.set_rows([CAT, ClassRow("d", "e:dog", "puppy", DOG.colour, None, 1), FOX])
    assert [row.uid for row in panel._chosen()] == ["c"]
    assert panel._table.item(1, NAME).text() == "puppy"
