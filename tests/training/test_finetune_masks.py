"""Fine-tuning masks as they are used: views, frozen encoder, and that the decoder learns."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from ovsam_core.config import ZoomConfig, named_config
from ovsam_core.modeling.build import build_model
from tests.training.builders import NAMES, coco_file
from training.finetune_masks import DecoderTask, ViewArgs, ViewSamples, collate_views
from training.loop import fit
from training.mask_task import PromptArgs
from training.options import LoopArgs, OptimArgs
from training.records import read_records


def tiny(**zoom):
    config = named_config("tiny")
    decoder = replace(config.decoder, form="full", skips=True, prompt_maps=True, content_tokens=True, box_start=True)
    zoomed = replace(ZoomConfig(), enabled=True, size=64, **zoom)
    return build_model(replace(config, decoder=decoder, zoom=zoomed))


def samples(folder, config, count=3, **args):
    changed = {"flip": 0.0, "colour": 0.0, "smallest": 4.0} | args
    return ViewSamples(read_records(coco_file(folder, count)), config, ViewArgs(**changed), seed=2, views=3)


@pytest.mark.parametrize(("zoom", "side"), [(1.0, 64), (0.0, 128)])
def test_masks_lie_on_their_pixels(tmp_path, zoom, side):
    """The scene's colours tell the objects: red, green and blue shapes on grey."""
    config = tiny().config
    data = samples(tmp_path, config, zoom=zoom)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (config.input.mean, config.input.std))
    for epoch in range(6):
        one = data[epoch, epoch % 3]
        assert one["pixels"].shape == (3, side, side)
        assert one["masks"].shape[1:] == (side // 2, side // 2)
        rgb = torch.nn.functional.avg_pool2d(one["pixels"] * std + mean, 2)
        for mask in one["masks"]:
            inside = rgb[:, mask == 1].mean(1)
            assert inside.max() > 150
            assert inside.sort().values[1] < 80
    kinds = {data[e, 0]["view"] for e in range(6)}
    assert kinds == {"0/0", "0/1", "0/2"}


def test_a_crop_of_a_mirrored_picture_shows_its_object(tmp_path):
    config = tiny().config
    (record,) = read_records(coco_file(tmp_path, 1))
    alone = replace(record, objects=record.objects[:1])  # at the left
    data = ViewSamples([alone], config, ViewArgs(zoom=1.0, flip=1.0, smallest=4.0), seed=2, views=3)
    assert [len(data[epoch, 0]["masks"]) for epoch in range(3)] == [1, 1, 1]


def test_a_flip_turns_picture_and_masks_alike(tmp_path):
    config = tiny().config
    plain = samples(tmp_path, config, zoom=0.0, objects=3)[0, 0]
    turned = samples(tmp_path, config, zoom=0.0, objects=3, flip=1.0)[0, 0]
    # The picture is wider than high: it fills the input's width.
    whole, mirrored = plain["masks"].sum(0), turned["masks"].sum(0).flip(1)
    assert torch.equal(whole > 0.5, mirrored > 0.5)


def test_only_the_decoder_learns_and_features_are_kept(tmp_path):
    network = tiny()
    task = DecoderTask(network, PromptArgs())
    data = samples(tmp_path, network.config)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    encoded = []
    real = network.encode
    network.encode = lambda pixels: encoded.append(pixels.shape) or real(pixels)
    loop = LoopArgs(epochs=100, max_steps=40, batch_size=3, device="cpu", log_every=1)
    fit(task, data, tmp_path / "run", loop, OptimArgs(lr=2e-3, warmup_steps=2, clip=1.0), collate=collate_views)
    assert len(encoded) == 9  # three pictures of three views each
    moved = {k for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
    assert moved
    assert all(k.startswith("mask_decoder.") and not k.startswith("mask_decoder.prompt_encoder.") for k in moved)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert np.mean(losses[-8:]) < 0.9 * np.mean(losses[:8])


def test_objects_of_other_names_count_too(tmp_path):
    """Masks are learnt class-free: a name that nobody knows is as good as any."""
    config = tiny().config
    pictures = read_records(coco_file(tmp_path, 1, names=("quokka", *NAMES[1:])))
    assert len(ViewSamples(pictures, config, ViewArgs(objects=9, zoom=0.0, smallest=1.0))[0, 0]["masks"]) == 3
