"""What a model costs, counted on the meta device: parameters, multiply-adds and bytes of an embedding.

    python -m ovsam_core.modeling.cost [NAME…]

prints a Markdown table of the named configurations, or of all: millions of parameters by part, the total without the
text tower, multiply-adds of a picture with 10 prompts, megabytes of its embedding in float16.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode

from ovsam_core.config import named_config, named_configs
from ovsam_core.modeling.build import build_model
from ovsam_core.modeling.clip_backbone import ResNetBackbone
from ovsam_core.modeling.head import RegionAdapter
from ovsam_core.modeling.prompt_encoder import PromptTensors

if TYPE_CHECKING:
    from collections.abc import Callable

    from ovsam_core.config import ModelConfig
    from ovsam_core.modeling.ovsam import OVSAM

__all__ = ["Cost", "count_macs", "measure", "row"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Cost:
    """Costs of one configuration, by part.

    Attributes:
        parameters: by part; "text" is left out of `total_parameters`, as in the paper's tables.
        macs: multiply-adds of convolutions and matrix products: "body", "neck", "fpn", "skips" for a picture,
            "decoder", "head" and "frozen" (region pooling and CLIP's head) for one prompt.
        embedding_bytes: what one picture's embedding takes in float16.
        input_size: side of the input, pixels.
    """

    parameters: dict[str, int]
    macs: dict[str, int]
    embedding_bytes: int
    input_size: int

    @property
    def total_parameters(self) -> int:
        """Parameters without the text tower."""
        return sum(count for part, count in self.parameters.items() if part != "text")

    def total_macs(self, prompts: int) -> int:
        """Multiply-adds of one picture with so many prompts."""
        once = sum(self.macs[part] for part in ("body", "neck", "fpn", "skips"))
        return once + prompts * sum(self.macs[part] for part in ("decoder", "head", "frozen"))


def count_macs(call: Callable[[], object]) -> int:
    """Return the multiply-adds of convolutions and matrix products that a call makes (half of torch's flops)."""
    return _counted(call)[1]


def measure(config: ModelConfig) -> Cost:
    """Count a configuration; nothing is allocated."""
    model = build_model(config, device="meta").requires_grad_(
        False
    )  # the counter's hooks stumble over expanded parameters
    parameters = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    size = config.input.size
    pixels = torch.empty(1, 3, size, size, device="meta")
    maps, body = _counted(lambda: model.backbone.maps(pixels))
    features, rest = _counted(lambda: model.encode_maps(pixels, maps))
    fpn = 0 if model.fpn is None else count_macs(partial(model.fpn, maps))
    skips = 0 if model.skips is None else count_macs(partial(model.skips, pixels, maps))
    click = PromptTensors(torch.empty(1, 1, 2, device="meta"), torch.empty(1, 1, dtype=torch.int8, device="meta"))
    macs = {
        "body": body,
        "neck": rest - fpn - skips,
        "fpn": fpn,
        "skips": skips,
        "decoder": count_macs(lambda: model.decode(features, click)),
        "head": _head_macs(model),
        "frozen": _frozen_macs(model),
    }
    values = sum(tensor.numel() for tensor in features.values())
    return Cost(parameters, macs, 2 * values, size)


def _counted(call: Callable[[], _T]) -> tuple[_T, int]:
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        result = call()
    return result, int(counter.get_total_flops()) // 2


def _head_macs(model: OVSAM) -> int:
    head = model.head
    if head is None:
        return 0
    if isinstance(head, RegionAdapter):
        frozen = torch.empty(1, model.config.embed_dim, device="meta")
        return count_macs(lambda: head(frozen))
    total = 0
    if (conv := head.roi_conv) is not None:
        grid = torch.empty(1, conv.in_channels, head.roi, head.roi, device="meta")
        total += count_macs(lambda: conv(grid))
    for mlp in (head.label_mlp if head.label_token_classifies else None, head.clip_mlp):
        if mlp is not None:
            row = torch.empty(1, mlp.layers[0].in_features, device="meta")
            total += count_macs(partial(mlp, row))
    return total


def _frozen_macs(model: OVSAM) -> int:
    backbone = model.backbone
    side = backbone.grid if isinstance(backbone, ResNetBackbone) else model.config.region.roi
    grid = torch.empty(1, backbone.channels[-1], side, side, device="meta")
    return count_macs(lambda: backbone.pool(grid))


def row(name: str, cost: Cost) -> str:
    """Return a configuration's line of the table."""
    m = {part: count / 1e6 for part, count in cost.parameters.items()}
    decoder = m["mask_decoder"] + m.get("skips", 0)
    millions = (m["backbone"], m["neck"], m.get("fpn", 0), decoder, m.get("head", 0), cost.total_parameters / 1e6)
    work = (f"{cost.total_macs(10) / 1e9:.1f}", f"{cost.embedding_bytes / 1e6:.1f}")
    return _line((name, str(cost.input_size), *(f"{x:.3f}" for x in (*millions, m["text"])), *work))


def main(names: list[str]) -> int:
    """Print the table."""
    titles = ("model", "input", "trunk", "neck", "FPN", "decoder", "head", "total M", "text M", "G MAC", "MB")
    lines = [_line(titles), _line(("---",) * len(titles))]
    lines += [row(name, measure(named_config(name))) for name in names or named_configs()]
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
