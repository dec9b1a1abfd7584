"""The loop, without widgets: clicks become prompts, answers suggestions, keys objects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ovsam_annotator.controller.annotation import AnnotationController
from ovsam_annotator.controller.session import Session, read_facts, read_items
from ovsam_annotator.controller.store_service import StoreService
from ovsam_annotator.inference.fake import FakeEngine
from ovsam_annotator.inference.messages import EncodeText, Failed, Predict
from ovsam_annotator.model.document import Document, Item
from ovsam_annotator.model.editing import Overlap
from ovsam_annotator.model.shapes import mask_shape
from ovsam_annotator.views import data
from ovsam_annotator.views.protocols import CanvasView, LabelListView
from ovsam_core.masks import Mask
from ovsam_core.store import ObjectRow, Project, new_uid

from .builders import picture_file, vocabulary
from .fakes import NowRunner, SilentSegmenter, fake_view


class Loop:
    def __init__(self, folder):
        picture_file(folder)
        project = Project.create(folder / "p.ovsam")
        project.add_pictures([folder / "a.png"])
        self.store = StoreService(project)
        self.session = Session(self.store, read_facts(project))
        self.canvas, self.labels = fake_view(CanvasView), fake_view(LabelListView)
        self.labels.highlighted.return_value = None
        self.segmenter = SilentSegmenter()
        self.engine = FakeEngine()
        self.engine.run(EncodeText(vocabulary()), print, lambda: False)
        self.now = 100.0
        self.controller = AnnotationController(
            canvas=self.canvas,
            label_list=self.labels,
            segmenter=self.segmenter,
            runner=NowRunner(),
            clock=lambda: self.now,
        )
        self.controller.vocabulary_digest = vocabulary().digest
        self.controller.attach(self.session)
        row, items = read_items(project, 1, {})
        self.session.show(Document(row, items))
        self.controller.drop()
        self.said = []
        self.controller.hint_changed.connect(self.said.append)

    def answer(self, request=None):
        self.controller.take(self.engine.run(request or self.segmenter.requests[-1], print, lambda: False))

    def click(self, x=30.0, y=20.0, positive=True):
        self.canvas.point_added.emit(x, y, positive)

    def made(self, x=30.0, y=20.0, rank=1):
        self.click(x, y)
        self.answer()
        self.controller.accept_rank(rank)
        return list(self.session.document)[-1]

    @property
    def suggestion(self):
        return self.canvas.set_suggestion.call_args.args[0]


@pytest.fixture
def loop(qapp, tmp_path):
    made = Loop(tmp_path)
    yield made
    made.store.close()


def test_a_click_shows_its_dot_at_once_and_asks(loop):
    loop.click()
    marks = loop.canvas.set_marks.call_args.args[0]
    assert marks.points == ((30.0, 20.0, True),)
    assert marks.pending
    request = loop.segmenter.requests[-1]
    assert isinstance(request, Predict)
    assert request.prompt.points_xy.tolist() == [[30, 20]]
    assert not loop.controller.labels


def test_the_answer_shows_mask_and_names_together(loop):
    loop.click()
    loop.answer()
    assert loop.suggestion.candidates[0].shape.contains(30, 20)
    assert len(loop.suggestion.names) == 9
    assert loop.suggestion.preselected == 0
    loop.labels.show_suggestion.assert_called_once()
    assert not loop.canvas.set_marks.call_args.args[0].pending
    assert not len(loop.session.document)  # nothing is labelled silently


@pytest.mark.parametrize("rank", [1, 4, 9])
def test_a_digit_accepts_that_name_and_arms_the_next_object(loop, rank):
    item = loop.made(rank=rank)
    expected = item.row.suggestions[rank - 1]
    assert loop.session.classes.name(item.row.class_uid) == expected.name
    assert item.row.rank == rank - 1
    assert item.row.score == expected.score
    assert item.row.prompts == ({"point": [30.0, 20.0], "label": 1},)
    assert not loop.controller.busy
    assert loop.suggestion is None
    assert loop.store.close() == 0
    with Project.open(loop.store.project.path) as stored:
        assert stored.object(item.uid).mask == item.row.mask
        assert stored.picture(1).state == "in_work"


def test_the_same_name_twice_is_one_class(loop):
    first, second = loop.made(), loop.made(31, 21)
    assert first.row.class_uid == second.row.class_uid
    assert len(loop.session.classes) == 1
    assert loop.session.counts[first.row.class_uid] == 2


def test_enter_takes_the_highlighted_name_only(loop):
    loop.click()
    loop.answer()
    loop.controller.accept()
    assert not len(loop.session.document)
    assert "digit" in loop.said[-1]
    loop.labels.highlighted.return_value = 2
    loop.controller.accept()
    (item,) = loop.session.document
    assert item.row.rank == 2


def test_shift_enter_accepts_without_a_name(loop):
    loop.click()
    loop.answer()
    loop.labels.unnamed_accepted.emit()
    (item,) = loop.session.document
    assert item.row.class_uid is None


def test_a_typed_name_becomes_a_class_of_its_own(loop):
    loop.click()
    loop.answer()
    loop.labels.name_typed.emit("  rust spot ")
    (item,) = loop.session.document
    row = loop.session.classes.get(item.row.class_uid)
    assert (row.name, row.entry_id) == ("rust spot", "own:rust-spot")
    assert item.row.rank is None


def test_further_clicks_refine_and_backspace_takes_them_back(loop):
    loop.click()
    loop.answer()
    loop.click(40, 20, positive=False)
    second = loop.segmenter.requests[-1]
    assert second.prompt.labels.tolist() == [1, 0]
    assert second.prompt.mask is not None  # the answer before is fed back
    loop.answer()
    assert loop.controller.take_back()
    assert loop.segmenter.requests[-1].prompt.labels.tolist() == [1]
    assert loop.controller.take_back()
    assert not loop.controller.busy
    assert not loop.controller.take_back()


def test_a_box_and_points_mix(loop):
    loop.canvas.box_drawn.emit(10.0, 10.0, 40.0, 30.0)
    loop.click(20, 20)
    prompt = loop.segmenter.requests[-1].prompt
    assert prompt.box_xyxy.tolist() == [10, 10, 40, 30]
    assert len(prompt.points_xy) == 1


def test_late_answers_are_dropped(loop):
    loop.click()
    old = loop.segmenter.requests[-1]
    loop.click(50, 30)
    loop.answer(old)
    assert loop.suggestion is None
    loop.answer()
    assert loop.suggestion is not None
    loop.controller.drop()
    loop.answer()
    assert loop.suggestion is None


def test_a_key_never_accepts_what_a_newer_click_replaces(loop):
    loop.click()
    loop.answer()
    loop.click(50, 30)
    loop.controller.accept_rank(1)
    assert not len(loop.session.document)


def test_a_failure_is_shown_and_can_be_retried(loop):
    loop.click()
    first = loop.segmenter.requests[-1]
    loop.controller.take(Failed(1, first.generation, "memory", "no memory", "take a smaller model"))
    state, text = loop.canvas.set_encode_state.call_args.args
    assert state is data.EncodeState.FAILED
    assert "smaller model" in text
    loop.canvas.retry_asked.emit()
    again = loop.segmenter.requests[-1]
    assert again.generation > first.generation
    np.testing.assert_array_equal(again.prompt.points_xy, first.prompt.points_xy)


def test_candidates_are_chosen_by_key(loop):
    loop.click()
    loop.answer()
    loop.controller.step_candidate(-1)
    assert loop.suggestion.chosen == 2
    loop.controller.step_candidate(1)
    loop.controller.step_candidate(1)
    assert loop.suggestion.chosen == 1
    loop.controller.accept_rank(1)
    (item,) = loop.session.document
    assert (
        item.row.mask
        == loop.engine._predict(
            str(loop.session.file_of(loop.session.pictures[1])),
            loop.segmenter.requests[-1].prompt,
            vocabulary().digest,
        )
        .candidates[1]
        .mask
    )


def test_the_locked_class_goes_to_every_object_until_released(loop):
    first = loop.made(rank=3)
    loop.controller.toggle_lock()
    assert loop.canvas.set_lock.call_args.args[0] == loop.session.classes.name(first.row.class_uid)
    loop.click(70, 50)
    loop.answer()
    assert loop.suggestion.preselected is None
    loop.controller.accept()
    assert [item.row.class_uid for item in loop.session.document] == [first.row.class_uid] * 2
    loop.controller.toggle_lock()
    assert loop.controller.locked_class == ""


def test_hover_asks_and_a_moving_pointer_cancels(loop):
    loop.canvas.rested.emit(30.0, 20.0)
    request = loop.segmenter.requests[-1]
    assert request.hover
    loop.answer(request)
    shape, name = loop.canvas.set_hover.call_args.args
    assert shape.contains(30, 20)
    assert name
    loop.canvas.rest_ended.emit()
    assert loop.segmenter.cancelled == [request.generation]
    loop.controller.hover = False
    loop.canvas.rested.emit(30.0, 20.0)
    assert loop.segmenter.requests[-1] is request


def test_refining_changes_the_mask_and_keeps_the_class(loop):
    item = loop.made()
    loop.controller.refine(item.uid)
    assert loop.controller.busy
    loop.click(60, 40)
    request = loop.segmenter.requests[-1]
    assert request.prompt.mask.shape == (64, 96)
    loop.answer()
    loop.controller.accept()
    (changed,) = loop.session.document
    assert changed.uid == item.uid
    assert changed.row.class_uid == item.row.class_uid
    assert changed.shape.contains(60, 40)
    assert changed.shape.contains(30, 20)


@pytest.mark.parametrize("rule", list(Overlap))
def test_the_overlap_rule_acts_and_says_so(loop, rule):
    first = loop.made(30, 20)
    loop.controller.overlap = rule
    told = []
    loop.controller.overlap_acted.connect(told.append)
    second = loop.made(34, 20)
    masks = {item.uid: item.row.mask for item in loop.session.document}
    common = masks[first.uid].intersect(masks[second.uid]).area
    assert (common > 0) == (rule is Overlap.ALLOW)
    assert bool(told) == (rule is not Overlap.ALLOW)
    assert (masks[first.uid] == first.row.mask) == (rule is not Overlap.CUT)


class LateRunner(NowRunner):
    """A runner whose jobs wait until they are told to begin."""

    def __init__(self):
        self.jobs = []

    def run(self, *job):
        self.jobs.append(job)

    def begin(self):
        for job in self.jobs:
            super().run(*job)


def test_a_cut_still_being_worked_out_is_written_when_the_project_is_left(loop):
    first = loop.made(30, 20)
    loop.controller.overlap = Overlap.CUT
    loop.controller._overlaps._runner = late = LateRunner()
    loop.click(34, 20)
    loop.answer()
    loop.controller.accept_rank(2)
    assert len(late.jobs) == 1
    loop.controller.attach(None)
    project = loop.store.project
    assert loop.store.close() == 0
    late.begin()  # too late: nothing is written twice
    project = Project.open(project.path)
    old, new = project.objects(1)
    assert (old.uid, old.mask == first.row.mask) == (first.uid, False)
    assert old.mask.intersect(new.mask).area == 0
    assert new.class_uid in {row.uid for row in project.classes()}
    assert next(iter(project.history(1))).label.startswith("Accept")
    project.close()


def drawn(loop, box=(20, 10, 50, 30)):
    """An object drawn by hand, stored without a name."""
    x1, y1, x2, y2 = box
    pixels = np.zeros((64, 96), bool)
    pixels[y1:y2, x1:x2] = True
    mask = Mask.of(pixels)
    row = ObjectRow(new_uid(), 1, mask, source="drawn")
    loop.session.put_items("Draw object", [Item(row, mask_shape(mask))])
    return row.uid


def test_a_drawn_mask_gets_ranked_names_and_stays_as_it_was_drawn(loop):
    uid = drawn(loop)
    before = loop.session.document.get(uid)
    loop.controller.offer_names(uid)
    prompt = loop.segmenter.requests[-1].prompt
    assert prompt.box_xyxy.tolist() == [20, 10, 50, 30]
    assert prompt.mask.shape == (64, 96)
    loop.answer()
    shown = loop.labels.show_suggestion.call_args.args[0]
    assert len(shown.names) > 2
    assert [row.shape for row in shown.candidates] == [before.shape]
    assert shown.preselected is None or shown.preselected == 0
    second = loop.controller.labels[1]
    loop.controller.accept_rank(2)
    named = loop.session.document.get(uid)
    assert loop.session.classes.name(named.row.class_uid) == second.name
    assert (named.row.mask, named.row.source, named.row.rank) == (before.row.mask, "drawn", 1)
    assert named.row.score == second.score
    assert second in named.row.suggestions
    assert len(loop.session.document) == 1
    assert not loop.controller.busy


def test_a_drawn_mask_without_a_name_is_kept(loop):
    for leave in (loop.controller.drop, loop.controller.accept_unnamed, loop.controller.take_back):
        uid = drawn(loop)
        loop.controller.offer_names(uid)
        loop.answer()
        assert loop.controller.busy
        assert not leave()  # Ctrl+Z goes on to the drawing itself
        assert not loop.controller.busy
        assert loop.session.document.get(uid).row.class_uid is None


def test_another_stroke_asks_for_names_again_and_a_click_begins_another_object(loop):
    uid = drawn(loop)
    loop.controller.offer_names(uid)
    loop.answer()
    asked = len(loop.segmenter.requests)
    mask = loop.session.document.get(uid).row.mask.grow(3)
    row = replace(loop.session.document.get(uid).row, mask=mask)
    loop.session.put_items("Brush", [Item(row, mask_shape(mask))])
    assert len(loop.segmenter.requests) == asked + 1
    loop.answer()
    loop.controller.accept_rank(1)
    assert loop.session.document.get(uid).row.mask == mask
    loop.controller.offer_names(uid)
    loop.answer()
    loop.click(80, 50)
    assert loop.segmenter.requests[-1].prompt.mask is None
    loop.answer()
    loop.controller.accept_rank(1)
    assert len(loop.session.document) == 2


def test_names_of_a_drawn_mask_that_is_undone_go_with_it(loop):
    uid = drawn(loop)
    loop.controller.offer_names(uid)
    loop.answer()
    loop.session.put_items("Delete", (), drop=[uid])
    assert not loop.controller.busy
    assert loop.controller.suggested is None


def test_there_is_no_preview_while_objects_are_reviewed(loop):
    loop.controller.reviewing = True
    loop.canvas.rested.emit(30.0, 20.0)
    assert loop.segmenter.requests == []
    loop.controller.reviewing = False
    loop.canvas.rested.emit(30.0, 20.0)
    assert loop.segmenter.requests[-1].hover


def test_an_empty_mask_is_not_stored(loop):
    loop.canvas.box_drawn.emit(10.0, 10.0, 40.0, 30.0)
    answer = loop.engine.run(loop.segmenter.requests[-1], print, lambda: False)
    empty = answer.shapes[0].__class__(np.zeros((0, 0), bool), 0, 0)
    loop.controller.take(type(answer)(1, answer.generation, answer.prediction, (empty,) * 3))
    loop.controller.accept_rank(1)
    assert not len(loop.session.document)
    assert "empty" in loop.said[-1]


def test_a_first_click_off_the_object_asks_for_one_on_it(loop):
    loop.click(positive=False)
    assert not loop.segmenter.requests
    assert "Start" in loop.said[-1]


def test_a_name_found_by_the_search_is_accepted_though_it_was_not_offered(loop):
    offered = {label.entry_id for label in loop.made().row.suggestions}
    other = next(entry for entry in vocabulary() if entry.id not in offered)
    loop.controller.lookup = {other.id: other}.get
    loop.click(31, 21)
    loop.answer()
    loop.labels.name_chosen.emit("no such entry", 0)
    assert len(loop.session.document) == 1
    loop.labels.name_chosen.emit(other.id, 0)
    item = list(loop.session.document)[-1]
    assert loop.session.classes.name(item.row.class_uid) == other.name
    assert item.row.rank is None
    assert item.row.score is None
