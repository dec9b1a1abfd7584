"""Parameters and multiply-adds of a model at ten prompts a picture, as the paper counts them (E7)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ovsam_core.config import ModelConfig, named_config, named_configs
from ovsam_core.modeling.cost import measure
from ovsam_core.models.registry import resolve

__all__ = ["model_cost"]

_PROMPTS = 10  # the paper's FLOPs columns


def model_cost(model: str) -> dict[str, Any]:
    """Return parameters by part and in all (text tower apart), and multiply-adds for a picture with ten prompts.

    Args:
        model: a model directory, an installed model, or the name of a configuration.
    """
    if not Path(model).exists() and model in named_configs() and model != "starter":
        config = named_config(model)
    else:
        config = ModelConfig.from_json((resolve(model) / "config.json").read_bytes())
    cost = measure(config)
    once = sum(cost.macs[k] for k in ("body", "neck", "fpn", "skips"))
    each = sum(cost.macs[k] for k in ("decoder", "head", "frozen"))
    return {
        "parameters": {**cost.parameters, "total": cost.total_parameters},
        "macs": {"picture": once, "prompt": each, f"at_{_PROMPTS}_prompts": once + _PROMPTS * each},
        "embedding_bytes": cost.embedding_bytes,
    }
