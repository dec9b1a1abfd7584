"""The open project as the window knows it: classes, pictures, the open document, and every change on its way down."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from ovsam_annotator.controller import rows
from ovsam_annotator.model.class_book import ClassBook
from ovsam_annotator.model.document import Document, Item
from ovsam_annotator.model.shapes import mask_shape
from ovsam_core.store import Change, ClassRow, ObjectRow, PictureRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from ovsam_annotator.controller.store_service import StoreService
    from ovsam_annotator.views import data
    from ovsam_core.store import Applied, OpenReport, Project

__all__ = ["ProjectFacts", "Session", "read_facts", "read_items"]


@dataclass(frozen=True, slots=True, eq=False)
class ProjectFacts:
    """Everything the window shows of a project before a picture is open; read on the store's thread."""

    pictures: dict[int, PictureRow]
    list_rows: list[data.PictureRow]
    classes: list[ClassRow]
    counts: dict[str | None, int]
    settings: dict[str, object]
    report: OpenReport


def read_facts(project: Project) -> ProjectFacts:
    """Read a project's lists."""
    pictures = project.pictures()
    classes = project.classes()
    return ProjectFacts(
        {picture.id: picture for picture in pictures},
        rows.picture_rows(pictures, project.summaries(), classes),
        classes,
        project.class_counts(),
        project.settings(),
        project.report,
    )


def read_items(project: Project, picture: int, known: Mapping[str, Item]) -> tuple[PictureRow, list[Item]]:
    """Read a picture's objects, decoding only masks that differ from the known ones."""
    items = []
    for row in project.objects(picture):
        old = known.get(row.uid)
        shape = old.shape if old is not None and old.row.mask == row.mask else mask_shape(row.mask)
        items.append(Item(row, shape))
    return project.picture(picture), items


