"""The worker's queue: who goes first, what replaces what, and what is never answered."""

from __future__ import annotations

import threading

import pytest

from ovsam_annotator.inference.messages import (
    Encode,
    Encoded,
    EncodeText,
    Everything,
    Failed,
    Predict,
    Priority,
    SelectModel,
)
from ovsam_annotator.inference.worker import InferenceWorker
from ovsam_core.errors import CancelledError, PictureError
from ovsam_core.prompts import Prompt
from ovsam_core.vocabulary import Vocabulary

from .builders import vocabulary


class GatedEngine:
    """Lets one request through at a time; remembers the order."""

    def __init__(self):
        self.started, self.gate, self.ended = [], threading.Semaphore(0), threading.Event()
        self.error = None

    def run(self, request, report, cancelled):
        self.started.append(request)
        while not self.gate.acquire(timeout=0.01):
            if cancelled() or self.ended.is_set():
                raise CancelledError("no longer wanted")
        if self.error is not None:
            raise self.error
        return Encoded(getattr(request, "picture_id", 0), 0.0, cached=False)

    def close(self):
        self.ended.set()


@pytest.fixture
def engine():
    return GatedEngine()


@pytest.fixture
def worker(qapp, engine):
    made = InferenceWorker(engine)
    yield made
    made.close()


def _predict(generation, picture=1, hover=False):
    return Predict(picture, "a.png", generation, Prompt.of([1.0, 1.0]), "names", hover)


def _busy(qtbot, worker, engine):
    """Let the worker sit on a model change, so that what comes after waits in the queue."""
    worker.submit(SelectModel("m"))
    qtbot.waitUntil(lambda: len(engine.started) == 1)


def _drain(qtbot, worker, engine, count):
    engine.gate.release(count + 1)
    qtbot.waitUntil(lambda: len(engine.started) >= count + 1)
    return engine.started[1:]


def test_prompts_go_before_encodings_of_other_pictures(qtbot, worker, engine):
    _busy(qtbot, worker, engine)
    worker.submit(Encode(1, "a.png"))
    worker.submit(_predict(1))
    assert _drain(qtbot, worker, engine, 2) == [engine.started[1], engine.started[2]]
    kinds = [type(r) for r in engine.started[1:]]
    assert set(kinds) == {Encode, Predict}


def test_the_latest_prompt_wins_and_a_hover_never_displaces_a_click(qtbot, worker, engine):
    _busy(qtbot, worker, engine)
    worker.submit(_predict(1))
    worker.submit(_predict(2, hover=True))
    worker.submit(_predict(3))
    worker.submit(_predict(4, hover=True))
    served = _drain(qtbot, worker, engine, 2)
    assert [r.generation for r in served] == [3, 4]


def test_a_newer_prompt_cancels_the_one_that_runs(qtbot, worker, engine):
    answers = []
    worker.answered.connect(answers.append)
    worker.submit(_predict(1))
    qtbot.waitUntil(lambda: len(engine.started) == 1)
    worker.submit(_predict(2))
    qtbot.waitUntil(lambda: len(engine.started) == 2)
    with qtbot.waitSignal(worker.answered):
        engine.gate.release()
    assert len(answers) == 1


def test_a_cancelled_generation_is_never_answered(qtbot, worker, engine):
    answers = []
    worker.answered.connect(answers.append)
    _busy(qtbot, worker, engine)
    worker.submit(_predict(1))
    worker.cancel(1)
    worker.submit(Encode(9, "z.png"))
    engine.gate.release(5)
    qtbot.waitUntil(lambda: any(getattr(a, "picture_id", None) == 9 for a in answers))
    assert not any(isinstance(r, Predict) for r in engine.started)


