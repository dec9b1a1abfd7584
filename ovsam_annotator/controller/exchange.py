"""Import and export in the background, with progress, cancel and a report."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Qt, Signal

from ovsam_annotator.views import data
from ovsam_core.errors import CancelledError
from ovsam_core.exchange import ExportOptions, export_any, import_any
from ovsam_core.splits import SplitRule

if TYPE_CHECKING:
    from collections.abc import Callable

    from ovsam_annotator.controller.session import Session
    from ovsam_annotator.controller.tasks import Runner
    from ovsam_annotator.views.protocols import MainWindowView
    from ovsam_core.formats.report import Report

__all__ = ["ExchangeController"]

_IMPORT, _EXPORT = "import", "export"


class ExchangeController(QObject):
    """Carries out imports and exports.

    Args:
        window: asks for files and shows progress and reports.
        runner: does the work of exports.

    Attributes:
        finished: ("import" or "export", path) done.
    """

    finished = Signal(str, str)
    _progress = Signal(str, str, float)

    def __init__(self, *, window: MainWindowView, runner: Runner, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._window = window
        self._runner = runner
        self._session: Session | None = None
        self._stop: dict[str, threading.Event] = {}
        self._progress.connect(self._show_progress, Qt.ConnectionType.QueuedConnection)
        window.job_cancelled.connect(self.cancel)

    def attach(self, session: Session | None) -> None:
        """Work on another project, or none."""
        for stop in self._stop.values():
            stop.set()
        self._session = session

    def cancel(self, job_id: str) -> None:
        """Stop a running import or export; nothing of it stays."""
        if job_id in self._stop:
            self._stop[job_id].set()

    def ask_export(self) -> None:
        """Show the export dialog, and export."""
        session = self._session
        if session is None:
            return
        project = session.store.project.path
        states = [picture.state for picture in session.pictures.values()]
        counts = (
            ("approved", states.count("approved")),
            ("done", states.count("done") + states.count("approved")),
            ("all", len(states) - states.count("excluded")),
        )
        scope = "approved" if counts[0][1] else "done" if counts[1][1] else "all"
        start = data.ExportChoice(str(project.with_name(f"{project.stem}_coco.json")), scope=scope, counts=counts)
        choice = self._window.ask_export(start)
        if choice is not None:
            self.export(choice)

    def export(self, choice: data.ExportChoice) -> None:
        """Export what is chosen; everything labelled until now is in it."""
        session = self._session
        if session is None or _EXPORT in self._stop:
            return
        stop = self._begin(_EXPORT, self.tr("Exporting {name}").format(name=Path(choice.path).name))
        include: Any = choice.scope
        kind: Any = choice.format
        options = ExportOptions(
            include=include,
            segmentation=choice.geometry,
            unnamed=choice.unnamed,
            split=SplitRule(choice.validation) if choice.validation > 0 else None,
        )
        project = session.store.project

        def work() -> Report:
            return export_any(
                project, choice.path, kind, options=options, progress=self._reporter(_EXPORT), cancelled=stop.is_set
            )

        def begin(_: object) -> None:
            self._runner.run(
                work,
                lambda report: self._done(_EXPORT, choice.path, report),
                lambda error: self._failed(_EXPORT, error),
            )

        session.store.read(lambda _: None, begin)  # whatever is still on its way is written before

    def ask_import(self) -> None:
        """Ask for an annotation file, and import it."""
        path = self._window.ask_open_file(
            self.tr("Import annotations"), self.tr("COCO, LVIS, labelme, YOLO (*.json *.yaml)")
        )
        if path:
            self.import_file(path)

    def import_file(self, path: str) -> None:
        """Import an annotation file as one step that can be undone."""
        session = self._session
        if session is None or _IMPORT in self._stop or session.read_only:
            return
        stop = self._begin(_IMPORT, self.tr("Importing {name}").format(name=Path(path).name))

        def finished(report: Report) -> None:
            session.reload_lists()
            session.read_again()
            session.history_changed.emit()
            self._done(_IMPORT, path, report)

        session.store.write(
            lambda project: import_any(project, path, progress=self._reporter(_IMPORT), cancelled=stop.is_set),
            finished,
            lambda error: self._failed(_IMPORT, error),
        )

    def _begin(self, job_id: str, title: str) -> threading.Event:
        stop = self._stop[job_id] = threading.Event()
        self._window.show_job(data.JobRow(job_id, title, "", 0.0))
        self._title = title
        return stop

    def _reporter(self, job_id: str) -> Callable[[float], None]:
        last = -1.0

        def report(fraction: float) -> None:
            nonlocal last
            if fraction - last >= 0.01 or fraction >= 1:  # a hundred steps are enough for a bar
                last = fraction
                self._progress.emit(job_id, self._title, fraction)

        return report

    def _show_progress(self, job_id: str, title: str, fraction: float) -> None:
        if job_id in self._stop:
            self._window.show_job(data.JobRow(job_id, title, f"{fraction:.0%}", fraction))

    def _end(self, job_id: str) -> None:
        self._stop.pop(job_id, None)
        self._window.remove_job(job_id)

    def _done(self, job_id: str, path: str, report: Report) -> None:
        self._end(job_id)
        text = self.tr("Imported {file}") if job_id == _IMPORT else self.tr("Exported {file}")
        title = text.format(file=Path(path).name)
        self._window.show_report_text(title, [path, *report.text().splitlines()])
        self.finished.emit(job_id, path)

    def _failed(self, job_id: str, error: Exception) -> None:
        self._end(job_id)
        if isinstance(error, CancelledError):
            self._window.show_message(data.Message(job_id, str(error)))
        else:
            text = self.tr("Import failed: {error}") if job_id == _IMPORT else self.tr("Export failed: {error}")
            self._window.show_message(data.Message(job_id, text.format(error=error), level="error"))
