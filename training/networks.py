"""The whole network behind a model's name, for stages that train it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ovsam_core.checkpoint import hashes_of, load_model
from ovsam_core.config import named_config, named_configs
from ovsam_core.modeling.build import build_model
from ovsam_core.models.registry import resolve

if TYPE_CHECKING:
    from ovsam_core.modeling.ovsam import OVSAM

__all__ = ["load_network"]


def load_network(model: str, *, seed: int = 0) -> OVSAM:
    """Return a network in float32 on the CPU, in eval.

    Args:
        model: a model directory, an installed model, or the name of a configuration, which is built with random weights
            (its CLIP towers too: `ovsam models` fetches published ones).
        seed: of random weights.

    Raises:
        ModelError: there is none of that name.
        CheckpointError: the weights are damaged or of another architecture.
    """
    if not Path(model).exists() and model in named_configs() and model != "starter":
        network = build_model(named_config(model), seed=seed)
        network.config = network.config.with_hashes(hashes_of(network))
        return network.eval()
    return load_model(resolve(model)).float().eval()