def test_prefetching_replaces_its_list_and_keeps_what_runs(qtbot, worker, engine):
    wanted = [Encode(k, f"{k}.png", Priority.NEXT) for k in (2, 3)]
    worker.prefetch(wanted)
    qtbot.waitUntil(lambda: len(engine.started) == 1)
    worker.prefetch([Encode(k, f"{k}.png", Priority.NEXT) for k in (2, 5)])
    engine.gate.release(5)
    qtbot.waitUntil(lambda: len(engine.started) == 2)
    assert [r.picture_id for r in engine.started] == [2, 5]


def test_a_batch_waits_behind_prefetches_and_asked_proposals(qtbot, worker, engine):
    worker.prefetch([Encode(1, "1.png", Priority.NEXT)])
    qtbot.waitUntil(lambda: len(engine.started) == 1)
    worker.submit(Everything(7, "7.png", 1, "names", batch=True))
    worker.submit(Everything(8, "8.png", 2, "names"))
    worker.prefetch([Encode(1, "1.png", Priority.NEXT), Encode(2, "2.png", Priority.NEXT)])
    engine.gate.release(9)
    qtbot.waitUntil(lambda: len(engine.started) == 4)
    assert [r.picture_id for r in engine.started] == [1, 8, 2, 7]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PictureError("a.png: gone"), "picture"),
        (MemoryError("out of memory"), "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "memory"),
        (RuntimeError("\n  boom\n  and a page of advice for programmers"), "internal"),
    ],
)
def test_errors_become_messages_with_advice_and_the_worker_lives_on(qtbot, worker, engine, error, kind):
    engine.error = error
    engine.gate.release()
    with qtbot.waitSignal(worker.answered) as heard:
        worker.submit(_predict(5))
    (failed,) = heard.args
    assert isinstance(failed, Failed)
    assert (failed.kind, failed.generation, failed.picture_id) == (kind, 5, 1)
    assert failed.advice
    assert failed.text.splitlines() == [failed.text.strip()]
    engine.error = None
    engine.gate.release()
    with qtbot.waitSignal(worker.answered) as heard:
        worker.submit(_predict(6))
    assert isinstance(heard.args[0], Encoded)


def test_closing_ends_what_runs_and_later_calls_do_nothing(qtbot, worker, engine):
    worker.submit(_predict(1))
    qtbot.waitUntil(lambda: len(engine.started) == 1)
    worker.close()
    worker.close()
    worker.submit(_predict(2))
    worker.prefetch([Encode(1, "1.png", Priority.NEXT)])
    assert worker.closed
    assert len(engine.started) == 1


def test_what_ranks_names_waits_until_they_are_encoded_in_either_lane(qtbot, worker, engine):
    names = vocabulary()
    worker.submit(EncodeText(names, spare=True))
    qtbot.waitUntil(lambda: len(engine.started) == 1)
    worker.submit(Predict(1, "a.png", 1, Prompt.of([1.0, 1.0]), names.digest))
    worker.submit(Encode(1, "a.png"))
    qtbot.waitUntil(lambda: len(engine.started) == 2)
    assert isinstance(engine.started[1], Encode)  # the prompt waits, the picture does not
    engine.gate.release(3)
    qtbot.waitUntil(lambda: len(engine.started) == 3)
    assert isinstance(engine.started[2], Predict)


def test_newer_names_make_older_ones_worthless_but_not_those_that_are_waited_for(qtbot, worker, engine):
    others = Vocabulary.of(["x", "y"], "others")
    worker.submit(EncodeText(vocabulary()))
    qtbot.waitUntil(lambda: len(engine.started) == 1)
    worker.submit(EncodeText(others, spare=True))
    qtbot.waitUntil(lambda: len(engine.started) == 2)
    worker.submit(EncodeText(Vocabulary.of(["z"], "third"), spare=True))
    qtbot.waitUntil(lambda: len(engine.started) == 3)  # the second one was cancelled, the first one still runs
    answers = []
    worker.answered.connect(answers.append)
    engine.gate.release(2)
    qtbot.waitUntil(lambda: len(answers) == 2)
