"""The loop: click, see the mask and its names, accept with one key."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from ovsam_annotator.controller.answers import NAMES, ShownAnswer, most_alike, refined_row, suggestion_of
from ovsam_annotator.controller.hover import HoverController
from ovsam_annotator.controller.overlaps import OverlapController
from ovsam_annotator.controller.provenance import Provenance
from ovsam_annotator.inference.messages import Failed, Predict, Predicted, Progress
from ovsam_annotator.model.certainty import is_clear
from ovsam_annotator.model.document import Item
from ovsam_annotator.model.prompt_state import PromptState
from ovsam_annotator.views import data
from ovsam_core.prompts import Prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ovsam_annotator.controller.session import Session
    from ovsam_annotator.controller.tasks import Runner
    from ovsam_annotator.inference.segmenter import Segmenter
    from ovsam_annotator.model.editing import Overlap
    from ovsam_annotator.views.protocols import CanvasView, LabelListView
    from ovsam_core.results import Candidate, Label
    from ovsam_core.store import ClassRow, ObjectRow
    from ovsam_core.vocabulary import Entry

__all__ = ["AnnotationController"]


class AnnotationController(QObject):
    """Turns clicks into prompts, prompts into suggestions, and suggestions into objects.

    Args:
        canvas: shows picture, prompt and suggestion.
        label_list: shows the names.
        segmenter: answers prompts.
        runner: for work on masks.
        clock: seconds, rising.

    Attributes:
        provenance: what new objects are marked with.
        hover: whether resting the pointer asks for a preview.
        reviewing: objects are being judged, not made: there is no preview.
        lookup: finds an entry of the whole vocabulary by its id.
        locked_class: uid of the class that every accepted object gets; empty for none.
        hint_changed: text for the status line: what a click or key would do now.
        accepted: (uid) of an object just made or refined.
        overlap_acted: text; the overlap rule changed a mask.
    """

    hint_changed = Signal(str)
    accepted = Signal(str)
    overlap_acted = Signal(str)

    def __init__(
        self,
        *,
        canvas: CanvasView,
        label_list: LabelListView,
        segmenter: Segmenter,
        runner: Runner,
        clock: Callable[[], float] = time.monotonic,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._canvas = canvas
        self._labels = label_list
        self._segmenter = segmenter
        self._runner = runner
        self._clock = clock
        self.provenance = Provenance()
        self._vocabulary_digest = ""
        self._overlaps = OverlapController(runner=runner, parent=self)
        self._overlaps.acted.connect(self.overlap_acted)
        self.hover = True
        self.reviewing = False
        self.locked_class = ""
        self._last_class = ""
        self.lookup: Callable[[str], Entry | None] = lambda _: None
        self._session: Session | None = None
        self._prompt = PromptState()
        self._answer: ShownAnswer | None = None
        self._generation = 0
        self._asked: int | None = None
        self._drawn: Item | None = None  # the finished object that names are ranked for
        self._preview = HoverController(canvas=canvas, segmenter=segmenter, parent=self)
        canvas.point_added.connect(self.add_point)
        canvas.box_drawn.connect(self.add_box)
        canvas.rested.connect(self.preview)
        canvas.rest_ended.connect(self.end_preview)
        canvas.retry_asked.connect(self.ask_again)
        label_list.name_chosen.connect(self.accept_entry)
        label_list.name_typed.connect(self.accept_typed)
        label_list.unnamed_accepted.connect(self.accept_unnamed)
        label_list.candidate_chosen.connect(self.choose_candidate)
        label_list.dropped.connect(self.drop)

    # ---- state

    @property
    def overlap(self) -> Overlap:
        """The project's rule for a mask on another one."""
        return self._overlaps.rule

    @overlap.setter
    def overlap(self, rule: Overlap) -> None:
        self._overlaps.rule = rule

    @property
    def vocabulary_digest(self) -> str:
        """Of the names that are ranked; empty until there is one. A prompt that waits for names is asked then."""
        return self._vocabulary_digest

    @vocabulary_digest.setter
    def vocabulary_digest(self, digest: str) -> None:
        waited = self.waiting and not self._vocabulary_digest
        self._vocabulary_digest = digest
        if waited and digest:
            self.ask_again()

    def names_failed(self, text: str) -> None:
        """There are no names: a prompt that waits for them says so."""
        if self.waiting and not self._vocabulary_digest:
            self._fail(text)

    @property
    def busy(self) -> bool:
        """Whether an object is in work."""
        return not self._prompt.empty or bool(self._prompt.refined)

    @property
    def waiting(self) -> bool:
        """Whether a prompt has no answer yet."""
        return self._asked is not None

    @property
    def labels(self) -> tuple[Label, ...]:
        """The names on show, best first."""
        return self._answer.candidate.labels if self._answer else ()

    @property
    def suggested(self) -> Candidate | None:
        """The candidate on show."""
        return self._answer.candidate if self._answer else None

    def attach(self, session: Session | None) -> None:
        """Work on another project, or none; what was accepted in the old one is on its way to its store after that."""
        self.drop()
        self._overlaps.finish()
        self._session = session
        if session is not None:
            session.items_changed.connect(self._items_changed)
        self._set_lock("")
        self._last_class = ""

    # ---- prompts

    def add_point(self, x: float, y: float, positive: bool) -> None:
        """A click: on the object, or off it."""
        if not self._can_prompt():
            return
        self._end_naming()
        if not self.busy and not positive:
            self.hint_changed.emit(self.tr("Start with a click on the object (left), then exclude with right clicks"))
            self._canvas.set_marks(data.PromptMarks())
            return
        self._ask(self._prompt.with_point(x, y, positive=positive, now=self._clock()))

    def add_box(self, x1: float, y1: float, x2: float, y2: float) -> None:
        """A drag."""
        if self._can_prompt():
            self._end_naming()
            self._ask(self._prompt.with_box((x1, y1, x2, y2), self._clock()))

    def take_back(self) -> bool:
        """Take back the last click; False where there is none."""
        if not self.busy or self._end_naming():
            return False
        earlier = self._prompt.back()
        if earlier is None:
            self.drop()
        elif earlier.empty:
            self._begin_refining(earlier)
        else:
            self._ask(earlier)
        return True

    def drop(self) -> None:
        """Forget the object in work."""
        self._cancel()
        self._prompt = PromptState()
        self._answer = None
        self._drawn = None
        self._canvas.set_marks(data.PromptMarks())
        self._canvas.set_suggestion(None)
        self._labels.clear()
        self._say()

    def ask_again(self) -> None:
        """Ask the same once more, after a failure."""
        if self._drawn is not None:
            self._ask_names(self._drawn)
        elif not self._prompt.empty:
            self._ask(self._prompt)

    def refine(self, uid: str) -> None:
        """Start refining a finished object with clicks."""
        item = self._session.document.get(uid) if self._session and self._session.document else None
        if item is None or not self._can_prompt():
            return
        if item.row.locked:
            self.hint_changed.emit(self.tr("This object is locked; unlock it first"))
            return
        self.drop()
        mask = item.row.mask

        def begin(pixels: object) -> None:
            if not self.busy:
                self._begin_refining(PromptState.refining(uid, pixels, self._clock()))  # type: ignore[arg-type]

        self._runner.run(mask.full, begin)

    def _begin_refining(self, state: PromptState) -> None:
        self._cancel()
        self._prompt = state
        self._answer = None
        self._canvas.set_suggestion(None)
        self._labels.clear()
        self._canvas.set_marks(data.PromptMarks())
        self.hint_changed.emit(self.tr("Refining: left click adds, right click removes, Esc leaves it as it was"))

    # ---- names for a mask that was drawn

    def offer_names(self, uid: str) -> None:
        """Rank names for a finished object; its mask stays as it is, and it is kept without a name, too."""
        item = self._session.document.get(uid) if self._session and self._session.document else None
        if item is None or item.row.locked or not self._can_prompt():
            return
        self.drop()

        def begin(pixels: object) -> None:
            document = self._session.document if self._session else None
            if not self.busy and document is not None and document.get(uid) is item:
                self._drawn = item
                self._prompt = PromptState.refining(uid, pixels, self._clock())  # type: ignore[arg-type]
                self._ask_names(item)

        self._runner.run(item.row.mask.full, begin)

    def _ask_names(self, item: Item) -> None:
        x1, y1, x2, y2 = item.shape.box_xyxy
        self._submit(Prompt.of(box=(x1, y1, x2, y2), mask=self._prompt.base))

    def _match(self, predicted: Predicted, item: Item) -> None:
        """Show the names of the candidate that is most like the drawn mask."""

        def done(chosen: int) -> None:
            if self._drawn is item and self._asked is None:
                self._show_answer(ShownAnswer(predicted, chosen, item))

        self._runner.run(lambda: most_alike(predicted, item.row.mask), done)

    def _end_naming(self) -> bool:
        """Leave a drawn object as it is; False where none is being named."""
        if self._drawn is None:
            return False
        self.drop()
        return True

    def _items_changed(self, put: Sequence[str], dropped: Sequence[str]) -> None:
        """Another stroke at the object whose names are on show, or it is gone."""
        item = self._drawn
        if item is None or self._session is None or self._session.document is None:
            return
        now = self._session.document.get(item.uid)
        if item.uid in dropped or now is None:
            self.drop()
        elif item.uid in put and now.row.mask != item.row.mask:
            self.offer_names(item.uid)

    def _name_drawn(self, item: Item, named: ClassRow | None, extra: tuple[ClassRow, ...], rank: int | None) -> None:
        """A drawn object gets a name of the list, or a typed one; without one it stays as it is."""
        session, labels = self._session, self.labels
        assert session is not None
        self.drop()
        if named is not None:
            score = labels[rank].score if rank is not None else None
            row = replace(item.row, class_uid=named.uid, rank=rank, score=score, suggestions=labels[:NAMES])
            self._last_class = named.uid
            session.put_items(f"Name {named.name}", [Item(row, item.shape)], extra=extra)
        self.accepted.emit(item.uid)

    # ---- asking

    def _can_prompt(self) -> bool:
        return self._session is not None and self._session.document is not None and not self._session.read_only

    def _ask(self, state: PromptState) -> None:
        self.end_preview()
        self._prompt = state
        self._show_marks(pending=True)
        self._submit(state.prompt())

    def _submit(self, prompt: Prompt) -> None:
        session = self._session
        assert session is not None
        assert session.document is not None
        picture = session.document.picture
        self._generation += 1
        self._asked = self._generation
        if self._vocabulary_digest:
            path = str(session.file_of(picture))
            self._segmenter.submit(Predict(picture.id, path, self._generation, prompt, self._vocabulary_digest))
        self._say()

    def _cancel(self) -> None:
        if self._asked is not None:
            self._segmenter.cancel(self._asked)
            self._asked = None
        self.end_preview()

    def _show_marks(self, *, pending: bool) -> None:
        self._canvas.set_marks(data.PromptMarks(self._prompt.points, self._prompt.box_xyxy, pending))

    # ---- hover

    def preview(self, x: float, y: float) -> None:
        """The pointer rests: ask what a click would do."""
        if not self.hover or self.reviewing or self.busy or not self._can_prompt() or not self._vocabulary_digest:
            return
        session = self._session
        assert session is not None
        assert session.document is not None
        picture = session.document.picture
        self._preview.ask(picture.id, str(session.file_of(picture)), x, y, self._vocabulary_digest)

    def end_preview(self) -> None:
        """The pointer moved on."""
        self._preview.end()

    # ---- answers

    def take(self, answer: object) -> None:
        """An answer of the segmenter; those of older prompts are dropped."""
        self._preview.take(answer)
        match answer:
            case Predicted() if answer.generation == self._asked:
                self._asked = None
                if self._drawn is not None:
                    self._match(answer, self._drawn)
                else:
                    self._show_answer(ShownAnswer(answer))
            case Failed() if answer.generation is not None and answer.generation == self._asked:
                self._fail(f"{answer.text}. {answer.advice}")
            case Progress() if self._asked is not None and answer.stage == "loading":
                self.hint_changed.emit(self.tr("The model is starting; your click waits"))

    def _fail(self, text: str) -> None:
        self._asked = None
        self._canvas.set_encode_state(data.EncodeState.FAILED, text)
        self.hint_changed.emit(text)

    def choose_candidate(self, index: int) -> None:
        """Show another of the candidate masks."""
        if self._answer is None or self._answer.drawn is not None:
            return
        if 0 <= index < len(self._answer.predicted.shapes):
            self._show_answer(replace(self._answer, chosen=index))

    def step_candidate(self, step: int) -> None:
        """The next or previous candidate, round the end."""
        if self._answer is not None:
            self.choose_candidate((self._answer.chosen + step) % len(self._answer.predicted.shapes))

    def _show_answer(self, answer: ShownAnswer) -> None:
        self._answer = answer
        if answer.drawn is None:
            self._prompt = self._prompt.answered(answer.candidate.logits)
        self._show_marks(pending=False)
        suggestion = self._suggestion(answer)
        self._canvas.set_suggestion(suggestion)
        self._labels.show_suggestion(suggestion, tuple((x, y) for x, y, _ in self._prompt.points))
        self._say()

    def _suggestion(self, answer: ShownAnswer) -> data.Suggestion:
        note = ""
        if self._prompt.refined and answer.drawn is None and self._session and self._session.document:
            item = self._session.document.get(self._prompt.refined)
            name = self._session.classes.name(item.row.class_uid) if item else ""
            note = self.tr("Enter keeps “{name}”").format(name=name) if name else ""
        return suggestion_of(answer, self._session, preselected=self._preselected(answer), note=note)

    def _preselected(self, answer: ShownAnswer) -> int | None:
        labels = answer.candidate.labels
        if not labels or (self._prompt.refined and answer.drawn is None) or self.locked_class:
            return None
        return 0 if is_clear(labels) else None

    # ---- accepting

    def accept(self) -> None:
        """Enter: the locked class, the refined object's own class, or the highlighted name."""
        if self._answer is None or self._session is None:
            return
        highlighted = self._labels.highlighted()
        if self.locked_class and (row := self._session.classes.get(self.locked_class)) is not None:
            self._finish(row, (), None)
        elif highlighted is not None:
            self.accept_rank(highlighted + 1)
        elif self._prompt.refined and self._drawn is None:
            self._finish(None, (), None, keep_class=True)
        else:
            self.hint_changed.emit(
                self.tr("No name stands out: press its digit, / to search, or Shift+Enter for no name")
            )

    def accept_rank(self, rank: int) -> None:
        """A digit: the name at this place, from 1."""
        if 1 <= rank <= min(9, len(self.labels)):
            self.accept_entry(self.labels[rank - 1].entry_id, rank)

    def accept_entry(self, entry_id: str, rank: int) -> None:
        """A name from the list (its place from 1), or from the search (0)."""
        if self._answer is None or self._session is None:
            return
        offered = {label.entry_id: label.name for label in self.labels}
        entry = self.lookup(entry_id)
        name = offered.get(entry_id) or (entry.name if entry else "")
        if name:
            self.accept_named(entry_id, name, chosen_from_list=rank > 0)

    def accept_named(self, entry_id: str, name: str, *, chosen_from_list: bool = False) -> None:
        """A name of the vocabulary that may not be among those on show."""
        if self._answer is None or self._session is None or self.waiting or not self._answer.shape.area:
            self._finish(None, (), None)  # says why nothing can be accepted now, and accepts nothing
            return
        row, extra = self._session.claim_class(entry_id, name)
        offered = {label.entry_id: (k, label.score) for k, label in enumerate(self.labels)}
        place, score = offered.get(entry_id, (None, None))
        self._finish(row, extra, place if chosen_from_list else None, score)

    def accept_typed(self, name: str) -> None:
        """A name of the user's own."""
        if name.strip():
            self.accept_named("", name.strip())

    def accept_class(self, row: ClassRow) -> None:
        """A class of the project, by its hotkey."""
        self.accept_named(row.entry_id, row.name)

    def accept_unnamed(self) -> None:
        """Keep the mask without a name."""
        self._finish(None, (), None)

    def _finish(
        self,
        named: ClassRow | None,
        extra: tuple[ClassRow, ...],
        rank: int | None,
        score: float | None = None,
        *,
        keep_class: bool = False,
    ) -> None:
        answer, session = self._answer, self._session
        if answer is None or session is None or session.document is None or self.waiting:
            return
        if answer.shape.area == 0:
            self.hint_changed.emit(self.tr("The mask is empty: click again, or drag a box"))
            return
        if answer.drawn is not None:
            self._name_drawn(answer.drawn, named, extra, rank)
            return
        row = self._object_row(answer, session, named, rank, score, keep_class=keep_class)
        name = session.classes.name(row.class_uid) or "object"
        verb = "Refine" if self._prompt.refined else "Accept"
        if row.class_uid:
            self._last_class = row.class_uid
        self._overlaps.put(session, session.document, f"{verb} {name}", Item(row, answer.shape), extra)
        self.drop()
        self.accepted.emit(row.uid)

    def _object_row(
        self,
        answer: ShownAnswer,
        session: Session,
        named: ClassRow | None,
        rank: int | None,
        score: float | None,
        *,
        keep_class: bool,
    ) -> ObjectRow:
        assert session.document is not None
        fresh = self.provenance.row_of(
            answer.candidate,
            session.document.picture.id,
            source="prompt",
            class_uid=named.uid if named else None,
            rank=rank,
            score=score,
            prompts=self._prompt.record(),
            seconds=round(self._clock() - self._prompt.started, 2),
        )
        old = session.document.get(self._prompt.refined)
        return fresh if old is None else refined_row(fresh, old.row, keep_class=keep_class)

    # ---- fixed class

    def toggle_lock(self, class_uid: str = "") -> None:
        """Fix a class (the last one used by default) for every accepted object, or release it."""
        wanted = class_uid or self._last_class
        self._set_lock("" if self.locked_class and self.locked_class == wanted else wanted)
        if not wanted:
            self.hint_changed.emit(self.tr("Accept one object first, or press a class hotkey (Ctrl+1 …)"))

    def _set_lock(self, uid: str) -> None:
        self.locked_class = uid
        self._canvas.set_lock(self._session.classes.name(uid) if self._session and uid else "")
        self._say()

    # ---- words

    def _say(self) -> None:
        if self._session is None or self._session.document is None:
            self.hint_changed.emit("")
        elif self.waiting:
            self.hint_changed.emit(self.tr("Working on your click …"))
        elif self._answer is not None:
            locked = self._session.classes.name(self.locked_class)
            enter = self.tr("Enter: {name}").format(name=locked) if locked else self.tr("1–9 or Enter: accept")
            self.hint_changed.emit(enter + self.tr(" · right click: off the object · / search · Esc: drop"))
        else:
            self.hint_changed.emit(self.tr("Click an object, or drag a box round it"))
