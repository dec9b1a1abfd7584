"""Weights that others published: the official OVSAM files, CLIP and SAM, under our parameter names."""

from __future__ import annotations

import pickle
import re
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ovsam_core.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from torch import Tensor

    from ovsam_core.config import ModelConfig

__all__ = ["Report", "Shape", "read_weights", "translate"]

Shape = tuple[int, ...]

_STEM = {"0": "conv1", "1": "bn1", "3": "conv2", "4": "bn2", "6": "conv3", "7": "bn3"}
_OPENAI_MARKS = frozenset({"input_resolution", "context_length", "vocab_size"})
_EXAMPLES = 3  # keys named for each group of a report

# Official layout -> ours, first match wins. The demo keeps roi_conv at the top level and its decoder one level higher.
_RULES: tuple[tuple[str, str], ...] = (
    (r"(?:neck_student|neck)\.(.*)", r"neck.\1"),
    (r"fpn_neck\.(lateral_convs|fpn_convs)\.(\d)\.conv\.(.*)", r"fpn.\1.\2.\3"),
    (r"(?:mask_decoder\.)?roi_conv\.(?:0\.)?conv\.(.*)", r"head.roi_conv.\1"),
    (r"mask_decoder\.label_mlp\.(.*)", r"head.label_mlp.\1"),
    (r"mask_decoder\.(?:mask_decoder\.)?(.*)", r"mask_decoder.\1"),
    (r"(?:pe|prompt_encoder)\.(.*)", r"mask_decoder.prompt_encoder.\1"),
    (r"backbone\.head\.(.*)", r"backbone.visual.attnpool.\1"),
    (r"(?:backbone|visual)\.(?!stem\.|visual\.)(.*)", r"backbone.visual.\1"),
    (r"text\.(.*)", r"text.\1"),
    (r"((?:transformer|token_embedding|ln_final)\..*|positional_embedding|text_projection)", r"text.\1"),
)
# Known, but no part of the model at run time: loss buffers, the teacher, CLIP's own temperature and marks.
_UNUSED = re.compile(
    r"(image_encoder|data_preprocessor|backbone_teacher|neck_teacher|pixel_mean|pixel_std)\b|"
    r"(mask_decoder\.)?(cls_embed|class_weight|logit_scale|loss_\w+)\b|logit_bias$|(text\.)?attn_mask$|"
    r"input_resolution$|context_length$|vocab_size$"
)


