"""The whole program behind the window: makes the controllers, opens projects, and carries out commands."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QCoreApplication, QObject, Signal

from ovsam_annotator.controller.additions import ADDED, AdditionsController
from ovsam_annotator.controller.annotation import AnnotationController
from ovsam_annotator.controller.batch import BatchController
from ovsam_annotator.controller.classes import ClassesController
from ovsam_annotator.controller.exchange import ExchangeController
from ovsam_annotator.controller.history import HistoryController
from ovsam_annotator.controller.masks import MasksController
from ovsam_annotator.controller.models import ModelsController
from ovsam_annotator.controller.names import DEFAULT_VOCABULARY, NamesController
from ovsam_annotator.controller.naming import NamingController
from ovsam_annotator.controller.navigation import NavigationController
from ovsam_annotator.controller.objects import ObjectsController
from ovsam_annotator.controller.projects import Opened, open_paths, open_sample
from ovsam_annotator.controller.proposals import ProposalsController
from ovsam_annotator.controller.reports import ReportController
from ovsam_annotator.controller.review import ReviewController
from ovsam_annotator.controller.saving import FAILED, SavingController
from ovsam_annotator.controller.session import Session, read_items
from ovsam_annotator.controller.store_service import StoreService
from ovsam_annotator.controller.thumbnails import ThumbnailController
from ovsam_annotator.controller.tools import ToolsController
from ovsam_annotator.inference.messages import Encoded
from ovsam_annotator.model.editing import Overlap
from ovsam_annotator.views import data
from ovsam_core.store import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PySide6.QtCore import SignalInstance

    from ovsam_annotator.controller.preferences import PreferencesController
    from ovsam_annotator.controller.tasks import Runner
    from ovsam_annotator.inference.segmenter import Segmenter
    from ovsam_annotator.model.document import Item
    from ovsam_annotator.views.protocols import MainWindowView
    from ovsam_core.store import PictureRow

__all__ = ["Workspace"]

_log = logging.getLogger(__name__)


class Workspace(QObject):
    """Controllers of one window.

    Args:
        window: the window.
        segmenter: answers prompts.
        answers: signal of the segmenter's answers.
        runner: for work off the GUI thread.
        preferences: the person's settings.
        samples: folder that the sample project is copied to.

    Attributes:
        opened: (project path) a project is open and its first picture is on its way.
        open_failed: text.
    """

    opened = Signal(str)
    open_failed = Signal(str)

    def __init__(
        self,
        *,
        window: MainWindowView,
        segmenter: Segmenter,
        answers: SignalInstance,
        runner: Runner,
        preferences: PreferencesController,
        samples: Path,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._window = window
        self._runner = runner
        self._samples = samples
        self.preferences = preferences
        self.session: Session | None = None
        self._opening = False
        self._at_start = True
        canvas = window.canvas
        self.annotation = AnnotationController(
            canvas=canvas, label_list=window.label_list, segmenter=segmenter, runner=runner, parent=self
        )
        self.navigation = NavigationController(
            canvas=canvas, pictures=window.pictures, segmenter=segmenter, runner=runner, parent=self
        )
        self.thumbnails = ThumbnailController(pictures=window.pictures, runner=runner, parent=self)
        self.objects = ObjectsController(canvas=canvas, panel=window.objects, parent=self)
        self.masks = MasksController(canvas=canvas, editable=self.objects.editable, runner=runner, parent=self)
        self.names = NamesController(
            label_list=window.label_list,
            segmenter=segmenter,
            runner=runner,
            scores=lambda: self.annotation.labels,
            parent=self,
        )
        self.classes = ClassesController(view=window.classes, names=self.names, runner=runner, parent=self)
        self.history = HistoryController(view=window.history, parent=self)
        self.review = ReviewController(
            canvas=canvas, view=window.review, following=self.navigation.following, parent=self
        )
        self.exchange = ExchangeController(window=window, runner=runner, parent=self)
        self.proposals = ProposalsController(
            window=window, segmenter=segmenter, provenance=self.annotation.provenance, parent=self
        )
        self.batch = BatchController(
            window=window, segmenter=segmenter, runner=runner, provenance=self.annotation.provenance, parent=self
        )
        self.report = ReportController(view=window.report, parent=self)
        self.additions = AdditionsController(window=window, runner=runner, parent=self)
        self.saving = SavingController(window=window, parent=self)
        self.naming = NamingController(
            window=window,
            annotation=self.annotation,
            objects=self.objects,
            names=self.names,
            parent=self,
        )
        self.tools = ToolsController(
            window=window,
            annotation=self.annotation,
            masks=self.masks,
            proposals=self.proposals,
            history=self.history,
            preferences=preferences,
            parent=self,
        )
        self.models = ModelsController(
            window=window,
            segmenter=segmenter,
            provenance=self.annotation.provenance,
            preferences=preferences,
            parent=self,
        )
        self.annotation.lookup = self.names.entry
        self._commands = self._command_table()
        self._connect(answers)
        self.annotation.hover = preferences.settings.hover

    # ---- wiring

    def _connect(self, answers: SignalInstance) -> None:
        window = self._window
        window.command.connect(self.run_command)
        window.paths_opened.connect(self._take_paths)
        window.sample_asked.connect(self.open_samples)
        self.models.leaving.connect(self._leave_picture)
        self.models.changed.connect(self.names.send_again)
        self.models.changed.connect(self.navigation.model_changed)
        window.message_action.connect(self._message_action)
        answers.connect(self._take)
        self.annotation.hint_changed.connect(window.set_hint)
        self.annotation.overlap_acted.connect(self._tell)
        self.annotation.accepted.connect(lambda _: self.proposals.told.emit(""))
        self.navigation.opening.connect(self._leave_picture)
        self.navigation.opened.connect(self._picture_opened)
        self.navigation.failed.connect(self._picture_failed)
        self.navigation.hint_changed.connect(self._tell)
        self.tools.told.connect(self._tell)
        self.objects.hint_changed.connect(self._tell)
        self.masks.hint_changed.connect(self._tell)
        self.masks.drawn.connect(self.naming.name_drawn)
        self.names.ready.connect(self._names_ready)
        self.names.progress.connect(self._names_progress)
        self.names.failed.connect(self._names_failed)
        self.classes.lock_asked.connect(self.naming.lock)
        self.objects.refine_asked.connect(self.tools.refine)
        self.naming.told.connect(self._tell)
        self.classes.told.connect(self._tell)
        self.classes.vocabulary_chosen.connect(partial(self._keep_setting, "vocabulary"))
        self.history.told.connect(window.set_hint)
        self.proposals.told.connect(window.set_hint)
        self.review.next_picture_asked.connect(lambda: self.navigation.step(1))
        self.additions.added.connect(self.navigation.open)
        self.review.picture_asked.connect(self.navigation.open)
        self.review.told.connect(window.set_hint)
        self.review.active_changed.connect(self._review_changed)
        self.preferences.hover_changed.connect(self._set_hover)
        self.preferences.overlap_changed.connect(self._set_overlap)

    def _command_table(self) -> dict[str, Callable[[], Any]]:
        a, n, o, r, w = self.annotation, self.navigation, self.objects, self.review, self._window
        t, m = self.tools, self.masks
        table: dict[str, Callable[[], Any]] = {
            "file.open_folder": lambda: self._open_asked(w.ask_open_folder()),
            "file.open_file": lambda: self._open_asked(w.ask_open_file(self.tr("Open"), _open_patterns())),
            "file.start": self._show_start,
            "file.save": self.saving.now,
            "file.import": self.exchange.ask_import,
            "file.export": self.exchange.ask_export,
            "edit.undo": t.undo,
            "edit.redo": self.history.redo,
            "edit.select_all": o.select_all,
            "brush.smaller": lambda: t.scale_brush(1 / 1.25),
            "brush.bigger": lambda: t.scale_brush(1.25),
            "picture.previous": lambda: n.step(-1),
            "picture.next": lambda: n.step(1),
            "picture.previous_open": lambda: n.step_open(-1),
            "picture.next_open": lambda: n.step_open(1),
            "picture.done": self._picture_done,
            "picture.copy_previous": self._offer_previous,
            "object.next": lambda: o.step(1),
            "object.previous": lambda: o.step(-1),
            "object.rename": self.naming.rename,
            "object.refine": t.refine_selected,
            "object.lock": o.toggle_lock,
            "object.hide": o.toggle_hidden,
            "object.delete": o.delete,
            "mask.fill_holes": m.fill_holes,
            "mask.drop_crumbs": m.drop_crumbs,
            "mask.grow": lambda: m.grow(1),
            "mask.shrink": lambda: m.grow(-1),
            "mask.split": m.split,
            "mask.merge": m.merge,
            "label.accept": a.accept,
            "label.accept_unnamed": a.accept_unnamed,
            "label.search": self.naming.search,
            "label.candidate_next": lambda: a.step_candidate(1),
            "label.candidate_previous": lambda: a.step_candidate(-1),
            "label.drop": t.drop,
            "prompt.undo": a.take_back,
            "class.lock": a.toggle_lock,
            "model.everything": self.proposals.everything,
            "model.clear": self.proposals.clear,
            "model.batch": self.batch.ask,
            "model.hover": lambda: self._set_hover(not a.hover),
            "review.toggle": r.toggle,
            "review.next": r.next_open,
            "review.approve": lambda: r.decide("approved"),
            "review.fix": lambda: r.decide("needs_work"),
            "review.exclude": self._review_delete,
            "review.approve_picture": lambda: r.decide_picture("approved"),
            "review.fix_picture": lambda: r.decide_picture("needs_work"),
            "review.exclude_picture": lambda: r.decide_picture("excluded"),
        }
        table |= {f"label.name_{k}": partial(a.accept_rank, k) for k in range(1, 10)}
        table |= {f"class.hotkey_{k}": partial(self.naming.hotkey, k) for k in range(1, 11)}
        table |= {f"tool.{tool.value}": partial(t.set_tool, tool) for tool in data.Tool}
        table |= {f"view.theme_{t}": partial(self.preferences.set_theme, t) for t in ("system", "light", "dark")}
        return table

    def run_command(self, command: str) -> None:
        """Carry out a command of the window; unknown ones are ignored with a log line."""
        work = self._commands.get(command)
        if work is None:
            _log.warning("no such command: %s", command)
        else:
            work()

    def _take(self, answer: object) -> None:
        if isinstance(answer, Encoded) and not answer.cached and self.annotation.provenance.model_id:
            self.preferences.note_speed(self.annotation.provenance.model_id, answer.seconds)
        self.models.take(answer)
        self.annotation.take(answer)
        self.navigation.take(answer)
        self.names.take(answer)
        self.proposals.take(answer)
        self.batch.take(answer)

    # ---- projects

    def open(self, paths: Sequence[str]) -> None:
        """Open a project, a folder, pictures or a COCO file; the present project is closed when that worked."""
        if paths:
            self._open(lambda: open_paths([Path(p) for p in paths]), str(paths[0]))

    def _take_paths(self, paths: Sequence[str]) -> None:
        """Dropped on the window, or chosen on the start page: pictures and folders join the project that is on show."""
        kinds = {Path(path).suffix.lower() for path in paths}
        if self.session is None or self._at_start or kinds & {SUFFIX, ".json"}:
            self.open(paths)
        else:
            self.additions.add([Path(path) for path in paths])

    def _show_start(self) -> None:
        self._at_start = True
        self._window.show_start(self.preferences.recent())

    def open_samples(self) -> None:
        """Open the sample project."""
        self._open(lambda: open_sample(self._samples), "the samples")

    def close(self) -> int:
        """Write everything and close the project; returns the number of changes that could not be written."""
        lost = 0
        if self.session is not None:
            store = self.session.store
            self._detach()
            lost = store.close()
        return lost

    def _open_asked(self, path: str) -> None:
        if path:
            self.open([path])

    def _open(self, work: Callable[[], Opened], what: str) -> None:
        if self._opening:
            return
        self._opening = True
        if self.session is not None:  # the same file may be opened again: give it back first
            store = self.session.store
            self._detach()
            closing = store.close
        else:
            closing = None
        self._window.set_hint(self.tr("Opening {what} …").format(what=what))

        def job() -> Opened:
            if closing is not None:
                closing()
            return work()

        self._runner.run(job, self._attach, self._open_refused)

    def _open_refused(self, error: Exception) -> None:
        self._opening = False
        self._window.set_hint("")
        self._show_start()
        self._window.show_message(
            data.Message("open", self.tr("Cannot be opened: {error}").format(error=error), level="error")
        )
        self.open_failed.emit(str(error))

    def _detach(self) -> None:
        self._leave_picture()
        self.session = None
        self.batch.attach(None)
        parts = (
            self.exchange,
            self.proposals,
            self.review,
            self.history,
            self.classes,
            self.objects,
            self.masks,
            self.report,
        )
        for part in (*parts, self.additions, self.tools, self.naming, self.saving):
            part.attach(None)
        self.names.attach(None)
        self._names_ready("")
        self.annotation.attach(None)
        self.masks.attach(None)
        self.thumbnails.attach(None)
        self.navigation.attach(None)

    def _attach(self, found: Opened) -> None:
        self._opening = False
        store = StoreService(found.project, self)
        session = Session(store, found.facts, self)
        self.session = session
        session.refused.connect(lambda text: self._tell(text, "error"))
        session.pictures_changed.connect(lambda _: self._show_progress())
        settings = found.facts.settings
        self._set_overlap(str(settings.get("overlap", Overlap.ALLOW)))
        self.annotation.attach(session)
        self.objects.attach(session)
        self.masks.attach(session)
        self.classes.attach(session)
        self.history.attach(session)
        self.review.attach(session)
        self.exchange.attach(session)
        self.proposals.attach(session)
        self.batch.attach(session, settings.get("batch"))
        self.report.attach(session)
        self.additions.attach(session)
        self.naming.attach(session)
        self.tools.attach(session)
        self.saving.attach(session)
        self.thumbnails.attach(session)
        self.navigation.attach(session, found.facts.list_rows)
        self.names.attach(session, str(settings.get("vocabulary", DEFAULT_VOCABULARY)))
        path = found.project.path
        self._at_start = False
        self._window.show_work()
        self._window.set_title(path.stem)
        self._show_progress()
        self._report_opening(found)
        self.preferences.add_recent(str(path))
        self.preferences.show(session, self.annotation.overlap)
        if found.first is not None:
            self.navigation.open(found.first)
        self.opened.emit(str(path))

    def _report_opening(self, found: Opened) -> None:
        report = found.project.report
        if report.read_only_reason:
            self._tell(
                self.tr("Read-only: {reason}").format(reason=report.read_only_reason),
                "warning",
                key="read_only",
            )
        if report.recovered:
            text = self.tr("The program had not closed properly. Everything saved is here")
            if report.last_step:
                text += self.tr("; the last action was “{step}”").format(step=report.last_step.label)
            self._tell(text, "info", key="recovered")
        if report.backup is not None:
            self._tell(
                self.tr("The project was brought up to date; a copy of the old file is {name}").format(
                    name=report.backup.name
                ),
                "info",
            )
        if found.notes:
            self._tell("; ".join(found.notes[:3]), "info", key="notes")

    # ---- pictures

    def _leave_picture(self) -> None:
        self.annotation.drop()
        self.proposals.clear()

    def _picture_opened(self, picture_id: int) -> None:
        session = self.session
        if session is None or session.document is None:
            return
        picture = session.document.picture
        self._window.set_title(session.store.project.path.stem, Path(picture.path).name)
        self._window.clear_message("picture")
        self.annotation.drop()
        if not session.read_only:
            session.store.write(lambda project: project.set_setting("last_picture", picture_id))

    def _picture_failed(self, picture_id: int, text: str) -> None:
        del picture_id
        self._window.show_message(
            data.Message("picture", text, self.tr("The other pictures are not affected."), "error")
        )

    def _picture_done(self) -> None:
        session = self.session
        if session is not None and session.document is not None:
            session.put_picture("Picture done", replace(session.document.picture, state="done"))
            self.navigation.step(1)

    def _offer_previous(self) -> None:
        session = self.session
        if session is None or session.document is None:
            return
        ids = list(session.pictures)
        at = ids.index(session.document.picture.id)
        if at == 0:
            self._tell(self.tr("This is the first picture"))
            return
        previous, document = ids[at - 1], session.document

        def done(found: tuple[PictureRow, list[Item]]) -> None:
            if session.document is document:
                self.proposals.offer_previous(found[1])

        session.store.read(lambda project: read_items(project, previous, {}), done)

    def _show_progress(self) -> None:
        if self.session is not None:
            self._window.set_progress(*self.session.progress)

    # ---- objects and names

    def _review_changed(self, on: bool) -> None:
        self._window.set_checked("review.toggle", checked=on)
        self.annotation.reviewing = on
        self.annotation.end_preview()

    def _review_delete(self) -> None:
        self.objects.delete()
        self.review.removed()

    def _names_ready(self, digest: str) -> None:
        self.annotation.vocabulary_digest = digest
        self.proposals.vocabulary_digest = digest
        self.batch.vocabulary_digest = digest
        self.classes.show()

    def _names_failed(self, text: str, none_left: bool) -> None:
        self._tell(text, "error")
        self._window.remove_job("names")
        if none_left:
            self.annotation.names_failed(text)
            self.proposals.names_failed()

    def _names_progress(self, fraction: float, meanwhile: str) -> None:
        if fraction >= 1.0:
            self._window.remove_job("names")
        elif fraction > 0:
            text = f"{fraction:.0%}"
            if meanwhile:
                text += self.tr(", {names} until then").format(names=meanwhile)
            self._window.show_job(data.JobRow("names", self.tr("Learning the names"), text, fraction, can_cancel=False))

    # ---- small things

    def _set_hover(self, on: bool) -> None:
        self.annotation.hover = on
        if not on:
            self.annotation.end_preview()
        self.preferences.keep("hover", on)
        self._window.set_checked("model.hover", checked=on)

    def _set_overlap(self, rule: str) -> None:
        try:
            self.annotation.overlap = Overlap(rule)
        except ValueError:
            self.annotation.overlap = Overlap.ALLOW
        if self.session is not None and not self.session.read_only:
            self._keep_setting("overlap", str(self.annotation.overlap))

    def _keep_setting(self, name: str, value: object) -> None:
        session = self.session
        if session is not None and not session.read_only:
            session.store.write(lambda project: project.set_setting(name, value))

    def _message_action(self, key: str) -> None:
        if key == FAILED:
            self.saving.retry()
        elif key == "picture":
            self.navigation.retry()
        elif key == "batch":
            self.batch.resume()
        elif key == ADDED:
            self.additions.undo()

    def _tell(self, text: str, level: str = "info", key: str = "told") -> None:
        if level == "info" and key == "told":
            self._window.set_hint(text)
        elif level == "error":
            self._window.show_message(data.Message(key, text, level="error"))
        else:
            self._window.show_message(data.Message(key, text, level="warning" if level == "warning" else "info"))


def _open_patterns() -> str:
    return QCoreApplication.translate(
        "Workspace",
        "Projects, pictures, COCO (*.ovsam *.json *.jpg *.jpeg *.png *.tif *.tiff *.webp *.bmp *.gif);;All files (*)",
    )
