"""SAM2CLIP at toy size: dumped and live teachers agree, the neck learns, everything else stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ovsam_core.assets import asset_path
from ovsam_core.checkpoint import load_model
from ovsam_core.config import InputConfig, named_config
from ovsam_core.errors import CheckpointError
from ovsam_core.modeling.build import build_model
from tests.training.builders import coco_file
from training import distill_sam2clip, dump_features
from training.args import ConfigError, command
from training.bad_pictures import TooManyBadPicturesError
from training.checkpoints import DiskFullError
from training.data import PictureSamples, collate
from training.teacher import DumpedTeacher, LiveTeacher, TeacherArgs, list_pictures

TOY = TeacherArgs("toy")


def dump(folder, data, **options):
    return dump_features.dump(dump_features.DumpArgs(data, folder / "features", teacher=TOY, device="cpu", **options))


def test_dumped_and_live_teachers_give_the_same_numbers(tmp_path):
    pictures = list_pictures(coco_file(tmp_path, 3))
    report = dump(tmp_path, tmp_path / "images")
    assert (report["made"], report["there"]) == (3, 0)
    student = named_config("tiny").input
    other = InputConfig(student.size, (100.0, 110.0, 120.0), (50.0, 60.0, 70.0))  # the student's own normalisation
    data = PictureSamples(pictures, other)
    batch = collate([data[0, i] for i in range(3)])
    dumped = DumpedTeacher(tmp_path / "features", other)(batch)
    live = LiveTeacher(TOY, other)(batch)
    torch.testing.assert_close(dumped, live, rtol=2e-3, atol=2e-3)  # batch of three against one by one, both fp16
    assert dumped.shape == (3, 32, 8, 8)


def test_a_teachers_pictures_are_listed_without_their_annotations(tmp_path):
    """SA-1B as it is published: folders of pictures, each with a JSON that the teacher does not need."""
    coco_file(tmp_path / "sa_000000", 2)
    (tmp_path / "sa_000000" / "images" / "0.json").write_text("not read")
    assert [p.id for p in list_pictures(tmp_path)] == ["sa_000000/images/0.png", "sa_000000/images/1.png"]
    assert [p.path.name for p in list_pictures(tmp_path / "sa_000000" / "data_0.json")] == ["0.png", "1.png"]


def test_a_dump_is_resumed_and_never_mixed(tmp_path):
    coco_file(tmp_path, 3)
    dump(tmp_path, tmp_path / "images", limit=2)
    assert dump(tmp_path, tmp_path / "images")["there"] == 2
    other = dump_features.DumpArgs(
        tmp_path / "images", tmp_path / "features", teacher=TeacherArgs("toy", seed=1), device="cpu"
    )
    with pytest.raises(ConfigError, match="another teacher: weights"):
        dump_features.dump(other)


def test_unreadable_pictures_are_listed_and_many_stop_a_dump(tmp_path):
    coco_file(tmp_path, 3)
    (tmp_path / "images" / "1.png").write_bytes(b"")
    report = dump(tmp_path, tmp_path / "images", max_bad=0.5)
    assert (report["made"], [Path(p).name for p in report["unreadable"]]) == (2, ["1.png"])
    assert json.loads((tmp_path / "features" / "report_0.json").read_text())["unreadable"] == report["unreadable"]
    with pytest.raises(TooManyBadPicturesError, match=r"1 of 3 pictures could not be read, .*1\.png"):
        dump(tmp_path, tmp_path / "images")


def test_a_full_disk_leaves_whole_files(tmp_path, monkeypatch):
    coco_file(tmp_path, 2)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dump_features, "save_file", full)
    with pytest.raises(DiskFullError, match="disk is full"):
        dump(tmp_path, tmp_path / "images")
    assert not list((tmp_path / "features").rglob("*.part"))


def test_missing_and_foreign_features_are_named(tmp_path):
    pictures = list_pictures(coco_file(tmp_path, 2))
    dump(tmp_path, tmp_path / "images", limit=1)
    settings = named_config("tiny").input
    with pytest.raises(CheckpointError, match=r"run training\.dump_features"):
        DumpedTeacher(tmp_path / "features", settings)(collate([PictureSamples(pictures, settings)[0, 1]]))
    with pytest.raises(ConfigError, match="size: 128 → 64"):
        DumpedTeacher(tmp_path / "features", InputConfig(size=64))
    with pytest.raises(CheckpointError, match="not a dump"):
        DumpedTeacher(tmp_path, settings)
    with pytest.raises(ConfigError, match="published weights"):
        LiveTeacher(TeacherArgs("vit_b"), settings)


def test_the_stage_learns_the_neck_alone(tmp_path):
    folder = asset_path("samples", "images")
    argv = ["--data", str(folder), "--model", "tiny", "--out", str(tmp_path / "run"), "--teacher.sam_type", "toy"]
    argv += ["--max_steps", "12", "--batch_size", "4", "--lr", "0.003", "--base_batch", "0", "--warmup_steps", "2"]
    argv += ["--device", "cpu", "--log_every", "1", "--check", str(folder), "--check_limit", "4"]
    assert command(distill_sam2clip.DistillArgs, distill_sam2clip.main, program="distill", argv=argv) == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["mse"] < 0.8 * rows[0]["mse"]
    figures = json.loads((tmp_path / "run" / "explained_variance.json").read_text())
    assert figures["explained_mean_map"] == 0.0
    assert figures["explained_shuffled_teacher"] < 0.5  # another picture's features, not the picture's own
    assert figures["explained"] == pytest.approx(1 - figures["mse_student"] / figures["mse_mean_map"])
    old, new = build_model(named_config("tiny")), load_model(tmp_path / "run" / "model")
    moved = {n.split(".")[0] for n, v in new.state_dict().items() if not torch.equal(v, old.state_dict()[n])}
    assert moved == {"neck"}
    assert all(
        k.startswith("network.neck.") for k in load_file(tmp_path / "run" / "step-00000012" / "model.safetensors")
    )
