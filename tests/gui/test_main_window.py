"""The window: keys, messages, panels, dialogs, themes, accessibility."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QScrollBar,
    QTextEdit,
    QWidget,
)

from ovsam_annotator.views.cheat_sheet import CheatSheet
from ovsam_annotator.views.commands import COMMANDS, default_keys
from ovsam_annotator.views.data import (
    ClassRow,
    EncodeState,
    ExportChoice,
    HistoryRow,
    JobRow,
    Message,
    ModelRow,
    ObjectRow,
    PictureRow,
    PictureState,
    ProposalRow,
    ReportData,
    ReviewStep,
    SaveState,
    SettingRow,
)
from ovsam_annotator.views.export_dialog import ExportDialog
from ovsam_annotator.views.keys_dialog import KeysDialog
from ovsam_annotator.views.main_window import MainWindow
from ovsam_annotator.views.settings_dialog import SettingsDialog
from ovsam_annotator.views.small_dialogs import ContrastDialog, NameDialog, TextReport

from .view_data import item, picture, suggestion

LEFT = Qt.MouseButton.LeftButton
CONTROL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
SETTINGS = (
    SettingRow("theme", "Colours", "dark", "How it looks.", "Look", (("dark", "Dark"), ("light", "Light"))),
    SettingRow("hover", "Hover preview", True, "What a click would do.", "Model"),
    SettingRow("margin", "Margin", 0.2, "Below it nothing is preselected.", "Model", maximum=1),
    SettingRow("ahead", "Read ahead", 2, "Pictures.", "Model", maximum=9),
    SettingRow("path", "Folder", "/tmp", "Where.", "Files"),
)


@pytest.fixture
def window(qtbot):
    view = MainWindow()
    qtbot.addWidget(view)
    view.resize(1100, 720)
    view.show()
    view.show_work()
    view.canvas.show_picture(picture(400, 250))
    view.canvas.setFocus()
    QApplication.processEvents()
    return view


@pytest.fixture
def plain_looks():
    """Give the program back its looks and its font."""
    application = QApplication.instance()
    font, palette = application.font(), application.palette()
    yield application
    application.setFont(font)
    application.setStyleSheet("")
    application.setPalette(palette)


def fill(window):
    """Something in every part of the window."""
    window.pictures.set_rows([PictureRow(k, f"picture {k}.jpg", list(PictureState)[k % 6], k) for k in range(12)])
    window.objects.set_rows([ObjectRow("a", "cat", (230, 159, 0), 1200, 0.8), ObjectRow("b", "", (9, 9, 9), 3)])
    window.classes.set_rows([ClassRow("c", "e:cat", "cat", (230, 159, 0), 1, 4)])
    window.classes.set_vocabularies([("all", "All names"), ("coco", "COCO")], "all")
    window.history.set_rows(
        [HistoryRow(0, "Start"), HistoryRow(1, "Accept cat", "12:01:00"), HistoryRow(2, "X", "", True)]
    )
    window.proposals.set_rows([ProposalRow("cat", 3, 0.9, 0.4, (230, 159, 0))])
    window.report.set_report(ReportData((("cat", 3, (230, 159, 0)),), (100, 2000), (0.2,), (1.5, 2.5), (1, 2), (1, 0)))
    window.review.set_step(ReviewStep("cat", 1, 3, "open", "80 %"))
    window.show_message(Message("m", "It broke.", "Do this.", "error", "Retry"))
    window.show_job(JobRow("j", "Export", "3 of 9", 0.3, can_pause=True))
    window.set_saved(SaveState.FAILED)
    window.set_device("starter", "CPU")
    window.set_models([ModelRow("starter", "Starter", 0.4, "MIT")], "starter")
    answer = suggestion(x=40, y=40)
    window.canvas.set_suggestion(answer)
    window.label_list.show_suggestion(answer)


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "modifier", "command"),
    [
        (Qt.Key.Key_1, Qt.KeyboardModifier(0), "label.name_1"),
        (Qt.Key.Key_9, Qt.KeyboardModifier(0), "label.name_9"),
        (Qt.Key.Key_Return, Qt.KeyboardModifier(0), "label.accept"),
        (Qt.Key.Key_Return, SHIFT, "label.accept_unnamed"),
        (Qt.Key.Key_Escape, Qt.KeyboardModifier(0), "label.drop"),
        (Qt.Key.Key_Backspace, Qt.KeyboardModifier(0), "prompt.undo"),
        (Qt.Key.Key_Slash, Qt.KeyboardModifier(0), "label.search"),
        (Qt.Key.Key_D, Qt.KeyboardModifier(0), "picture.next"),
        (Qt.Key.Key_Z, CONTROL, "edit.undo"),
        (Qt.Key.Key_Z, CONTROL | SHIFT, "edit.redo"),
        (Qt.Key.Key_0, CONTROL, "class.hotkey_10"),
        (Qt.Key.Key_Delete, Qt.KeyboardModifier(0), "object.delete"),
    ],
)
def test_keys_reach_the_controllers(qtbot, window, key, modifier, command):
    with qtbot.waitSignal(window.command) as heard:
        qtbot.keyClick(window.canvas, key, modifier)
    assert heard.args == [command]


def test_keys_of_the_views_stay_inside(qtbot, window):
    with qtbot.assertNotEmitted(window.command):
        before = window.canvas.scale_now
        qtbot.keyClick(window.canvas, Qt.Key.Key_Plus, CONTROL)
        assert window.canvas.scale_now > before
        qtbot.keyClick(window.canvas, Qt.Key.Key_F)
        assert window.canvas.scale_now == pytest.approx(before)
        qtbot.keyClick(window.canvas, Qt.Key.Key_O)
        assert window.canvas.display.fill == 0
        window.label_list.show_suggestion(suggestion())
        qtbot.keyClick(window.canvas, Qt.Key.Key_Tab)
        assert window.label_list.highlighted() == 1
        with qtbot.waitSignal(window.canvas.point_added):
            qtbot.keyClick(window.canvas, Qt.Key.Key_C)


def test_a_filter_line_takes_letters_as_text(qtbot, window):
    window.pictures._field.setFocus()
    with qtbot.assertNotEmitted(window.command):
        qtbot.keyClicks(window.pictures._field, "dawn 12")
    assert window.pictures._field.text() == "dawn 12"


def test_edited_keys_work_and_are_told(qtbot, window):
    window.set_keys({"picture.next": ("Ctrl+Right",)})
    with qtbot.assertNotEmitted(window.command):
        qtbot.keyClick(window.canvas, Qt.Key.Key_D)
    with qtbot.waitSignal(window.command) as heard:
        qtbot.keyClick(window.canvas, Qt.Key.Key_Right, CONTROL)
    assert heard.args == ["picture.next"]


def test_a_clash_of_keys_cannot_be_kept(qtbot):
    dialog = KeysDialog({})
    qtbot.addWidget(dialog)
    dialog.choose("tool.brush")
    dialog.add_key("A")
    assert "A is claimed by" in dialog.warning
    ok = dialog._buttons.button(dialog._buttons.StandardButton.Ok)
    assert not ok.isEnabled()
    dialog._reset()
    dialog.add_key("Ctrl+Alt+B")
    with qtbot.waitSignal(dialog.keys_changed) as kept:
        qtbot.mouseClick(ok, LEFT)
    assert kept.args == [{"tool.brush": ("B", "Ctrl+Alt+B")}]


def test_the_cheat_sheet_shows_every_menu_key_and_any_key_closes_it(qtbot, window):
    qtbot.keyClick(window.canvas, Qt.Key.Key_Question)
    sheet = window.findChild(CheatSheet)
    shown = {label.text() for label in sheet.findChildren(QLabel)}
    wanted = {c.text.rstrip("…") for c in COMMANDS if c.menu and default_keys()[c.command_id]}
    assert wanted <= shown
    with qtbot.assertNotEmitted(window.command), qtbot.waitSignal(sheet.closed):
        qtbot.keyClick(sheet, Qt.Key.Key_D)
    assert window.canvas.hasFocus()


# --- what the window says --------------------------------------------------------------------------------------------


def test_what_is_said_already_is_not_said_again(window):
    for key in ("picture 1", "picture 2"):
        window.show_message(Message(key, "The disk is full.", "", "error"))
    assert window._messages.texts() == ["The disk is full."]
    window.clear_message("picture 2")
    assert window._messages.texts() == []


def test_messages_replace_each_other_by_key_and_offer_a_button(qtbot, window):
    window.show_message(Message("save", "Not saved.", "Free some space.", "error", "Retry"))
    window.show_message(Message("save", "Still not saved.", "", "error", "Retry"))
    assert window._messages.texts() == ["Still not saved."]
    button = next(b for b in window._messages.findChildren(QPushButton) if b.isVisible())
    with qtbot.waitSignal(window.message_action) as pressed:
        qtbot.mouseClick(button, LEFT)
    assert pressed.args == ["save"]
    window.clear_message("save")
    assert window._messages.isHidden()


def test_the_saved_chip_asks_again_only_after_a_failure(qtbot, window):
    chip = window._status.saved
    window.set_saved(SaveState.SAVED, "saved 12:04:31")
    assert chip.text() == "saved 12:04:31"
    with qtbot.assertNotEmitted(window.save_retry_asked):
        qtbot.mouseClick(chip, LEFT)
    window.set_saved(SaveState.FAILED, "disk full")
    with qtbot.waitSignal(window.save_retry_asked):
        qtbot.mouseClick(chip, LEFT)


def test_a_job_can_be_paused_and_cancelled(qtbot, window):
    strip = window._status.jobs
    window.show_job(JobRow("batch", "Pre-label", "1 of 9", 0.1, can_pause=True))
    with qtbot.waitSignal(window.job_paused) as paused:
        qtbot.mouseClick(strip._pause, LEFT)
    assert paused.args == ["batch", True]
    with qtbot.waitSignal(window.job_cancelled) as cancelled:
        qtbot.mouseClick(strip._cancel, LEFT)
    assert cancelled.args == ["batch"]
    window.remove_job("batch")
    assert strip.isHidden()


def test_dropped_files_and_folders_are_opened(qtbot, window, tmp_path):
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(tmp_path / "港 1.jpg")), QUrl.fromLocalFile(str(tmp_path))])
    action = Qt.DropAction.CopyAction
    event = QDropEvent(QPointF(50, 50), action, mime, LEFT, Qt.KeyboardModifier.NoModifier)
    with qtbot.waitSignal(window.paths_opened) as opened:
        window.dropEvent(event)
    assert opened.args[0] == (str(tmp_path / "港 1.jpg"), str(tmp_path))


def test_the_start_page_leads_to_projects(qtbot, window):
    window.show_start([("/somewhere/boats.ovsam", "12 pictures")])
    assert not window.canvas.isVisible()
    row = window._start._recent.visualItemRect(window._start._recent.item(0))
    with qtbot.waitSignal(window.paths_opened) as opened:
        qtbot.mouseClick(window._start._recent.viewport(), LEFT, pos=row.center())
    assert opened.args == [("/somewhere/boats.ovsam",)]
    window.show_work()
    assert window.canvas.isVisible()


def test_the_layout_comes_back_and_damage_is_left_out(qtbot, window):
    window._docks["history"].close()
    window._set_display(fill=0.7)
    state = window.layout_state()
    other = MainWindow()
    qtbot.addWidget(other)
    other.restore_layout({"geometry": "%%%", "docks": 5, "display": {"fill": "x"}})
    other.restore_layout(state)
    assert other.canvas.display.fill == 0.7
    assert other._docks["history"].isHidden()


# --- panels ----------------------------------------------------------------------------------------------------------


def test_the_picture_list_filters_between_events(qtbot, window):
    rows = [PictureRow(k, f"{k:05d}.jpg", objects=k % 3) for k in range(10_000)]
    window.pictures.set_rows(rows)
    assert len(window.pictures.visible_ids()) == 10_000
    with qtbot.waitSignal(window.pictures.filter_changed) as found:
        window.pictures._field.setText("objects:2 000")
    assert all(k % 3 == 2 and "000" in f"{k:05d}" for k in found.args[0])
    assert len(found.args[0]) == sum(k % 3 == 2 and "000" in f"{k:05d}" for k in range(10_000))
    assert "of 10,000" in window.pictures._count.text()


def test_thumbnails_are_asked_for_where_the_eye_is(qtbot, window):
    with qtbot.waitSignal(window.pictures.thumbnails_wanted) as wanted:
        window.pictures.set_rows([PictureRow(k, f"{k}.jpg") for k in range(5000)])
    assert wanted.args[0][0] == 0
    assert 3 < len(wanted.args[0]) < 40


def test_a_changed_picture_keeps_its_place(window):
    window.pictures.set_rows([PictureRow(k, f"{k}.jpg") for k in range(5)])
    window.pictures.set_current(3)
    window.pictures.put_rows([PictureRow(3, "3.jpg", PictureState.DONE, 2, EncodeState.READY), PictureRow(9, "9.jpg")])
    assert window.pictures.visible_ids() == (0, 1, 2, 3, 4, 9)
    assert window.pictures._view.currentIndex().row() == 3


def test_objects_sort_select_and_answer_to_clicks(qtbot, window):
    panel = window.objects
    rows = [ObjectRow("a", "zebra", (1, 2, 3), 50), ObjectRow("b", "ant", (1, 2, 3), 900, 0.5, locked=True)]
    panel.set_rows(rows)
    panel.set_selection(["a"])
    panel.set_rows(rows)
    assert panel.selection() == ("a",)
    panel._view.sortByColumn(0, Qt.SortOrder.AscendingOrder)
    eye = panel._view.visualRect(panel._proxy.index(0, 5))
    with qtbot.waitSignal(panel.hidden_changed) as hidden:
        qtbot.mouseClick(panel._view.viewport(), LEFT, pos=eye.center())
    assert hidden.args == [("b",), True]


def test_history_leads_back(qtbot, window):
    window.history.set_rows(
        [HistoryRow(0, "Start"), HistoryRow(7, "Accept cat"), HistoryRow(8, "Accept dog", "", True)]
    )
    window._docks["history"].raise_()
    QApplication.processEvents()
    row = window.history._view.visualRect(window.history._model.index(1, 0))
    with qtbot.waitSignal(window.history.step_asked) as step:
        qtbot.mouseClick(window.history._view.viewport(), LEFT, pos=row.center())
    assert step.args == [7]


def test_a_class_is_added_renamed_and_keeps_its_name_until_told(qtbot, window):
    panel = window.classes
    panel.set_rows([ClassRow("c", "e:cat", "cat", (230, 159, 0), 1, 4)])
    with qtbot.waitSignal(panel.add_asked) as added:
        qtbot.keyClicks(panel._field, "otter")
        qtbot.keyClick(panel._field, Qt.Key.Key_Return)
    assert added.args == ["otter"]
    with qtbot.waitSignal(panel.rename_asked) as renamed:
        panel._table.item(0, 0).setText("kitten")
    assert renamed.args == ["c", "kitten"]
    assert panel._table.item(0, 0).text() == "cat"


def test_review_buttons_are_commands(qtbot, window):
    window.review.set_step(ReviewStep("cat", 1, 3))
    button = next(b for b in window.review.findChildren(QPushButton) if b.accessibleName() == "Approve object")
    with qtbot.waitSignal(window.command) as heard:
        qtbot.mouseClick(button, LEFT)
    assert heard.args == ["review.approve"]


# --- dialogs ---------------------------------------------------------------------------------------------------------


def test_settings_tell_each_change_and_can_be_searched(qtbot):
    dialog = SettingsDialog(SETTINGS)
    qtbot.addWidget(dialog)
    dialog.show()
    box = next(w for w in dialog.findChildren(QAbstractButton) if w.accessibleName() == "Hover preview")
    with qtbot.waitSignal(dialog.changed) as changed:
        box.click()
    assert changed.args == ["hover", False]
    qtbot.keyClicks(dialog._field, "preselected")
    assert [part.isVisible() for _, _, part in dialog._parts] == [False, False, True, False, False]


def test_the_export_dialog_returns_what_it_was_given(qtbot):
    wanted = ("/exports/out.json", "lvis", "approved", "polygons")
    start = ExportChoice(*wanted, unnamed=True, validation=0.2, counts=(("all", 7),))
    dialog = ExportDialog(start)
    qtbot.addWidget(dialog)
    assert dialog.choice() == start
    assert dialog._scope.itemText(2).endswith("(7)")


def test_the_contrast_dialog_starts_where_it_is(qtbot):
    dialog = ContrastDialog((1000.0, 3000.0))
    qtbot.addWidget(dialog)
    low, high = dialog.values()
    assert low == pytest.approx(1000, abs=5)
    assert high == pytest.approx(3000, abs=5)


# --- looks and accessibility -----------------------------------------------------------------------------------------

INTERACTIVE = (
    QAbstractButton,
    QLineEdit,
    QComboBox,
    QAbstractSpinBox,
    QAbstractItemView,
    QAbstractSlider,
    QTextEdit,
    QProgressBar,
)
QT_OWN = ("qt_", "ScrollLeftButton", "ScrollRightButton", "Qt")


def nameless(root: QWidget) -> list[str]:
    """Interactive widgets that a screen reader could not name."""
    found = []
    for widget in root.findChildren(QWidget):
        if not isinstance(widget, INTERACTIVE) or isinstance(widget, QScrollBar):
            continue
        parent = widget.parent()
        if widget.objectName().startswith(QT_OWN) or isinstance(
            parent, QAbstractSpinBox | QAbstractItemView | QLineEdit
        ):
            continue  # parts that Qt puts inside its own widgets
        if type(parent).__name__ in {"QDockWidget", "QTabBar", "QMainWindow", "QKeySequenceEdit", "QDialogButtonBox"}:
            continue
        if parent.metaObject().className() == "QComboBoxPrivateContainer":
            continue
        text = widget.text() if isinstance(widget, QAbstractButton) else ""
        readable = widget.accessibleName() or any(c.isalnum() for c in text)
        if not readable:
            found.append(f"{type(widget).__name__} {widget.objectName()!r} in {type(parent).__name__}")
    return found


def test_every_interactive_widget_of_the_window_has_a_name(window):
    fill(window)
    assert nameless(window) == []


def test_every_interactive_widget_of_the_dialogs_has_a_name(qtbot):
    dialogs = [
        SettingsDialog(SETTINGS),
        KeysDialog({}),
        ExportDialog(ExportChoice("x")),
        ContrastDialog((0.0, 9.0)),
        NameDialog("Rename", "cat", ["cat"]),
        TextReport("Export", ["done"]),
    ]
    for dialog in dialogs:
        qtbot.addWidget(dialog)
        assert nameless(dialog) == [], type(dialog).__name__


def test_double_sized_text_is_not_clipped(qtbot, plain_looks):
    font = plain_looks.font()
    font.setPointSizeF(font.pointSizeF() * 2)
    plain_looks.setFont(font)
    window = MainWindow()
    qtbot.addWidget(window)
    window.resize(1600, 1100)
    window.show()
    window.show_work()
    window.canvas.show_picture(picture(400, 250))
    fill(window)
    QApplication.processEvents()
    clipped = [
        f"{type(w).__name__} {w.text()!r}: {w.height()} < {w.fontMetrics().height()}"
        for kind in (QLabel, QPushButton, QLineEdit)
        for w in window.findChildren(kind)
        if w.isVisible() and w.text() and w.height() < w.fontMetrics().tightBoundingRect(w.text()).height()
    ]
    assert clipped == []
    assert window.rect().contains(window.label_list.geometry())


@pytest.mark.parametrize("theme", ["dark", "light", "system"])
def test_text_can_be_read_in_every_theme(qtbot, window, plain_looks, theme):
    from ovsam_annotator.views.palette import luminance

    window.set_theme(theme)
    palette = window.palette()
    for ink, ground in (
        (palette.windowText(), palette.window()),
        (palette.text(), palette.base()),
        (palette.buttonText(), palette.button()),
        (palette.highlightedText(), palette.highlight()),
        (palette.placeholderText(), palette.window()),
    ):
        lights = sorted((luminance(c.color().getRgb()[:3]) for c in (ink, ground)), reverse=True)
        assert (lights[0] + 0.05) / (lights[1] + 0.05) >= 4.5
    assert window._actions[f"view.theme_{theme}"].isChecked()


def test_a_full_window_paints_without_a_complaint(window):
    fill(window)
    window.canvas.set_objects([item("a"), item("b", x=100)])
    window.canvas.set_selection(["a"])
    window.canvas.set_hover(item().shape, "cat")
    assert not window.grab().isNull()


def focus_chain(window):
    found, widget = [], window.canvas
    while True:
        takes = (widget.focusPolicy() & Qt.FocusPolicy.TabFocus) == Qt.FocusPolicy.TabFocus
        if takes and widget.isVisible() and widget.isEnabled():
            found.append(widget)
        widget = widget.nextInFocusChain()
        if widget is window.canvas:
            return found


def test_the_keyboard_goes_from_left_to_right_and_never_behind_a_tab(window):
    chain = focus_chain(window)
    assert chain[0] is window.canvas
    panels = [
        next(i for i, w in enumerate(chain) if panel.isAncestorOf(w))
        for panel in (window.pictures, window.objects, window.classes)
    ]
    assert panels == sorted(panels)
    for panel in (window.proposals, window.report, window.history):
        assert not any(panel.isAncestorOf(widget) for widget in chain)
    window._on_action("model.find")
    assert window.proposals.isAncestorOf(QApplication.focusWidget())
    chain = focus_chain(window)
    assert any(window.proposals.isAncestorOf(widget) for widget in chain)
    assert not any(window.objects.isAncestorOf(widget) for widget in chain)


def test_labelling_everything_brings_its_panel_up(qtbot, window):
    assert window.proposals.visibleRegion().isEmpty()
    with qtbot.waitSignal(window.command) as heard:
        window._on_action("model.everything")
    assert heard.args == ["model.everything"]
    qtbot.waitUntil(lambda: not window.proposals.visibleRegion().isEmpty())
