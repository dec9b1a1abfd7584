"""The composition root: makes the window, the segmenter and the controllers, and takes them down again."""

from __future__ import annotations

import faulthandler
import logging
import logging.handlers
import os
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from platformdirs import user_data_path, user_log_path
from PySide6.QtCore import QCoreApplication, QObject, Qt, QTimer, Signal
from PySide6.QtWidgets import QApplication

from ovsam_annotator.controller.preferences import PreferencesController
from ovsam_annotator.controller.tasks import Tasks
from ovsam_annotator.controller.workspace import Workspace
from ovsam_annotator.inference.messages import SelectModel
from ovsam_annotator.inference.worker import InferenceWorker
from ovsam_annotator.model.responsive import settle, share_evenly
from ovsam_annotator.model.settings import Settings, config_folder, load_settings
from ovsam_annotator.views import data
from ovsam_annotator.views.icons import read_icons
from ovsam_annotator.views.main_window import MainWindow
from ovsam_annotator.views.translation import install_translation
from ovsam_core.assets import asset_path
from ovsam_core.models.registry import installed

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from ovsam_annotator.inference.segmenter import Engine
    from ovsam_annotator.startup import Start

__all__ = ["Application", "build", "run"]

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Application:
    """Everything that is alive while the window is."""

    window: MainWindow
    workspace: Workspace
    worker: InferenceWorker
    tasks: Tasks
    preferences: PreferencesController

    def close(self) -> int:
        """Write what is left and stop every thread and process; returns the number of changes that were lost."""
        self.preferences.keep_layout()
        lost = self.workspace.close()
        self.worker.close()
        self.tasks.close()
        return lost


def build(
    engine: Engine,
    *,
    model: str,
    settings: Settings | None = None,
    settings_path: Path | None = None,
    samples: Path | None = None,
) -> Application:
    """Put the program together; a QApplication must exist.

    Args:
        engine: does the model's work.
        model: id of the model to load.
        settings: the person's settings; read from `settings_path` by default.
        settings_path: where settings are kept; the platform's place by default.
        samples: folder for the sample project; the platform's place by default.
    """
    share_evenly()
    read_icons()
    window = MainWindow()
    tasks = Tasks()
    worker = InferenceWorker(engine)
    preferences = PreferencesController(
        window=window,
        runner=tasks,
        settings=load_settings(settings_path) if settings is None else settings,
        path=settings_path,
        models=list_models,
    )
    workspace = Workspace(
        window=window,
        segmenter=worker,
        answers=worker.answered,
        runner=tasks,
        preferences=preferences,
        samples=samples or user_data_path("ovsam", appauthor=False) / "samples",
    )
    window.set_device(model, "", QCoreApplication.translate("Workspace", "starting"))
    worker.submit(SelectModel(model))
    settle()
    return Application(window, workspace, worker, tasks, preferences)


def list_models() -> list[data.ModelRow]:
    """Installed models for the menu; reads the disk."""
    return [data.ModelRow(m.id, m.id, None, m.licence) for m in installed() if not m.problem]


class _LastResort(QObject):
    """Shows an exception nobody caught, once, and writes it to the log; the program goes on."""

    happened = Signal(str)

    def __init__(self, window: MainWindow) -> None:
        super().__init__()
        self._window = window
        self._seen: set[str] = set()
        self.happened.connect(self._show, Qt.ConnectionType.QueuedConnection)

    def install(self) -> None:
        """Take over from Python's own handlers."""
        sys.excepthook = self._main_thread
        threading.excepthook = self._other_thread

    def _main_thread(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            QApplication.quit()
            return
        _log.critical("uncaught exception", exc_info=(kind, error, trace))
        self.happened.emit(f"{kind.__name__}: {error}")

    def _other_thread(self, args: Any) -> None:
        if args.exc_value is not None:
            self._main_thread(args.exc_type, args.exc_value, args.exc_traceback)

    def _show(self, text: str) -> None:
        if text not in self._seen:
            self._seen.add(text)
            self._window.show_message(
                data.Message(
                    "crash",
                    self.tr("Something went wrong: {text}").format(text=text),
                    self.tr("Your work is saved. Details: {file}").format(file=log_file()),
                    "error",
                )
            )


def log_file() -> Path:
    """Where the program writes what happened: in the platform's place, or beside the settings of `$OVSAM_CONFIG`."""
    folder = config_folder() if os.environ.get("OVSAM_CONFIG") else user_log_path("ovsam", appauthor=False)
    return folder / "annotator.log"


def _start_log() -> None:
    path = log_file()
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.handlers.RotatingFileHandler(path, maxBytes=1 << 20, backupCount=3, encoding="utf-8"))
        crash = path.with_name("crash.log").open("a", encoding="utf-8")  # stays open: faulthandler writes to it
        faulthandler.enable(crash)
    except OSError:
        faulthandler.enable()
    logging.basicConfig(
        level=logging.INFO, handlers=handlers, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )


def run(start: Start) -> int:
    """Show the window until it is closed; returns the exit code (0 ok, 1 when changes could not be written).

    Args:
        start: what to begin with; its engine is closed at the end.
    """
    _start_log()
    application = QApplication.instance() or QApplication(sys.argv[:1])
    assert isinstance(application, QApplication)
    application.setApplicationName("OVSAM Annotator")
    install_translation(application, asset_path("icons").with_name("translations"))
    program = build(start.engine, model=start.model, settings=start.settings)
    last_resort = _LastResort(program.window)
    last_resort.install()
    if start.sample:
        program.workspace.open_samples()
    elif start.paths:
        program.workspace.open(start.paths)
    else:
        program.window.show_start(program.preferences.recent())
    program.window.show()
    interrupts = QTimer()  # lets Python see Ctrl+C while Qt's loop runs
    interrupts.timeout.connect(lambda: None)
    interrupts.start(500)
    try:
        application.exec()
    finally:
        lost = program.close()
        sys.excepthook, threading.excepthook = sys.__excepthook__, threading.__excepthook__
    if lost:
        _log.error("%d changes could not be written", lost)
    return 1 if lost else 0
