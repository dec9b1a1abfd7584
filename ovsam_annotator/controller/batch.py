"""Batch pre-labelling: proposals for many pictures, in spare time, never on top of a person's work."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from PySide6.QtCore import QObject, Signal

from ovsam_annotator.inference.messages import Everything, Failed, Proposed
from ovsam_annotator.model.certainty import is_clear
from ovsam_annotator.views import data
from ovsam_annotator.views.translation import counted
from ovsam_core.errors import FormatError
from ovsam_core.store import Change, ObjectRow, new_uid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovsam_annotator.controller.provenance import Provenance
    from ovsam_annotator.controller.session import Session
    from ovsam_annotator.controller.tasks import Runner
    from ovsam_annotator.inference.segmenter import Segmenter
    from ovsam_annotator.views.protocols import MainWindowView
    from ovsam_core.results import Prediction
    from ovsam_core.store import ClassRow, PictureRow, Project

__all__ = ["BATCH_LABEL", "BatchController", "read_boxes"]

BATCH_LABEL = "Pre-label"
_JOB = "batch"
_SETTING = "batch"  # what is left of an interrupted run
_FIRST_GENERATION = 1 << 40  # far from the numbers of prompts and of single proposals

Boxes = tuple[tuple[float, float, float, float], ...]


class BatchController(QObject):
    """Runs one batch at a time: a picture after the other, each written as soon as it is done.

    All steps of a run share a label, by which the history undoes them together.

    Args:
        window: asks, and shows progress.
        segmenter: makes the proposals.
        runner: reads box files.
        provenance: what the objects are marked with.

    Attributes:
        finished: (pictures labelled, objects made).
    """

    finished = Signal(int, int)

    def __init__(
        self,
        *,
        window: MainWindowView,
        segmenter: Segmenter,
        runner: Runner,
        provenance: Provenance,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._window = window
        self._segmenter = segmenter
        self._runner = runner
        self._provenance = provenance
        self._session: Session | None = None
        self._left: deque[int] = deque()
        self._boxes: Mapping[int, Boxes] | None = None
        self._label = ""
        self._total = 0
        self._pictures = 0
        self._objects = 0
        self._skipped = 0
        self._paused = False
        self._generation = _FIRST_GENERATION
        self._asked: tuple[int, int] | None = None
        self._vocabulary_digest = ""
        window.job_paused.connect(self._pause)
        window.job_cancelled.connect(self._cancel)

    @property
    def vocabulary_digest(self) -> str:
        """Of the names to rank; empty until there is one. A batch that waits for names goes on then."""
        return self._vocabulary_digest

    @vocabulary_digest.setter
    def vocabulary_digest(self, digest: str) -> None:
        waited = not self._vocabulary_digest
        self._vocabulary_digest = digest
        if waited and digest:
            self._next()

    @property
    def running(self) -> bool:
        """Whether a batch is on its way, paused or not."""
        return bool(self._label)

    def attach(self, session: Session | None, kept: object = None) -> None:
        """Work on another project, or none; `kept` is what an interrupted run left behind."""
        self._stop()
        self._session = session
        if session is not None and not session.read_only and isinstance(kept, dict):
            left = [i for i in kept.get("left", ()) if i in session.pictures]
            if left:
                text = self.tr("Pre-labelling was interrupted with {pictures} to go").format(
                    pictures=counted("picture", len(left))
                )
                self._window.show_message(data.Message("batch", text, "", "info", self.tr("Resume")))
                self._left, self._total = deque(left), len(left)

    def resume(self) -> None:
        """Go on with an interrupted run."""
        if self._session is not None and self._left and not self.running:
            self._window.clear_message("batch")
            self._begin(list(self._left), None)

    def ask(self) -> None:
        """Say what a batch would touch, and start it."""
        session = self._session
        if session is None or session.read_only or self.running:
            return

        def done(busy: set[int]) -> None:
            if self._session is not session:
                return
            free = [i for i, p in session.pictures.items() if i not in busy and p.state in {"unseen", "in_work"}]
            text = self.tr(
                "Pictures without objects, which would get proposals as open objects: {free}. "
                "Pictures with objects, or marked done, which are left alone: {left}."
            ).format(free=len(free), left=len(session.pictures) - len(free))
            choices = (self.tr("Find everything"), self.tr("Boxes from a COCO results file…"))
            answer = self._window.ask_choice(self.tr("Pre-label pictures"), text, choices)
            if answer == 0:
                self._begin(free, None)
            elif answer == 1:
                self._ask_boxes(free)

        session.store.read(lambda project: set(project.picture_counts()), done)

    def start(self, picture_ids: Sequence[int], boxes: Mapping[int, Boxes] | None = None) -> None:
        """Pre-label pictures; with `boxes`, one object for each box of a picture."""
        if self._session is not None and not self._session.read_only and not self.running:
            self._begin(list(picture_ids), boxes)

    def take(self, answer: object) -> None:
        """An answer of the segmenter."""
        if self._asked is None:
            return
        picture_id, generation = self._asked
        match answer:
            case Proposed() if answer.generation == generation:
                self._asked = None
                self._write(picture_id, answer.predictions)
            case Failed() if answer.generation == generation:
                self._asked = None
                self._skipped += 1
                self._next()

    # ---- running

    def _ask_boxes(self, free: Sequence[int]) -> None:
        path = self._window.ask_open_file(self.tr("Boxes"), self.tr("COCO results (*.json)"))
        session = self._session
        if not path or session is None:
            return
        ids = {row.export_id or row.id: row.id for row in session.pictures.values()}

        def done(boxes: dict[int, Boxes]) -> None:
            self._begin([i for i in free if i in boxes], boxes)

        self._runner.run(
            lambda: read_boxes(Path(path), ids),
            done,
            lambda error: self._window.show_message(data.Message("batch", str(error), level="error")),
        )

    def _begin(self, picture_ids: list[int], boxes: Mapping[int, Boxes] | None) -> None:
        if not picture_ids:
            self._window.show_message(data.Message("batch", self.tr("No picture to pre-label")))
            return
        self._left, self._boxes = deque(picture_ids), boxes
        self._label = f"{BATCH_LABEL} {len(picture_ids)} picture{'s' * (len(picture_ids) != 1)} · {new_uid()[:4]}"
        self._total = len(picture_ids)
        self._pictures = self._objects = self._skipped = 0
        self._paused = False
        self._next()

    def _next(self) -> None:
        session = self._session
        if session is None or not self.running:
            return
        done = self._total - len(self._left)
        text = self.tr("{done} of {pictures}, {objects}").format(
            done=done, pictures=counted("picture", self._total), objects=counted("object", self._objects)
        )
        self._window.show_job(
            data.JobRow(_JOB, self.tr("Pre-labelling"), text, done / self._total, can_pause=True, paused=self._paused)
        )
        if self._paused or self._asked is not None or not self._vocabulary_digest:
            return
        if not self._left:
            self._finish()
            return
        picture_id = self._left[0]
        picture = session.pictures.get(picture_id)
        if picture is None:
            self._left.popleft()
            self._next()
            return
        self._generation += 1
        self._asked = (picture_id, self._generation)
        boxes = self._boxes.get(picture_id, ()) if self._boxes is not None else None
        path = str(session.file_of(picture))
        self._segmenter.submit(
            Everything(picture_id, path, self._generation, self.vocabulary_digest, boxes, batch=True)
        )

    def _write(self, picture_id: int, found: Sequence[Prediction]) -> None:
        session = self._session
        if session is None:
            return
        rows: list[ObjectRow] = []
        classes: dict[str, ClassRow] = {}
        for prediction in found:
            best = prediction.best
            if prediction.empty or not best.labels or (self._boxes is None and not is_clear(best.labels)):
                continue
            label = best.labels[0]
            named, new = session.claim_class(label.entry_id, label.name)
            classes |= {row.uid: row for row in new}
            rows.append(
                self._provenance.row_of(
                    best, picture_id, source="batch", class_uid=named.uid, rank=0, score=label.score
                )
            )
        picture = session.pictures[picture_id]
        left = [i for i in self._left if i != picture_id]
        label_text = self._label

        def work(project: Project) -> int:
            return _apply(project, label_text, picture, rows, list(classes.values()), left)

        def written(count: int) -> None:
            if self._session is not session or not self.running:
                return
            if self._left and self._left[0] == picture_id:
                self._left.popleft()
            self._objects += count
            self._pictures += bool(count)
            if session.document is not None and session.document.picture.id == picture_id:
                session.read_again()
            session.pictures_changed.emit((picture_id,))
            self._next()

        session.store.write(work, written, lambda _: self._skip(picture_id))

    def _skip(self, picture_id: int) -> None:
        self._skipped += 1
        if self._left and self._left[0] == picture_id:
            self._left.popleft()
        self._next()

    def _pause(self, job_id: str, paused: bool) -> None:
        if job_id == _JOB and self.running:
            self._paused = paused
            self._next()

    def _cancel(self, job_id: str) -> None:
        if job_id == _JOB and self.running:
            self._left.clear()
            if self._asked is not None:
                self._segmenter.cancel(self._asked[1])
                self._asked = None
            self._finish()

    def _finish(self) -> None:
        session = self._session
        pictures, objects, skipped = self._pictures, self._objects, self._skipped
        self._stop()
        if session is not None:
            session.store.write(lambda project: project.set_setting(_SETTING, {}))
            session.reload_lists()
            session.history_changed.emit()
        text = self.tr("{objects} on {pictures}").format(
            objects=counted("object", objects), pictures=counted("picture", pictures)
        )
        if skipped:
            text += self.tr("; failed: {pictures}").format(pictures=counted("picture", skipped))
        self._window.show_message(data.Message("batch", text, self.tr("Undo takes all of it back.")))
        self.finished.emit(pictures, objects)

    def _stop(self) -> None:
        if self._asked is not None:
            self._segmenter.cancel(self._asked[1])
            self._asked = None
        if self.running:
            self._window.remove_job(_JOB)
        self._left.clear()
        self._label = ""


def _apply(
    project: Project,
    label: str,
    picture: PictureRow,
    rows: Sequence[ObjectRow],
    classes: Sequence[ClassRow],
    left: Sequence[int],
) -> int:
    """Write the proposals of one picture, unless somebody labelled it meanwhile; on the store's thread."""
    count = 0
    if rows and not project.objects(picture.id):
        now = project.picture(picture.id)
        state = "in_work" if now.state == "unseen" else now.state
        known = {row.uid for row in project.classes()}
        fresh = [row for row in classes if row.uid not in known]
        project.apply(Change(label, (*fresh, replace(now, state=state), *rows), (), picture.id))
        count = len(rows)
    elif classes:  # claimed by the window for nothing: they must exist, for other objects may carry them by now
        known = {row.uid for row in project.classes()}
        fresh = [row for row in classes if row.uid not in known]
        if fresh:
            project.apply(Change(label, tuple(fresh), undoable=False))
    project.set_setting(_SETTING, {"left": list(left)})
    return count


def read_boxes(path: Path, ids: Mapping[int, int]) -> dict[int, Boxes]:
    """Read a COCO results file (a list of image_id, bbox, …), or the annotations of a COCO file.

    Args:
        path: the file.
        ids: picture id by the file's image id.

    Returns:
        xyxy boxes by picture id; images that the project does not hold are left out.

    Raises:
        FormatError: not such a file.
    """
    try:
        document: Any = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise FormatError(f"{path}: cannot be read as JSON ({error})") from error
    entries = document.get("annotations") if isinstance(document, dict) else document
    if not isinstance(entries, list):
        raise FormatError(f"{path}: expected a list of results, or a COCO file with annotations")
    found: dict[int, list[tuple[float, float, float, float]]] = {}
    for number, entry in enumerate(entries):
        try:
            x, y, w, h = (float(v) for v in entry["bbox"])
            image = int(entry["image_id"])
        except (TypeError, KeyError, ValueError) as error:
            raise FormatError(f"{path}: result {number}: expected image_id and bbox [x, y, w, h]") from error
        if image in ids and w > 0 and h > 0:
            found.setdefault(ids[image], []).append((x, y, x + w, y + h))
    return {picture: tuple(boxes) for picture, boxes in found.items()}
