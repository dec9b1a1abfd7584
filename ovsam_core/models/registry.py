"""Which models this machine has: the one that ships with the program, and the folders a user added."""

from __future__ import annotations

import difflib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from ovsam_core.assets import asset_path
from ovsam_core.errors import AssetError, ModelError

__all__ = ["CONFIG", "STARTER", "WEIGHTS", "Installed", "adopt", "installed", "models_folder", "resolve"]

STARTER = "starter"
CONFIG = "config.json"
WEIGHTS = "model.safetensors"


@dataclass(frozen=True, slots=True)
class Installed:
    """One model directory.

    Attributes:
        id: name to call it by.
        path: the directory.
        architecture: what its config.json calls it; "" where that cannot be read.
        licence: of the weights; "" where unknown.
        nbytes: bytes of all its files.
        problem: why it cannot be used; "" for a sound one.
    """

    id: str
    path: Path
    architecture: str
    licence: str
    nbytes: int
    problem: str = ""


def models_folder() -> Path:
    """Return the folder of the user's models: `$OVSAM_MODELS`, or the platform's data folder."""
    given = os.environ.get("OVSAM_MODELS")
    return Path(given) if given else user_data_path("ovsam", appauthor=False) / "models"


def installed() -> list[Installed]:
    """List every model directory, the bundled starter first, then by name; broken ones with their problem."""
    found = []
    with suppress(AssetError):  # a checkout before its weights were made
        found.append(_inspect(STARTER, asset_path(STARTER)))
    folder = models_folder()
    if folder.is_dir():
        found += [
            _inspect(path.name, path)
            for path in sorted(folder.iterdir())
            if path.is_dir() and (path / CONFIG).exists() and path.name != STARTER
        ]
    return found


def resolve(model: str | Path) -> Path:
    """Find the directory of a model.

    Args:
        model: name of an installed model, or the path of a model directory.

    Raises:
        ModelError: there is none; the message lists what there is.
    """
    if model == "":
        raise ModelError("a model needs a name or a path")
    path = Path(model)
    if isinstance(model, Path) or path.is_absolute() or len(path.parts) > 1 or path.is_dir():
        if not (path / CONFIG).is_file():
            raise ModelError(f"{path}: not a model directory: {CONFIG} is missing")
        if not (path / WEIGHTS).is_file():
            raise ModelError(f"{path}: the weights {WEIGHTS} are missing")
        return path
    found = {entry.id: entry for entry in installed()}
    if model not in found:
        near = difflib.get_close_matches(str(model), found, n=1, cutoff=0.5)
        have = f"did you mean {near[0]}?" if near else f"installed: {', '.join(found) or 'none'}"
        raise ModelError(f"{model}: no such model; {have} (folder {models_folder()}; see `ovsam models list`)")
    if found[model].problem:
        raise ModelError(f"{model}: {found[model].problem}")
    return found[model].path


def adopt(directory: Path, name: str) -> Path:
    """Copy a model directory (what fine-tuning writes) among the user's models, where program and commands find it.

    Logs and checkpoints of the training run that lie beside the model are left behind.

    Args:
        directory: with `config.json` and `model.safetensors`.
        name: what to call it.

    Returns:
        Where it lies now.

    Raises:
        ModelError: not a model directory, the name is taken or is no folder name, or the copy cannot be written.
    """
    source = resolve(directory)
    if not name or Path(name).name != name or name.startswith("."):
        raise ModelError(f"{name!r}: not a name for a model")
    target = models_folder() / name
    if target.exists() or name == STARTER:
        raise ModelError(f"{target}: there already; choose another --name, or move it away")
    partial = target.with_name(f".{name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        for file in source.iterdir():
            if file.is_file():
                shutil.copy2(file, partial / file.name)
        if (source / "embeddings").is_dir():
            shutil.copytree(source / "embeddings", partial / "embeddings")
        partial.rename(target)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise ModelError(f"{target}: cannot be written: {error.strerror or error}") from error
    return target


def _inspect(name: str, path: Path) -> Installed:
    nbytes = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    try:
        config: Any = json.loads((path / CONFIG).read_bytes())
        architecture, licence = str(config["architecture"]), str(config.get("licence", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return Installed(name, path, "", "", nbytes, f"{path / CONFIG} cannot be read ({error!r})")
    problem = "" if (path / WEIGHTS).is_file() else f"{path / WEIGHTS} is missing"
    return Installed(name, path, architecture, licence, nbytes, problem)
