"""Names to embeddings: open_clip's causal text tower, at any sequence length."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from open_clip.transformer import TextTransformer
from torch import nn
from torch.nn import functional

from ovsam_core.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["check_text_tower", "embed_text"]


def check_text_tower(tower: nn.Module) -> TextTransformer:
    """Return the tower if `embed_text` can run it.

    Raises:
        ModelError: a Hugging Face tower, one with a class token, or one that does not pool at the end token.
    """
    if not isinstance(tower, TextTransformer):
        raise ModelError(f"vision: text_cfg: {type(tower).__name__} is no open_clip text transformer")
    if tower.cls_emb is not None or tower.pool_type != "argmax":
        raise ModelError("vision: text_cfg: only towers that pool at the end token are known (pool_type 'argmax')")
    return tower


def embed_text(tower: TextTransformer, tokens: Tensor, words: Tensor | None = None) -> Tensor:
    """Embed texts; gradients flow where the caller allows them.

    open_clip's own `forward` takes full-length sequences alone. A causal tower never looks behind the end token, so the
    padding that a whole batch shares can be cut at no loss.

    Args:
        tower: from `check_text_tower`.
        tokens: (N, L) int64, L up to the tower's context; the end token is the greatest of each row.
        words: (N, L, W) token embeddings to use in place of the tower's own: learnt prompts (CoOp) enter here.

    Returns:
        (N, D), unit length.
    """
    length = tokens.shape[1]
    x = tower.token_embedding(tokens) if words is None else words  # (N, L, W)
    x = x + tower.positional_embedding[:length]
    mask = None if tower.attn_mask is None else tower.attn_mask[:length, :length]
    x = tower.ln_final(tower.transformer(x, attn_mask=mask))
    pooled = x[torch.arange(len(x), device=x.device), tokens.argmax(1)]  # (N, W)
    projection = tower.text_projection
    if isinstance(projection, nn.Linear):
        pooled = projection(pooled)
    elif projection is not None:
        pooled = pooled @ projection
    return functional.normalize(pooled, dim=-1)
