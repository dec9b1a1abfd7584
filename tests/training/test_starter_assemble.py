import hashlib

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from ovsam_core.checkpoint import load_model
from ovsam_core.config import named_config
from ovsam_core.errors import CheckpointError
from training import checkpoints
from training.mask_task import MaskTask, PromptArgs
from training.starter_assemble import PartArgs, assemble, mask_weights


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder of the mask stage with one checkpoint, its task and its trunk."""
    torch.manual_seed(0)
    trunk = timm.create_model(named_config("starter").vision["vision_cfg"]["timm_model_name"])
    task = MaskTask(trunk, named_config("starter"), PromptArgs())
    folder = tmp_path_factory.mktemp("run")
    state = task.trained_state()
    checkpoints.save(folder, step=7, parts={"model": state, "ema": state, "optimizer": {}}, state={"step": 7}, keep=1)
    return folder, task, trunk


def test_parts_become_a_model_directory(run, tmp_path):
    folder, task, trunk = run
    config = assemble(PartArgs(masks=folder), trunk, tmp_path / "model")
    model = load_model(tmp_path / "model", verify=True)
    assert model.config == config
    half = task.path.neck.pos_embed.detach().half().float()  # stored in half precision
    torch.testing.assert_close(model.neck.pos_embed.detach(), half, rtol=0, atol=0)
    half = trunk.conv_stem.weight.detach().half().float()
    torch.testing.assert_close(model.backbone.visual.trunk.conv_stem.weight.detach(), half, rtol=0, atol=0)


def test_a_weight_file_serves_as_well_as_a_run(run, tmp_path):
    folder, _, trunk = run
    save_file(mask_weights(folder), tmp_path / "masks.safetensors")
    first = assemble(PartArgs(masks=folder), trunk, tmp_path / "one")
    second = assemble(PartArgs(masks=tmp_path / "masks.safetensors"), trunk, tmp_path / "two")
    assert first.hashes.encoder == second.hashes.encoder
    assert (
        load_file(tmp_path / "one" / "model.safetensors").keys()
        == load_file(tmp_path / "two" / "model.safetensors").keys()
    )


def test_missing_and_foreign_tensors_are_named(run, tmp_path):
    folder, _, trunk = run
    weights = mask_weights(folder)
    del weights["neck.pos_embed"]
    weights["neck.surplus"] = torch.zeros(1)
    save_file(weights, tmp_path / "masks.safetensors")
    with pytest.raises(CheckpointError, match=r"neck\.pos_embed.*neck\.surplus"):
        assemble(PartArgs(masks=tmp_path / "masks.safetensors"), trunk, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        mask_weights(tmp_path)


def test_new_masks_go_into_an_old_model_and_the_card_keeps_up(run, tmp_path):
    folder, _, trunk = run
    out = tmp_path / "model"
    first = assemble(PartArgs(masks=folder), trunk, out)
    (out / "README.md").write_text(f"| `model.safetensors` | 1 | `{'0' * 64}` |\n| `gone.bin` | 2 | `{'1' * 64}` |\n")
    weights = mask_weights(folder)
    weights["neck.pos_embed"] = weights["neck.pos_embed"] + 1
    save_file(weights, tmp_path / "masks.safetensors")
    second = assemble(PartArgs(masks=tmp_path / "masks.safetensors", base=out), trunk, out)
    assert second.hashes.text == first.hashes.text
    assert second.hashes.encoder != first.hashes.encoder
    data = (out / "model.safetensors").read_bytes()
    rows = (out / "README.md").read_text().splitlines()
    assert rows[0] == f"| `model.safetensors` | {len(data):,} | `{hashlib.sha256(data).hexdigest()}` |"
    assert rows[1] == f"| `gone.bin` | 2 | `{'1' * 64}` |"
