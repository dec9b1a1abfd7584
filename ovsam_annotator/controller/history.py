"""Undo and redo through the journal, and the history panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from ovsam_annotator.controller import rows
from ovsam_annotator.controller.batch import BATCH_LABEL
from ovsam_annotator.views.translation import counted

if TYPE_CHECKING:
    from ovsam_annotator.controller.session import Session
    from ovsam_annotator.views import data
    from ovsam_annotator.views.protocols import HistoryView
    from ovsam_core.store import Project, UndoResult

__all__ = ["HistoryController"]

_SHOWN = 300
_BATCH_STEPS = 100_000


class HistoryController(QObject):
    """Takes back and repeats steps of the open picture; never jumps to another picture.

    Args:
        view: the history panel.

    Attributes:
        told: text of what was done.
    """

    told = Signal(str)

    def __init__(self, *, view: HistoryView, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._view = view
        self._session: Session | None = None
        self._reading = False
        self._stale = False
        view.step_asked.connect(self.go_to)

    def attach(self, session: Session | None) -> None:
        """Work on another project, or none."""
        self._session = session
        self._reading = self._stale = False
        self._view.set_rows(())
        if session is not None:
            session.history_changed.connect(self.show)
            session.document_replaced.connect(self.show)

    def show(self) -> None:
        """Read the open picture's steps and show them; asked again meanwhile, they are read once more at the end."""
        session = self._session
        if session is None or session.document is None:
            self._view.set_rows(())
            return
        if self._reading:
            self._stale = True
            return
        self._reading, self._stale = True, False
        picture = session.document.picture.id

        def done(steps: list[data.HistoryRow]) -> None:
            if self._session is not session:
                return
            self._reading = False
            if self._stale:
                self.show()
            elif session.document is not None and session.document.picture.id == picture:
                self._view.set_rows(steps)

        session.store.read(lambda project: rows.history_rows(project.history(picture, _SHOWN)), done)

    def undo(self) -> None:
        """Take back the last step of the open picture."""
        self._reverse(redo=False)

    def redo(self) -> None:
        """Repeat the step taken back last."""
        self._reverse(redo=True)

    def go_to(self, step: int) -> None:
        """Undo or redo until a step is the last one done; 0 takes back everything."""
        session = self._session
        if session is None or session.document is None or session.read_only:
            return
        picture = session.document.picture.id

        def work(project: Project) -> list[UndoResult]:
            results = []
            steps = {s.id: s for s in project.history(picture, 10_000)}
            if step in steps and steps[step].undone:
                while (upcoming := project.peek_redo(picture)) is not None and upcoming.id <= step:
                    results.append(project.redo(picture))
            else:
                while (upcoming := project.peek_undo(picture)) is not None and upcoming.id > step:
                    results.append(project.undo(picture))
            return [r for r in results if r is not None]

        session.store.write(work, lambda results: self._after(session, results, self.tr("Went back in history")))

    def _reverse(self, *, redo: bool) -> None:
        session = self._session
        if session is None or session.document is None:
            return
        if session.read_only:
            self.told.emit(self.tr("The project is read-only"))
            return
        picture = session.document.picture.id

        def work(project: Project) -> list[UndoResult]:
            step = project.peek_redo(picture) if redo else project.peek_undo(picture)
            if step is not None and step.label.startswith(BATCH_LABEL):
                return _reverse_batch(project, step.label, redo=redo)
            result = project.redo(picture) if redo else project.undo(picture)
            return [] if result is None else [result]

        def done(results: list[UndoResult]) -> None:
            if not results:
                self.told.emit(self.tr("Nothing to redo") if redo else self.tr("Nothing to undo on this picture"))
                return
            more = max(results[0].step.pictures, len(results))
            where = f" ({counted('picture', more)})" if more > 1 else ""
            text = self.tr("Redone: {step}") if redo else self.tr("Undone: {step}")
            self._after(session, results, text.format(step=results[0].step.label + where))

        session.store.write(work, done)

    def _after(self, session: Session, results: list[UndoResult], text: str) -> None:
        if self._session is not session or not results:
            return
        left = sum(len(result.left) for result in results)
        note = self.tr("; left alone, for it was changed since: {n}").format(n=left) if left else ""
        touched = frozenset[int]().union(*(result.pictures for result in results))
        session.read_touched(touched, classes=any(result.classes for result in results))
        session.history_changed.emit()
        self.told.emit(text + note)


def _reverse_batch(project: Project, label: str, *, redo: bool) -> list[UndoResult]:
    """Undo or redo all steps of a batch as one; pictures with later steps on top keep theirs."""
    peek = project.peek_redo if redo else project.peek_undo
    reverse = project.redo if redo else project.undo
    pictures = {s.picture for s in project.history(None, _BATCH_STEPS) if s.label == label and s.undone is redo}
    results = []
    for picture in sorted(p for p in pictures if p is not None):
        step = peek(picture)
        if step is not None and step.label == label:
            result = reverse(picture)
            results += [result] if result is not None else []
    return results