class Session(QObject):
    """State shared by the controllers of one open project. Lives on the GUI thread and never waits for the store.

    A change is shown first and written in the background right after; what the store refuses is read back from it.

    Args:
        store: the project's thread.
        facts: what was read when the project was opened.

    Attributes:
        store: the project's thread.
        classes: its classes, kept up to date.
        counts: objects by class uid, kept up to date.
        pictures: its pictures by id, kept up to date.
        document: the open picture's objects; None while there is none.
        document_replaced: the document is another one, or was read again.
        items_changed: (uids put, uids dropped): objects of the document changed.
        selection_changed: the document's selection changed.
        classes_changed: names, colours or counts changed.
        pictures_changed: (picture ids): their rows in the list are out of date.
        history_changed: a step was written, undone or redone.
        refused: text; the store did not accept a change.
    """

    document_replaced = Signal()
    items_changed = Signal(object, object)
    selection_changed = Signal()
    classes_changed = Signal()
    pictures_changed = Signal(object)
    history_changed = Signal()
    refused = Signal(str)

    def __init__(self, store: StoreService, facts: ProjectFacts, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.store = store
        self.classes = ClassBook(facts.classes)
        self.counts = dict(facts.counts)
        self.pictures = dict(facts.pictures)
        self.document: Document | None = None

    @property
    def read_only(self) -> bool:
        """Whether nothing can be changed."""
        return self.store.project.read_only

    def file_of(self, picture: PictureRow) -> Path:
        """Where a picture's file lies."""
        return self.store.project.file_of(picture)

    # ---- the document

    def show(self, document: Document | None) -> None:
        """Make another document the open one."""
        self.document = document
        self.document_replaced.emit()

    def select(self, uids: Iterable[str]) -> None:
        """Select objects of the document."""
        if self.document is not None and self.document.select(uids) is not None:
            self.selection_changed.emit()

    def read_again(self) -> None:
        """Replace the document by what the store has."""
        document = self.document
        if document is None:
            return
        known = {item.uid: item for item in document}
        picture_id = document.picture.id

        def done(found: tuple[PictureRow, list[Item]]) -> None:
            current = self.document
            if current is None or current.picture.id != picture_id:
                return
            picture, items = found
            fresh = Document(picture, items)
            fresh.select(current.selection)
            self.pictures[picture.id] = picture
            self.show(fresh)
            self.pictures_changed.emit((picture.id,))

        self.store.read(lambda project: read_items(project, picture_id, known), done)

    # ---- changing

    def put_items(
        self,
        label: str,
        items: Iterable[Item],
        *,
        extra: tuple[ClassRow | PictureRow, ...] = (),
        drop: Iterable[str] = (),
    ) -> None:
        """Add or replace objects of the open picture, drop others, and write it all as one step.

        A picture nobody worked on yet becomes "in work" in the same step.

        Args:
            label: what the history list shows.
            items: objects to add or replace.
            extra: rows of classes or pictures that belong to the same step.
            drop: uids of objects to remove.
        """
        document = self.document
        if document is None or self._refuse_read_only():
            return
        items, drop = list(items), [uid for uid in drop if uid in document]
        refs = tuple(item.row.ref for uid in drop if (item := document.get(uid)) is not None)
        for uid in drop:
            self._count(document.get(uid), -1)
        for item in items:
            self._count(document.get(item.uid), -1)
            self._count(item, 1)
        pictures = tuple(row for row in extra if isinstance(row, PictureRow))
        if not pictures and document.picture.state == "unseen":
            pictures = (replace(document.picture, state="in_work"),)
            extra = (*extra, *pictures)
        for picture in pictures:
            self.pictures[picture.id] = picture
            if picture.id == document.picture.id:
                document.picture = picture
        document.put(items)
        document.drop(drop)
        self.items_changed.emit(tuple(item.uid for item in items), tuple(drop))
        if any(isinstance(row, ClassRow) for row in extra) or items or drop:
            self.classes_changed.emit()
        self.pictures_changed.emit((document.picture.id,))
        self._write(Change(label, (*extra, *(item.row for item in items)), refs, document.picture.id))

    def put_rows(self, label: str, objects: Iterable[ObjectRow]) -> None:
        """Change objects' rows and keep their masks."""
        document = self.document
        if document is None:
            return
        changed = [Item(row, item.shape) for row in objects if (item := document.get(row.uid)) is not None]
        if changed:
            self.put_items(label, changed)

    def put_picture(self, label: str, picture: PictureRow) -> None:
        """Change a picture's own row, mostly its state."""
        if self._refuse_read_only():
            return
        self.pictures[picture.id] = picture
        if self.document is not None and self.document.picture.id == picture.id:
            self.document.picture = picture
        self.pictures_changed.emit((picture.id,))
        self._write(Change(label, (picture,), (), picture.id))

    def put_class(self, label: str, row: ClassRow) -> None:
        """Add or change a class."""
        if self._refuse_read_only():
            return
        self.classes.put(row)
        self.classes_changed.emit()
        self._write(Change(label, (row,)))

    def change(self, work: Callable[[Project], object], done: Callable[[object], None] | None = None) -> None:
        """Run a change that only the store can make (merge, delete, import), then read everything touched again."""
        if self._refuse_read_only():
            return

        def finished(answer: object) -> None:
            self.reload_lists()
            self.read_again()
            self.history_changed.emit()
            if done is not None:
                done(answer)

        self.store.write(work, finished, self._on_refused)

    def reload_lists(self, done: Callable[[ProjectFacts], None] | None = None) -> None:
        """Read classes, counts and pictures again."""

        def finished(facts: ProjectFacts) -> None:
            self.classes.replace(facts.classes)
            self.counts = dict(facts.counts)
            self.pictures = dict(facts.pictures)
            self.classes_changed.emit()
            self.pictures_changed.emit(facts.list_rows)
            if done is not None:
                done(facts)

        self.store.read(read_facts, finished)

    def claim_class(self, entry_id: str, name: str) -> tuple[ClassRow, tuple[ClassRow, ...]]:
        """The class for an accepted name, and the rows to write with the object (empty for a known class)."""
        row, new = self.classes.claim(entry_id, name)
        return row, (row,) if new else ()

    def _write(self, change: Change) -> None:
        def written(_: Applied) -> None:
            self.history_changed.emit()

        self.store.write(lambda project: project.apply(change), written, self._on_refused)

    def _on_refused(self, error: Exception) -> None:
        self.refused.emit(str(error))
        self.reload_lists()
        self.read_again()

    def _refuse_read_only(self) -> bool:
        if self.read_only:
            self.refused.emit(f"The project cannot be changed: {self.store.project.report.read_only_reason}")
        return self.read_only

    def _count(self, item: Item | None, by: int) -> None:
        if item is not None:
            uid = item.row.class_uid
            self.counts[uid] = self.counts.get(uid, 0) + by
