"""Model directories: `config.json`, `model.safetensors`, a card; and how others' weights become one."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import xxhash
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ovsam_core.config import Hashes, ModelConfig, named_config
from ovsam_core.errors import CheckpointError
from ovsam_core.modeling.build import build_model
from ovsam_core.modeling.unfilled import Unfilled
from ovsam_core.official import Report, read_weights, translate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from ovsam_core.modeling.ovsam import OVSAM

__all__ = ["Report", "fetch_clip", "hashes_of", "import_official", "load_model", "load_official", "save_model"]

_CONFIG, _WEIGHTS, _CARD = "config.json", "model.safetensors", "README.md"
_PARTS = {
    "encoder": ("backbone.", "neck.", "fpn.", "skips."),
    "head": ("mask_decoder.", "head."),
    "text": ("text.",),
}


def save_model(model: OVSAM, directory: Path, *, card: str | None = None) -> ModelConfig:
    """Write a model directory; each file appears whole or not at all.

    Args:
        model: what to save. With `config.storage` "float16" matrices are rounded to half precision; vectors and
            BatchNorm statistics stay as they are.
        directory: made if need be.
        card: text of README.md; None writes a short one where there is none.

    Returns:
        The configuration as written, with the hashes of the weights.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    tensors = _stored(model)
    config = model.config.with_hashes(_hashes(model.config, tensors))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        partial = directory / f"{_WEIGHTS}.part"
        save_file(tensors, partial, {"architecture": config.architecture})
        partial.replace(directory / _WEIGHTS)
        partial = directory / f"{_CONFIG}.part"
        partial.write_text(config.to_json(), encoding="utf-8")
        partial.replace(directory / _CONFIG)
        merges = config.text.merges_file
        if merges and model.directory is not None and model.directory.resolve() != directory.resolve():
            shutil.copyfile(model.directory / merges, directory / merges)
        if card is not None or not (directory / _CARD).exists():
            (directory / _CARD).write_text(card if card is not None else _card(config), encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"{directory}: cannot be written: {error.strerror or error}") from error
    return config


def load_model(directory: Path, *, verify: bool = False) -> OVSAM:
    """Read a model directory, in float32 and eval mode.

    Args:
        directory: the model's folder.
        verify: hash the weights again and compare with config.json.

    Raises:
        CheckpointError: a file is missing or damaged, its tensors are not the configuration's, or a hash is wrong.
        ModelError: config.json is wrong.
    """
    try:
        config = ModelConfig.from_json((directory / _CONFIG).read_bytes(), str(directory / _CONFIG))
    except OSError as error:
        raise CheckpointError(f"{directory / _CONFIG}: cannot be read: {error.strerror or error}") from error
    with Unfilled():
        model = build_model(config, directory=directory)
    path = directory / _WEIGHTS
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        raise CheckpointError(f"{path}: damaged: {error}") from error
    if verify and (actual := _hashes(config, tensors)) != config.hashes:
        wrong = [part for part, value in asdict(config.hashes).items() if value != getattr(actual, part)]
        raise CheckpointError(f"{path}: the hash of {', '.join(wrong)} is not the one in {_CONFIG}")
    report = _compare(tensors, _shapes(model))
    if not report.complete:
        raise CheckpointError(f"{path}: not the tensors of {config.architecture}\n{report}")
    _fill(model, tensors, adopt=True)
    return model


def load_official(model: OVSAM, parts: Mapping[str, Mapping[str, Tensor]]) -> Report:
    """Fill a model with published weights; what they do not hold stays as it is.

    Understood are `sam2clip_*.pth` (`neck_student.`), `clip2sam_*.pth` (`fpn_neck.`, `mask_decoder.`), the demo's files
    (top-level `roi_conv.`, decoder without the doubled prefix), the official trunk layout (`backbone.stem.` …),
    open_clip's and OpenAI's CLIP, and SAM (`prompt_encoder.`, and its decoder where no other part has one).

    Args:
        model: built for the same architecture; on "meta" the tensors are adopted, else copied.
        parts: a name for messages -> state dict.

    Raises:
        CheckpointError: OpenAI's weights for a model without QuickGELU.
    """
    found, report = translate(model.config, parts, _shapes(model))
    _fill(model, found)
    return report


