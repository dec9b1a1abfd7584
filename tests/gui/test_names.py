"""Which names are ranked when: at once, later, or never without saying so."""

from __future__ import annotations

import pickle
import threading

import pytest

from ovsam_annotator.controller.names import NamesController
from ovsam_annotator.inference.fake import FAKE_MODEL, FakeEngine
from ovsam_annotator.inference.messages import EncodeText, TextEncoded
from ovsam_annotator.views.protocols import LabelListView
from ovsam_core.vocabulary import Entry, Vocabulary

from .builders import NAMES, vocabulary
from .driver import start, stop
from .fakes import FakeSignal, NowRunner, SilentSegmenter, fake_view


class Project:
    """As much of a session as names need."""

    def __init__(self):
        self.classes = []
        self.classes_changed = FakeSignal()


class Names:
    def __init__(self, preset):
        self.segmenter, self.session = SilentSegmenter(), Project()
        self.controller = NamesController(
            label_list=fake_view(LabelListView), segmenter=self.segmenter, runner=NowRunner()
        )
        self.ranked, self.failures = [], []
        self.controller.ready.connect(self.ranked.append)
        self.controller.failed.connect(lambda text, final: self.failures.append((text, final)))
        self.controller.attach(self.session, preset)

    def asked(self):
        return [(len(request.vocabulary), request.spare) for request in self.segmenter.requests]

    def encoded(self, request):
        self.controller.take(TextEncoded(request.vocabulary.digest))


@pytest.fixture
def long_list(tmp_path):
    path = tmp_path / "long.txt"
    path.write_text("\n".join(f"thing {k}" for k in range(2500)), "utf-8")
    return str(path)


def test_a_short_vocabulary_is_ranked_at_once_and_waited_for(qapp, names_file):
    names = Names(str(names_file))
    assert names.asked() == [(len(NAMES), False)]
    assert names.ranked == [names.segmenter.requests[0].vocabulary.digest]
    names.encoded(names.segmenter.requests[0])
    assert len(names.ranked) == 1


def test_a_long_one_is_encoded_in_spare_time_and_others_are_ranked_until_then(qapp, long_list):
    names = Names(long_list)
    assert names.asked() == [(80, False), (2500, True)]
    first, second = names.segmenter.requests
    assert names.ranked == [first.vocabulary.digest]
    names.encoded(first)
    assert len(names.ranked) == 1
    names.encoded(second)
    assert names.ranked == [first.vocabulary.digest, second.vocabulary.digest]


def test_the_old_names_are_ranked_until_the_new_ones_are_there(qapp, names_file):
    names = Names(str(names_file))
    names.encoded(names.segmenter.requests[0])
    names.controller.choose("coco")
    request = names.segmenter.requests[-1]
    assert request.spare
    assert names.ranked == [names.segmenter.requests[0].vocabulary.digest]
    names.encoded(request)
    assert names.ranked[-1] == request.vocabulary.digest


def test_a_vocabulary_that_cannot_be_loaded_is_replaced_and_named(qapp, tmp_path):
    names = Names(str(tmp_path / "gone.txt"))
    ((text, final),) = names.failures
    assert "gone.txt" in text
    assert not final
    assert names.asked() == [(80, False)]
    assert names.controller.preset == "coco"


def test_another_model_learns_the_names_anew(qapp, names_file):
    names = Names(str(names_file))
    names.encoded(names.segmenter.requests[0])
    names.controller.send_again()
    assert names.asked()[-1] == (len(NAMES), False)
    assert len(names.ranked) == 2


def test_names_survive_the_pipe():
    sent = EncodeText(
        Vocabulary("v", (Entry("a", "größe", ("b", "c"), "d", "e", ("f",)), *vocabulary().entries)), spare=True
    )
    got = pickle.loads(pickle.dumps(sent))
    assert got.vocabulary == sent.vocabulary
    assert got.vocabulary.digest == sent.vocabulary.digest
    assert got.spare


class LateNames(FakeEngine):
    """Encodes names when it is told to."""

    def __init__(self):
        super().__init__()
        self.gate = threading.Event()

    def run(self, request, report, cancelled):
        if isinstance(request, EncodeText):
            while not self.gate.wait(0.01) and not cancelled():
                pass
        return super().run(request, report, cancelled)


def test_a_click_and_everything_right_after_the_start_wait_for_the_names(qtbot, folder, tmp_path):
    engine = LateNames()
    driver = start(qtbot, engine, FAKE_MODEL, tmp_path)
    try:
        driver.open(folder)
        driver.click(60, 40)
        driver.workspace.proposals.everything()
        driver.workspace.batch.start([2, 3])
        assert driver.annotation.waiting
        assert not driver.workspace.proposals.active
        failures = []
        driver.program.worker.answered.connect(lambda a: failures.append(a) if type(a).__name__ == "Failed" else None)
        with driver.signal(driver.workspace.batch.finished) as finished:
            engine.gate.set()
        driver.until(lambda: driver.annotation.suggested is not None and driver.workspace.proposals.active)
        assert finished.args[0] == 2
        assert not failures
    finally:
        engine.gate.set()
        assert stop(driver) == 0
