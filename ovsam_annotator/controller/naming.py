"""Names by key and by question: search, rename, find, class hotkeys, the fixed class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

if TYPE_CHECKING:
    from ovsam_annotator.controller.annotation import AnnotationController
    from ovsam_annotator.controller.names import NamesController
    from ovsam_annotator.controller.objects import ObjectsController
    from ovsam_annotator.controller.session import Session
    from ovsam_annotator.views.protocols import MainWindowView

__all__ = ["NamingController"]


class NamingController(QObject):
    """Gives a name to whatever it is meant for: the mask in work, the selected objects, or all that follow.

    Args:
        window: asks for names.
        annotation: the mask in work.
        objects: the selected objects.
        names: the vocabulary.

    Attributes:
        told: text for the status line.
    """

    told = Signal(str)

    def __init__(
        self,
        *,
        window: MainWindowView,
        annotation: AnnotationController,
        objects: ObjectsController,
        names: NamesController,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._window = window
        self._annotation = annotation
        self._objects = objects
        self._names = names
        self._session: Session | None = None
        window.label_list.name_chosen.connect(self.accept_searched)
        objects.rename_asked.connect(self.rename)

    def attach(self, session: Session | None) -> None:
        """Work on another project, or none."""
        self._session = session

    def search(self) -> None:
        """Search the vocabulary for the mask in work; without one, rename the selected objects."""
        if self._annotation.suggested is not None:
            self._window.label_list.open_search()
        else:
            self.rename()

    def rename(self) -> None:
        """Ask for the name of the selected objects."""
        session = self._session
        if session is None or session.document is None or not session.document.selection:
            return
        known = [row.name for row in session.classes]
        start = session.classes.name(session.document.selected()[-1].row.class_uid)
        name = self._window.ask_name(self.tr("Name"), start, known).strip()
        if name:
            entry = self._names.vocabulary.find(name) if self._names.vocabulary else None
            row, extra = session.claim_class(entry.id if entry else "", entry.name if entry else name)
            self._objects.rename(row, extra)

    def name_drawn(self, uid: str) -> None:
        """Give an object drawn by hand the fixed class, or offer names for its mask."""
        row = self._session.classes.get(self._annotation.locked_class) if self._session else None
        if row is not None:
            self._objects.rename(row)
        else:
            self._annotation.offer_names(uid)

    def accept_searched(self, entry_id: str, rank: int) -> None:
        """A name found by the search that is not among those on show (those the annotation controller takes)."""
        entry = self._names.entry(entry_id) if rank == 0 else None
        if entry is not None and all(label.entry_id != entry_id for label in self._annotation.labels):
            self._annotation.accept_named(entry.id, entry.name)

    def hotkey(self, number: int) -> None:
        """A class's key, 1 to 10: names the mask in work, or the selected objects, or fixes the class."""
        session = self._session
        row = session.classes.with_hotkey(f"Ctrl+{number % 10}") if session else None
        if session is None or row is None:
            self.told.emit(self.tr("No class has the hotkey Ctrl+{number}").format(number=number % 10))
        elif self._annotation.suggested is not None:
            self._annotation.accept_class(row)
        elif session.document is not None and session.document.selection:
            self._objects.rename(row)
        else:
            self._annotation.toggle_lock(row.uid)

    def lock(self, uid: str) -> None:
        """Fix a class for every accepted object; empty releases it."""
        locked = self._annotation.locked_class
        if uid and uid != locked:
            self._annotation.toggle_lock(uid)
        elif not uid and locked:
            self._annotation.toggle_lock(locked)
        self._window.classes.set_locked(self._annotation.locked_class)
