"""What the main window is built from, before anything is connected: docks, tool bar, status bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, QSize, Qt
from PySide6.QtWidgets import QDockWidget, QLabel, QMenu, QSizePolicy, QToolBar, QToolButton

from ovsam_annotator.views.icons import icon
from ovsam_annotator.views.status_parts import JobStrip, SavedChip

if TYPE_CHECKING:
    from PySide6.QtWidgets import QMainWindow, QWidget

    from ovsam_annotator.views.actions import Actions

__all__ = ["StatusWidgets", "add_docks", "add_tool_bar", "paint_icons"]

_ICONS = {
    "tool.prompt": "prompt",
    "tool.select": "select",
    "tool.brush": "brush",
    "tool.eraser": "eraser",
    "tool.polygon": "polygon",
    "tool.vertices": "vertices",
    "edit.undo": "undo",
    "edit.redo": "redo",
    "model.everything": "everything",
    "model.find": "find",
    "review.toggle": "review",
    "view.fit": "fit",
}


def paint_icons(window: QMainWindow, actions: Actions) -> None:
    """Give the actions their icons in the colours of the theme."""
    for command, name in _ICONS.items():
        actions[command].setIcon(icon(name, window.palette()))


def add_tool_bar(window: QMainWindow, actions: Actions) -> QToolBar:
    """Build the narrow bar at the left of the canvas."""
    bar = QToolBar(QCoreApplication.translate("MainWindow", "Tools"))
    bar.setObjectName("tools")
    bar.setAccessibleName(bar.windowTitle())
    side = max(22, round(window.fontMetrics().height() * 1.25))  # grows with the font
    bar.setIconSize(QSize(side, side))
    bar.setMovable(False)
    for i, command in enumerate(_ICONS):
        if i in {6, 8, 10}:
            bar.addSeparator()
        action = actions[command]
        bar.addAction(action)
        button = bar.widgetForAction(action)
        if isinstance(button, QToolButton):
            button.setAccessibleName(action.text())
    window.addToolBar(Qt.ToolBarArea.LeftToolBarArea, bar)
    return bar


def add_docks(window: QMainWindow, parts: list[tuple[str, str, QWidget, str]]) -> dict[str, QDockWidget]:
    """Put panels into docks.

    Args:
        window: their window.
        parts: (object name, title, panel, place); place is "left", "right", "below" for a second right column under
            the first, or "hidden". Panels of one place share it as tabs, the first one on top.
    """
    docks: dict[str, QDockWidget] = {}
    first: dict[str, QDockWidget] = {}
    for name, title, panel, place in parts:
        dock = QDockWidget(title, window)
        dock.setObjectName(name)
        dock.setWidget(panel)
        area = Qt.DockWidgetArea.LeftDockWidgetArea if place == "left" else Qt.DockWidgetArea.RightDockWidgetArea
        window.addDockWidget(area, dock)
        if place in first:
            window.tabifyDockWidget(first[place], dock)
            panel.setEnabled(False)
        first.setdefault(place, dock)
        docks[name] = dock
        # a panel behind its neighbour's tab counts as visible: switched off, it takes no keyboard focus
        dock.visibilityChanged.connect(panel.setEnabled)
    for dock in first.values():
        dock.raise_()
    window.setTabPosition(Qt.DockWidgetArea.AllDockWidgetAreas, window.tabPosition(Qt.DockWidgetArea.TopDockWidgetArea))
    return docks


class StatusWidgets:
    """The status bar: what a click would do, background jobs, model and device, the saved chip."""

    def __init__(self, window: QMainWindow) -> None:
        bar = window.statusBar()
        bar.setSizeGripEnabled(False)
        bar.setAccessibleName(QCoreApplication.translate("MainWindow", "Status"))
        self.hint = QLabel()
        self.hint.setAccessibleName(QCoreApplication.translate("MainWindow", "What a click would do"))
        self.hint.setContentsMargins(8, 0, 0, 0)
        self.hint.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.jobs = JobStrip()
        self.device = QToolButton()
        self.device.setAccessibleName(QCoreApplication.translate("MainWindow", "Model and device"))
        self.device.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.device.setAutoRaise(True)
        self.device.hide()
        self.models = QMenu(window)
        self.device.setMenu(self.models)
        self.saved = SavedChip()
        bar.addWidget(self.hint, 1)
        for widget in (self.jobs, self.device, self.saved):
            bar.addPermanentWidget(widget)
