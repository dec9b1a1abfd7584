"""The main window: puts the parts together, turns actions into commands, says things, asks questions."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QByteArray, QEvent, QPoint, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import (
    QApplication,
    QDialog,
    QFileDialog,
    QMainWindow,
    QMessageBox,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from ovsam_annotator.views.actions import Actions
from ovsam_annotator.views.canvas import Canvas
from ovsam_annotator.views.cheat_sheet import CheatSheet
from ovsam_annotator.views.class_manager import ClassManager
from ovsam_annotator.views.data import DisplayOptions
from ovsam_annotator.views.export_dialog import ExportDialog
from ovsam_annotator.views.history_panel import HistoryPanel
from ovsam_annotator.views.icons import app_icon
from ovsam_annotator.views.keys_dialog import KeysDialog
from ovsam_annotator.views.label_list import LabelList
from ovsam_annotator.views.message_bar import MessageBar
from ovsam_annotator.views.object_panel import ObjectPanel
from ovsam_annotator.views.picture_list import PictureList
from ovsam_annotator.views.placement import Box, place_beside
from ovsam_annotator.views.proposals_panel import ProposalsPanel
from ovsam_annotator.views.report_panel import ReportPanel
from ovsam_annotator.views.review_bar import ReviewBar
from ovsam_annotator.views.settings_dialog import SettingsDialog
from ovsam_annotator.views.small_dialogs import ContrastDialog, NameDialog, TextReport
from ovsam_annotator.views.start_page import StartPage
from ovsam_annotator.views.theme import apply_theme
from ovsam_annotator.views.window_parts import StatusWidgets, add_docks, add_tool_bar, paint_icons

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QResizeEvent

    from ovsam_annotator.views.data import ExportChoice, JobRow, Message, ModelRow, SaveState, SettingRow

__all__ = ["MainWindow"]

FILL_STEP = 0.1


class MainWindow(QMainWindow):
    """Implements `protocols.MainWindowView`."""

    command = Signal(str)
    paths_opened = Signal(object)
    sample_asked = Signal()
    model_chosen = Signal(str)
    setting_changed = Signal(str, object)
    keys_changed = Signal(dict)
    message_action = Signal(str)
    save_retry_asked = Signal()
    job_paused = Signal(str, bool)
    job_cancelled = Signal(str)
    closing = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("mainWindow")
        self.setAcceptDrops(True)
        self.setWindowIcon(app_icon())
        self.setMinimumSize(640, 420)
        self.resize(1440, 900)
        self.canvas = Canvas()
        self.pictures = PictureList()
        self.objects = ObjectPanel()
        self.classes = ClassManager()
        self.history = HistoryPanel()
        self.report = ReportPanel()
        self.proposals = ProposalsPanel()
        self.review = ReviewBar()
        self.label_list = LabelList(self)
        self._messages = MessageBar()
        self._start = StartPage()
        self._stack = QStackedWidget()
        self._inner = QMainWindow(self, Qt.WindowType.Widget)  # docks and tools leave with it for the start page
        self._inner.setObjectName("work")
        self._settings: tuple[SettingRow, ...] = ()
        self._theme = "system"
        self._laid_out = False
        self._sheet: CheatSheet | None = None
        self._anchor: tuple[float, float] | None = None
        self._status = StatusWidgets(self)
        self._build()
        self._actions = Actions(self, self.canvas)
        self._local = self._local_commands()
        add_tool_bar(self._inner, self._actions)
        self._fill_view_menu()
        paint_icons(self, self._actions)
        self._model_menu = self._actions.menu("Model").addMenu(self.tr("Installed models"))
        self._connect()
        self._actions["tool.prompt"].setChecked(True)
        self._show_display(self.canvas.display)
        self.set_title("")
        self.show_start(())

    # --- building ------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        work = _column(self.review, self.canvas)
        self._stack.addWidget(self._start)
        self._stack.addWidget(self._inner)
        self.setCentralWidget(_column(self._messages, self._stack))
        self._inner.setCentralWidget(work)
        self._docks = add_docks(
            self._inner,
            [
                ("pictures", self.tr("Pictures"), self.pictures, "left"),
                ("objects", self.tr("Objects"), self.objects, "right"),
                ("proposals", self.tr("Proposals"), self.proposals, "right"),
                ("report", self.tr("Report"), self.report, "right"),
                ("classes", self.tr("Classes"), self.classes, "below"),
                ("history", self.tr("History"), self.history, "below"),
            ],
        )

    def _fill_view_menu(self) -> None:
        menu = self._actions.menu("View")
        panels = menu.addMenu(self.tr("Panels"))
        for dock in self._docks.values():
            panels.addAction(dock.toggleViewAction())

    def _connect(self) -> None:
        self._actions.triggered.connect(self._on_action)
        self.review.command.connect(self._on_action)
        self.label_list.place_asked.connect(self._place_label_list)
        self.label_list.focus_back.connect(self.canvas.setFocus)
        self.canvas.view_changed.connect(self._replace_label_list)
        self.canvas.display_changed.connect(self._show_display)
        # a tab that comes to the front sends its panel no show event
        self._docks["report"].visibilityChanged.connect(lambda seen: self.report.refresh_asked.emit() if seen else None)
        self._start.chosen.connect(lambda path: self.paths_opened.emit((path,)))
        self._start.folder_asked.connect(lambda: self._on_action("file.open_folder"))
        self._start.file_asked.connect(lambda: self._on_action("file.open_file"))
        self._start.sample_asked.connect(self.sample_asked)
        self._messages.action_pressed.connect(self.message_action)
        self._status.saved.retry_asked.connect(self.save_retry_asked)
        self._status.jobs.paused.connect(self.job_paused)
        self._status.jobs.cancelled.connect(self.job_cancelled)
        QApplication.styleHints().colorSchemeChanged.connect(self._on_system_theme)

    def _local_commands(self) -> dict[str, Callable[[], None]]:
        """Commands that the views carry out by themselves."""
        canvas, names = self.canvas, self.label_list
        return {
            "file.settings": self._open_settings,
            "file.keys": self._open_keys,
            "file.quit": lambda: (self.close(), None)[1],
            "label.next": lambda: names.cycle(1),
            "label.previous": lambda: names.cycle(-1),
            "prompt.positive": lambda: canvas.add_point_at_cursor(positive=True),
            "prompt.negative": lambda: canvas.add_point_at_cursor(positive=False),
            "view.fit": canvas.zoom_fit,
            "view.actual": canvas.zoom_actual,
            "view.zoom_in": lambda: canvas.zoom_by(1.25),
            "view.zoom_out": lambda: canvas.zoom_by(0.8),
            "view.outline": self._toggle_outline,
            "view.fill_more": lambda: self._change_fill(FILL_STEP),
            "view.fill_less": lambda: self._change_fill(-FILL_STEP),
            "view.names": lambda: self._set_display(names=not canvas.display.names),
            "view.crosshair": lambda: self._set_display(crosshair=not canvas.display.crosshair),
            "view.hide": self._hide_while_held,
            "view.contrast": self._open_contrast,
            "view.theme_system": lambda: self._choose_theme("system"),
            "view.theme_light": lambda: self._choose_theme("light"),
            "view.theme_dark": lambda: self._choose_theme("dark"),
            "help.keys": self._toggle_sheet,
            "model.find": self._find,
            "help.about": self._about,
        }

    # --- verbs: state --------------------------------------------------------------------------------------------

    def show_start(self, recent: Sequence[tuple[str, str]]) -> None:
        """Show the start page with recent projects, (path, detail)."""
        self._start.set_recent(recent)
        self._stack.setCurrentIndex(0)
        self.label_list.clear()

    def show_work(self) -> None:
        """Show the canvas."""
        self._stack.setCurrentIndex(1)
        if not self._laid_out:
            self._laid_out = True
            self._spread_docks()
        self.canvas.setFocus()

    def _spread_docks(self) -> None:
        """Give the panels widths that follow the font; only what is on screen can be resized."""
        line = self.fontMetrics().height()
        sides = [self._docks["pictures"], self._docks["objects"]]
        widths = [min(line * 16, self.width() // 4), min(line * 19, self.width() // 4)]
        self._inner.resizeDocks(sides, widths, Qt.Orientation.Horizontal)
        self._inner.resizeDocks([self._docks["objects"], self._docks["classes"]], [5, 3], Qt.Orientation.Vertical)

    def set_title(self, project: str, picture: str = "") -> None:
        """Title of the window."""
        parts = [part for part in (picture, project, "OVSAM Annotator") if part]
        self.setWindowTitle(" · ".join(parts))

    def set_hint(self, text: str) -> None:
        """Status line: what a click would do now."""
        self._status.hint.setText(text)

    def set_device(self, model: str, device: str, detail: str = "") -> None:
        """Model and device in the status bar."""
        self._status.device.setText(" · ".join(part for part in (model, device) if part))
        self._status.device.setToolTip(detail)
        self._status.device.setVisible(bool(model))

    def set_models(self, models: Sequence[ModelRow], current: str) -> None:
        """Fill the model menu."""
        for menu in (self._model_menu, self._status.models):
            menu.clear()
            group = QActionGroup(menu)
            for model in models:
                speed = self.tr("{s} s per picture here").format(s=f"{model.seconds:.1f}") if model.seconds else ""
                text = " · ".join(part for part in (model.title, speed, model.licence) if part)
                action = QAction(text, menu, checkable=True)
                action.setChecked(model.model_id == current)
                action.triggered.connect(lambda _=False, i=model.model_id: self.model_chosen.emit(i))
                group.addAction(action)
                menu.addAction(action)

    def set_saved(self, state: SaveState, text: str = "") -> None:
        """The saved chip: green with the time, amber while pending, red with Retry."""
        self._status.saved.set_state(state, text)

    def set_progress(self, done: int, total: int) -> None:
        """Progress of the project in pictures."""
        self.pictures.set_progress(done, total)

    def set_enabled(self, commands: Mapping[str, bool]) -> None:
        """Switch commands on and off by id."""
        for command_id, enabled in commands.items():
            self._actions[command_id].setEnabled(enabled)

    def set_checked(self, command: str, *, checked: bool) -> None:
        """Tick a command that stays pressed; emits nothing."""
        self._actions[command].setChecked(checked)

    def set_settings(self, rows: Sequence[SettingRow]) -> None:
        """What the settings dialog shows."""
        self._settings = tuple(rows)

    def set_keys(self, keys: Mapping[str, Sequence[str]]) -> None:
        """Keys that differ from the defaults, by command id."""
        self._actions.set_keys(keys)

    def set_theme(self, theme: str) -> None:
        """Choose "dark", "light" or "system"."""
        self._theme = theme
        application = QApplication.instance()
        if isinstance(application, QApplication):
            apply_theme(application, theme)
        self._actions[f"view.theme_{theme}"].setChecked(True)
        paint_icons(self, self._actions)

    # --- verbs: messages and jobs --------------------------------------------------------------------------------

    def show_message(self, message: Message) -> None:
        """Show a message without stopping the work."""
        self._messages.show_message(message)

    def clear_message(self, key: str) -> None:
        """Take a message away."""
        self._messages.clear(key)

    def show_job(self, job: JobRow) -> None:
        """Show or update something that runs in the background."""
        self._status.jobs.show_job(job)

    def remove_job(self, job_id: str) -> None:
        """Take a finished job away."""
        self._status.jobs.remove_job(job_id)

    def show_report_text(self, title: str, lines: Sequence[str]) -> None:
        """Show the outcome of an import, export or batch, to read and copy."""
        report = TextReport(title, lines, self)
        report.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        report.show()

    # --- verbs: questions ----------------------------------------------------------------------------------------

    def ask_open_folder(self) -> str:
        """Let the user choose a folder; empty when cancelled."""
        return QFileDialog.getExistingDirectory(self, self.tr("Open a folder of pictures"))

    def ask_open_file(self, title: str, patterns: str) -> str:
        """Let the user choose a file; empty when cancelled."""
        return QFileDialog.getOpenFileName(self, title, "", patterns)[0]

    def ask_save_file(self, title: str, suggestion: str, patterns: str) -> str:
        """Let the user choose a file to write; empty when cancelled."""
        return QFileDialog.getSaveFileName(self, title, suggestion, patterns)[0]

    def ask_export(self, start: ExportChoice) -> ExportChoice | None:
        """Show the export dialog; None when cancelled."""
        dialog = ExportDialog(start, self)
        taken = dialog.exec() == QDialog.DialogCode.Accepted
        dialog.deleteLater()
        return dialog.choice() if taken else None

    def ask_choice(self, title: str, text: str, choices: Sequence[str]) -> int:
        """Ask a question with named buttons; -1 when cancelled."""
        box = QMessageBox(self)
        box.setWindowTitle(title)
        box.setText(text)
        buttons = [box.addButton(choice, QMessageBox.ButtonRole.ActionRole) for choice in choices]
        cancel = box.addButton(QMessageBox.StandardButton.Cancel)
        box.setEscapeButton(cancel)
        box.exec()
        clicked = box.clickedButton()
        box.deleteLater()
        return next((i for i, button in enumerate(buttons) if button is clicked), -1)

    def ask_name(self, title: str, start: str, names: Sequence[str]) -> str:
        """Ask for a name, completing among `names`; empty when cancelled."""
        dialog = NameDialog(title, start, names, self)
        taken = dialog.exec() == QDialog.DialogCode.Accepted
        dialog.deleteLater()
        return dialog.name() if taken else ""

    # --- verbs: layout -------------------------------------------------------------------------------------------

    def layout_state(self) -> dict[str, Any]:
        """Size and docks as plain values."""
        return {
            "geometry": base64.b64encode(self.saveGeometry().data()).decode("ascii"),
            "docks": base64.b64encode(self._inner.saveState().data()).decode("ascii"),
            "display": {"fill": self.canvas.display.fill, "names": self.canvas.display.names},
        }

    def restore_layout(self, state: Mapping[str, Any]) -> None:
        """Restore size and docks from what `layout_state` returned; what is damaged is left out."""
        for key, restore in (("geometry", self.restoreGeometry), ("docks", self._inner.restoreState)):
            text = state.get(key)
            if isinstance(text, str):
                restored = restore(QByteArray.fromBase64(QByteArray(text.encode("ascii", "ignore"))))
                self._laid_out = self._laid_out or (restored and key == "docks")
        display = state.get("display")
        if isinstance(display, dict):
            fill, names = display.get("fill", 0.4), display.get("names", True)
            if isinstance(fill, int | float):
                self._set_display(fill=min(1.0, max(0.0, float(fill))), names=bool(names))

    # --- the list of names ---------------------------------------------------------------------------------------

    def _place_label_list(self, marks: Sequence[tuple[float, float]]) -> None:
        self._anchor = marks[-1] if marks else None
        self._replace_label_list(keep=False)

    def _replace_label_list(self, *, keep: bool = True) -> None:
        names = self.label_list
        if keep and not names.isVisible():
            return
        view = self.canvas.viewport()
        origin = view.mapTo(self, QPoint(0, 0))
        seen = QRectF(origin.x(), origin.y(), view.width(), view.height())
        parts = [part.translated(QPointF(origin)) for part in self.canvas.suggestion_rects()]
        visible = [part.intersected(seen) for part in parts if part.intersects(seen)]
        target = visible[0] if visible else QRectF()
        anchor_y: float | None = None
        if self._anchor is not None:
            at = self.canvas.viewportTransform().map(QPointF(*self._anchor)) + QPointF(origin)
            anchor_y = at.y()
            if target.isEmpty():
                target = QRectF(at.x() - 12, at.y() - 12, 24, 24)
            target = target.intersected(seen)
        if target.isEmpty():
            target = QRectF(seen.center().x(), seen.center().y(), 1, 1)
        whole = self.rect().adjusted(0, self.menuBar().height(), 0, -self.statusBar().height())
        bounds = [_box(seen.adjusted(4, 4, -4, -4)), _box(QRectF(whole))]
        was = _box(QRectF(names.geometry())) if names.isVisible() else None
        place = place_beside(
            (names.width(), names.height()), _box(target), bounds, anchor_y, was, [_box(p) for p in visible[1:]]
        )
        names.move(round(place.x), round(place.y))

    # --- local commands ------------------------------------------------------------------------------------------

    def _on_action(self, command_id: str) -> None:
        local = self._local.get(command_id)
        if local is not None:
            local()
        else:
            if command_id == "model.everything":
                self._show_proposals()
            self.command.emit(command_id)

    def _show_proposals(self) -> None:
        self._docks["proposals"].show()
        self._docks["proposals"].raise_()

    def _find(self) -> None:
        self._show_proposals()
        self.proposals.focus_search()

    def _set_display(self, **changes: Any) -> None:
        self.canvas.set_display(replace(self.canvas.display, **changes))
        self._show_display(self.canvas.display)

    def _show_display(self, options: DisplayOptions) -> None:
        self._actions["view.outline"].setChecked(options.fill == 0)
        self._actions["view.names"].setChecked(options.names)
        self._actions["view.crosshair"].setChecked(options.crosshair)

    def _toggle_outline(self) -> None:
        self._set_display(fill=DisplayOptions().fill if self.canvas.display.fill == 0 else 0.0, outlines=True)

    def _change_fill(self, step: float) -> None:
        self._set_display(fill=round(min(1.0, max(0.0, self.canvas.display.fill + step)), 2))

    def _hide_while_held(self) -> None:
        shortcut = self._actions["view.hide"].shortcut()
        if not shortcut.isEmpty():
            self.canvas.hide_while_held(shortcut[0].key())  # type: ignore[index]

    def _open_settings(self) -> None:
        dialog = SettingsDialog(self._settings, self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.changed.connect(self.setting_changed)
        dialog.open()

    def _open_keys(self) -> None:
        dialog = KeysDialog(self._actions.keys, self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.keys_changed.connect(self._on_keys)
        dialog.open()

    def _on_keys(self, keys: dict[str, tuple[str, ...]]) -> None:
        self.set_keys(keys)
        self.keys_changed.emit(keys)

    def _open_contrast(self) -> None:
        window = self.canvas.contrast
        if window is None:
            self.set_hint(self.tr("This picture has 8 bits: there is nothing to window."))
            return
        dialog = ContrastDialog(window, self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.changed.connect(self.canvas.set_contrast)
        dialog.show()

    def _choose_theme(self, theme: str) -> None:
        self.set_theme(theme)
        self.setting_changed.emit("theme", theme)

    def _toggle_sheet(self) -> None:
        if self._sheet is not None:
            self._sheet.leave()
            return
        self._sheet = CheatSheet(self._actions.keys, self)
        self._sheet.closed.connect(self._on_sheet_closed)

    def _on_sheet_closed(self) -> None:
        self._sheet = None
        self.canvas.setFocus()

    def _about(self) -> None:
        text = self.tr(
            "OVSAM Annotator: click on an object, see its mask and a ranked list of names, accept with one key. "
            "Open-Vocabulary SAM as a desktop program. MIT licence."
        )
        QMessageBox.about(self, self.tr("About"), text)

    def _on_system_theme(self) -> None:
        if self._theme == "system":
            self.set_theme("system")

    # --- events --------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Keep the list of names in the window."""
        super().resizeEvent(event)
        self._replace_label_list()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        """Repaint icons when the palette changes."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "_actions"):
            paint_icons(self, self._actions)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802
        """Take files and folders."""
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802
        """Open what was dropped."""
        paths = tuple(str(Path(url.toLocalFile())) for url in event.mimeData().urls() if url.isLocalFile())
        if paths:
            event.acceptProposedAction()
            self.paths_opened.emit(paths)

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        """Say goodbye; what is left is written by whoever listens."""
        self.closing.emit()
        super().closeEvent(event)


def _column(upper: QWidget, lower: QWidget) -> QWidget:
    """Two widgets, the lower one taking the room."""
    whole = QWidget()
    column = QVBoxLayout(whole)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(0)
    column.addWidget(upper)
    column.addWidget(lower, 1)
    return whole


def _box(rect: QRectF) -> Box:
    return Box(rect.x(), rect.y(), rect.width(), rect.height())
