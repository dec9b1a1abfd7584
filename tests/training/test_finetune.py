"""Fine-tuning: what moves, what may not, and when a model is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from ovsam_core.checkpoint import load_model, save_model
from ovsam_core.config import named_config
from ovsam_core.modeling.build import build_model
from ovsam_core.predictor import load_predictor
from ovsam_core.text import encode_vocabulary
from ovsam_core.text_cache import write_phrases
from ovsam_core.vocabulary import Vocabulary
from tests.training.builders import NAMES, coco_file
from training import finetune, metrics
from training.args import ConfigError, command
from training.bad_pictures import TooManyBadPicturesError
from training.loop import fit
from training.names import AdapterTask, RegionVectors, collate_vectors, embed_objects
from training.options import LoopArgs, OptimArgs
from training.recalibration import calibration_error, name_scores, ranks
from training.records import names_of, read_records
from training.train_clip2sam import training_vocabulary

FAST = [
    "--prompts.boxes",
    "2",
    "--prompts.points",
    "2",
    "--loss.points",
    "64",
    "--max_steps",
    "4",
    "--validate_every",
    "2",
]
FAST += ["--names.steps", "20", "--device", "cpu", "--guard", "false"]


def start(folder, variant="none"):
    config = named_config("tiny")
    decoder = replace(config.decoder, skips=True, prompt_maps=True, content_tokens=True, box_start=True)
    config = replace(config, head=replace(config.head, variant=variant), decoder=decoder, seen=("car.n.01",))
    torch.manual_seed(0)
    save_model(build_model(config), folder / "start")
    return folder / "start"


def run(folder, *options):
    argv = [*FAST, "--model", str(folder / "start"), "--out", str(folder / "new"), *options]
    return command(finetune.FinetuneArgs, finetune.main, program="finetune", argv=argv)


@pytest.mark.parametrize("variant", ["none", "fpn"])
def test_a_model_directory_with_the_same_encoder(tmp_path, variant):
    start(tmp_path, variant)
    data = coco_file(tmp_path, 4)
    assert run(tmp_path, "--data", str(data)) == 0
    old, new = load_model(tmp_path / "start"), load_model(tmp_path / "new")
    assert new.config.hashes.encoder == old.config.hashes.encoder
    assert new.config.hashes.text == old.config.hashes.text
    assert new.config.hashes.head != old.config.hashes.head
    moved = {
        n.split(".")[0]
        for n, v in new.state_dict().items()
        if n in old.state_dict() and not torch.equal(v, old.state_dict()[n])
    }
    assert moved <= {"mask_decoder", "head"}
    assert "mask_decoder" in moved
    assert new.config.seen == ("car.n.01", "person.n.01", "dog.n.01", "cup.n.01")
    report = json.loads((tmp_path / "new" / "finetune.json").read_text())
    assert {"before", "after", "train", "validation"} <= set(report)
    assert "| mean IoU from a box |" in (tmp_path / "new" / "README.md").read_text()
    predictor = load_predictor(tmp_path / "new", device="cpu", dtype="float32")
    assert predictor.info.seen == new.config.seen


def test_embeddings_beside_the_model_are_used_and_go_along(tmp_path, monkeypatch):
    """The starter's names are better than what its text tower makes of them: a fine-tuned model must not lose them."""
    config = load_model(start(tmp_path)).config
    shipped = tmp_path / "start" / "embeddings" / "three.safetensors"
    rows = torch.nn.functional.normalize(torch.randn(3, config.embed_dim), dim=1).half().numpy()
    write_phrases(shipped, dict(zip(NAMES, rows, strict=True)), config.templates, config.hashes.text)
    seen = []
    monkeypatch.setattr(finetune, "AdapterTask", lambda network, encoded, *_, **__: seen.append(encoded) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, "--data", str(coco_file(tmp_path, 4)), "--learn", "names", "--names.beside", "none")
    monkeypatch.undo()
    phrases = [p for e in seen[0].vocabulary for p in e.phrases]
    assert np.array_equal(seen[0].rows[phrases.index("dog")], rows[1])
    assert run(tmp_path, "--data", str(coco_file(tmp_path, 4)), "--learn", "names") == 0
    encoded = load_predictor(tmp_path / "new", device="cpu").encode_vocabulary(Vocabulary.of(NAMES))
    assert np.array_equal(encoded.rows, rows)


def test_the_adapter_learns_new_names_and_leaves_others_alone(tmp_path):
    """Regions that the frozen branch calls by a third name learn their own; text of untaught names passes through."""
    network = finetune._with_adapter(load_model(start(tmp_path)), 16)
    vocabulary = Vocabulary.of([*NAMES, "zebra", "kite", "oven"])
    encoded = encode_vocabulary(network, vocabulary)
    generator = torch.Generator().manual_seed(0)
    centres = torch.nn.functional.normalize(torch.randn(3, network.config.embed_dim, generator=generator), dim=1)
    labels = torch.arange(60) % 3
    noise = 0.05 * torch.randn(60, network.config.embed_dim, generator=generator)
    vectors = torch.nn.functional.normalize(centres[labels] + noise, dim=1)
    task = AdapterTask(network, encoded, torch.bincount(labels, minlength=6))
    before = (task.scores(vectors)[:, :6].argmax(1) == labels).float().mean()
    data = RegionVectors(vectors[:45], labels[:45], [str(i) for i in range(45)])
    loop = LoopArgs(epochs=1000, max_steps=80, batch_size=45, device="cpu", log_every=80)
    optim = OptimArgs(lr=0.01, warmup_steps=5, clip=1.0)
    fit(task, data, tmp_path / "run", loop, optim, collate=collate_vectors)
    after = (task.scores(vectors[45:])[:, :6].argmax(1) == labels[45:]).float().mean()
    assert before < 0.7
    assert after > 0.9
    drift = 1 - (network.head(task.others) * task.others).sum(1)
    assert drift.max() < 0.1


