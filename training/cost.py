"""Parameters and multiply-adds of a model at ten prompts a picture, as the paper counts them (E7), and of a teacher.

python -m training.cost --model ovsam-rn50x16-coco --sam_type vit_h
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any, Literal

import torch
from segment_anything import sam_model_registry

from ovsam_core.config import ModelConfig, named_config
from ovsam_core.modeling.cost import count_macs, measure
from ovsam_core.models.registry import resolve
from training.args import command
from training.networks import is_configuration

__all__ = ["CostArgs", "main", "model_cost", "teacher_macs"]

_PROMPTS = 10  # the paper's FLOPs columns


@dataclass
class CostArgs:
    """Count what a model costs.

    Attributes:
        model: a model directory, an installed model, or the name of a configuration.
        sam_type: also count this SAM's image encoder, the teacher of SAM2CLIP.
    """

    model: str = "starter"
    sam_type: Literal["", "vit_b", "vit_l", "vit_h"] = ""


def model_cost(model: str) -> dict[str, Any]:
    """Return parameters by part and in all (text tower apart), and multiply-adds for a picture with ten prompts.

    Args:
        model: a model directory, an installed model, or the name of a configuration.
    """
    if is_configuration(model):
        config = named_config(model)
    else:
        config = ModelConfig.from_json((resolve(model) / "config.json").read_bytes())
    cost = measure(config)
    return {
        "parameters": {**cost.parameters, "total": cost.total_parameters},
        "macs": {
            **cost.macs,
            "picture": cost.total_macs(0),
            "prompt": cost.total_macs(1) - cost.total_macs(0),
            f"at_{_PROMPTS}_prompts": cost.total_macs(_PROMPTS),
        },
        "embedding_bytes": cost.embedding_bytes,
    }


def teacher_macs(kind: Literal["vit_b", "vit_l", "vit_h"]) -> int:
    """Return the multiply-adds of a SAM image encoder on one picture; nothing is allocated."""
    with torch.device("meta"):
        encoder = sam_model_registry[kind]().image_encoder.requires_grad_(requires_grad=False)
        pixels = torch.empty(1, 3, encoder.img_size, encoder.img_size)
    return count_macs(lambda: encoder(pixels))


def main(args: CostArgs) -> None:
    """Print the figures as JSON."""
    found = model_cost(args.model)
    if args.sam_type:
        found["teacher_macs"] = teacher_macs(args.sam_type)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    sys.exit(command(CostArgs, main, program="python -m training.cost"))
