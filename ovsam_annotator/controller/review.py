"""Review: approve, send back or remove, object by object and picture by picture, with one key each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from ovsam_annotator.controller import rows
from ovsam_annotator.views import data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ovsam_annotator.controller.session import Session
    from ovsam_annotator.views.protocols import CanvasView, ReviewView
    from ovsam_core.store import ObjectState, PictureState, Project

__all__ = ["ReviewController", "next_open_picture"]


def next_open_picture(project: Project, ids: Iterable[int]) -> int | None:
    """The first of these pictures with an object that is still open; on the store's thread."""
    counts = project.picture_counts()
    for picture in ids:
        count = counts.get(picture)
        if count is None or count.objects == count.approved:
            continue
        if any(summary.state == "open" for summary in project.summaries(picture)):
            return picture
    return None


class ReviewController(QObject):
    """Walks through the objects of the open picture, and from picture to picture.

    Args:
        canvas: brings the object into view.
        view: the bar that says what is under review.
        following: ids of the other pictures in the order of the list, beginning after the open one, round its end.

    Attributes:
        next_picture_asked: every object of this picture is decided.
        picture_asked: (picture id) it holds the next open object.
        active_changed: review mode was entered or left.
        told: text for the status line.
    """

    next_picture_asked = Signal()
    picture_asked = Signal(int)
    active_changed = Signal(bool)
    told = Signal(str)

    def __init__(
        self,
        *,
        canvas: CanvasView,
        view: ReviewView,
        following: Callable[[], Sequence[int]],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._canvas = canvas
        self._view = view
        self._following = following
        self._session: Session | None = None
        self._active = False

    @property
    def active(self) -> bool:
        """Whether review mode is on."""
        return self._active

    def attach(self, session: Session | None) -> None:
        """Work on another project, or none."""
        self._session = session
        if session is not None:
            session.selection_changed.connect(self._show)
            session.document_replaced.connect(self._begin)
            session.items_changed.connect(self._show)
        self._show()

    def toggle(self) -> None:
        """Enter or leave review mode."""
        self._active = not self._active
        self.active_changed.emit(self._active)
        self._begin()

    def decide(self, state: ObjectState) -> None:
        """Mark the selected objects and go to the next open one."""
        session = self._session
        if session is None or session.document is None:
            return
        chosen = session.document.selected()
        if chosen:
            verb = "Approve" if state == "approved" else "Needs work:"
            name = session.classes.name(chosen[0].row.class_uid) or "object"
            session.put_rows(f"{verb} {name}", [replace(item.row, state=state) for item in chosen])
            self._next()

    def decide_picture(self, state: PictureState) -> None:
        """Mark the open picture and go to the next one."""
        session = self._session
        if session is None or session.document is None:
            return
        picture = session.document.picture
        session.put_picture(f"Picture {rows.state_text(state)}", replace(picture, state=state))
        self.next_picture_asked.emit()

    def next_open(self) -> None:
        """Go to the next object of the project that nobody has decided on; review mode begins where it is off."""
        session = self._session
        if session is None or session.document is None:
            return
        if not self._active:
            self.toggle()
            if session.document.selection:
                return
        if self._next():
            return
        ids = self._following()

        def done(picture: int | None) -> None:
            if self._session is not session:
                return
            if picture is None:
                self.told.emit(self.tr("Every object of the pictures in the list is decided"))
            else:
                self.picture_asked.emit(picture)

        session.store.read(lambda project: next_open_picture(project, ids), done)

    def removed(self) -> None:
        """The selected object was deleted: go on."""
        if self._active:
            self._next()

    def _begin(self) -> None:
        session = self._session
        if self._active and session is not None and session.document is not None and not session.document.selection:
            self._next()
        self._show()

    def _next(self) -> bool:
        """Select the next open object of this picture; False where there is none, and nothing is selected then."""
        session = self._session
        if not self._active or session is None or session.document is None:
            return False
        items = list(session.document)
        chosen = session.document.selection
        start = next((k + 1 for k, item in enumerate(items) if chosen and item.uid == chosen[-1]), 0)
        for item in (*items[start:], *items[:start]):
            if item.row.state == "open" and item.uid not in chosen:
                session.select([item.uid])
                x1, y1, x2, y2 = item.shape.box_xyxy
                self._canvas.show_box((float(x1), float(y1), float(x2), float(y2)))
                return True
        session.select(())
        return False

    def _show(self, *_: object) -> None:
        session = self._session
        document = session.document if session else None
        if not self._active or session is None or document is None:
            self._view.set_step(None)
            return
        items = list(document)
        chosen = document.selected()
        if not chosen:
            decided = sum(item.row.state != "open" for item in items)
            title = self.tr("Every object is decided") if items else self.tr("No objects on this picture")
            self._view.set_step(
                data.ReviewStep(
                    title, decided, len(items), rows.state_text(document.picture.state), self.tr("Shift+Y: approve")
                )
            )
            return
        item = chosen[-1]
        score = "" if item.row.score is None else self.tr("score {score} · ").format(score=f"{item.row.score:.2f}")
        self._view.set_step(
            data.ReviewStep(
                session.classes.name(item.row.class_uid) or self.tr("no name"),
                [i.uid for i in items].index(item.uid) + 1,
                len(items),
                rows.state_text(item.row.state),
                score + rows.origin_of(item.row),
            )
        )
