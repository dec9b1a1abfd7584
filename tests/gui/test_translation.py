"""Texts of the window: all can be translated, all are collected, and a translation is used."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path
from xml.etree import ElementTree as Xml

import PySide6
import pytest
from PySide6.QtCore import QCoreApplication, QLocale, QTranslator

from docs.translations import SOURCES, collect, texts_of, write
from ovsam_annotator.views.main_window import MainWindow
from ovsam_annotator.views.translation import install_translation, state_word

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


def literals(node):
    """Words inside an expression that no translation goes through; format specifications are no words."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {"tr", "translate"}:
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
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in SHOWING | MADE_WITH_TEXT:
                found += [(node.lineno, word) for argument in node.args for word in literals(argument)]
    return [(line, word) for line, word in found if word not in SAME_EVERYWHERE]


@pytest.mark.parametrize("path", sorted((SOURCES / "views").glob("*.py")), ids=lambda p: p.stem)
def test_every_visible_text_of_the_views_can_be_translated(path):
    assert untranslated(path.read_text("utf-8")) == []


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
    assert QCoreApplication.translate("Command", "Fill holes") == "«Fill holes»"
    window = MainWindow()
    qtbot.addWidget(window)
    assert [a.text() for a in window.menuBar().actions()][:2] == ["«File»", "«Edit»"]
    assert window.canvas.accessibleName() == "«Picture»"
    assert window._docks["pictures"].windowTitle() == "«Pictures»"
