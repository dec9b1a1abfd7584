"""Two processes equal one with twice the batch, and resuming equals no interruption, in every stage."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ovsam_core.checkpoint import load_model, save_model
from ovsam_core.config import ZoomConfig, named_config
from ovsam_core.modeling.build import build_model
from tests.training import stages
from tests.training.builders import NAMES, coco_file
from training.finetune_masks import DecoderTask, ViewArgs, ViewSamples, collate_views
from training.loop import fit
from training.mask_task import PromptArgs
from training.options import LoopArgs, OptimArgs
from training.records import read_records

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Pictures, class folders and a model to start from."""
    folder = tmp_path_factory.mktemp("stages")
    coco_file(folder, 4)
    for name in NAMES:
        (folder / "classes" / name).mkdir(parents=True)
        (folder / "classes" / name / "a.png").write_bytes((folder / "images" / "0.png").read_bytes())
    config = named_config("tiny")
    decoder = replace(config.decoder, form="full", skips=True, prompt_maps=True, content_tokens=True, box_start=True)
    zoom = replace(ZoomConfig(), enabled=True, size=64)
    head = replace(config.head, variant="none")
    save_model(build_model(replace(config, decoder=decoder, zoom=zoom, head=head)), folder / "start")
    return folder


@pytest.fixture(scope="module")
def runs(files):
    """The stages' output of one process and of two, from the same files."""
    folder = files
    stages.run_all(folder, folder / "one", 4)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    command += ["-m", "tests.training.stages", str(folder), str(folder / "two"), "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, timeout=300, text=True)
    assert not done.returncode, done.stderr[-3000:]
    return folder / "one", folder / "two"


@pytest.mark.parametrize(
    "where",
    ["distilled", "clip2sam", "mixed", "sam", "coop/contexts_run", "starter", "tuned/run/*/names", "tuned/run/*/masks"],
)
def test_two_processes_equal_one_with_twice_the_batch(runs, where):
    one, two = (load_file(next(r.glob(f"{where}/step-00000001")) / "model.safetensors") for r in runs)
    assert one.keys() == two.keys()
    for name in one:
        # One AdamW step moves every weight by about lr = 0.01, whatever its gradient's size; where a gradient is
        # nearly zero, the order of a sum decides its sign. So: nearly all weights agree closely.
        close = torch.isclose(one[name], two[name], rtol=1e-4, atol=1e-4)
        assert close.float().mean() > 0.97, name


@pytest.mark.parametrize(
    ("stage", "run"),
    [("distilled", ""), ("mixed", ""), ("sam", ""), ("coop/contexts.safetensors", "../contexts_run"), ("starter", "")],
)
def test_resuming_equals_an_uninterrupted_run(files, tmp_path, stage, run):
    stages.run_all(files, tmp_path / "whole", 2, steps=3, only=(stage,))
    for steps in (1, 3):
        stages.run_all(files, tmp_path / "parts", 2, steps=steps, only=(stage,))
    last = [tmp_path / kind / stage / run / "step-00000003" for kind in ("whole", "parts")]
    for part in ("model", "optimizer"):
        one, two = (load_file(folder.resolve() / f"{part}.safetensors") for folder in last)
        assert one.keys() == two.keys()
        assert all(torch.equal(one[k], two[k]) for k in one), part


def test_resumed_fine_tuning_equals_an_uninterrupted_run(files, tmp_path):
    """Features are kept in memory by view: a run that starts again computes them again, and goes on the same way."""

    def run(out, steps):
        task = DecoderTask(load_model(files / "start"), PromptArgs())
        data = ViewSamples(
            read_records(files / "data_0.json"), task.path.network.config, ViewArgs(smallest=1), seed=1, views=2
        )
        loop = LoopArgs(epochs=9, max_steps=steps, batch_size=2, device="cpu")
        optim = OptimArgs(lr=0.01, warmup_steps=0, schedule="constant", ema=0.9)
        fit(task, data, out, loop, optim, collate=collate_views)

    run(tmp_path / "whole", 5)
    run(tmp_path / "parts", 2)
    run(tmp_path / "parts", 5)
    for part in ("model", "ema"):
        one, two = (load_file(tmp_path / k / "step-00000005" / f"{part}.safetensors") for k in ("whole", "parts"))
        assert all(torch.equal(one[k], two[k]) for k in one), part


def test_a_dump_of_two_processes_holds_the_same_files(runs):
    one, two = ({p.relative_to(r): p.read_bytes() for p in (r / "dump").rglob("*.safetensors")} for r in runs)
    assert len(one) == 4
    assert one == two


def test_the_results_are_written_once_and_whole(runs):
    for folder in runs:
        assert (folder / "tuned" / "finetune.json").exists()
        assert (folder / "sam" / "sam_decoder.safetensors").exists()
        assert (folder / "coop" / "contexts.safetensors").exists()
    one, two = (load_file(folder / "coop" / "contexts.safetensors")["contexts"] for folder in runs)
    assert torch.isclose(one, two, rtol=1e-4, atol=1e-4).float().mean() > 0.97
