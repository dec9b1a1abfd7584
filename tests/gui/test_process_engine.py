"""The model's process: answers, crashes, replays, cancels, and never brings torch into the window's process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from ovsam_annotator.inference.child import ChildSettings
from ovsam_annotator.inference.messages import Encode, Encoded, EncodeText, Predict, Predicted, SelectModel
from ovsam_annotator.inference.process import ProcessEngine
from ovsam_annotator.inference.segmenter import EngineCrashError
from ovsam_annotator.inference.transfer import Parcel, discard, pack, unpack
from ovsam_annotator.inference.worker import InferenceWorker
from ovsam_annotator.model.shapes import pixel_shape
from ovsam_core.errors import CancelledError, PictureError
from ovsam_core.prompts import Prompt

from .builders import picture_file, vocabulary


def _never() -> bool:
    return False


@pytest.fixture
def engine():
    made = ProcessEngine(ChildSettings("demo", demo=True))
    yield made
    made.close()


def _predict(path, generation=1):
    return Predict(1, str(path), generation, Prompt.of([30.0, 20.0]), vocabulary().digest)


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_values_survive_the_parcel(size):
    value = {"a": np.arange(size, dtype=np.float32), "b": (np.ones((3, 2), bool), "text")}
    back = unpack(pack(value))
    np.testing.assert_array_equal(back["a"], value["a"])
    assert back["b"][1] == "text"
    back["a"][0] = 5  # arrays belong to the receiver


def test_a_ragged_mask_crosses_in_a_few_arrays():
    pixels = np.zeros((60, 60), np.bool_)
    pixels[::2, ::2] = True
    shape = pixel_shape(pixels, 5, 7)
    parcel = pack(shape)
    assert len(shape.loops) == 900
    assert len(parcel.sizes) <= 3  # each array costs the window's process microseconds that add up
    back = unpack(parcel)
    assert (back.box_xyxy, back.area) == (shape.box_xyxy, shape.area)
    np.testing.assert_array_equal(back.pixels, shape.pixels)
    assert [loop.tolist() for loop in back.loops] == [loop.tolist() for loop in shape.loops]
    empty = unpack(pack(pixel_shape(np.zeros((2, 2), np.bool_))))
    assert (empty.loops, empty.area) == ((), 0)


def test_a_discarded_parcel_leaves_no_block():
    parcel = pack(np.zeros(1_000_000))
    discard(parcel)
    with pytest.raises(FileNotFoundError):
        unpack(parcel)
    discard(parcel)
    discard(Parcel(b""))


def test_answers_and_errors_come_back(engine, tmp_path):
    path = picture_file(tmp_path)
    assert isinstance(engine.run(Encode(1, str(path)), print, _never), Encoded)
    engine.run(EncodeText(vocabulary()), print, _never)
    answer = engine.run(_predict(path), print, _never)
    assert isinstance(answer, Predicted)
    assert answer.prediction.mask.full()[20, 30]
    assert answer.shapes[0].contains(30, 20)
    with pytest.raises(PictureError, match="no such file"):
        engine.run(Encode(1, str(tmp_path / "gone.png")), print, _never)


def test_a_killed_child_is_replaced_and_knows_its_names_again(engine, tmp_path):
    path = picture_file(tmp_path)
    engine.run(EncodeText(vocabulary()), print, _never)
    os.kill(engine.pid, signal.SIGKILL)
    answer = engine.run(_predict(path), lambda _: None, _never)
    assert isinstance(answer, Predicted)
    assert engine.starts == 2


def test_a_request_that_kills_every_child_fails_with_advice(tmp_path):
    engine = ProcessEngine(ChildSettings("demo", demo=True))

    def kill() -> bool:
        if engine.pid:
            os.kill(engine.pid, signal.SIGSTOP)
            os.kill(engine.pid, signal.SIGKILL)
        return False

    try:
        with pytest.raises(EngineCrashError):
            engine.run(Encode(1, str(picture_file(tmp_path))), lambda _: None, kill)
    finally:
        engine.close()


def test_a_cancelled_request_ends_even_when_the_child_hangs(engine, tmp_path):
    engine.run(Encode(1, str(picture_file(tmp_path))), print, _never)
    os.kill(engine.pid, signal.SIGSTOP)
    done = threading.Event()
    failure = []

    def ask():
        try:
            engine.run(_predict(tmp_path / "a.png"), print, _never)
        except CancelledError as error:
            failure.append(error)
        done.set()

    thread = threading.Thread(target=ask)
    thread.start()
    engine.close()
    assert done.wait(20)
    thread.join()
    assert failure


def test_another_model_is_another_child(engine):
    engine.run(SelectModel("demo"), print, _never)
    engine.run(SelectModel("other"), print, _never)
    assert engine.starts == 2


def test_the_worker_replays_the_pending_prompt_after_a_kill(qtbot, tmp_path):
    engine = ProcessEngine(ChildSettings("demo", demo=True))
    worker = InferenceWorker(engine)
    try:
        with qtbot.waitSignal(worker.answered, timeout=60_000):
            worker.submit(EncodeText(vocabulary()))
        os.kill(engine.pid, signal.SIGSTOP)  # the prompt is on its way, and no answer comes
        worker.submit(_predict(picture_file(tmp_path), 7))
        with qtbot.waitSignal(
            worker.answered, timeout=60_000, check_params_cb=lambda a: isinstance(a, Predicted) and a.generation == 7
        ):
            os.kill(engine.pid, signal.SIGKILL)
    finally:
        worker.close()


def test_the_windows_process_never_imports_torch():
    code = (
        "import sys\n"
        "import ovsam_annotator.inference.process, ovsam_annotator.inference.worker, ovsam_annotator.inference.fake\n"
        "import ovsam_annotator.app\n"
        "assert 'torch' not in sys.modules, [m for m in sys.modules if 'torch' in m][:5]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
