"""The mission's loop and the whole chain, through the real commands at toy size."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from ovsam_core.assets import asset_path
from ovsam_core.checkpoint import load_model, save_model
from ovsam_core.cli import main as ovsam
from ovsam_core.config import named_config
from ovsam_core.exchange.exporting import ExportOptions, export_coco
from ovsam_core.masks import Mask
from ovsam_core.modeling.build import build_model
from ovsam_core.models.registry import installed
from ovsam_core.predictor import load_predictor
from ovsam_core.store import Project
from ovsam_core.store.records import Change, ClassRow, ObjectRow
from tests.training.builders import NAMES, coco_file, scene
from training import ablate, distill_sam2clip, dump_features, finetune, train_clip2sam
from training.args import ConfigError, command
from training.evaluate import EvaluateArgs, evaluate
from training.simulate import SimulateArgs, simulate
from training.switches import SWITCHES

TUNE = ["--prompts.boxes", "2", "--prompts.points", "2", "--loss.points", "64", "--max_steps", "2", "--guard", "false"]
TUNE += ["--validate_every", "2", "--names.steps", "20", "--names.lr", "0.01", "--device", "cpu"]


def start(folder):
    config = named_config("tiny")
    save_model(build_model(replace(config, head=replace(config.head, variant="none"))), folder / "start")
    return folder / "start"


def labelled_project(folder):
    """A project whose objects a person accepted and whose pictures are done, as the program writes it."""
    coco_file(folder, 4)
    with Project.create(folder / "mine.ovsam") as project:
        pictures = project.add_pictures(sorted((folder / "images").glob("*.png")))
        classes = [ClassRow(f"c{i}", f"own:{n}", n) for i, n in enumerate(NAMES)]
        objects = [
            ObjectRow(f"{p.id}-{i}", p.id, Mask.of(mask), classes[i].uid, "prompt")
            for p in pictures
            for i, (_, mask) in enumerate(scene(int(project.file_of(p).stem))[1])
        ]
        project.apply(Change("Label", put=(*classes, *objects)))
        project.set_picture_state([p.id for p in pictures], "done")
        export_coco(project, folder / "mine.json", options=ExportOptions(images_root=folder / "images"))
    return folder / "mine.json"


def test_labels_become_a_model_that_the_next_suggestion_comes_from(tmp_path):
    first = start(tmp_path)
    exported = labelled_project(tmp_path)
    argv = ["--model", str(first), "--data", str(exported), "--out", str(tmp_path / "better"), *TUNE]
    assert command(finetune.FinetuneArgs, finetune.main, program="finetune", argv=argv) == 0
    assert ovsam(["models", "import", str(tmp_path / "better"), "--name", "mine"]) == 0
    assert "mine" in {model.id for model in installed()}
    assert ovsam(["models", "import", str(tmp_path / "better"), "--name", "mine"]) == 1
    predictor, old = load_predictor("mine", device="cpu"), load_predictor(first, device="cpu")
    assert predictor.info.encoder_hash == old.info.encoder_hash  # cached embeddings stay valid
    assert set(NAMES) >= {e.split(".")[0] for e in predictor.info.seen}
    embedding = old.set_image(scene(9)[0])
    box = Mask.of(scene(9)[1][0][1]).bbox_xyxy
    found = predictor.predict(box=box, vocabulary=_three(), embedding=embedding)
    assert len(found.labels) == 3
    assert found.labels[0].score != old.predict(box=box, vocabulary=_three(), embedding=embedding).labels[0].score


def _three():
    from ovsam_core.vocabulary import Vocabulary

    return Vocabulary.of(NAMES)


def test_a_project_file_is_read_directly(tmp_path):
    first = start(tmp_path)
    labelled_project(tmp_path)
    argv = ["--model", str(first), "--data", str(tmp_path / "mine.ovsam"), "--out", str(tmp_path / "better"), *TUNE]
    assert command(finetune.FinetuneArgs, finetune.main, program="finetune", argv=[*argv, "--learn", "masks"]) == 0
    assert load_model(tmp_path / "better").config.hashes.encoder == load_model(first).config.hashes.encoder


def test_dump_distil_clip2sam_evaluate_predict(tmp_path):
    pictures = str(asset_path("samples", "images"))
    samples = str(asset_path("samples", "samples.json"))
    steps = ["--max_steps", "3", "--batch_size", "2", "--base_batch", "0", "--warmup_steps", "0", "--device", "cpu"]
    argv = ["--data", pictures, "--out", str(tmp_path / "features"), "--sam_type", "toy", "--device", "cpu"]
    assert command(dump_features.DumpArgs, dump_features.main, program="dump", argv=argv) == 0
    argv = [
        "--data",
        pictures,
        "--features",
        str(tmp_path / "features"),
        "--sam_type",
        "toy",
        "--model",
        "tiny",
        *steps,
    ]
    argv += ["--out", str(tmp_path / "sam2clip")]
    assert command(distill_sam2clip.DistillArgs, distill_sam2clip.main, program="distil", argv=argv) == 0
    argv = ["--data", samples, "--images", pictures, "--model", str(tmp_path / "sam2clip" / "model"), *steps]
    argv += ["--out", str(tmp_path / "clip2sam"), "--loss.points", "64", "--classes", "data"]
    assert command(train_clip2sam.Clip2SamArgs, train_clip2sam.main, program="train", argv=argv) == 0
    model = tmp_path / "clip2sam" / "model"
    moved = _moved(load_model(tmp_path / "sam2clip" / "model"), load_model(model))
    assert "neck" not in moved  # SAM2CLIP stays frozen
    assert "head" in moved
    argv = ["--data", samples, "--images", pictures, "--model", str(model), "--json", str(tmp_path / "figures.json")]
    assert command(EvaluateArgs, evaluate, program="evaluate", argv=[*argv, "--limit", "2"]) == 0
    assert json.loads((tmp_path / "figures.json").read_text())["n"] > 0
    picture = next(p for p in asset_path("samples", "images").iterdir() if p.suffix == ".jpg")
    argv = ["predict", str(picture), "--point", "50,50", "--model", str(model), "--vocabulary", "coco"]
    assert ovsam([*argv, "--json", str(tmp_path / "answer.json")]) == 0
    assert len(json.loads((tmp_path / "answer.json").read_text())["objects"][0]["labels"]) == 9


def _moved(old, new):
    return {n.split(".")[0] for n, v in new.state_dict().items() if not np.array_equal(v, old.state_dict()[n])}


def test_ablation_shares_chains_and_marks_the_papers_figures(tmp_path):
    data = coco_file(tmp_path, 1)
    args = ablate.AblateArgs(
        data,
        data,
        tmp_path / "out",
        model="tiny",
        tables=("templates",),
        classes="data",
        vocabulary="data",
        distil_steps=1,
        steps=1,
        points=32,
        device="cpu",
    )
    args.teacher.sam_type = "toy"
    ablate.main(args)
    found = json.loads((tmp_path / "out" / "tables.json").read_text())
    assert [row["row"] for row in found["templates"]] == ["all templates", "one template"]
    assert "## Text templates" in (tmp_path / "out" / "tables.md").read_text()
    # Rows that differ in evaluation alone share one trained chain.
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 1
    neck = [found["templates"][0] | {"row": s.name, "quoted": dict(s.quoted)} for s in SWITCHES[:2]]
    text = ablate.tables({"neck": neck})
    assert "(quoted: 73.6)" in text
    assert "| AP" not in text  # no detector's boxes, and none quoted
    clip2sam = [found["templates"][0] | {"quoted": dict(s.quoted)} for s in SWITCHES if s.table == "clip2sam"]
    text = ablate.tables({"clip2sam": clip2sam})
    assert "| IoU base | IoU novel | Acc | Acc base | Acc novel | AP base | AP novel | params M | GMACs |" in text
    assert "| – (quoted: 31.1) | – (quoted: 36) |" in text
    with pytest.raises(ConfigError, match="expected some of neck"):
        ablate.main(replace(args, tables=("necks",)))


def test_ablation_of_sams_decoder_and_of_synonyms(tmp_path):
    """Table 4's rows through a detector's boxes: SAM, SAM with a fine-tuned decoder, and ours."""
    data = coco_file(tmp_path, 2)
    notes = json.loads(data.read_text())["annotations"]
    boxes = [{k: a[k] for k in ("image_id", "category_id", "bbox")} | {"score": 0.9} for a in notes]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    args = ablate.AblateArgs(
        data,
        data,
        tmp_path / "out",
        model="tiny",
        tables=("masks", "synonyms"),
        classes="data",
        vocabulary="coco",
        distil_steps=1,
        steps=2,
        points=32,
        device="cpu",
        detections=tmp_path / "boxes.json",
    )
    args.teacher.sam_type = "toy"
    ablate.main(args)
    found = json.loads((tmp_path / "out" / "tables.json").read_text())
    assert [row["row"] for row in found["masks"]] == ["SAM", "SAM, decoder fine-tuned", "OVSAM"]
    for row in found["masks"]:
        assert 0 <= row["AP"] <= 100
        assert 0 < row["IoU"] < 100
    assert found["masks"][0]["IoU"] != found["masks"][1]["IoU"]
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 2  # one chain for all rows, and SAM's decoder
    nearest, mean = found["synonyms"]
    assert 0 <= nearest["AP base"] <= 100
    assert found["masks"][0]["AP_L"] is None  # there is no large object
    assert "| – (quoted: 51.4) |" in (tmp_path / "out" / "tables.md").read_text()
    assert nearest["IoU"] == mean["IoU"]
    text = (tmp_path / "out" / "tables.md").read_text()
    assert "| | IoU | AP | AP50 | AP75 | AP_S | AP_M | AP_L |" in text
    assert "(quoted: 35.6)" in text


def test_simulated_clicks(tmp_path):
    data = coco_file(tmp_path, 1)
    report = simulate(SimulateArgs(data, tmp_path / "s.json", model="tiny", clicks=3))
    assert report["clicks_to_80"]["all"]["mean"] <= 3
    assert len(report["miou_at_clicks"]) == 3
    assert json.loads((tmp_path / "s.json").read_text())["n"] == 3
