"""The class manager: add, rename, merge, delete, colours and hotkeys of the project's classes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from ovsam_annotator.controller import rows
from ovsam_annotator.controller.names import PRESET_TITLES
from ovsam_core.store import Ref, delete_class, merge_classes, rename_class
from ovsam_core.vocabulary import Vocabulary, own_entry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovsam_annotator.controller.names import NamesController
    from ovsam_annotator.controller.session import Session
    from ovsam_annotator.controller.tasks import Runner
    from ovsam_annotator.views.protocols import ClassManagerView
    from ovsam_core.store import ClassRow

__all__ = ["ClassesController"]

_NAMES_AT_ONCE = 5000  # of an imported list; more is a vocabulary, not a class list


class ClassesController(QObject):
    """Carries out what the class manager asks.

    Args:
        view: the class manager.
        names: the project's vocabulary.
        runner: reads class lists.

    Attributes:
        lock_asked: (uid) fix a class, empty to release.
        vocabulary_chosen: (preset) to be kept with the project.
        told: text of something that cannot be done.
    """

    lock_asked = Signal(str)
    vocabulary_chosen = Signal(str)
    told = Signal(str)

    def __init__(
        self, *, view: ClassManagerView, names: NamesController, runner: Runner, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._view = view
        self._names = names
        self._runner = runner
        self._session: Session | None = None
        view.add_asked.connect(self.add)
        view.rename_asked.connect(self.rename)
        view.merge_asked.connect(self.merge)
        view.delete_asked.connect(self.delete)
        view.colour_changed.connect(self.set_colour)
        view.hotkey_changed.connect(self.set_hotkey)
        view.lock_asked.connect(self.lock_asked)
        view.import_asked.connect(self.import_names)
        view.vocabulary_asked.connect(self.choose_vocabulary)

    def attach(self, session: Session | None) -> None:
        """Work on another project, or none."""
        self._session = session
        if session is not None:
            session.classes_changed.connect(self._show_rows)
            session.counts_changed.connect(self._show_rows)
        self.show()

    def show(self) -> None:
        """Show the classes, how often each is used, and the vocabulary in use."""
        self._show_rows()
        self._view.set_vocabularies(PRESET_TITLES, self._names.preset)

    def _show_rows(self, *_: object) -> None:
        session = self._session
        self._view.set_rows(
            [rows.class_row(row, session.counts.get(row.uid, 0)) for row in session.classes] if session else []
        )

    def add(self, name: str) -> None:
        """Add a class; a name of the vocabulary keeps its entry."""
        session = self._session
        if session is None or not name.strip():
            return
        vocabulary = self._names.vocabulary
        entry = vocabulary.find(name) if vocabulary is not None else None
        entry = entry or own_entry(name)
        row, new = session.claim_class(entry.id, entry.name)
        if new:
            session.put_class(f"Add class {row.name}", row)
        else:
            self.told.emit(self.tr("“{name}” is a class of this project already").format(name=row.name))

    def rename(self, uid: str, name: str) -> None:
        """Rename a class everywhere."""
        session = self._session
        row = session.classes.get(uid) if session else None
        if session is None or row is None or not name.strip() or name.strip() == row.name:
            return
        if any(other.name == name.strip() for other in session.classes):
            self.told.emit(
                self.tr("A class is called “{name}” already; merge the two instead").format(name=name.strip())
            )
            self.show()
            return
        session.change(lambda project: rename_class(project, uid, name.strip()))

    def merge(self, uids: Sequence[str], into: str) -> None:
        """Move the objects of classes to another class."""
        if self._session is not None:
            self._session.change(lambda project: merge_classes(project, uids, into))

    def delete(self, uid: str, keep: str) -> None:
        """Delete a class: its objects lose their name, are deleted, or go to another class."""
        if self._session is None:
            return
        if keep == "unnamed":
            self._session.change(lambda project: delete_class(project, uid, "unname"))
        elif keep == "delete":
            self._session.change(lambda project: delete_class(project, uid, "delete"))
        else:
            self._session.change(lambda project: delete_class(project, uid, Ref("class", keep)))

    def set_colour(self, uid: str, colour: tuple[int, int, int]) -> None:
        """Give a class another colour."""
        row = self._row(uid)
        if row is not None and self._session is not None:
            red, green, blue = colour
            self._session.put_class(f"Colour of {row.name}", replace(row, colour=f"#{red:02x}{green:02x}{blue:02x}"))

    def set_hotkey(self, uid: str, hotkey: int) -> None:
        """Give a class a hotkey 1 to 10, and take it from the class that had it; 0 takes it away."""
        row, session = self._row(uid), self._session
        if row is None or session is None:
            return
        text = rows.hotkey_text(hotkey)
        other = session.classes.with_hotkey(text) if text else None
        if other is not None and other.uid != uid:
            session.put_class(f"Hotkey of {other.name}", replace(other, hotkey=None))
        session.put_class(f"Hotkey of {row.name}", replace(row, hotkey=text))

    def import_names(self, path: str) -> None:
        """Add the names of a text, table or COCO file as classes."""

        def done(vocabulary: Vocabulary) -> None:
            session = self._session
            if session is None:
                return
            if len(vocabulary) > _NAMES_AT_ONCE:
                self.told.emit(
                    self.tr("{path}: {n} names are too many for a class list; choose a vocabulary").format(
                        path=path, n=f"{len(vocabulary):,}"
                    )
                )
                return
            for entry in vocabulary:
                row, new = session.claim_class(entry.id, entry.name)
                if new:
                    session.put_class(f"Add class {row.name}", row)

        self._runner.run(lambda: Vocabulary.load(path), done, lambda error: self.told.emit(str(error)))

    def choose_vocabulary(self, preset: str) -> None:
        """Let the project use another vocabulary."""
        self._names.choose(preset)
        self.vocabulary_chosen.emit(preset)
        self.show()

    def _row(self, uid: str) -> ClassRow | None:
        return self._session.classes.get(uid) if self._session else None
