"""CLIP2SAM at toy size: what learns, what stays, and that a batch may be divided at will."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from ovsam_core.checkpoint import load_model, save_model
from ovsam_core.config import named_config
from ovsam_core.modeling.build import build_model
from ovsam_core.text import encode_vocabulary
from ovsam_core.vocabulary import Vocabulary
from tests.training.builders import NAMES, coco_file
from training import train_clip2sam
from training.data import PromptArgs, PromptSamples, collate
from training.losses import classification_loss
from training.records import read_records
from training.tasks import Clip2Sam, LossArgs, class_logits

FAST = ["--loss.points", "64", "--prompts.boxes", "3", "--prompts.points", "3", "--device", "cpu", "--log_every", "1"]


def tiny(variant="fpn", form="official"):
    config = named_config("tiny")
    token = variant in {"token", "token_clip"}
    head = replace(config.head, variant=variant, label_token_classifies=token)
    return build_model(replace(config, head=head, decoder=replace(config.decoder, form=form)))


def task_and_batch(folder, network, pictures=2, **options):
    records = read_records(coco_file(folder, pictures))
    vocabulary = Vocabulary.of(NAMES)
    rows = {n: i for i, n in enumerate(NAMES)}
    task = Clip2Sam(network, encode_vocabulary(network, vocabulary), LossArgs(points=64), **options)
    data = PromptSamples(records, rows, network.config.input, PromptArgs(boxes=3, points=3), seed=1, federated=50)
    return task, collate([data[0, i] for i in range(pictures)])


@pytest.mark.parametrize("variant", ["fpn", "token", "token_clip", "adapter", "none"])
@pytest.mark.parametrize("form", ["official", "full"])
def test_every_variant_trains_its_parts_and_nothing_else(tmp_path, variant, form):
    network = tiny(variant, form)
    task, batch = task_and_batch(tmp_path, network)
    task.train()
    terms = task(batch, task.totals(batch))
    assert set(terms) == {"names", "bce", "dice"} | ({"iou"} if form == "full" else set())
    assert (terms["names"] > 0) == (variant != "none")
    sum(terms.values()).backward()
    for name, parameter in task.named_parameters():
        learns = name.startswith(("network.fpn.", "network.head.", "network.mask_decoder."))
        learns &= not name.startswith("network.mask_decoder.prompt_encoder.")
        assert parameter.requires_grad == learns, name
        assert parameter.grad is None or learns, name
    assert task.network.mask_decoder.output_hypernetworks_mlps[0].layers[0].weight.grad.abs().sum() > 0
    if variant == "fpn":
        assert task.network.fpn.lateral_convs[0].weight.grad is not None
        assert task.network.head.roi_conv.weight.grad.abs().sum() > 0


def test_halves_of_a_batch_sum_to_the_whole(tmp_path):
    task, batch = task_and_batch(tmp_path, tiny(), pictures=3)
    totals = task.totals(batch)

    def part(rows):
        return {
            k: v[rows] if isinstance(v, torch.Tensor) else [v[i] for i in rows] for k, v in batch.items() if k != "bad"
        }

    whole = task(batch, totals)
    one, two = task(part([0]), totals), task(part([1, 2]), totals)
    for name in whole:
        torch.testing.assert_close(one[name] + two[name], whole[name], rtol=1e-4, atol=1e-5)


def test_best_phrase_of_an_entry_counts():
    torch.manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(5, 8), dim=1)
    regions = torch.nn.functional.normalize(torch.randn(3, 8), dim=1)
    scores = class_logits(regions, rows, torch.tensor([0, 0, 1, 2, 2]), 3, 100.0)
    cosines = 100 * regions @ rows.T
    expected = torch.stack([cosines[:, :2].amax(1), cosines[:, 2], cosines[:, 3:].amax(1), torch.zeros(3)], 1)
    torch.testing.assert_close(scores, expected)
    regions.requires_grad_()
    classification_loss(
        class_logits(regions, rows, torch.tensor([0, 0, 1, 2, 2]), 3, 9.0), torch.tensor([0, 1, 2]), torch.tensor(3.0)
    ).backward()
    assert regions.grad.abs().sum() > 0


def test_kept_features_give_the_same_loss(tmp_path):
    network = tiny()
    options = {"trained": ("head", "mask_decoder"), "frozen": ("mask_decoder.prompt_encoder",)}
    task, batch = task_and_batch(tmp_path, network, **options)
    keeping, _ = task_and_batch(tmp_path, network, keep_features=True, **options)
    views = batch | {"view": ["a", "b"]}
    totals = task.totals(batch)
    one = task(batch, totals)
    keeping(views, totals)
    two = keeping(views | {"pixels": torch.zeros_like(batch["pixels"])}, totals)
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=2e-2, atol=2e-2)  # features are kept in half precision


def run(folder, *options):
    return train_clip2sam.command(
        train_clip2sam.Clip2SamArgs, train_clip2sam.main, program="train", argv=[*FAST, *options, "--out", str(folder)]
    )


def test_the_stage_learns_freezes_and_writes_a_model(tmp_path):
    data = coco_file(tmp_path, 4)
    save_model(tiny(), tmp_path / "start")
    code = run(
        tmp_path / "run",
        "--data",
        str(data),
        "--model",
        str(tmp_path / "start"),
        "--classes",
        "data",
        "--epochs",
        "8",
        "--lr",
        "0.003",
        "--base_batch",
        "0",
        "--warmup_steps",
        "2",
        "--schedule",
        "constant",
        "--clip",
        "1",
    )
    assert code == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    before, after = load_model(tmp_path / "start"), load_model(tmp_path / "run" / "model")
    moved = {n for n, v in after.state_dict().items() if not torch.equal(v, before.state_dict()[n])}
    assert moved
    assert all(n.startswith(("fpn.", "head.", "mask_decoder.")) for n in moved)
    assert not any(n.startswith("mask_decoder.prompt_encoder.") for n in moved)
    assert after.config.seen == ("person.n.01", "dog.n.01", "cup.n.01")


def test_boxes_and_class_folders_are_mixed_in(tmp_path):
    data = coco_file(tmp_path, 3)
    for name in NAMES:
        (tmp_path / "folders" / name).mkdir(parents=True)
        (tmp_path / "folders" / name / "a.png").write_bytes((tmp_path / "images" / "0.png").read_bytes())
    save_model(tiny(), tmp_path / "start")
    options = ["--data", str(data), "--boxes_only", str(data), "--class_folders", str(tmp_path / "folders")]
    options += ["--model", str(tmp_path / "start"), "--classes", "data", "--max_steps", "6"]
    for ratios, masks in (("2,1,1", True), ("0,1,1", False)):
        assert run(tmp_path / ratios, *options, "--ratios", ratios) == 0
        rows = [json.loads(line) for line in (tmp_path / ratios / "log.jsonl").read_text().splitlines()]
        assert all(row["names"] > 0 for row in rows)
        assert any(row.get("bce", 0) > 0 for row in rows) == masks  # the file's masks are not used a second time


def test_loading_processes_change_nothing(tmp_path):
    """Samples of spawned processes are those of the training process, over epochs, sources and unreadable pictures."""
    data = coco_file(tmp_path, 5)
    (tmp_path / "folders" / NAMES[0]).mkdir(parents=True)
    (tmp_path / "folders" / NAMES[0] / "a.png").write_bytes((tmp_path / "images" / "0.png").read_bytes())
    (tmp_path / "images" / "3.png").write_bytes(b"no picture")
    save_model(tiny(), tmp_path / "start")
    options = ["--data", str(data), "--class_folders", str(tmp_path / "folders"), "--model", str(tmp_path / "start")]
    options += ["--classes", "data", "--epochs", "2", "--batch_size", "2", "--warmup_steps", "0", "--max_bad", "0.5"]
    states = {}
    for workers in ("0", "2"):
        assert run(tmp_path / workers, *options, "--workers", workers) == 0
        assert "3.png" in (tmp_path / workers / "bad_pictures.json").read_text()
        states[workers] = load_model(tmp_path / workers / "model").state_dict()
    assert all(torch.equal(value, states["2"][name]) for name, value in states["0"].items())
    assert any(not torch.equal(v, states["2"][n]) for n, v in load_model(tmp_path / "start").state_dict().items())


def test_the_papers_training_classes():
    """48 of COCO's names, and LVIS without its 337 rare ones."""
    assert len(train_clip2sam.training_vocabulary("coco-base", [])) == 48
    lvis = train_clip2sam.training_vocabulary("lvis-norare", [])
    assert len(lvis) == 866
    assert lvis.find("aerosol can")  # common
    assert not lvis.find("applesauce")  # rare


