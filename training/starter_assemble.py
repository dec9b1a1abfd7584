"""Merge the starter's separately trained parts into one model directory."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path  # noqa: TC003  the options are read from the annotations
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ovsam_core.checkpoint import load_model, save_model
from ovsam_core.config import ModelConfig, named_config
from ovsam_core.errors import CheckpointError
from ovsam_core.modeling.build import build_model
from training import checkpoints

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from ovsam_core.modeling.ovsam import OVSAM

__all__ = ["PartArgs", "assemble", "mask_weights", "refresh_card"]

_MASK_PARTS = {"path.neck.": "neck.", "path.skips.": "skips.", "path.decoder.": "mask_decoder."}


@dataclass
class PartArgs:
    """Where the trained parts are.

    Attributes:
        masks: run folder of the mask stage (its newest averaged weights are taken), or a safetensors file with tensors
            named as in the model.
        names: folder of the name stages: `names.safetensors` with tensors named as in the model
            (`backbone.visual.head.`, `head.`, `text.`), `config.json` with the settings they change, and any merge
            list. None leaves these parts as they are initialised.
        base: model directory whose other parts stay as they are, trunk and settings among them.
    """

    masks: Path | None = None
    names: Path | None = None
    base: Path | None = None


def mask_weights(source: Path) -> dict[str, Tensor]:
    """Read the mask parts, named as in the model.

    Raises:
        CheckpointError: there is no checkpoint, or it cannot be read.
    """
    if not source.is_dir():
        return _read(source)
    newest = checkpoints.latest(source)
    if newest is None:
        raise CheckpointError(f"{source}: holds no checkpoint of the mask stage")
    renamed = {}
    for name, tensor in _read(newest / "ema.safetensors").items():
        for old, new in _MASK_PARTS.items():
            if name.startswith(old):
                renamed[new + name.removeprefix(old)] = tensor
    return renamed


def assemble(parts: PartArgs, trunk: nn.Module, out: Path) -> ModelConfig:
    """Write the model directory.

    Args:
        parts: where the trained parts are.
        trunk: the ImageNet trunk.
        out: the model directory; an existing card stays.

    Returns:
        The configuration as written.

    Raises:
        CheckpointError: a part is missing tensors or brings some that the model does not have.
    """
    model = _start(parts, trunk)
    if parts.masks is not None:
        _fill(model, mask_weights(parts.masks), tuple(_MASK_PARTS.values()), parts.masks)
    if parts.names is not None:
        trained = ("text.", "backbone.visual.head.", "head.") if model.head else ("text.", "backbone.visual.head.")
        _fill(model, _read(parts.names / "names.safetensors"), trained, parts.names)
        for extra in parts.names.glob("*.gz"):
            out.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(extra, out / extra.name)
    config = save_model(model, out)
    refresh_card(out)
    return config


def refresh_card(directory: Path) -> None:
    """Bring the sizes and SHA-256 of the files that a model directory's card lists up to date."""
    card = directory / "README.md"

    def row(match: re.Match[str]) -> str:
        path = directory / match["name"]
        if not path.is_file():
            return match[0]
        data = path.read_bytes()
        return f"| `{match['name']}` | {len(data):,} | `{hashlib.sha256(data).hexdigest()}` |"

    text = card.read_text(encoding="utf-8")
    card.write_text(re.sub(r"\| `(?P<name>[^`|]+)` \| [\d,]+ \| `[0-9a-f]{64}` \|", row, text), encoding="utf-8")


def _start(parts: PartArgs, trunk: nn.Module) -> OVSAM:
    """Return the model before its parts are filled in."""
    if parts.base is not None:
        return load_model(parts.base)
    config = named_config("starter")
    if parts.names is not None:
        config = _changed(config, parts.names / "config.json")
    model = build_model(config, directory=parts.names)
    inner = model.backbone.visual.get_submodule("trunk")
    wanted = inner.state_dict()  # the trunk without its classifier
    inner.load_state_dict({k: v for k, v in trunk.state_dict().items() if k in wanted})
    return model


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error


def _changed(config: ModelConfig, path: Path) -> ModelConfig:
    """Lay the settings of a JSON file over the configuration."""
    try:
        changes = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error
    return ModelConfig.from_json(json.dumps(_merged(asdict(config), changes)), str(path))


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for key, value in new.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _fill(model: OVSAM, tensors: Mapping[str, Tensor], prefixes: tuple[str, ...], where: Path) -> None:
    """Load the parts under `prefixes`, all of them and nothing else."""
    state = model.state_dict()
    expected = {name for name in state if name.startswith(prefixes)}
    missing, unknown = sorted(expected - tensors.keys()), sorted(tensors.keys() - expected)
    if missing or unknown:
        raise CheckpointError(f"{where}: missing {missing[:5]}, not in the model {unknown[:5]}")
    wrong = [n for n in tensors if tensors[n].shape != state[n].shape]
    if wrong:
        name = wrong[0]
        raise CheckpointError(f"{where}: {name}: expected {tuple(state[name].shape)}, got {tuple(tensors[name].shape)}")
    with torch.no_grad():
        for name, tensor in tensors.items():
            state[name].copy_(tensor)
