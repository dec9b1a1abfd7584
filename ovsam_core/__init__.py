"""Open-Vocabulary SAM: one model that segments and names what a person points at.

The names below are loaded when they are first used, so that `import ovsam_core` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ovsam_core.config import ModelConfig as ModelConfig
    from ovsam_core.embedding import ImageEmbedding as ImageEmbedding
    from ovsam_core.embedding_cache import EmbeddingCache as EmbeddingCache
    from ovsam_core.errors import OvsamError as OvsamError
    from ovsam_core.masks import Mask as Mask
    from ovsam_core.pictures import Picture as Picture
    from ovsam_core.pictures import load_picture as load_picture
    from ovsam_core.predictor import ModelInfo as ModelInfo
    from ovsam_core.predictor import OvsamPredictor as OvsamPredictor
    from ovsam_core.predictor import load_predictor as load_predictor
    from ovsam_core.prompts import Prompt as Prompt
    from ovsam_core.results import Candidate as Candidate
    from ovsam_core.results import Label as Label
    from ovsam_core.results import Prediction as Prediction
    from ovsam_core.text import EncodedVocabulary as EncodedVocabulary
    from ovsam_core.vocabulary import Entry as Entry
    from ovsam_core.vocabulary import Vocabulary as Vocabulary

_HOME = {
    "Candidate": "results",
    "EmbeddingCache": "embedding_cache",
    "EncodedVocabulary": "text",
    "Entry": "vocabulary",
    "ImageEmbedding": "embedding",
    "Label": "results",
    "Mask": "masks",
    "ModelConfig": "config",
    "ModelInfo": "predictor",
    "OvsamError": "errors",
    "OvsamPredictor": "predictor",
    "Picture": "pictures",
    "Prediction": "results",
    "Prompt": "prompts",
    "Vocabulary": "vocabulary",
    "load_picture": "pictures",
    "load_predictor": "predictor",
}

__all__ = [
    "Candidate",
    "EmbeddingCache",
    "EncodedVocabulary",
    "Entry",
    "ImageEmbedding",
    "Label",
    "Mask",
    "ModelConfig",
    "ModelInfo",
    "OvsamError",
    "OvsamPredictor",
    "Picture",
    "Prediction",
    "Prompt",
    "Vocabulary",
    "load_picture",
    "load_predictor",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
