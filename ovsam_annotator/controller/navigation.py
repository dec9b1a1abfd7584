"""From picture to picture: what is shown, what is encoded, and what is made ready before it is needed."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, QObject, Signal

from ovsam_annotator.controller import rows
from ovsam_annotator.controller.projects import find_moved
from ovsam_annotator.controller.session import read_items
from ovsam_annotator.inference.messages import Encode, Encoded, Failed, Predicted, Priority, Progress
from ovsam_annotator.model.document import Document
from ovsam_annotator.views import data
from ovsam_annotator.views.pyramid import picture_image
from ovsam_core.errors import PictureError
from ovsam_core.pictures import load_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from ovsam_annotator.controller.session import Session
    from ovsam_annotator.controller.tasks import Runner
    from ovsam_annotator.inference.messages import Stage
    from ovsam_annotator.inference.segmenter import Segmenter
    from ovsam_annotator.model.document import Item
    from ovsam_annotator.views.data import PictureImage
    from ovsam_annotator.views.protocols import CanvasView, PictureListView
    from ovsam_core.store import PictureRow

__all__ = ["LoadedPicture", "NavigationController", "load_for_display"]

_AHEAD = 2  # pictures prepared before they are needed
_KEPT_BYTES = 1 << 29  # decoded pictures kept: the two before, the open one, the two after
_OPEN_STATES = ("unseen", "in_work", "needs_work")


def _stage_text(stage: Stage) -> str:
    """What the model does with the open picture, in words."""
    words = {
        "loading": QCoreApplication.translate("Stage", "The model is starting"),
        "reading": QCoreApplication.translate("Stage", "Reading the picture"),
        "names": QCoreApplication.translate("Stage", "Learning the names"),
    }
    return words.get(stage, QCoreApplication.translate("Stage", "Looking at the picture"))


class LoadedPicture:
    """A picture ready to show, and what reading it told."""

    __slots__ = ("image", "key", "nbytes", "size_wh")

    def __init__(self, image: PictureImage, key: str) -> None:
        self.image = image
        self.key = key
        self.size_wh = (image.width, image.height)
        self.nbytes = sum(level.nbytes for level in image.levels)


def load_for_display(picture_id: int, path: Path) -> LoadedPicture:
    """Decode a picture for the canvas; never on the GUI thread.

    Raises:
        PictureError: it cannot be read.
    """
    picture = load_picture(path)
    raw = picture.raw
    deep = raw is not None and raw.dtype.name == "uint16" and (raw.ndim == 2 or raw.shape[2] == 3)
    return LoadedPicture(picture_image(picture_id, raw if deep and raw is not None else picture.rgb), picture.key)


class NavigationController(QObject):
    """Opens pictures, keeps neighbours ready, and shows how far the model is with each.

    Args:
        canvas: shows the open picture.
        pictures: the list.
        segmenter: encodes.
        runner: reads picture files.
        loader: decodes a file for the canvas.

    Attributes:
        opening: a picture is about to be replaced; whatever is in work is dropped.
        opened: (picture id) it is on the canvas with its objects.
        failed: (picture id, text) it cannot be shown.
        hint_changed: text for the status line.
    """

    opening = Signal()
    opened = Signal(int)
    failed = Signal(int, str)
    hint_changed = Signal(str)

    def __init__(
        self,
        *,
        canvas: CanvasView,
        pictures: PictureListView,
        segmenter: Segmenter,
        runner: Runner,
        loader: Callable[[int, Path], LoadedPicture] = load_for_display,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._canvas = canvas
        self._pictures = pictures
        self._segmenter = segmenter
        self._runner = runner
        self._loader = loader
        self._session: Session | None = None
        self._current: int | None = None
        self._ready: OrderedDict[int, LoadedPicture] = OrderedDict()
        self._loading: set[int] = set()
        self._encode: dict[int, data.EncodeState] = {}
        self._missing: set[int] = set()
        self._searched: set[int] = set()
        pictures.picture_chosen.connect(self.open)
        canvas.retry_asked.connect(self.retry)

    @property
    def current(self) -> int | None:
        """Id of the open picture."""
        return self._current

    def state_of(self, picture_id: int) -> data.EncodeState:
        """How far the model is with a picture."""
        return self._encode.get(picture_id, data.EncodeState.NONE)

    def states(self) -> frozenset[data.EncodeState]:
        """Every state that some picture is in."""
        return frozenset(self._encode.values())

    def attach(self, session: Session | None, list_rows: Sequence[data.PictureRow] = ()) -> None:
        """Work on another project, or none."""
        self._session = session
        self._current = None
        self._ready.clear()
        self._loading.clear()
        self._encode.clear()
        self._missing.clear()
        self._searched.clear()
        self._segmenter.prefetch(())
        self._canvas.show_picture(None)
        self._pictures.set_rows(list_rows)
        if session is not None:
            session.pictures_changed.connect(self.refresh)

    # ---- opening

    def open(self, picture_id: int) -> None:
        """Show a picture with its objects, and let the model look at it."""
        session = self._session
        if session is None or picture_id not in session.pictures or picture_id == self._current:
            return
        self.opening.emit()
        self._current = picture_id
        self._pictures.set_current(picture_id)
        session.show(None)
        self._canvas.show_picture(None)
        ready = self._ready.get(picture_id)
        if ready is not None:
            self._ready.move_to_end(picture_id)
            self._show(picture_id, ready)
        else:
            self._canvas.set_encode_state(data.EncodeState.QUEUED, self.tr("Reading the picture"))
            self._load(picture_id)

    def retry(self) -> None:
        """Read and encode the open picture again, after a failure."""
        picture_id, session = self._current, self._session
        if picture_id is None or session is None:
            return
        if session.document is None:
            self._current = None
            self.open(picture_id)
        elif self._encode.get(picture_id) is data.EncodeState.FAILED:
            self._submit(picture_id)

    def step(self, by: int) -> None:
        """Open the next (+1) or previous (-1) visible picture of the list."""
        target = next(self._neighbours(by), None)
        if target is not None:
            self.open(target)
        else:
            self.hint_changed.emit(
                self.tr("This is the last picture") if by > 0 else self.tr("This is the first picture")
            )

    def step_open(self, by: int) -> None:
        """Open the next or previous picture that still needs work."""
        session = self._session
        if session is None:
            return
        for picture_id in self._neighbours(by):
            if session.pictures[picture_id].state in _OPEN_STATES:
                self.open(picture_id)
                return
        self.hint_changed.emit(self.tr("No further picture needs work in this direction"))

    def following(self) -> tuple[int, ...]:
        """Ids of the other visible pictures in the order of the list, beginning after the open one, round its end."""
        before = tuple(self._neighbours(-1)) if self._current is not None else ()
        return (*self._neighbours(1), *reversed(before))

    def _neighbours(self, by: int) -> Iterator[int]:
        """Visible pictures after (+1) or before (-1) the open one, nearest first."""
        session = self._session
        for picture_id in self._pictures.neighbours(self._current, by):
            if session is not None and picture_id in session.pictures:
                yield picture_id

    def _load(self, picture_id: int) -> None:
        session = self._session
        if session is None or picture_id in self._loading:
            return
        self._loading.add(picture_id)
        path = session.file_of(session.pictures[picture_id])

        def done(loaded: LoadedPicture) -> None:
            if self._session is not session:
                return
            self._loading.discard(picture_id)
            self._keep(picture_id, loaded)
            if self._current == picture_id and session.document is None:
                self._show(picture_id, loaded)

        def failed(error: Exception) -> None:
            if self._session is not session:
                return
            self._loading.discard(picture_id)
            key = session.pictures[picture_id].key if picture_id in session.pictures else None
            if key and not session.read_only and picture_id == self._current and picture_id not in self._searched:
                self._search(session, picture_id, key, error)
            else:
                self._fail(picture_id, error)

        self._runner.run(lambda: self._loader(picture_id, path), done, failed)

    def _search(self, session: Session, picture_id: int, key: str, error: Exception) -> None:
        """The file is gone or damaged: look for the same content elsewhere below the project's folder, once."""
        self._searched.add(picture_id)
        picture = session.pictures[picture_id]
        folder = session.store.project.folder
        self._canvas.set_encode_state(data.EncodeState.QUEUED, self.tr("Looking for the picture by its content"))

        def done(found: Path | None) -> None:
            if self._session is not session:
                return
            if found is None:
                self._fail(picture_id, error)
                return
            moved = replace(session.pictures[picture_id], path=session.store.project.relative(found))
            session.put_picture(f"Find {found.name} again", moved)
            self.hint_changed.emit(self.tr("The picture had moved; it was found again: {found}").format(found=found))
            if self._current == picture_id and session.document is None:
                self._load(picture_id)

        name = session.file_of(picture).name
        self._runner.run(lambda: find_moved(folder, name, key), done, lambda _: self._fail(picture_id, error))

    def _fail(self, picture_id: int, error: Exception) -> None:
        text = (
            str(error)
            if isinstance(error, PictureError)
            else self.tr("The picture cannot be shown: {error}").format(error=repr(error))
        )
        self._missing.add(picture_id)
        self._set_encode(picture_id, data.EncodeState.FAILED)
        if self._current == picture_id:
            self._canvas.set_encode_state(data.EncodeState.FAILED, text)
            self.failed.emit(picture_id, text)

    def _keep(self, picture_id: int, loaded: LoadedPicture) -> None:
        self._ready[picture_id] = loaded
        self._ready.move_to_end(picture_id)
        while len(self._ready) > 1 and sum(p.nbytes for p in self._ready.values()) > _KEPT_BYTES:
            oldest = next(i for i in self._ready if i != self._current)
            del self._ready[oldest]

    def _show(self, picture_id: int, loaded: LoadedPicture) -> None:
        session = self._session
        assert session is not None
        if picture_id in self._missing:
            self._missing.discard(picture_id)
            self._encode.pop(picture_id, None)
        picture = session.pictures[picture_id]
        self._note_facts(session, picture, loaded)
        self._submit(picture_id)

        def done(found: tuple[PictureRow, list[Item]]) -> None:
            if self._session is not session or self._current != picture_id:
                return
            row, items = found
            self._canvas.show_picture(loaded.image)  # not earlier: a click before its document is there would be lost
            width, height = loaded.size_wh
            if any((item.row.mask.width, item.row.mask.height) != (width, height) for item in items):
                self._other_size(picture_id, items, loaded)
                return
            session.note_picture(row)
            session.show(Document(row, items))
            self.opened.emit(picture_id)
            self._prepare_neighbours()

        session.store.read(lambda project: read_items(project, picture_id, {}), done)

    def _other_size(self, picture_id: int, items: Sequence[Item], loaded: LoadedPicture) -> None:
        """The file was replaced by a picture of another size: its objects must not be drawn on the wrong pixels."""
        mask = items[0].row.mask
        width, height = loaded.size_wh
        text = self.tr(
            "The file is now {now} pixels, but what is labelled was made on {then}. "
            "Put the old file back, or remove the picture from the project"
        ).format(now=f"{width} × {height}", then=f"{mask.width} × {mask.height}")
        self._canvas.set_encode_state(data.EncodeState.FAILED, text)
        self.failed.emit(picture_id, text)

    def _note_facts(self, session: Session, picture: PictureRow, loaded: LoadedPicture) -> None:
        width, height = loaded.size_wh
        if session.read_only or (picture.key, picture.w, picture.h) == (loaded.key, width, height):
            return
        fresh = replace(picture, key=loaded.key, w=width, h=height)
        session.note_picture(fresh)
        session.store.write(lambda project: project.note_facts([fresh]))

    # ---- the model

    def take(self, answer: object) -> None:
        """An answer of the segmenter, as far as it tells how far a picture is."""
        match answer:
            case Encoded():
                self._set_encode(answer.picture_id, data.EncodeState.READY)
            case Predicted():
                self._set_encode(answer.picture_id, data.EncodeState.READY)
            case Progress(picture_id=None) if self._current is not None and answer.stage == "loading":
                if self._encode.get(self._current) is not data.EncodeState.READY:
                    self._canvas.set_encode_state(data.EncodeState.RUNNING, _stage_text("loading"), answer.fraction)
            case Progress() if answer.picture_id is not None and answer.stage in {"encoding", "loading"}:
                self._set_encode(
                    answer.picture_id, data.EncodeState.RUNNING, _stage_text(answer.stage), answer.fraction
                )
            case Failed() if answer.picture_id is not None and answer.stage == "encoding":
                self._set_encode(answer.picture_id, data.EncodeState.FAILED, f"{answer.text}. {answer.advice}")

    def model_changed(self) -> None:
        """Another model is in use: nothing is encoded any more."""
        known = tuple(self._encode)
        self._encode.clear()
        self.refresh(known)
        if self._current is not None and self._session is not None and self._session.document is not None:
            self._submit(self._current)
            self._prepare_neighbours()

    def _submit(self, picture_id: int) -> None:
        session = self._session
        assert session is not None
        if self._encode.get(picture_id) is not data.EncodeState.READY:
            self._set_encode(picture_id, data.EncodeState.QUEUED, "Waiting for the model")
        else:
            self._canvas.set_encode_state(data.EncodeState.READY)
        path = str(session.file_of(session.pictures[picture_id]))
        self._segmenter.submit(Encode(picture_id, path, Priority.OPEN))

    def _prepare_neighbours(self) -> None:
        session = self._session
        assert session is not None
        ahead = tuple(islice(self._neighbours(1), _AHEAD))
        requests = [
            Encode(i, str(session.file_of(session.pictures[i])), Priority.NEXT)
            for i in ahead
            if self._encode.get(i) not in {data.EncodeState.READY, data.EncodeState.FAILED}
        ]
        self._segmenter.prefetch(requests)
        for request in requests:
            self._set_encode(request.picture_id, data.EncodeState.QUEUED)
        for picture_id in ahead:
            if picture_id not in self._ready and picture_id not in self._missing:
                self._load(picture_id)

    def _set_encode(
        self, picture_id: int, state: data.EncodeState, text: str = "", fraction: float | None = None
    ) -> None:
        known = self._encode.get(picture_id)
        self._encode[picture_id] = state
        if picture_id == self._current:
            self._canvas.set_encode_state(state, text, fraction)
        if known is not state:
            self.refresh((picture_id,))

    # ---- the list

    def refresh(self, changed: object) -> None:
        """Bring rows of the list up to date; whole rows replace all."""
        session = self._session
        if session is None or not isinstance(changed, (tuple, list)) or not changed:
            return
        if isinstance(changed[0], data.PictureRow):
            self._pictures.set_rows(
                [
                    replace(
                        row,
                        encode=self._encode.get(row.picture_id, row.encode),
                        missing=row.picture_id in self._missing,
                    )
                    for row in changed
                ]
            )
            self._pictures.set_current(self._current)
            if self._current is not None and self._current not in session.pictures:
                self._leave(session)
            return
        document = session.document
        put = []
        for picture_id in changed:
            picture = session.pictures.get(picture_id)
            encode = self._encode.get(picture_id, data.EncodeState.NONE)
            missing = picture_id in self._missing
            if picture is None:
                continue
            if document is not None and document.picture.id == picture_id:
                put.append(rows.document_row(document, session.classes, encode, missing=missing))
            else:
                self._read_row(session, picture, encode, missing=missing)
        if put:
            self._pictures.put_rows(put)

    def _leave(self, session: Session) -> None:
        """The open picture was taken out of the project: show another one."""
        self.opening.emit()
        self._current = None
        session.show(None)
        self._canvas.show_picture(None)
        self._canvas.set_encode_state(data.EncodeState.READY)
        first = next(iter(session.pictures), None)
        if first is not None:
            self.open(first)

    def _read_row(self, session: Session, picture: PictureRow, encode: data.EncodeState, *, missing: bool) -> None:
        names = {row.uid: row.name for row in session.classes}

        def done(objects: list[tuple[str | None, float | None]]) -> None:
            if self._session is session:
                self._pictures.put_rows([rows.picture_row(picture, objects, names, encode, missing=missing)])

        session.store.read(lambda project: [(s.class_uid, s.score) for s in project.summaries(picture.id)], done)
