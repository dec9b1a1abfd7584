"""The whole network behind a model's name, for stages that train it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ovsam_core.checkpoint import hashes_of, load_model, load_official, save_model
from ovsam_core.config import named_config, named_configs
from ovsam_core.modeling.build import build_model
from ovsam_core.models.registry import resolve
from ovsam_core.official import read_weights
from ovsam_core.text import encode_vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovsam_core.config import ModelConfig
    from ovsam_core.modeling.ovsam import OVSAM
    from ovsam_core.text import EncodedVocabulary
    from ovsam_core.vocabulary import Vocabulary

__all__ = ["device_of", "encode_names", "is_configuration", "load_network", "save_network", "shipped_phrases"]


def device_of(choice: str) -> torch.device:
    """Return where a stage runs: on a GPU where there is one, unless the choice is "cpu"."""
    return torch.device("cuda" if choice != "cpu" and torch.cuda.is_available() else "cpu")


def is_configuration(model: str) -> bool:
    """Whether a model's name means a configuration (built with random weights) and no model with weights."""
    return not Path(model).exists() and model in named_configs() and model != "starter"


def load_network(model: str, *, weights: Sequence[Path] = (), seed: int = 0) -> OVSAM:
    """Return a network in float32 on the CPU, in eval.

    Args:
        model: a model directory, an installed model, or the name of a configuration (built with random weights).
        weights: published files to fill in (CLIP's towers, SAM's prompt encoder and decoder, the official OVSAM files);
            what they do not hold stays as it is. What was filled is printed.
        seed: of random weights.

    Raises:
        ModelError: there is none of that name.
        CheckpointError: the weights are damaged or of another architecture.
    """
    if is_configuration(model):
        network = build_model(named_config(model), seed=seed)
    else:
        network = load_model(resolve(model)).float()
    if weights:
        print(load_official(network, {path.name: read_weights(path) for path in weights}))
    network.config = network.config.with_hashes(hashes_of(network))
    return network.eval()


def shipped_phrases(network: OVSAM) -> tuple[Path, ...]:
    """Return the phrase embeddings that lie beside the model that a network was loaded from."""
    return () if network.directory is None else tuple(sorted((network.directory / "embeddings").glob("*.safetensors")))


def encode_names(network: OVSAM, vocabulary: Vocabulary) -> EncodedVocabulary:
    """Encode a vocabulary as the program does: embeddings that ship beside the model come before its text tower."""
    return encode_vocabulary(network, vocabulary, shipped=shipped_phrases(network))


def save_network(network: OVSAM, directory: Path, *, card: str, **changes: object) -> ModelConfig:
    """Write a model directory that program and command line load.

    Phrase embeddings that lie beside the model it came from go along, unless the text tower has changed.

    Args:
        network: what to save; left on the CPU.
        directory: made if need be.
        card: text of its README.md.
        **changes: fields of the configuration to replace (`seen`, `temperature`, `description`, …).
    """
    network.to("cpu")
    network.config = replace(network.config, **changes)  # type: ignore[arg-type]
    text = network.config.hashes.text
    network.config = save_model(network, directory, card=card)
    if network.config.hashes.text == text:
        for path in shipped_phrases(network):
            target = directory / "embeddings" / path.name
            if target.resolve() != path.resolve():
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(path, target)
    return network.config
