"""Faster ways give the same masks, are measured once, and a wrong one is not taken."""

from __future__ import annotations

import copy
import json

import pytest
import timm
import torch
from torch import nn

from ovsam_core import speed
from ovsam_core.config import named_config
from ovsam_core.errors import ModelError
from ovsam_core.modeling.build import build_model
from ovsam_core.speed import Speed, Trial, choose_speed, fuse_batch_norm, measure, prepare

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tiny():
    model = build_model(named_config("tiny"))
    random = torch.Generator().manual_seed(1)
    for module in model.modules():  # statistics and scales that a fold can get wrong
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5, generator=random)
            module.running_var.uniform_(0.5, 2, generator=random)
            module.weight.data.uniform_(0.5, 1.5, generator=random)
            module.bias.data.uniform_(-0.5, 0.5, generator=random)
    return model


@pytest.fixture
def pixels():
    return torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))


def encode(model, way, pixels):
    with torch.inference_mode(), way.autocast(CPU):
        return {name: tensor.float() for name, tensor in model.encode(way.arrange(pixels)).items()}


@pytest.mark.parametrize(
    "way", [Speed(channels_last=True), Speed(fused=True), Speed(channels_last=True, fused=True)], ids=str
)
def test_float32_ways_agree_with_the_plain_one(tiny, pixels, way):
    plain = encode(tiny, Speed(), pixels)
    variant = copy.deepcopy(tiny)
    prepare(variant, CPU, way)
    for name, tensor in encode(variant, way, pixels).items():
        torch.testing.assert_close(tensor, plain[name], rtol=1e-4, atol=1e-4)
    assert not any(p.requires_grad for p in variant.parameters())


def test_folding_removes_every_batch_norm_of_a_clip_resnet(tiny):
    variant = copy.deepcopy(tiny)
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in variant.backbone.modules())
    assert fuse_batch_norm(variant.backbone) == norms > 0
    assert not any(isinstance(m, nn.BatchNorm2d) for m in variant.backbone.modules())


def test_folding_keeps_the_activations_of_timms_norms():
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = network(x)
        assert fuse_batch_norm(network) == 49
        torch.testing.assert_close(network(x), before, rtol=1e-4, atol=1e-4)


def test_norms_in_training_or_of_another_width_are_left_alone():
    assert fuse_batch_norm(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()) == 0
    assert fuse_batch_norm(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)).eval()) == 0
    assert fuse_batch_norm(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1)).eval()) == 0


def test_measuring_compares_masks_and_leaves_the_model_alone(tiny):
    before = {name: tensor.clone() for name, tensor in tiny.state_dict().items()}
    ways = (Speed(), Speed(channels_last=True, fused=True), Speed(True, True, "bfloat16"))
    trials = measure(tiny, ways)
    assert [trial.speed for trial in trials] == list(ways)
    assert trials[0].iou == 1
    assert trials[1].iou > 0.99
    assert 0.5 < trials[2].iou <= 1
    assert all(trial.ms > 0 for trial in trials)
    after = tiny.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def fake(monkeypatch, *trials):
    calls = []

    def measured(model, ways):
        calls.append(ways)
        return [trial for trial in trials if trial.speed in ways]

    monkeypatch.setattr(speed, "measure", measured)
    return calls


PLAIN, BOTH, FOLDED = Speed(), Speed(channels_last=True, fused=True), Speed(fused=True)


def test_the_fastest_honest_way_is_kept_for_the_next_start(tiny, tmp_path, monkeypatch):
    calls = fake(monkeypatch, Trial(PLAIN, 90, 1), Trial(FOLDED, 70, 0.999), Trial(BOTH, 50, 0.98))
    file = tmp_path / "deep" / "speed.json"
    assert choose_speed(tiny, CPU, file=file) == FOLDED  # BOTH is faster, but its masks differ
    assert choose_speed(tiny, CPU, file=file) == FOLDED
    assert len(calls) == 1
    other = build_model(named_config("tiny"))
    other.config = other.config.with_hashes(type(other.config.hashes)(encoder="another"))
    assert choose_speed(other, CPU, file=file) == FOLDED
    assert len(calls) == 2
    assert len(json.loads(file.read_text())) == 2


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": 1}'])
def test_a_damaged_file_is_measured_again(tiny, tmp_path, monkeypatch, content):
    fake(monkeypatch, Trial(PLAIN, 90, 1))
    file = tmp_path / "speed.json"
    file.write_text(content)
    assert choose_speed(tiny, CPU, file=file) == PLAIN
    assert json.loads(file.read_text())


def test_a_file_of_another_version_is_measured_again(tiny, tmp_path, monkeypatch):
    calls = fake(monkeypatch, Trial(PLAIN, 90, 1))
    file = tmp_path / "speed.json"
    choose_speed(tiny, CPU, file=file)
    kept = json.loads(file.read_text())
    next(iter(kept.values()))["speed"] = {"turbo": True}
    file.write_text(json.dumps(kept))
    assert choose_speed(tiny, CPU, file=file) == PLAIN
    assert len(calls) == 2


def test_a_cache_that_cannot_be_written_costs_only_time(tiny, tmp_path, monkeypatch):
    fake(monkeypatch, Trial(PLAIN, 90, 1))
    (tmp_path / "file").write_text("")
    assert choose_speed(tiny, CPU, file=tmp_path / "file" / "speed.json") == PLAIN


def test_bfloat16_is_tried_where_the_processor_has_it(tiny, tmp_path, monkeypatch):
    half = Speed(True, True, "bfloat16")
    calls = fake(monkeypatch, Trial(PLAIN, 90, 1), Trial(half, 30, 0.995))
    monkeypatch.setattr(speed, "_has_bf16", lambda: False)
    assert choose_speed(tiny, CPU, file=tmp_path / "a.json") == PLAIN
    assert half not in calls[0]
    monkeypatch.setattr(speed, "_has_bf16", lambda: True)
    assert choose_speed(tiny, CPU, file=tmp_path / "b.json") == half
    assert choose_speed(tiny, CPU, "float32", file=tmp_path / "b.json") == PLAIN
    assert choose_speed(tiny, CPU, "bfloat16", file=tmp_path / "b.json").precision == "bfloat16"


def test_precision_is_part_of_the_key_and_memory_order_is_not():
    assert {way.tag for way in (PLAIN, FOLDED, BOTH)} == {"fp32"}
    assert Speed(precision="bfloat16").tag == "bf16"


def test_an_unknown_precision_is_refused(tiny, tmp_path):
    with pytest.raises(ModelError, match="float16"):
        choose_speed(tiny, CPU, "float16", file=tmp_path / "x.json")
