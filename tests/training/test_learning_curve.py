"""The learning curve: rows, gains on the same objects, refused models, and that finished runs are kept."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ovsam_core.checkpoint import save_model
from ovsam_core.config import ZoomConfig, named_config
from ovsam_core.modeling.build import build_model
from tests.training.builders import coco_file
from training import learning_curve
from training.args import ConfigError, command
from training.finetune import GuardError


def refuse(_):
    raise GuardError("refused: mean IoU fell")


def run(folder, learn, *options, seed=0):
    config = named_config("tiny")
    decoder = replace(config.decoder, form="full", skips=True, prompt_maps=True, content_tokens=True, box_start=True)
    zoom = replace(ZoomConfig(), enabled=True, size=64)
    config = replace(config, decoder=decoder, zoom=zoom, head=replace(config.head, variant="none"))
    save_model(build_model(config, seed=seed), folder / "start")
    train, check = coco_file(folder / "train", 4), coco_file(folder / "check", 2, first=9)
    argv = [
        "--model",
        str(folder / "start"),
        "--data",
        str(train),
        "--check",
        str(check),
        "--out",
        str(folder / "curve"),
    ]
    argv += ["--learn", learn, "--counts", "2,4", "--seeds", "0,1", "--max_steps", "2", "--names.steps", "3"]
    argv += ["--validate_every", "2", "--device", "cpu", *options]
    program = learning_curve.LearningCurveArgs, learning_curve.main
    assert command(*program, program="learning_curve", argv=argv) == 0
    return json.loads((folder / "curve" / "curve.json").read_text())


@pytest.mark.parametrize(
    ("learn", "figures"), [("masks", {"iou_box", "iou_click"}), ("names", {"top1", "top5", "ece"})]
)
def test_a_row_for_every_number_of_pictures(tmp_path, learn, figures, monkeypatch):
    rows = run(tmp_path, learn)
    assert [row["pictures"] for row in rows] == [0, 2, 4]
    assert [row["runs"] for row in rows] == [1, 2, 2]
    for row in rows:
        assert figures <= set(row)
        assert all(row[name]["se"] is not None for name in figures)
        for name in figures - {"ece"}:
            assert row[name]["n"] == 6
            assert row[name]["gain"] == pytest.approx(row[name]["mean"] - rows[0][name]["mean"])
    assert len(rows[1]["minutes"]) == 2
    text = (tmp_path / "curve" / "curve.md").read_text()
    assert "| 0 (before) |" in text
    assert text.count(", seeds ") == 2 * (4 if learn == "names" else 2)  # the spread, in each figure of two rows
    assert text.count("\n") == 5
    assert (tmp_path / "curve" / "curve.png").stat().st_size > 1000

    def never(*_):
        raise AssertionError("a finished run was repeated")

    monkeypatch.setattr(learning_curve, "finetune", never)
    assert run(tmp_path, learn) == rows


def test_a_refused_model_counts_as_the_one_before(tmp_path, monkeypatch):
    monkeypatch.setattr(learning_curve, "finetune", refuse)
    rows = run(tmp_path, "masks")
    assert [row["refused"] for row in rows] == [0, 2, 2]
    assert rows[2]["iou_box"]["mean"] == rows[0]["iou_box"]["mean"]
    assert rows[2]["iou_box"]["gain"] == 0.0
    assert "2 of 2" in (tmp_path / "curve" / "curve.md").read_text()


def test_a_folder_holds_runs_of_one_kind(tmp_path, monkeypatch, capsys):
    """Figures of an older model must not stand beside those of a newer one."""
    monkeypatch.setattr(learning_curve, "finetune", refuse)
    run(tmp_path, "masks")
    with pytest.raises(AssertionError):
        run(tmp_path, "masks", "--most", "7")
    assert "holds runs of another kind: most: 300 → 7; take another folder" in capsys.readouterr().err
    with pytest.raises(AssertionError):
        run(tmp_path, "masks", seed=1)
    assert "holds runs of another kind: model_hashes." in capsys.readouterr().err
    run(tmp_path, "masks", "--seeds", "0,1,2")


def test_unknown_part(tmp_path):
    args = learning_curve.LearningCurveArgs(tmp_path / "a", tmp_path / "b", tmp_path / "c", learn="mask")
    with pytest.raises(ConfigError, match="one of masks, names"):
        learning_curve.learning_curve(args)
