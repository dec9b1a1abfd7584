"""Texts of the window: all can be translated, all are collected, and a translation is used."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path
from unittest.mock import MagicMock
from xml.etree import ElementTree as Xml

import PySide6
import pytest
from PySide6.QtCore import QCoreApplication, QLocale, QTranslator

from docs.translations import SOURCES, collect, texts_of, write
from ovsam_annotator.controller.history import HistoryController
from ovsam_annotator.views.main_window import MainWindow
from ovsam_annotator.views.translation import counted, install_translation, state_word

SHOWING = {
    "addAction",
    "addButton",
    "addItem",
    "addItems",
    "addMenu",
    "addRow",
    "addTab",
    "drawText",
    "setAccessibleDescription",
    "setAccessibleName",
    "setHeaderLabels",
    "setHorizontalHeaderLabels",
    "setInformativeText",
    "setPlaceholderText",
    "setPrefix",
    "setSpecialValueText",
    "setStatusTip",
    "setSuffix",
    "setText",
    "setTitle",
    "setToolTip",
    "setWindowTitle",
    "set_hint",
    "set_text",
}
MADE_WITH_TEXT = {"BarChart", "QAction", "QCheckBox", "QDockWidget", "QGroupBox", "QLabel", "QListWidgetItem"}
MADE_WITH_TEXT |= {"QMenu", "QPushButton", "QRadioButton", "QStandardItem", "QTableWidgetItem", "QToolBar"}
SAME_EVERYWHERE = {"OVSAM Annotator", "Ctrl+"}


def _called(node):
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def literals(node):
    """Words inside an expression that no translation goes through; format specifications are no words."""
    if isinstance(node, ast.Call) and _called(node) in {"tr", "translate", "counted"}:
        return
    if isinstance(node, ast.FormattedValue):
        yield from literals(node.value)
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, str) and any(c.isalpha() for c in node.value):
            yield node.value
    elif not isinstance(node, ast.Subscript | ast.Compare):
        for child in ast.iter_child_nodes(node):
            yield from literals(child)


def untranslated(source):
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and _called(node) in SHOWING | MADE_WITH_TEXT:
            found += [(node.lineno, word) for argument in node.args for word in literals(argument)]
    return [(line, word) for line, word in found if word not in SAME_EVERYWHERE]


@pytest.mark.parametrize("path", sorted((SOURCES / "views").glob("*.py")), ids=lambda p: p.stem)
def test_every_visible_text_of_the_views_can_be_translated(path):
    assert untranslated(path.read_text("utf-8")) == []


SAID = {"_begin", "_fail", "_tell", "ask_choice", "ask_name", "ask_open_file", "emit", "set_device", "set_encode_state"}
SAID |= {"set_hint", "set_saved", "show_report_text", "HistoryRow", "JobRow", "Message", "ReviewStep", "SettingRow"}


def unsaid(source):
    """Texts that controllers hand to views; identifiers have neither spaces nor capitals."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and _called(node) in SAID:
            arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
            words = [word for argument in arguments for word in literals(argument)]
            found += [(node.lineno, word) for word in words if " " in word.strip() or word.strip()[0].isupper()]
    return found


@pytest.mark.parametrize("path", sorted((SOURCES / "controller").glob("*.py")), ids=lambda p: p.stem)
def test_every_text_that_a_controller_says_can_be_translated(path):
    assert unsaid(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        'self.told.emit("Nothing to undo")',
        'self._window.show_message(data.Message("open", f"Cannot be opened: {error}"))',
        'window.show_job(JobRow("names", "Learning", text=self.tr("a")))',
    ],
)
def test_a_plain_text_of_a_controller_is_found(line):
    assert len(unsaid(line)) == 1


@pytest.mark.parametrize("kind", ["object", "picture", "proposal"])
def test_one_thing_is_no_plural(kind):
    assert [counted(kind, n) for n in (0, 1, 1234)] == [f"0 {kind}s", f"1 {kind}", f"1,234 {kind}s"]


@pytest.mark.parametrize(
    "line",
    [
        'label.setText("Names")',
        'box = QLabel("Names")',
        'menu.addAction(f"Model {n}", go)',
        'chip.setToolTip(self.tr("a") + " by " + name)',
    ],
)
def test_a_plain_text_is_found(line):
    assert len(untranslated(line)) == 1


def test_texts_are_collected_with_their_context_and_numbers():
    source = (
        'class Chip:\n    def f(self):\n        self.tr("one")\n        self.tr("%n hidden", "", 3)\n'
        'def g():\n    QCoreApplication.translate("State", "done")\n    self.tr("no class")\n'
    )
    assert set(texts_of(source)) == {("Chip", "one", False), ("Chip", "%n hidden", True), ("State", "done", False)}
    texts = {(context, text) for context, text, _ in collect()}
    assert {("Command", "Fill holes"), ("Menu", "Review"), ("LabelList", "What is it?"), ("State", "done")} <= texts
    assert {("HistoryController", "Nothing to redo"), ("Count", "1 picture"), ("Origin", "drawn by hand")} <= texts


def test_renewing_a_file_keeps_what_is_translated(tmp_path):
    path = tmp_path / "ovsam_de.ts"
    assert write([("State", "done", False), ("Canvas", "Picture", False)], path) == (2, 0)
    tree = Xml.parse(path)
    message = tree.getroot().find("context[name='State']/message")
    message.find("translation").text = "fertig"
    del message.find("translation").attrib["type"]
    tree.write(path, "utf-8")
    assert write([("State", "done", False), ("State", "open", False)], path) == (2, 1)
    root = Xml.parse(path).getroot()
    assert root.get("language") == "de"
    assert [m.findtext("translation") for m in root.iter("message")] == ["fertig", ""]


@pytest.fixture
def no_translators(qapp):
    yield
    for translator in qapp.findChildren(QTranslator):
        qapp.removeTranslator(translator)
        translator.deleteLater()


def test_a_translation_is_used_where_there_is_one(qtbot, qapp, tmp_path, no_translators):
    path = tmp_path / "ovsam_de.ts"
    write(collect(), path)
    tree = Xml.parse(path)
    for message in tree.getroot().iter("message"):
        done = message.find("translation")
        done.attrib.pop("type", None)
        target = done if done.find("numerusform") is None else done.find("numerusform")
        target.text = f"«{message.findtext('source')}»"
    tree.write(path, "utf-8")
    release = Path(PySide6.__file__).parent / "lrelease"
    subprocess.run([release, "-silent", path, "-qm", path.with_suffix(".qm")], check=True)

    assert not install_translation(qapp, tmp_path, QLocale("fr"))
    assert install_translation(qapp, tmp_path, QLocale("de"))
    assert state_word("in work") == "«in work»"
    assert HistoryController(view=MagicMock()).tr("Nothing to redo") == "«Nothing to redo»"
    assert QCoreApplication.translate("Command", "Fill holes") == "«Fill holes»"
    window = MainWindow()
    qtbot.addWidget(window)
    assert [a.text() for a in window.menuBar().actions()][:2] == ["«File»", "«Edit»"]
    assert window.canvas.accessibleName() == "«Picture»"
    assert window._docks["pictures"].windowTitle() == "«Pictures»"
