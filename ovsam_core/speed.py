"""How the encoder runs fastest on this machine with the same masks: measured once, then remembered."""

from __future__ import annotations

import copy
import json
import os
import platform
import tempfile
import time
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ovsam_core.embedding_cache import cache_folder
from ovsam_core.errors import ModelError
from ovsam_core.modeling.prompt_encoder import PromptTensors

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from torch import Tensor

    from ovsam_core.modeling.ovsam import OVSAM

__all__ = ["Speed", "Trial", "choose_speed", "fuse_batch_norm", "measure", "prepare"]

LEAST_IOU = 0.99
"""Mask IoU with plain float32 below which a faster way is not taken."""

_MEASURED_SIDE = 256  # larger inputs are measured at this size: the first start waits for it
_PLAIN = ("Conv2d", "Conv2dSame")  # others may change their weights as they run
_TURNS = 3  # ways take turns, so that what else the machine does hits all of them


@dataclass(frozen=True, slots=True)
class Speed:
    """One way to run the encoder.

    Attributes:
        channels_last: convolutions see channels in the last place in memory.
        fused: BatchNorm is folded into the convolution before it.
        precision: "bfloat16" runs under autocast.
    """

    channels_last: bool = False
    fused: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"

    @property
    def tag(self) -> str:
        """Part of the encoder's hash: float32 variants differ by less than an embedding's half precision."""
        return "fp32" if self.precision == "float32" else "bf16"

    def arrange(self, pixels: Tensor) -> Tensor:
        """Return (B, 3, S, S) input in this way's memory order."""
        return pixels.contiguous(memory_format=torch.channels_last) if self.channels_last else pixels

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """Return the context that the encoder runs in."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(device.type, torch.bfloat16)


@dataclass(frozen=True, slots=True)
class Trial:
    """What a measurement found.

    Attributes:
        speed: the way.
        ms: milliseconds for one picture, the best of a few.
        iou: mean mask IoU with plain float32.
    """

    speed: Speed
    ms: float
    iou: float


def choose_speed(
    model: OVSAM,
    device: torch.device,
    dtype: Literal["auto", "float32", "bfloat16"] = "auto",
    *,
    file: Path | None = None,
) -> Speed:
    """Return the fastest way whose masks agree with plain float32.

    On a GPU that is bfloat16 autocast with channels last, where the GPU has bfloat16. On a CPU it is measured at the
    first call for a model and a machine; the answer is kept in `speed.json` in the cache folder.

    Args:
        model: unprepared, on the CPU.
        device: where it will run.
        dtype: "auto", or the only precision allowed.
        file: where answers are kept.

    Raises:
        ModelError: an unknown dtype.
    """
    if dtype not in ("auto", "float32", "bfloat16"):
        raise ModelError(f"dtype: expected auto, float32 or bfloat16, got {dtype!r}")
    if device.type != "cpu":
        half = dtype == "bfloat16" or (dtype == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported())
        return Speed(channels_last=device.type == "cuda", precision="bfloat16" if half else "float32")
    file = cache_folder() / "speed.json" if file is None else file
    key = f"{_machine()} | {model.config.hashes.encoder} | {dtype}"
    kept = _read(file).get(key)
    if isinstance(kept, dict):
        with suppress(TypeError):
            return Speed(**kept["speed"])
    trials = measure(model, _ways(dtype))
    best = min((t for t in trials if t.iou >= LEAST_IOU), key=lambda t: t.ms, default=trials[0]).speed
    if dtype == "bfloat16":  # asked for: not a matter of speed
        best = replace(best, precision="bfloat16")
    _write(file, {**_read(file), key: {"speed": asdict(best), "trials": [asdict(trial) for trial in trials]}})
    return best


def prepare(model: OVSAM, device: torch.device, speed: Speed) -> None:
    """Change a model in place so that it runs that way on that device."""
    if speed.fused:
        fuse_batch_norm(model.backbone)
    if speed.channels_last:
        model.to(memory_format=torch.channels_last)
    model.to(device).eval().requires_grad_(False)


@torch.inference_mode()
def measure(model: OVSAM, ways: tuple[Speed, ...]) -> list[Trial]:
    """Time ways to run a model's encoder on the CPU and compare their masks; the model stays as it is.

    Args:
        model: plain float32 on the CPU.
        ways: what to try; the first should be `Speed()`, the plain one, which the others' masks are compared with.
    """
    side = min(model.config.input.size, _MEASURED_SIDE)
    pixels = _test_input(side)
    device = torch.device("cpu")
    variants = [model if way == Speed() else copy.deepcopy(model) for way in ways]
    for way, variant in zip(ways, variants, strict=True):
        if variant is not model:
            prepare(variant, device, replace(way, precision="float32"))
    times = dict.fromkeys(ways, float("inf"))
    masks: dict[Speed, Tensor] = {}
    for turn in range(1 + _TURNS):
        for way, variant in zip(ways, variants, strict=True):
            with way.autocast(device):
                start = time.perf_counter()
                features = variant.encode(way.arrange(pixels))
                took = time.perf_counter() - start
            if turn == 0:  # warms up
                masks[way] = _masks(model, {name: tensor.float() for name, tensor in features.items()}, side)
            else:
                times[way] = min(times[way], took)
    return [Trial(way, 1000 * times[way], _iou(masks[way], masks[ways[0]])) for way in ways]


def fuse_batch_norm(module: nn.Module) -> int:
    """Fold BatchNorm layers in eval mode into the convolutions right before them, in place.

    Layers are paired by their order inside one parent, as in CLIP's ResNets and timm's EfficientNets; an activation
    that is part of the norm stays.

    Returns:
        How many were folded.
    """
    count = 0
    for parent in list(module.modules()):
        previous: tuple[str, nn.Conv2d] | None = None
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d) and previous is not None and _fits(previous[1], child):
                setattr(parent, previous[0], _folded(previous[1], child))
                setattr(parent, name, _rest(child))
                count += 1
            previous = (name, child) if isinstance(child, nn.Conv2d) and type(child).__name__ in _PLAIN else None
    return count


def _fits(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> bool:
    return not norm.training and conv.out_channels == norm.num_features and norm.running_var is not None


def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    fused = copy.deepcopy(conv)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight, bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    fused.weight, fused.bias = nn.Parameter(weight.detach(), False), nn.Parameter(bias.detach(), False)
    return fused


def _rest(norm: nn.BatchNorm2d) -> nn.Module:
    """Return what is left of a norm once its scaling is gone: timm's carry dropout and activation."""
    parts = [getattr(norm, name) for name in ("drop", "act") if isinstance(getattr(norm, name, None), nn.Module)]
    parts = [part for part in parts if not isinstance(part, nn.Identity)]
    return nn.Sequential(*parts) if parts else nn.Identity()


