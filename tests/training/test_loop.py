"""The loop: resume equals no interruption, processes equal a larger batch, and every stop leaves a checkpoint."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ovsam_core.errors import CheckpointError
from tests.training.toys import Line, Points, collate, loop_args, optim_args
from training import checkpoints
from training.averaging import WeightAverage
from training.bad_pictures import TooManyBadPicturesError
from training.loop import DivergenceError, fit
from training.options import learning_rate_factor
from training.progress import Progress
from training.sampling import EpochBatches
from training.task import parameter_groups

ROOT = Path(__file__).parents[2]


def run(out, *, data=None, task=None, validate=None, optim=None, **loop):
    task = task or Line()
    return task, fit(
        task, data or Points(), out, loop_args(**loop), optim or optim_args(), collate=collate, validate=validate
    )


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoints.latest(out) / "model.safetensors")


def test_learns_and_frozen_weights_never_move(tmp_path):
    task = Line()
    before = {k: v.clone() for k, v in task.frozen.state_dict().items()}
    run(tmp_path, task=task, epochs=15)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < 0.3 * rows[0]["loss"]
    assert {"lr", "grad_norm", "data_wait", "pictures_per_second"} <= set(rows[0])
    for name, value in task.frozen.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not any(k.startswith("frozen") for k in weights(tmp_path))


@pytest.mark.parametrize("stop_at", [2, 3, 7])
def test_kill_and_resume_equals_an_uninterrupted_run(tmp_path, stop_at):
    run(tmp_path / "whole", epochs=2)

    class KilledError(Exception):
        pass

    class Killed(Line):
        calls = 0

        def forward(self, batch, totals):
            if self.calls == stop_at:
                raise KilledError
            self.calls += 1
            return super().forward(batch, totals)

    with pytest.raises(KilledError):
        run(tmp_path / "killed", task=Killed(), epochs=2, save_every=1)
    _, result = run(tmp_path / "killed", epochs=2, save_every=1)
    assert result.step == 12
    for part in ("model", "ema", "optimizer"):
        one = load_file(tmp_path / "whole" / "step-00000012" / f"{part}.safetensors")
        two = load_file(tmp_path / "killed" / "step-00000012" / f"{part}.safetensors")
        assert one.keys() == two.keys()
        assert all(torch.equal(one[k], two[k]) for k in one), part


def test_optimizer_state_follows_the_parameters_names():
    """Modules in another order are the same model: each parameter keeps its own moments."""

    def made(order):
        torch.manual_seed(0)
        module = torch.nn.ModuleDict({name: torch.nn.Linear(2, 2) for name in order})
        return module, torch.optim.AdamW(module.parameters(), lr=0.1)

    module, optimizer = made("ab")
    (module["a"].weight.sum() + 5 * module["b"].weight.sum() + module["a"].bias.sum()).backward()
    optimizer.step()
    tensors = checkpoints.optimizer_tensors(optimizer, module)
    assert tensors["b.weight.exp_avg"].flatten().tolist() == pytest.approx([0.5] * 4)
    for order in ("ab", "ba"):
        other, fresh = made(order)
        checkpoints.load_optimizer(fresh, tensors, other)
        for name, parameter in other.named_parameters():
            for part, value in fresh.state.get(parameter, {}).items():
                assert torch.equal(value, tensors[f"{name}.{part}"])
        assert len(fresh.state) == 3
    other, fresh = made("ab")
    with pytest.raises(CheckpointError, match=r"c\.weight\.exp_avg: the model has no such"):
        checkpoints.load_optimizer(fresh, {"c.weight.exp_avg": torch.zeros(1)}, other)


def test_accumulation_equals_a_larger_batch(tmp_path):
    run(tmp_path / "large", batch_size=6, max_steps=3)
    run(tmp_path / "small", batch_size=2, accumulate=3, max_steps=3)
    one, two = weights(tmp_path / "large"), weights(tmp_path / "small")
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-5, atol=1e-6)  # the order of the sums differs


def test_two_processes_equal_one_with_twice_the_batch(tmp_path):
    run(tmp_path / "one", batch_size=8, max_steps=2)
    command = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0", "--standalone"]
    subprocess.run(
        [sys.executable, *command, "-m", "tests.training.toys", str(tmp_path / "two"), "4", "2"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        check=True,
        capture_output=True,
        timeout=120,
    )
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-5, atol=1e-6)  # the order of the sums differs


def test_nan_stops_and_names_the_pictures(tmp_path):
    with pytest.raises(DivergenceError, match="picture-5") as caught:
        run(tmp_path, data=Points(nan=5), save_every=1, batch_size=2)
    assert str(checkpoints.latest(tmp_path) or "none") in str(caught.value)


def test_divergence_stops(tmp_path):
    wild = optim_args(lr=3.0, warmup_steps=0, clip=0, schedule="constant")
    with pytest.raises(DivergenceError, match=r"exploded.*picture-"):
        run(tmp_path / "watched", optim=wild, epochs=3, explode=5.0)
    run(tmp_path / "left", optim=wild, epochs=3, explode=0.0)


def test_every_epoch_has_an_order_of_its_own():
    batches = EpochBatches(12, batch=2, world=1, rank=0, seed=0)
    orders = []
    for batches.epoch in (0, 1, 0):
        orders.append([index for batch in batches for _, index in batch])
    assert all(sorted(order) == list(range(12)) for order in orders)
    assert orders[0] == orders[2] != orders[1]


@pytest.mark.parametrize(("step", "share"), [(1000, 0.1), (0, 0.9)])
def test_the_average_follows_slowly_and_a_young_one_faster(step, share):
    task = Line()
    average = WeightAverage(task, 0.9)
    average.start()
    before = {name: value.clone() for name, value in average.weights.items()}
    with torch.no_grad():
        for parameter in task.learnt.parameters():
            parameter.add_(1)
    average.update(step)
    for name, value in before.items():
        torch.testing.assert_close(average.weights[name], value + share)


@pytest.mark.parametrize("norms", [False, True])
def test_weight_decay_spares_norms_unless_told(norms):
    task = Line()
    decay = {}
    for group in parameter_groups(task, optim_args(weight_decay=0.05, norm_decay=norms)):
        decay |= {id(p): group["weight_decay"] for p in group["params"]}
    first, norm, _ = task.learnt
    assert decay[id(first.weight)] == 0.05
    assert decay[id(norm.weight)] == decay[id(norm.bias)] == (0.05 if norms else 0.0)
    assert len(decay) == len(list(task.learnt.parameters()))


@pytest.mark.parametrize(("changes", "factor"), [({}, 0.25), ({"accumulate": 3}, 0.75), ({"batch_size": 8}, 0.5)])
def test_the_rate_is_scaled_to_the_pictures_of_a_step(tmp_path, changes, factor):
    optim = optim_args(lr=0.02, base_batch=16, warmup_steps=0, schedule="constant")
    run(tmp_path, optim=optim, max_steps=2, **changes)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["lr"] for row in rows] == pytest.approx([0.02 * factor] * 2)


def test_gradients_are_clipped_before_the_step(tmp_path, monkeypatch):
    norms = []
    step = torch.optim.AdamW.step

    def watched(self, *args, **kwargs):
        gradients = [p.grad for group in self.param_groups for p in group["params"]]
        norms.append(float(torch.stack([g.norm() for g in gradients]).norm()))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    run(tmp_path / "free", optim=optim_args(clip=0), epochs=1)
    free, norms[:] = max(norms), []
    assert free > 0.1
    run(tmp_path / "clipped", optim=optim_args(clip=0.01), epochs=1)
    assert norms == pytest.approx([0.01] * len(norms), rel=1e-3)


def test_few_unreadable_pictures_are_listed_and_many_stop(tmp_path):
    _, result = run(tmp_path / "few", data=Points(200, bad=(3,)), epochs=1)
    assert result.bad == (("3.jpg", "cannot be decoded"),)
    assert json.loads((tmp_path / "few" / "bad_pictures.json").read_text()) == {"3.jpg": "cannot be decoded"}
    with pytest.raises(TooManyBadPicturesError, match=r"bad_pictures\.json"):
        run(tmp_path / "many", data=Points(200, bad=(3, 4, 5)), epochs=1)


def test_full_disk_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    run(tmp_path, max_steps=3, save_every=1)
    good = weights(tmp_path)
    real, calls = checkpoints.save_file, []

    def full(tensors, path):
        calls.append(path)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(tensors, path)

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(checkpoints.DiskFullError, match="step-00000003"):
        run(tmp_path, max_steps=5, save_every=1)
    assert not list(tmp_path.glob(".writing*"))
    assert checkpoints.latest(tmp_path).name == "step-00000003"
    assert all(torch.equal(weights(tmp_path)[k], good[k]) for k in good)


def test_a_disk_that_fills_up_with_the_log_stops_the_run_alike(tmp_path, monkeypatch):
    run(tmp_path, max_steps=2, save_every=1)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Progress, "_write", full)
    with pytest.raises(checkpoints.DiskFullError, match=r"the last checkpoint is .*step-00000002"):
        run(tmp_path, max_steps=5, save_every=1)
    assert checkpoints.latest(tmp_path).name == "step-00000002"


def test_keep_policy_and_early_stopping_leave_the_best(tmp_path):
    figures = iter([0.1, 0.9, 0.3, 0.2, 0.1, 0.0])
    seen = {}

    def validate(task, step):
        seen[step] = {k: v.clone() for k, v in task.trained_state().items()}
        return next(figures)

    task, result = run(tmp_path, validate=validate, validate_every=2, patience=3, epochs=5, save_every=1, keep=2)
    assert (result.best, result.best_step, result.step) == (0.9, 4, 10)
    assert sorted(p.name for p in tmp_path.glob("step-*")) == ["step-00000004", "step-00000009", "step-00000010"]
    assert all(torch.equal(v, seen[4][k]) for k, v in task.trained_state().items())


def test_another_architecture_is_refused_by_field(tmp_path):
    run(tmp_path, max_steps=1)

    class Wide(Line):
        def __init__(self):
            super().__init__()
            self.learnt[0] = torch.nn.Linear(4, 8, bias=False)

    with pytest.raises(CheckpointError, match=r"learnt\.0\.bias"):
        run(tmp_path, task=Wide(), max_steps=2)


def test_an_architecture_of_tuples_is_resumed(tmp_path):
    class Configured(Line):
        def architecture(self):
            return {"mean": (1.0, 2.0), **super().architecture()}

    run(tmp_path, task=Configured(), max_steps=1)
    _, result = run(tmp_path, task=Configured(), max_steps=2)
    assert result.step == 2


def test_never_resume_refuses_a_used_folder(tmp_path):
    run(tmp_path, max_steps=1)
    with pytest.raises(CheckpointError, match="--resume auto"):
        run(tmp_path, max_steps=1, resume="never")


def test_bf16_and_tensorboard_run(tmp_path):
    run(tmp_path, max_steps=2, precision="bf16", tensorboard=True)
    assert list((tmp_path / "tensorboard").iterdir())


def test_schedule():
    cosine = optim_args(warmup_steps=10, warmup_factor=0.001, final_factor=0.01)
    assert learning_rate_factor(0, 100, 10, cosine) == pytest.approx(0.001)
    assert learning_rate_factor(10, 100, 10, cosine) == pytest.approx(1.0)
    assert learning_rate_factor(100, 100, 10, cosine) == pytest.approx(0.01)
    step = optim_args(warmup_steps=0, schedule="step", milestones=(8, 11))
    assert [round(learning_rate_factor(e * 10, 120, 10, step), 6) for e in (7, 8, 11)] == [1.0, 0.1, 0.01]
