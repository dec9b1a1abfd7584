"""Checkpoints without pickle: written beside, then renamed, so that a stop at any moment leaves the last one intact."""

from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ovsam_core.errors import CheckpointError, OvsamError
from training.args import differences

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

__all__ = [
    "Checkpoint",
    "DiskFullError",
    "full",
    "is_full",
    "latest",
    "load",
    "load_optimizer",
    "optimizer_tensors",
    "save",
]

_PREFIX = "step-"
_TEMPORARY = ".writing-"


class DiskFullError(OvsamError):
    """There is no room for the next checkpoint; the last one is intact."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint read back.

    Attributes:
        path: its folder.
        model: trained parameters and buffers by name.
        ema: their moving average; empty without one.
        optimizer: flattened optimiser tensors.
        state: step, epoch, best figure, configuration and architecture.
    """

    path: Path
    model: dict[str, Tensor]
    ema: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]


def save(
    folder: Path,
    *,
    step: int,
    parts: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    keep: int,
    also_keep: int | None = None,
) -> Path:
    """Write `folder/step-N` atomically and drop all but the newest `keep` (and step `also_keep`).

    Args:
        folder: the run's folder.
        step: number of finished optimiser steps.
        parts: file stem → tensors; each becomes one safetensors file.
        state: JSON-able values.
        keep: how many of the newest checkpoints stay.
        also_keep: a step that stays too (the best one).

    Raises:
        DiskFullError: no room; nothing half-written stays behind.
    """
    target = folder / f"{_PREFIX}{step:08d}"
    beside = folder / f"{_TEMPORARY}{step:08d}"
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        for name, tensors in parts.items():
            plain = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
            save_file(plain, beside / f"{name}.safetensors")
        (beside / "state.json").write_text(json.dumps(dict(state), indent=1), encoding="utf-8")
        for file in beside.iterdir():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        shutil.rmtree(target, ignore_errors=True)
        beside.rename(target)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(beside, ignore_errors=True)
        if is_full(error):
            raise full(folder) from error
        raise
    steps = sorted(_steps(folder))
    for old in steps[:-keep] if keep else []:
        if old != also_keep:
            shutil.rmtree(folder / f"{_PREFIX}{old:08d}", ignore_errors=True)
    return target


def full(folder: Path) -> DiskFullError:
    """Return the error of a run that finds no room to write; it names the last checkpoint."""
    return DiskFullError(
        f"{folder}: the disk is full; the last checkpoint is {latest(folder) or 'none'}; resume once there is room"
    )


def latest(folder: Path) -> Path | None:
    """Return the newest complete checkpoint of a run, or None."""
    steps = _steps(folder)
    return folder / f"{_PREFIX}{max(steps):08d}" if steps else None


def load(path: Path, architecture: Mapping[str, Any] | None = None) -> Checkpoint:
    """Read one checkpoint folder.

    Args:
        path: the folder.
        architecture: what the model at hand is; a checkpoint that differs is refused.

    Raises:
        CheckpointError: a file is missing or damaged, or the architecture differs (the fields are named).
    """
    try:
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        parts = {file.stem: load_file(file) for file in path.glob("*.safetensors")}
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{path}: the checkpoint cannot be read ({error})") from error
    if architecture is not None:
        # As JSON holds it: a tuple comes back as a list.
        wrong = _architecture_differences(state.get("architecture", {}), json.loads(json.dumps(dict(architecture))))
        if wrong:
            raise CheckpointError(f"{path}: made by another architecture: {'; '.join(wrong)}")
    return Checkpoint(path, parts["model"], parts.get("ema", {}), parts.get("optimizer", {}), state)


def optimizer_tensors(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, Tensor]:
    """Flatten the optimiser's per-parameter state to tensors named `PARAMETER.STATE`.

    Args:
        optimizer: of parameters of `module`.
        module: tells their names.
    """
    names: dict[Tensor, str] = {parameter: name for name, parameter in module.named_parameters()}
    return {
        f"{names[parameter]}.{key}": value if isinstance(value, torch.Tensor) else torch.tensor(value)
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], module: nn.Module) -> None:
    """Put flattened tensors back; the groups' options stay those of the optimiser at hand.

    Args:
        optimizer: of parameters of `module`, in any order.
        tensors: of `optimizer_tensors`.
        module: tells the parameters' names.

    Raises:
        CheckpointError: a tensor belongs to no parameter of the optimiser.
    """
    names = {parameter: name for name, parameter in module.named_parameters()}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    place = {names[parameter]: index for index, parameter in enumerate(parameters)}
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        name, _, part = key.rpartition(".")
        if name not in place:
            raise CheckpointError(f"optimizer: {key}: the model has no such trained parameter")
        state.setdefault(place[name], {})[part] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _steps(folder: Path) -> list[int]:
    return [int(p.name.removeprefix(_PREFIX)) for p in folder.glob(f"{_PREFIX}*") if (p / "state.json").exists()]


def is_full(error: Exception) -> bool:
    """Whether an error of writing means that there is no room (full disk, quota, file size limit)."""
    full = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    return (isinstance(error, OSError) and error.errno in full) or any(f"os error {c}" in str(error) for c in full)


def _architecture_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    found = []
    for key in sorted(set(old) | set(new)):
        a, b = old.get(key), new.get(key)
        if isinstance(a, list) and isinstance(b, list) and a != b:
            gone, added = [x for x in a if x not in b], [x for x in b if x not in a]
            sample = [f"only in the checkpoint: {', '.join(gone[:4])}"] if gone else []
            sample += [f"only in the model: {', '.join(added[:4])}"] if added else []
            found.append(f"{key} ({'; '.join(sample)})")
        elif a != b:
            found += differences({key: a}, {key: b})
    return found