def _ways(dtype: str) -> tuple[Speed, ...]:
    plain = (Speed(), Speed(fused=True), Speed(channels_last=True, fused=True))
    if dtype == "float32" or not _has_bf16():
        return plain
    return (*plain, Speed(channels_last=True, fused=True, precision="bfloat16"))


def _has_bf16() -> bool:
    """Tell whether the processor multiplies bfloat16 itself; emulated it is slower than float32."""
    tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_arm_bf16_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in tests)


def _test_input(side: int) -> Tensor:
    """Return a normalised picture (1, 3, S, S) of smooth noise with bright rectangles: edges, areas and texture."""
    random = torch.Generator().manual_seed(0)
    pixels = nn.functional.interpolate(
        torch.randn(1, 3, side // 8, side // 8, generator=random), (side, side), mode="bilinear", align_corners=False
    )
    for box in _test_boxes(side).long().tolist():
        pixels[:, :, box[1] : box[3], box[0] : box[2]] += 1.5
    return pixels


def _test_boxes(side: int) -> Tensor:
    quarter = side / 4
    corners = [(x * quarter * 2 + 4, y * quarter * 2 + 4) for x in (0, 1) for y in (0, 1)]
    return torch.tensor([[x, y, x + quarter, y + quarter * 1.3] for x, y in corners])


def _masks(model: OVSAM, features: dict[str, Tensor], side: int) -> Tensor:
    boxes = _test_boxes(side)
    none = torch.zeros(len(boxes), 0, 2), torch.zeros(len(boxes), 0, dtype=torch.int8)
    return model.decode(features, PromptTensors(*none, boxes)).logits > 0


def _iou(masks: Tensor, reference: Tensor) -> float:
    both = (masks & reference).sum((2, 3)).float()
    either = (masks | reference).sum((2, 3)).float()
    return float(torch.where(either > 0, both / either.clamp(min=1), torch.ones_like(either)).mean())


def _machine() -> str:
    chip = f"{platform.node()} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return f"{chip} {torch.get_num_threads()} threads, torch {torch.__version__}"


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(file: Path, content: dict[str, Any]) -> None:
    with suppress(OSError):  # a cache that cannot be written costs a measurement at the next start
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, suffix=".part")
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            json.dump(content, out, indent=1)
        Path(name).replace(file)
