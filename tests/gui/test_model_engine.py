"""The engine on a real (tiny, random) network: caches, cancels, and spare time that gives way."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from ovsam_annotator.inference.in_process import ModelEngine
from ovsam_annotator.inference.messages import (
    Encode,
    EncodeText,
    Everything,
    ModelReady,
    Predict,
    Priority,
    Progress,
    Proposed,
    SelectModel,
)
from ovsam_annotator.inference.segmenter import UnknownVocabularyError
from ovsam_core.embedding_cache import EmbeddingCache
from ovsam_core.errors import CancelledError, ModelError, PictureError
from ovsam_core.prompts import Prompt
from ovsam_core.vocabulary import Vocabulary

from .builders import picture_file, vocabulary


def _never():
    return False


def _quiet(_):
    return None


@pytest.fixture(scope="module")
def warm():
    """One engine with the names encoded, for tests that do not change it."""
    engine = ModelEngine("tiny", cache=EmbeddingCache(disk_bytes=0))
    engine.run(EncodeText(vocabulary()), _quiet, _never)
    yield engine
    engine.close()


def test_a_picture_is_encoded_once_and_then_read_from_memory_or_disk(tmp_path):
    path = str(picture_file(tmp_path))
    cache = EmbeddingCache(tmp_path / "cache")
    first = ModelEngine("tiny", cache=cache)
    assert not first.run(Encode(1, path), _quiet, _never).cached
    assert first.run(Encode(1, path), _quiet, _never).cached
    first.close()
    again = ModelEngine("tiny", cache=EmbeddingCache(tmp_path / "cache"))
    assert again.run(Encode(1, path), _quiet, _never).cached
    again.close()


def test_mask_names_and_shapes_belong_together(warm, tmp_path):
    path = str(picture_file(tmp_path))
    stages = []
    request = Predict(1, path, 5, Prompt.of([30.0, 20.0]), vocabulary().digest)
    answer = warm.run(request, lambda p: stages.append(p.stage), _never)
    assert answer.generation == 5
    assert stages[0] == "reading"
    assert stages[-1] == "decoding"
    for candidate, shape in zip(answer.prediction.candidates, answer.shapes, strict=True):
        assert candidate.mask.area == shape.area
        full = np.zeros((64, 96), bool)
        height, width = shape.pixels.shape
        full[shape.y : shape.y + height, shape.x : shape.x + width] = shape.pixels
        np.testing.assert_array_equal(candidate.mask.full(), full)
        assert len(candidate.labels) == 9


def test_everything_answers_every_box(warm, tmp_path):
    path = str(picture_file(tmp_path))
    boxes = ((5.0, 5.0, 40.0, 40.0), (50.0, 10.0, 90.0, 60.0))
    answer = warm.run(Everything(1, path, 3, vocabulary().digest, boxes), _quiet, _never)
    assert isinstance(answer, Proposed)
    assert len(answer.predictions) == len(answer.shapes) == 2


def test_unknown_names_missing_files_and_models_are_named(warm, tmp_path):
    path = str(picture_file(tmp_path))
    with pytest.raises(UnknownVocabularyError):
        warm.run(Predict(1, path, 1, Prompt.of([3.0, 3.0]), "unknown"), _quiet, _never)
    with pytest.raises(PictureError, match="gone"):
        warm.run(Encode(1, str(tmp_path / "gone.png")), _quiet, _never)
    with pytest.raises(ModelError, match="no-such-model"):
        ModelEngine("no-such-model").run(SelectModel("no-such-model"), _quiet, _never)


def test_a_missing_model_is_stood_in_for_with_a_notice():
    engine = ModelEngine("no-such-model", fallback=True)
    ready = engine.run(SelectModel("no-such-model"), _quiet, _never)
    assert isinstance(ready, ModelReady)
    assert ready.model_id == "tiny"
    assert "no-such-model" in ready.notice
    engine.close()


def test_a_cancelled_request_stops_inside_the_network(tmp_path):
    engine = ModelEngine("tiny", cache=EmbeddingCache(disk_bytes=0))
    path = str(picture_file(tmp_path))
    asked = threading.Event()

    def cancelled():
        return asked.is_set()

    def report(progress: Progress):
        if progress.stage == "encoding":
            asked.set()

    with pytest.raises(CancelledError):
        engine.run(Encode(1, path), report, cancelled)
    assert not engine.run(Encode(1, path), _quiet, _never).cached
    engine.close()


def test_spare_time_work_waits_while_the_user_is_served(tmp_path):
    """A prefetch is held at a layer for as long as a user's request runs, and loses nothing."""
    engine = ModelEngine("tiny", cache=EmbeddingCache(disk_bytes=0))
    engine.run(EncodeText(vocabulary()), _quiet, _never)
    near, far = str(picture_file(tmp_path, "a.png")), str(picture_file(tmp_path, "b.png", seed=1))
    order, started, entered = [], threading.Event(), threading.Event()

    def report_prefetch(progress: Progress):
        if progress.stage == "encoding":
            started.set()
            assert entered.wait(30)  # the user's request is inside by now

    def prefetch():
        engine.run(Encode(2, far, Priority.NEXT), report_prefetch, _never)
        order.append("prefetch")

    def report_user(_: Progress):
        entered.set()

    thread = threading.Thread(target=prefetch)
    thread.start()
    assert started.wait(30)
    engine.run(Predict(1, near, 1, Prompt.of([30.0, 20.0]), vocabulary().digest), report_user, _never)
    order.append("user")
    thread.join()
    assert order == ["user", "prefetch"]
    assert engine.run(Encode(2, far), _quiet, _never).cached
    engine.close()