def test_data_without_trained_classes_is_refused(tmp_path, capsys):
    data = coco_file(tmp_path, 1, names=("zebra fish", "quokka", "okapi"))
    assert run(tmp_path / "run", "--data", str(data), "--model", "tiny") == 1
    assert "no picture has an object of the 48 trained classes" in capsys.readouterr().err


@pytest.mark.parametrize("variant", ["fpn", "token"])
def test_federated_classes_leave_the_loss(tmp_path, variant):
    """A federated picture's class loss is cross-entropy over the classes that take part, its own and background."""
    task, batch = task_and_batch(tmp_path, tiny(variant), pictures=1)
    totals = task.totals(batch)
    whole = task(batch, totals)["names"]
    every = task(batch | {"allowed": [torch.tensor([0, 1, 2])]}, totals)["names"]
    torch.testing.assert_close(every, whole)
    kept = []
    real = task.network.region_head
    task.network.region_head = lambda *args: kept.append(real(*args)) or kept[-1]
    less = task(batch | {"allowed": [torch.tensor([1])]}, totals)["names"]
    scores = class_logits(kept[0], task.rows, task.entry_of_row, 3, task.network.logit_scale)
    if variant == "fpn":  # one region an object: dealt to the prompts again
        scores = scores[batch["object"][0]]
    labels = batch["labels"][0][batch["object"][0]]
    terms = []
    for row, label in zip(scores, labels.tolist(), strict=True):
        part = torch.stack([row[i] for i in sorted({1, label, 3})])
        terms.append(part.logsumexp(0) - row[label])
    torch.testing.assert_close(less, task.weights.names * torch.stack(terms).sum() / totals["names"])
    assert less < whole
