"""Every array of the official model's golden outputs, from one forward pass."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.parity import compare as command
from tests.parity.golden import INPUTS, Agreement, compare, golden_config, golden_model, official_shapes, outputs

DATA = Path(__file__).parent / "data"
FILE = DATA / "official_rn50.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(FILE) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def filled():
    return golden_model(golden_config("RN50", 160, 12))


@pytest.fixture(scope="module")
def ours(golden, filled):
    return outputs(filled[0], golden)


@pytest.mark.parametrize("name", [name for name in np.load(FILE).files if name not in INPUTS])
def test_array_agrees(name, golden, ours):
    only = {key: golden[key] for key in (*INPUTS, name)}
    (agreement,) = compare(only, ours)
    assert agreement.passes, f"{name}: {agreement.error:.2e}"


def test_our_tensors_have_the_official_names_and_shapes(filled):
    official = {
        name: tuple(shape) for name, shape in json.loads((DATA / "official_rn50.keys.json").read_text()).items()
    }
    assert official_shapes(filled[0]) == official


def test_the_loader_fills_all_but_the_text_tower(filled):
    report = filled[1]
    assert not report.unexpected
    assert not report.misshaped
    assert {name.split(".")[0] for name in report.missing} == {"text"}


def test_a_difference_is_seen(golden, ours):
    wrong = {name: array.copy() for name, array in ours.items()}
    for array in wrong.values():
        if array.dtype == np.uint8:
            array[:, :20] ^= 255
        else:
            np.add(array, 1e-3 * array.std(), out=array)
    assert not any(agreement.passes for agreement in compare(golden, wrong))


def test_an_array_without_a_counterpart_does_not_pass(golden, ours):
    (unknown,) = (a for a in compare(golden | {"later": np.zeros(3)}, ours) if not a.passes)
    assert unknown.name == "later"


def test_the_command_prints_every_array(golden, ours, filled, monkeypatch, capsys):
    monkeypatch.setattr(command, "golden_model", lambda config: filled)
    monkeypatch.setattr(command, "outputs", lambda model, arrays: ours)
    assert command.main([str(FILE)]) == 0
    printed = capsys.readouterr().out
    for name in set(golden) - set(INPUTS):
        assert re.search(rf"^{name} .* ok$", printed, re.MULTILINE)


def test_the_command_fails_on_a_difference(golden, ours, filled, monkeypatch, capsys):
    monkeypatch.setattr(command, "golden_model", lambda config: filled)
    monkeypatch.setattr(command, "outputs", lambda model, arrays: ours | {"neck_patch": ours["neck_patch"] + 1})
    assert command.main([str(FILE)]) == 1
    assert re.search(r"^neck_patch .* DIFFERS$", capsys.readouterr().out, re.MULTILINE)


def test_the_limit_is_a_ten_thousandth():
    assert Agreement("a", 1e-4).passes
    assert not Agreement("a", 1.1e-4).passes