def test_opening_the_picture_that_is_being_prefetched_does_not_encode_it_twice(tmp_path):
    engine = ModelEngine("tiny", cache=EmbeddingCache(disk_bytes=0))
    path = str(picture_file(tmp_path))
    started, answers = threading.Event(), []
    encodes = []

    def prefetch():
        def report(progress):
            if progress.stage == "encoding":
                encodes.append("prefetch")
                started.set()

        answers.append(engine.run(Encode(1, path, Priority.NEXT), report, _never))

    thread = threading.Thread(target=prefetch)
    thread.start()
    assert started.wait(30)
    answer = engine.run(Encode(1, path), lambda p: encodes.append("open") if p.stage == "encoding" else None, _never)
    thread.join()
    assert answer.cached
    assert encodes == ["prefetch"]
    engine.close()


def test_names_for_a_waiting_user_and_names_in_spare_time_do_not_block_each_other(tmp_path):
    """The user's thread needs what the spare one holds: it steps aside instead of holding it up for ever."""
    engine = ModelEngine("tiny", cache=EmbeddingCache(disk_bytes=0))
    many = Vocabulary.of([f"name {k}" for k in range(400)], "many")
    begun, order = threading.Event(), []

    def report(progress: Progress):
        if progress.stage == "names":
            begun.set()

    def spare():
        engine.run(EncodeText(many, spare=True), report, _never)
        order.append("spare")

    thread = threading.Thread(target=spare)
    thread.start()
    assert begun.wait(60)
    engine.run(EncodeText(vocabulary()), _quiet, _never)
    order.append("user")
    thread.join(60)
    assert not thread.is_alive()
    assert set(order) == {"spare", "user"}
    engine.close()


def test_spare_time_work_rests_for_a_moment_after_a_prompt(tmp_path):
    engine = ModelEngine("tiny", cache=EmbeddingCache(disk_bytes=0), quiet_s=3600.0)
    near, far = str(picture_file(tmp_path, "a.png")), str(picture_file(tmp_path, "b.png", seed=1))
    engine.run(EncodeText(vocabulary()), _quiet, _never)
    engine.run(Predict(1, near, 1, Prompt.of([30.0, 20.0]), vocabulary().digest), _quiet, _never)
    begun, stop = threading.Event(), threading.Event()
    ended = []

    def prefetch():
        def report(progress: Progress):
            if progress.stage == "encoding":
                begun.set()

        try:
            engine.run(Encode(2, far, Priority.NEXT), report, stop.is_set)
        except CancelledError:
            ended.append("cancelled")

    thread = threading.Thread(target=prefetch)
    thread.start()
    assert begun.wait(60)
    assert engine.run(Encode(1, near), _quiet, _never).cached  # the user is served all the same
    stop.set()
    thread.join(60)
    assert ended == ["cancelled"]  # it never got past its first layer
    engine.close()