@dataclass(frozen=True, slots=True)
class Report:
    """What a set of weight files held, against what the model has.

    Attributes:
        loaded: names of the model's tensors that were filled.
        missing: the model's tensors that no part held, with their shapes.
        unexpected: keys that no rule knows, as "part: key", with their shapes.
        misshaped: the model's tensor -> (expected, actual) shape; they were not loaded.
        unused: known keys the model has no use for, as "part: key" (SAM's image encoder, a teacher).
        repeated: the model's tensors that a later part gave again, as "part: key"; the later one counts.
    """

    loaded: tuple[str, ...] = ()
    missing: Mapping[str, Shape] = field(default_factory=dict)
    unexpected: Mapping[str, Shape] = field(default_factory=dict)
    misshaped: Mapping[str, tuple[Shape, Shape]] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every tensor of the model was filled and every key was understood."""
        return not (self.missing or self.unexpected or self.misshaped)

    def __str__(self) -> str:
        lines = [f"loaded: {len(self.loaded)} tensors"]
        lines += _group("missing", self.missing)
        lines += _group("unexpected", self.unexpected)
        if self.misshaped:
            lines.append(f"mis-shaped: {len(self.misshaped)}")
            lines += [f"  {name}: expected {want}, got {got}" for name, (want, got) in self.misshaped.items()]
        if self.unused:
            lines.append(f"not needed: {len(self.unused)}, for example {', '.join(self.unused[:_EXAMPLES])}")
        if self.repeated:
            some = ", ".join(self.repeated[:_EXAMPLES])
            lines.append(f"given again, the later file counts: {len(self.repeated)}, for example {some}")
        return "\n".join(lines)


def _group(title: str, keys: Mapping[str, Shape]) -> list[str]:
    if not keys:
        return []
    groups: dict[str, list[str]] = {}
    for key in keys:
        groups.setdefault(key.split(".", 1)[0], []).append(key)
    lines = [f"{title}: {len(keys)}"]
    for head, members in groups.items():
        some = ", ".join(f"{key} {keys[key]}" for key in members[:_EXAMPLES])
        lines.append(f"  {head}: {len(members)}, for example {some}")
    return lines


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a weight file without running any of its code.

    Args:
        path: safetensors, or a torch file that holds tensors alone; a `state_dict` or `model` wrapper is taken off.

    Raises:
        CheckpointError: missing, damaged, a TorchScript archive, or a pickle that would have to run code.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if _is_torchscript(path):
            raise CheckpointError(
                f"{path}: a TorchScript archive, which is a program; take the safetensors file of the same weights "
                "(for OpenAI's CLIP: open_clip's, for example timm/resnet50x16_clip.openai on Hugging Face)"
            )
        content = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: damaged: {error}") from error
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        if found is None:
            raise CheckpointError(f"{path}: not a readable weight file") from error
        raise CheckpointError(
            f"{path}: refused, because reading it would run code from the file ({found[1]}); "
            "only files of plain tensors are read"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        raise CheckpointError(f"{path}: not a readable weight file: {error}") from error
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a dictionary of tensors, got {type(content).__name__}")
    return {str(key): value for key, value in content.items() if isinstance(value, torch.Tensor)}


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name or name.endswith("constants.pkl") for name in archive.namelist())


def translate(
    config: ModelConfig, parts: Mapping[str, Mapping[str, Tensor]], expected: Mapping[str, Shape]
) -> tuple[dict[str, Tensor], Report]:
    """Rename published weights to the model's names and say what does not fit.

    SAM's own file gives the prompt encoder; its decoder is taken only where no other part has one (for the one-mask
    form the single-mask token and its MLP).

    Args:
        config: of the model.
        parts: name for messages -> state dict, in any order.
        expected: the model's tensor names and shapes.

    Raises:
        CheckpointError: OpenAI's weights for a model without QuickGELU.
    """
    found: dict[str, Tensor] = {}
    unexpected: dict[str, Shape] = {}
    misshaped: dict[str, tuple[Shape, Shape]] = {}
    unused: list[str] = []
    repeated: list[str] = []
    given: set[str] = set()  # by files other than SAM's, whose decoder is meant to be overruled
    # SAM's files first, so that the other parts overrule their decoder.
    ordered = sorted(parts.items(), key=lambda part: not _is_sam(part[1]))
    for part, weights in ordered:
        if _OPENAI_MARKS & set(weights) and not config.vision.get("quick_gelu"):
            raise CheckpointError(
                f"{part}: OpenAI's CLIP weights need QuickGELU; {config.architecture} has vision.quick_gelu false: "
                "use the '-quickgelu' model config"
            )
        sam = _is_sam(weights)
        for key, tensor in weights.items():
            name = _rename(key)
            if sam and name is not None and name.startswith("mask_decoder."):
                name, tensor = _of_sam(name, tensor, expected)  # noqa: PLW2901 - the row that the one-mask form keeps
            if name is None or (sam and name not in expected):
                unused.append(f"{part}: {key}")
            elif name not in expected:
                unexpected[f"{part}: {key}"] = tuple(tensor.shape)
            elif tuple(tensor.shape) != expected[name]:
                misshaped[name] = (expected[name], tuple(tensor.shape))
            else:
                if name in given:
                    repeated.append(f"{part}: {key}")
                elif not sam:
                    given.add(name)
                found[name] = tensor
                misshaped.pop(name, None)
    missing = {name: shape for name, shape in expected.items() if name not in found and name not in misshaped}
    return found, Report(_sorted(found), missing, unexpected, misshaped, tuple(unused), tuple(repeated))


def _sorted(keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(keys))


def _is_sam(weights: Mapping[str, Tensor]) -> bool:
    return "image_encoder.patch_embed.proj.weight" in weights


def _rename(key: str) -> str | None:
    """Return our name of a published key; None for what a model has no use for. Unknown keys come back unchanged."""
    if _UNUSED.match(key):
        return None
    stem = re.fullmatch(r"backbone\.stem\.(\d)\.(.*)", key)
    if stem and stem[1] in _STEM:
        return f"backbone.visual.{_STEM[stem[1]]}.{stem[2]}"
    for pattern, ours in _RULES:
        if re.fullmatch(pattern, key):
            return re.sub(pattern, ours, key)
    return key


def _of_sam(name: str, tensor: Tensor, expected: Mapping[str, Shape]) -> tuple[str, Tensor]:
    """Cut SAM's four mask tokens down to the single-mask one where the model has no more."""
    if name == "mask_decoder.mask_tokens.weight" and expected.get(name, ())[:1] == (1,):
        return name, tensor[:1]
    return name, tensor
