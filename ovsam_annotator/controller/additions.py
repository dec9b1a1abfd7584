"""Pictures that a person drops on the window: they join the open project, and leave it again with one press."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from ovsam_annotator.controller.projects import pictures_among
from ovsam_annotator.views import data
from ovsam_annotator.views.translation import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ovsam_annotator.controller.session import Session
    from ovsam_annotator.controller.tasks import Runner
    from ovsam_annotator.views.protocols import MainWindowView
    from ovsam_core.store import PictureRow, Project

__all__ = ["ADDED", "AdditionsController"]

ADDED = "added"
"""Key of the message that offers to undo."""


class AdditionsController(QObject):
    """Adds pictures to the open project.

    Args:
        window: says what was added, and offers to undo.
        runner: looks into folders.

    Attributes:
        added: (picture id) the first of the new pictures, which is to be shown.
    """

    added = Signal(int)

    def __init__(self, *, window: MainWindowView, runner: Runner, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._window = window
        self._runner = runner
        self._session: Session | None = None
        self._ids: tuple[int, ...] = ()

    def attach(self, session: Session | None) -> None:
        """Work on another project, or none."""
        self._session = session
        self._ids = ()
        self._window.clear_message(ADDED)

    def add(self, paths: Sequence[Path]) -> None:
        """Add pictures, and those in folders; what the project has already is left alone."""
        session = self._session
        if session is None:
            return
        if session.read_only:
            self._tell(self.tr("Nothing can be added: the project is read-only"))
            return

        def found(files: list[Path]) -> None:
            if self._session is not session:
                return
            if files:
                session.store.write(lambda project: project.add_pictures(files), written, refused)
            else:
                self._tell(self.tr("No pictures among what was dropped"))

        def written(rows: list[PictureRow]) -> None:
            if self._session is session:
                self._show(session, rows)

        def refused(error: Exception) -> None:
            self._tell(self.tr("The pictures cannot be added: {error}").format(error=error))

        self._runner.run(lambda: pictures_among(paths), found, refused)

    def undo(self) -> None:
        """Take the pictures out again that were added last, unless one of them was labelled since."""
        session, ids = self._session, self._ids
        self._window.clear_message(ADDED)
        if session is None or not ids:
            return
        self._ids = ()

        def done(removed: bool) -> None:
            if self._session is not session:
                return
            if not removed:
                self._tell(self.tr("The pictures stay: some of them have objects by now"))
                return
            session.reload_lists()
            session.history_changed.emit()
            self._window.set_hint(
                self.tr("{pictures} taken out again; no file was touched").format(pictures=counted("picture", len(ids)))
            )

        session.store.write(lambda project: _remove(project, ids), done)

    def _show(self, session: Session, rows: list[PictureRow]) -> None:
        if not rows:
            self._window.set_hint(self.tr("These pictures are in the project already"))
            return
        self._ids = tuple(row.id for row in rows)
        for row in rows:
            session.note_picture(row)
        session.reload_lists()
        session.history_changed.emit()
        text = self.tr("{pictures} added to this project").format(pictures=counted("picture", len(rows)))
        self._window.show_message(data.Message(ADDED, text, "", "info", self.tr("Undo")))
        self.added.emit(rows[0].id)

    def _tell(self, text: str) -> None:
        self._window.show_message(data.Message(ADDED, text, level="warning"))


def _remove(project: Project, ids: Sequence[int]) -> bool:
    """Remove pictures without objects; False, and nothing is removed, where one has some."""
    if any(project.summaries(picture) for picture in ids):
        return False
    project.remove_pictures(ids)
    return True