def import_official(parts: Sequence[Path], out: Path, config_name: str) -> Report:
    """Assemble published files into a model directory.

    Args:
        parts: weight files; CLIP's may be left out, open_clip then finds or downloads them. Their order matters only
            where two hold the same tensor: the later one is taken, and the report says so.
        out: the model directory to write.
        config_name: a named configuration, for example "ovsam-rn50x16-lvis".

    Raises:
        CheckpointError: a file cannot be read, or together they are not the whole model; the message has the report,
            and nothing was written.
        ModelError: no such configuration.
    """
    config = named_config(config_name)
    weights = {str(path): read_weights(path) for path in parts}
    model = build_model(config, device="meta")
    report = load_official(model, weights)
    if config.clip_weights and any(name.startswith("text.") for name in report.missing):
        clip = fetch_clip(config)
        weights[str(clip)] = read_weights(clip)
        report = load_official(model, weights)
    if not report.complete:
        raise CheckpointError(f"{out}: not written, the files are not the whole of {config_name}\n{report}")
    save_model(model, out)
    return report


def fetch_clip(config: ModelConfig) -> Path:
    """Return the file of the frozen CLIP towers, downloaded by open_clip if it is not in its cache.

    Raises:
        CheckpointError: open_clip does not know the weights, they were trained with another activation, or there is no
            network.
    """
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg  # noqa: PLC0415 - reaches for the network

    where = f"{config.clip_model} / {config.clip_weights}"
    source = get_pretrained_cfg(config.clip_model, config.clip_weights)
    if not source:
        raise CheckpointError(f"open_clip knows no weights {where}")
    trained, built = bool(source.get("quick_gelu", False)), bool(config.vision.get("quick_gelu", False))
    if trained != built:
        raise CheckpointError(f"{where}: trained with quick_gelu {trained}, the configuration has {built}")
    try:
        return Path(download_pretrained(source))
    except Exception as error:  # huggingface_hub and urllib raise a dozen unrelated types when offline
        raise CheckpointError(f"{where}: cannot be fetched ({error}); give the CLIP file as a part") from error


def hashes_of(model: OVSAM) -> Hashes:
    """Hash the weights as they would be saved."""
    return _hashes(model.config, _stored(model))


def _stored(model: OVSAM) -> dict[str, Tensor]:
    half = model.config.storage == "float16"
    stored = {}
    for name, tensor in model.state_dict().items():
        value = tensor.detach().cpu()
        if half and value.dtype == torch.float32 and value.ndim > 1:
            value = value.half()
        stored[name] = value.contiguous()
    return stored


def _hashes(config: ModelConfig, tensors: Mapping[str, Tensor]) -> Hashes:
    """Hash each part's tensors together with the settings that change what they compute."""
    settings = {
        "encoder": [dict(config.vision["vision_cfg"]), asdict(config.input), asdict(config.neck)],
        "head": [asdict(config.decoder), asdict(config.head), asdict(config.region)],
        "text": [dict(config.vision["text_cfg"]), asdict(config.text)],
    }
    digests = {}
    for part, prefixes in _PARTS.items():
        state = xxhash.xxh3_128(json.dumps(settings[part], sort_keys=True).encode())
        for name in sorted(tensors):
            if name.startswith(prefixes):
                tensor = tensors[name].contiguous()
                state.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
                state.update(tensor.flatten().view(torch.uint8).numpy().data)
        digests[part] = state.hexdigest()
    return Hashes(**digests)


def _shapes(model: OVSAM) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def _compare(tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> Report:
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return Report(
        tuple(sorted(shapes.keys() & expected.keys())),
        {name: shape for name, shape in expected.items() if name not in shapes},
        {name: shape for name, shape in shapes.items() if name not in expected},
        {n: (expected[n], shape) for n, shape in shapes.items() if n in expected and expected[n] != shape},
    )


def _fill(model: OVSAM, tensors: Mapping[str, Tensor], *, adopt: bool = False) -> None:
    """Put tensors of the right shapes into the model, as float32; they are adopted where the model lies on "meta"."""
    full = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    adopt = adopt or any(parameter.is_meta for parameter in model.parameters())
    model.load_state_dict(full, strict=False, assign=adopt)
    mask = model.text.attn_mask
    if mask is not None and mask.is_meta:  # not stored: it follows from the context length
        model.text.register_buffer("attn_mask", model.text.build_causal_mask(), persistent=False)


def _card(config: ModelConfig) -> str:
    rows = {
        "Licence": config.licence or "not stated",
        "Input": f"{config.input.size} x {config.input.size} pixels",
        "Names learnt on": f"{len(config.seen)} classes" if config.seen else "none stated",
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    return f"# {config.architecture}\n\n{config.description}\n\n| | |\n|---|---|\n{table}\n"
