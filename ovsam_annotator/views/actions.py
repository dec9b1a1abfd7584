"""One QAction for each command, with its keys, its place in the menus and its scope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, QObject, Qt, Signal
from PySide6.QtGui import QAction, QActionGroup, QKeySequence

from ovsam_annotator.views.commands import COMMANDS, MENUS, command_by_id, default_keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from PySide6.QtWidgets import QMainWindow, QMenu, QWidget

__all__ = ["Actions"]


class Actions(QObject):
    """All actions of the window; `triggered` tells the id of each that is carried out."""

    triggered = Signal(str)

    def __init__(self, window: QMainWindow, canvas: QWidget) -> None:
        super().__init__(window)
        self._actions: dict[str, QAction] = {}
        self._menus: dict[str, QMenu] = {}
        groups: dict[str, QActionGroup] = {}
        for command in COMMANDS:
            action = QAction(QCoreApplication.translate("Command", command.text), window)
            action.setObjectName(command.command_id)
            action.setCheckable(command.checkable)
            if command.group:
                group = groups.setdefault(command.group, QActionGroup(window))
                group.addAction(action)
            action.triggered.connect(lambda _=False, i=command.command_id: self.triggered.emit(i))
            owner = canvas if command.scope == "canvas" else window
            scope = Qt.ShortcutContext.WidgetWithChildrenShortcut
            action.setShortcutContext(scope if command.scope == "canvas" else Qt.ShortcutContext.WindowShortcut)
            action.setAutoRepeat(command.command_id.startswith(("picture.", "brush.", "view.", "label.next", "edit.")))
            owner.addAction(action)
            self._actions[command.command_id] = action
        self._keys: dict[str, tuple[str, ...]] = {}
        self.set_keys({})
        self._fill_menus(window)

    def __getitem__(self, command_id: str) -> QAction:
        """Return the action of a command."""
        return self._actions[command_id]

    @property
    def keys(self) -> dict[str, tuple[str, ...]]:
        """Keys of every command, as they are now."""
        return dict(self._keys)

    def menu(self, name: str) -> QMenu:
        """Return a menu by its untranslated name."""
        return self._menus[name]

    def set_keys(self, changed: Mapping[str, Sequence[str]]) -> None:
        """Use the default keys but for those given."""
        self._keys = default_keys() | {i: tuple(k) for i, k in changed.items() if i in self._actions}
        for command_id, keys in self._keys.items():
            action = self._actions[command_id]
            action.setShortcuts([QKeySequence(key, QKeySequence.SequenceFormat.PortableText) for key in keys])
            text = QCoreApplication.translate("Command", command_by_id(command_id).text)
            shown = ", ".join(s.toString(QKeySequence.SequenceFormat.NativeText) for s in action.shortcuts())
            action.setToolTip(f"{text} ({shown})" if shown else text)

    def _fill_menus(self, window: QMainWindow) -> None:
        for name in MENUS:
            self._menus[name] = window.menuBar().addMenu(QCoreApplication.translate("Menu", name))
        for command in COMMANDS:
            if command.menu:
                menu = self._menus[command.menu]
                if command.separator:
                    menu.addSeparator()
                menu.addAction(self._actions[command.command_id])
