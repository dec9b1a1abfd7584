"""Names as text embeddings: the rows that region embeddings are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import torch
import xxhash

from ovsam_core.errors import CancelledError
from ovsam_core.text_cache import PhraseCache, read_phrases, templates_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from ovsam_core.config import ModelConfig
    from ovsam_core.vocabulary import Vocabulary

__all__ = ["EncodedVocabulary", "TextTower", "encode_phrases", "encode_vocabulary"]

_MANY_NAMES = 2000  # above this many entries one sentence a name has to do, unless asked: encoding stays under a minute
_FEW_REGIONS = 4
_SENTENCES = 256  # sentences in one forward pass


class TextTower(Protocol):
    """What encoding needs of a model; `OVSAM` has it."""

    config: ModelConfig

    @property
    def tokenizer(self) -> Callable[[list[str]], Tensor]:
        """Turn N texts into (N, L) int64 tokens, 0 behind the end."""

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Turn (N, L) tokens into (N, D) embeddings of unit length."""


@dataclass(frozen=True, eq=False)
class EncodedVocabulary:
    """A vocabulary's text embeddings.

    Attributes:
        vocabulary: the names, K entries.
        rows: (R, D) float16, unit length; the phrases of an entry stand side by side.
        starts: (K,) int64, each entry's first row.
        digest: of vocabulary, text tower and sentences.
    """

    vocabulary: Vocabulary
    rows: NDArray[np.float16]
    starts: NDArray[np.int64]
    digest: str

    @property
    def entry_of_row(self) -> NDArray[np.int64]:
        """(R,) position of the entry that each row belongs to."""
        return np.repeat(np.arange(len(self.starts)), np.diff(self.starts, append=len(self.rows)))

    @cached_property
    def _matrix(self) -> Tensor:
        # float32 once: the CPU multiplies half precision several times slower.
        return torch.from_numpy(self.rows.astype(np.float32))

    def logits(self, regions: Tensor, scale: float) -> Tensor:
        """Compare regions with names: scale x the greatest cosine among an entry's phrases.

        Args:
            regions: (N, D) float, unit length.
            scale: factor on cosines, 100 in the official code. The background row is a zero vector: its logit is 0.

        Returns:
            (N, K) float32 on the CPU.
        """
        vectors = regions.detach().float().cpu()
        # A few regions are bound by memory: matrix-vector products read the rows twice as fast as the matrix product.
        if len(vectors) <= _FEW_REGIONS:
            cosines = np.stack([self._matrix.mv(vector).numpy() for vector in vectors])  # (N, R)
        else:
            cosines = (vectors @ self._matrix.T).numpy()
        if len(self.starts) != len(self.rows):
            cosines = np.maximum.reduceat(cosines, self.starts, axis=1)  # (N, K)
        return torch.from_numpy(cosines).mul_(scale)

    def cosines_of(self, index: int, *regions: Tensor) -> tuple[float, ...]:
        """Return the greatest cosine among one entry's phrases for each region (D,), without looking at the others."""
        stop = self.starts[index + 1] if index + 1 < len(self.starts) else len(self.rows)
        rows = self._matrix[int(self.starts[index]) : int(stop)]
        return tuple(float(rows.mv(region.detach().float().cpu()).max()) for region in regions)


def encode_vocabulary(
    tower: TextTower,
    vocabulary: Vocabulary,
    *,
    sentences: Literal["auto", "all", "one"] = "auto",
    shipped: Sequence[Path] = (),
    cache: PhraseCache | None = None,
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> EncodedVocabulary:
    """Encode what is not known yet, and gather the rest.

    Args:
        tower: the model.
        vocabulary: the names.
        sentences: "all" reads each phrase in every template of the model, "one" in its first, "auto" in all up to 2,000
            entries.
        shipped: phrase files that lie beside the model.
        cache: where phrases are kept; None takes the text tower's file in the cache folder.
        progress: told the finished share, 0 to 1.
        cancelled: asked between batches.

    Raises:
        CancelledError: `cancelled` said so; what was encoded until then is kept.
        AssetError: a shipped file is damaged.
    """
    one = sentences == "one" or (sentences == "auto" and len(vocabulary) > _MANY_NAMES)
    templates = tower.config.templates[:1] if one else tower.config.templates
    text_hash = tower.config.hashes.text
    phrases = [entry.phrases for entry in vocabulary]
    wanted = dict.fromkeys(phrase for group in phrases for phrase in group)
    known: dict[str, NDArray[np.float16]] = {}
    for path in shipped:
        known |= read_phrases(path, templates, text_hash)
    cache = cache or PhraseCache(text_hash or "unsaved")
    missing = [phrase for phrase in wanted if phrase not in known]
    if text_hash:  # weights without a hash are not a saved model: nothing of theirs may be found again
        known |= cache.get(missing, templates, tower.config.embed_dim)
        missing = [phrase for phrase in missing if phrase not in known]
    done = len(wanted) - len(missing)
    for batch in encode_phrases(tower, missing, templates):
        known |= batch
        if text_hash:
            cache.put(batch, templates)
        done += len(batch)
        if progress:
            progress(done / len(wanted))
        if cancelled and cancelled():
            raise CancelledError(f"{vocabulary.id}: stopped after {done} of {len(wanted)} phrases, which are kept")
    rows = np.stack([known[phrase] for group in phrases for phrase in group])
    starts = np.cumsum([0, *(len(group) for group in phrases[:-1])])
    digest = xxhash.xxh3_128_hexdigest(f"{vocabulary.digest} {text_hash} {templates_digest(templates)}".encode())
    return EncodedVocabulary(vocabulary, rows, starts, digest)


def encode_phrases(
    tower: TextTower, phrases: Sequence[str], templates: Sequence[str]
) -> Iterator[dict[str, NDArray[np.float16]]]:
    """Yield phrase → (D,) float16 in batches: mean of the unit vectors of its sentences, brought to unit length.

    Phrases of like length go together, and padding that a whole batch shares is cut: exact for causal towers, which
    never look behind the end token.
    """
    if not phrases:
        return
    tokens = tower.tokenizer(list(phrases))  # (N, L): lengths only
    order = torch.argsort((tokens != 0).sum(1), stable=True).tolist()
    causal = not tower.config.vision["text_cfg"].get("no_causal_mask", False)
    group = max(1, _SENTENCES // len(templates))
    for start in range(0, len(order), group):
        chosen = [phrases[i] for i in order[start : start + group]]
        sentences = tower.tokenizer(
            [template.format(phrase) for phrase in chosen for template in templates]
        )  # (n*T, L)
        if causal:
            sentences = sentences[:, : int((sentences != 0).sum(1).max())]
        with torch.inference_mode():
            vectors = tower.encode_text(sentences).float().view(len(chosen), len(templates), -1)  # (n, T, D)
        mean = torch.nn.functional.normalize(vectors.mean(1), dim=-1)  # (n, D)
        yield dict(zip(chosen, mean.half().cpu().numpy(), strict=True))
