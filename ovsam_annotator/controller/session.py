"""The open project as the window knows it: classes, pictures, the open document, and every change on its way down."""

from __future__ import annotations

from collections import Counter
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

_FINISHED = frozenset({"done", "approved", "excluded"})
_FEW = 50  # pictures whose rows are read one by one; above it the whole list is cheaper


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


@dataclass(frozen=True, slots=True, eq=False)
class _Reread:
    """A picture as the store has it, against what the window shows.

    Attributes:
        picture: its row.
        items: its objects.
        put: uids of objects that came or look different now.
        dropped: uids of objects that are gone.
        in_order: whether the objects on show can be brought up to date in their places.
    """

    picture: PictureRow
    items: list[Item]
    put: tuple[str, ...]
    dropped: tuple[str, ...]
    in_order: bool


def _read_again(project: Project, picture: int, known: Mapping[str, Item]) -> _Reread:
    row, items = read_items(project, picture, known)
    fresh = {item.uid for item in items}
    kept = [uid for uid in known if uid in fresh]
    put = tuple(i.uid for i in items if i.uid not in known or _differ(known[i.uid].row, i.row))
    return _Reread(
        row, items, put, tuple(u for u in known if u not in fresh), [i.uid for i in items[: len(kept)]] == kept
    )


def _differ(old: ObjectRow, new: ObjectRow) -> bool:
    """Whether two versions of an object differ in more than what the store alone fills in."""
    return replace(old, changed=new.changed, export_id=new.export_id) != new


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
        classes_changed: (class uids): classes came, went, or got another name, colour or hotkey.
        counts_changed: (class uids): only the number of their objects changed.
        pictures_changed: (picture ids): their rows in the list are out of date.
        history_changed: a step was written, undone or redone.
        refused: text; the store did not accept a change.
    """

    document_replaced = Signal()
    items_changed = Signal(object, object)
    selection_changed = Signal()
    classes_changed = Signal(object)
    counts_changed = Signal(object)
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
        self._finished = _finished(self.pictures)
        self._version = 0  # rises with every change made here; what was read before one is out of date

    @property
    def progress(self) -> tuple[int, int]:
        """Pictures that are done, approved or excluded, and all pictures."""
        return self._finished, len(self.pictures)

    def note_picture(self, picture: PictureRow) -> None:
        """Take over a picture's row: here, and in the document where it is the open one."""
        old = self.pictures.get(picture.id)
        self._finished += (picture.state in _FINISHED) - (old is not None and old.state in _FINISHED)
        self.pictures[picture.id] = picture
        if self.document is not None and self.document.picture.id == picture.id:
            self.document.picture = picture

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
        """Bring the document to what the store has; what stays the same is not shown anew."""
        document = self.document
        if document is None:
            return
        known = {item.uid: item for item in document}
        picture_id, version = document.picture.id, document.version

        def done(found: _Reread) -> None:
            if self.document is not document:
                return
            if document.version != version:  # what was done since is on its way to the store, behind this reading
                self.read_again()
                return
            self.note_picture(found.picture)
            if found.in_order:
                document.put(found.items)
                document.drop(found.dropped)
                if found.put or found.dropped:
                    self.items_changed.emit(found.put, found.dropped)
            else:
                fresh = Document(found.picture, found.items)
                fresh.select(document.selection)
                self.show(fresh)
            self.pictures_changed.emit((picture_id,))

        self.store.read(lambda project: _read_again(project, picture_id, known), done)

    def read_touched(self, pictures: Iterable[int], *, classes: bool) -> None:
        """Read again what a step of the journal has changed, and no more.

        Args:
            pictures: ids of pictures that came, went, or whose objects or state changed.
            classes: whether classes changed.
        """
        ids = tuple(sorted(pictures))
        if len(ids) > _FEW or any(i not in self.pictures for i in ids):
            self.reload_lists()
            self.read_again()
            return

        version = self._version

        def done(found: tuple[list[PictureRow], list[ClassRow], dict[str | None, int]]) -> None:
            if self._version != version:
                self.read_touched(ids, classes=classes)
                return
            for picture in found[0]:
                self.note_picture(picture)
            self._take_classes(found[1], found[2])
            self.pictures_changed.emit(ids)

        def gone(_: Exception) -> None:
            self.reload_lists()

        self.store.read(
            lambda project: ([project.picture(i) for i in ids], project.classes(), project.class_counts()), done, gone
        )
        if classes or (self.document is not None and self.document.picture.id in ids):
            self.read_again()

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
        if self.document is not None:
            self.put_into(self.document, label, items, extra=extra, drop=drop)

    def put_into(
        self,
        document: Document,
        label: str,
        items: Iterable[Item],
        *,
        extra: tuple[ClassRow | PictureRow, ...] = (),
        drop: Iterable[str] = (),
    ) -> None:
        """Do as `put_items` does, on a document that need not be the open one any more."""
        if self._refuse_read_only():
            return
        items, drop = list(items), [uid for uid in drop if uid in document]
        refs = tuple(item.row.ref for uid in drop if (item := document.get(uid)) is not None)
        counted = self._count([document.get(uid) for uid in (*drop, *(i.uid for i in items))], items)
        pictures = tuple(row for row in extra if isinstance(row, PictureRow))
        if not pictures and document.picture.state == "unseen":
            pictures = (replace(document.picture, state="in_work"),)
            extra = (*extra, *pictures)
        for picture in pictures:
            self.note_picture(picture)
        document.put(items)
        document.drop(drop)
        if document is self.document:
            self.items_changed.emit(tuple(item.uid for item in items), tuple(drop))
        classes = tuple(row.uid for row in extra if isinstance(row, ClassRow))
        if classes:
            self.classes_changed.emit(classes)
        if counted:
            self.counts_changed.emit(counted)
        self._write(Change(label, (*extra, *(item.row for item in items)), refs, document.picture.id))
        self.pictures_changed.emit((document.picture.id,))
        shown = self.document
        if shown is not None and shown is not document and shown.picture.id == document.picture.id:
            self.read_again()  # the picture was closed and opened again meanwhile

    def put_late(
        self,
        document: Document,
        label: str,
        work: Callable[[], tuple[list[Item], list[str]]],
        *,
        extra: tuple[ClassRow | PictureRow, ...] = (),
    ) -> None:
        """Write objects that the store's own thread works out: the project is being left and shows nothing any more.

        Args:
            document: the picture's objects.
            label: what the history list shows.
            work: returns the objects to write, and uids of those to remove; nothing is written where both are empty.
            extra: rows of classes that belong to the same step.
        """
        picture = document.picture
        if picture.state == "unseen":
            extra = (*extra, replace(picture, state="in_work"))
        classes = tuple(self.classes)
        refs = {item.uid: item.row.ref for item in document}

        def write(project: Project) -> None:
            items, drop = work()
            if items or drop:
                put = (*extra, *(item.row for item in items))
                used = {item.row.class_uid for item in items}
                change = Change(label, put, tuple(refs[uid] for uid in drop), picture.id)
                _apply(project, change, tuple(row for row in classes if row.uid in used))

        self.store.write(write)

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
        self.note_picture(picture)
        self.pictures_changed.emit((picture.id,))
        self._write(Change(label, (picture,), (), picture.id))

    def put_class(self, label: str, row: ClassRow) -> None:
        """Add or change a class."""
        if self._refuse_read_only():
            return
        self.classes.put(row)
        self.classes_changed.emit((row.uid,))
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

    def reload_lists(self) -> None:
        """Read classes, counts and pictures again."""
        version = self._version

        def finished(facts: ProjectFacts) -> None:
            if self._version != version:
                self.reload_lists()
                return
            self.pictures = dict(facts.pictures)
            self._finished = _finished(self.pictures)
            self._take_classes(facts.classes, facts.counts)
            self.pictures_changed.emit(facts.list_rows)

        self.store.read(read_facts, finished)

    def claim_class(self, entry_id: str, name: str) -> tuple[ClassRow, tuple[ClassRow, ...]]:
        """The class for an accepted name, and the rows to write with the object (empty for a known class)."""
        row, new = self.classes.claim(entry_id, name)
        self._version += new
        return row, (row,) if new else ()

    def _write(self, change: Change) -> None:
        self._version += 1
        used = {row.class_uid for row in change.put if isinstance(row, ObjectRow) and row.class_uid}
        classes = tuple(row for uid in sorted(used) if (row := self.classes.get(uid)) is not None)

        def written(_: Applied) -> None:
            self.history_changed.emit()

        self.store.write(lambda project: _apply(project, change, classes), written, self._on_refused)

    def _on_refused(self, error: Exception) -> None:
        self.refused.emit(str(error))
        self.reload_lists()
        self.read_again()

    def _refuse_read_only(self) -> bool:
        if self.read_only:
            self.refused.emit(
                self.tr("The project cannot be changed: {reason}").format(
                    reason=self.store.project.report.read_only_reason
                )
            )
        return self.read_only

    def _take_classes(self, classes: Iterable[ClassRow], counts: Mapping[str | None, int]) -> None:
        changed = self.classes.replace(classes)
        counted = tuple(uid for uid in {*counts, *self.counts} if uid and counts.get(uid) != self.counts.get(uid))
        self.counts = dict(counts)
        if changed:
            self.classes_changed.emit(changed)
        if counted:
            self.counts_changed.emit(counted)

    def _count(self, old: Iterable[Item | None], new: Iterable[Item]) -> tuple[str, ...]:
        """Count objects out and in; returns the classes whose number changed."""
        change = Counter(item.row.class_uid for item in new)
        change.subtract(item.row.class_uid for item in old if item is not None)
        for uid, by in change.items():
            self.counts[uid] = self.counts.get(uid, 0) + by
        return tuple(uid for uid, by in change.items() if by and uid is not None)


def _apply(project: Project, change: Change, classes: tuple[ClassRow, ...]) -> Applied:
    """Write a change, with classes that its objects carry and the store does not have.

    Undo takes a class back together with the object it came with; whoever accepts the same name right after, before the
    window has heard of it, means that class.
    """
    coming = {row.uid for row in change.put if isinstance(row, ClassRow)}
    wanted = [row for row in classes if row.uid not in coming]
    if wanted:
        known = {row.uid for row in project.classes()}
        missing = tuple(row for row in wanted if row.uid not in known)
        if missing:
            change = replace(change, put=(*missing, *change.put))
    return project.apply(change)


def _finished(pictures: Mapping[int, PictureRow]) -> int:
    return sum(picture.state in _FINISHED for picture in pictures.values())
