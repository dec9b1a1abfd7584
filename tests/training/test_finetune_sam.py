"""SAM's own decoder, fine-tuned: what learns, what stays, and that the evaluator takes it."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from ovsam_core.errors import CheckpointError
from tests.training.builders import coco_file
from training import finetune_sam
from training.args import command
from training.evaluate import EvaluateArgs, evaluate
from training.sam import build_sam


def test_the_decoder_learns_and_the_rest_stays(tmp_path):
    data = coco_file(tmp_path, 3)
    argv = ["--data", str(data), "--out", str(tmp_path / "run"), "--sam_type", "toy", "--device", "cpu"]
    argv += ["--prompts.boxes", "3", "--prompts.points", "3", "--loss.points", "64", "--max_steps", "16"]
    argv += ["--lr", "0.003", "--base_batch", "0", "--warmup_steps", "2", "--clip", "1", "--log_every", "1"]
    assert command(finetune_sam.SamDecoderArgs, finetune_sam.main, program="finetune_sam", argv=argv) == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < 0.85 * rows[0]["loss"]
    tuned = load_file(tmp_path / "run" / "sam_decoder.safetensors")
    plain = build_sam("toy", None)
    changed = build_sam("toy", None, decoder=tmp_path / "run" / "sam_decoder.safetensors")
    assert set(tuned) == set(plain.mask_decoder.state_dict())
    moved = {k for k, v in changed.state_dict().items() if not torch.equal(v, plain.state_dict()[k])}
    assert moved
    assert all(k.startswith("mask_decoder.") for k in moved)
    saved = load_file(tmp_path / "run" / "step-00000016" / "model.safetensors")
    assert all(k.startswith("sam.mask_decoder.") for k in saved)
    figures = {}
    for name, decoder in (("plain", None), ("tuned", tmp_path / "run" / "sam_decoder.safetensors")):
        args = EvaluateArgs(data, tmp_path / "o.json", baseline="sam", sam_type="toy", sam_decoder=decoder)
        figures[name] = evaluate(args)
    assert [figures[k]["system"] for k in ("plain", "tuned")] == ["SAM", "SAM, tuned"]
    assert figures["tuned"]["miou"] != figures["plain"]["miou"]


def test_a_foreign_decoder_is_refused(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "d.safetensors")
    with pytest.raises(CheckpointError, match="not a mask decoder of SAM toy"):
        build_sam("toy", None, decoder=tmp_path / "d.safetensors")