def test_the_guard_refuses_a_worse_model(tmp_path, capsys, monkeypatch):
    start(tmp_path)
    figures = {"miou_se": 0.02, "top1": None, "top1_se": None, "miou_box": 0.5, "miou_centre": 0.5}
    falling = iter([figures | {"miou": 0.5}, figures | {"miou": 0.47}])
    monkeypatch.setattr(finetune, "_figures", lambda *_, **__: next(falling))
    data = coco_file(tmp_path, 4)
    assert run(tmp_path, "--data", str(data), "--learn", "masks", "--max_steps", "1", "--guard", "true") == 1
    assert "mean IoU on validation fell from 0.500 to 0.470" in capsys.readouterr().err
    assert not (tmp_path / "new" / "model.safetensors").exists()
    finetune._guard(figures | {"miou": 0.5}, figures | {"miou": 0.485})  # within one standard error


def test_other_labels_are_another_run(tmp_path):
    args = finetune.FinetuneArgs(tmp_path / "x.json", tmp_path / "new")
    folders = {finetune._run_folder(args, read_records(coco_file(tmp_path, n))) for n in (2, 3)}
    folders.add(finetune._run_folder(replace(args, learn=("names",)), read_records(coco_file(tmp_path, 3))))
    assert len(folders) == 3


def test_one_picture_is_too_few(tmp_path):
    start(tmp_path)
    with pytest.raises(ConfigError, match="needs two"):
        finetune.finetune(
            finetune.FinetuneArgs(coco_file(tmp_path, 1), tmp_path / "new", model=str(tmp_path / "start"))
        )


def test_a_group_stands_on_one_side(tmp_path):
    path = coco_file(tmp_path, 8)
    raw = json.loads(path.read_text())
    for image in raw["images"]:
        image["patient"] = f"p{image['id'] // 2}"
    path.write_text(json.dumps(raw))
    args = finetune.FinetuneArgs(path, tmp_path / "new", group="field:patient", validation=0.3)
    for args.loop.seed in range(3):
        train, val = ({p.group for p in side} for side in finetune._split(args))
        assert train | val == {"p0", "p1", "p2", "p3"}
        assert not train & val
    with pytest.raises(ConfigError, match=r"field:slide: no picture of .*data_0\.json has a 'slide'"):
        finetune._split(replace(args, group="field:slide"))


def test_a_limit_draws_pictures_by_seed(tmp_path):
    args = finetune.FinetuneArgs(coco_file(tmp_path, 8), tmp_path / "new", limit=4, group="none")
    drawn = []
    for args.loop.seed in (0, 1, 2, 0):
        train, val = finetune._split(args)
        drawn.append({p.id for p in (*train, *val)})
    assert all(len(ids) == 4 for ids in drawn)
    assert drawn[0] == drawn[3]
    assert len({frozenset(ids) for ids in drawn}) > 1


def test_unknown_part(tmp_path):
    args = finetune.FinetuneArgs(coco_file(tmp_path, 2), tmp_path / "new", learn=("mask",))
    with pytest.raises(ConfigError, match="masks, names or both"):
        finetune.finetune(args)


def test_unreadable_pictures_stop_the_names_too(tmp_path):
    network = load_model(start(tmp_path))
    pictures = read_records(coco_file(tmp_path, 3))
    rows = {name: i for i, name in enumerate(NAMES)}
    (tmp_path / "images" / "1.png").write_bytes(b"")
    _, labels, ids = embed_objects(network, pictures, rows, torch.device("cpu"), max_bad=0.5)
    assert (labels.tolist(), set(ids)) == ([0, 1, 2, 0, 1, 2], {"0", "2"})
    with pytest.raises(TooManyBadPicturesError, match=r"1 of 3 pictures .* more than the 1% .*1\.png"):
        embed_objects(network, pictures, rows, torch.device("cpu"))


def test_the_temperature_is_fitted_again_and_saved(tmp_path):
    start(tmp_path)
    assert run(tmp_path, "--data", str(coco_file(tmp_path, 6)), "--learn", "names") == 0
    report = json.loads((tmp_path / "new" / "finetune.json").read_text())
    found = report["temperature"]
    assert found["before"] == load_model(tmp_path / "start").config.temperature
    assert load_model(tmp_path / "new").config.temperature == pytest.approx(found["after"])
    assert found["after"] != found["before"]
    assert found["objects"] == 3 * report["validation"]
    assert report["before"]["miou_centre"] is None  # names alone leave every mask as it is


@pytest.mark.parametrize("variant", ["none", "fpn"])
def test_what_is_measured_is_what_is_written(tmp_path, variant):
    """Taught names count as seen already while temperature and guard look at the model, as they do for its user."""
    args = finetune.FinetuneArgs(coco_file(tmp_path, 6), tmp_path / "new", model=str(start(tmp_path, variant)))
    assert run(tmp_path, "--data", str(args.data)) == 0
    report = json.loads((tmp_path / "new" / "finetune.json").read_text())
    train, val = finetune._split(args)
    ranked = finetune._beside(training_vocabulary("data", names_of(train)), args.names.beside)
    predictor = load_predictor(tmp_path / "new", device="cpu", dtype="float32")
    scores = name_scores(predictor, val, ranked)
    assert calibration_error(scores, report["temperature"]["after"]) == pytest.approx(
        report["temperature"]["ece_after"], abs=1e-4
    )
    found = metrics.accuracy(rank for rank in ranks(scores))
    assert found["mean"] == pytest.approx(report["after"]["top1"])
