"""Distil the text side of the joint space into a small text tower that reads any phrase without MiniLM."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from ovsam_core.modeling.clip_text import embed_text
from training.phrases import TEMPLATES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from open_clip.tokenizer import SimpleTokenizer
    from open_clip.transformer import TextTransformer

__all__ = ["Lesson", "TowerArgs", "agreement", "start_tokens", "train_tower"]

_BUCKETS = 8
"""Batches drawn at once and cut by length, so that a batch holds phrases of like length and little padding."""


@dataclass
class TowerArgs:
    """How the text tower is distilled.

    Attributes:
        steps: optimiser steps.
        batch: phrases in a step.
        lr: peak learning rate.
        weight_decay: of matrices.
        warmup: steps.
        core_share: of the phrases of a step, from the names of the shipped lists that regions are compared with.
        templated: share of phrases put into a sentence; the target stays that of the bare phrase.
        ema: decay of the averaged weights, which are what is kept.
        save_every: steps.
        seed: of everything drawn.
    """

    steps: int = 2800
    batch: int = 256
    lr: float = 2e-3
    weight_decay: float = 0.02
    warmup: int = 60
    core_share: float = 0.3
    templated: float = 0.15
    ema: float = 0.99
    save_every: int = 100
    seed: int = 0


@dataclass(frozen=True)
class Lesson:
    """Phrases and what they should become.

    Attributes:
        phrases: N texts.
        targets: (N, D) unit length.
        core: the first so many must be met best.
    """

    phrases: Sequence[str]
    targets: Tensor
    core: int


def start_tokens(
    tower: TextTransformer, tokenizer: SimpleTokenizer, embed: Callable[[Sequence[str]], Tensor], spread: float = 0.05
) -> None:
    """Give each token the meaning of its own letters to start with: its joint embedding in the main directions.

    A phrase's tokens then already lie near the phrase, which saves most of the training.

    Args:
        tower: its token embeddings and projection are overwritten.
        tokenizer: of the tower.
        embed: texts to (N, D) unit-length joint embeddings.
        spread: standard deviation of the embeddings.
    """
    words = [tokenizer.decoder[index] for index in range(tokenizer.vocab_size)]
    special = set(tokenizer.all_special_ids)
    plain = [index for index in range(len(words)) if index not in special]
    vectors = embed([words[index].removesuffix("</w>") for index in plain])  # (T, D)
    width = tower.token_embedding.weight.shape[1]
    directions = torch.linalg.svd(vectors, full_matrices=False).Vh[:width]  # (W, D)
    inner = vectors @ directions.T
    with torch.no_grad():
        tower.token_embedding.weight[plain] = inner / inner.std() * spread
        tower.text_projection.copy_(directions / math.sqrt(width))


def train_tower(
    tower: TextTransformer, tokenizer: Callable[[list[str]], Tensor], lesson: Lesson, out: Path, args: TowerArgs
) -> dict[str, Tensor]:
    """Distil; goes on where a stopped run with the same `out` left off.

    Args:
        tower: changed in place.
        tokenizer: texts to (N, L) tokens, zero behind the end token.
        lesson: phrases and targets.
        out: folder of the run; `tower.safetensors` holds the averaged weights so far.
        args: how.

    Returns:
        The averaged weights, named as in the tower.
    """
    out.mkdir(parents=True, exist_ok=True)
    tower.requires_grad_(True)  # a built model's parts are frozen until something trains them
    matrices = [p for p in tower.parameters() if p.ndim > 1]
    vectors = [p for p in tower.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": args.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.98))
    average = {name: tensor.clone() for name, tensor in tower.state_dict().items()}
    first = _resume(tower, optimiser, average, out)
    batches = _batches(tokenizer, lesson, args, first)
    tower.train()
    started, seen = time.monotonic(), 0.0
    for step in range(first, args.steps):
        tokens, targets = next(batches)
        for group in optimiser.param_groups:
            group["lr"] = args.lr * _schedule(step, args)
        loss = (1 - (embed_text(tower, tokens) * targets).sum(1)).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimiser.step()
        decay = min(args.ema, (step + 1) / (step + 10))
        for name, tensor in tower.state_dict().items():
            average[name].lerp_(tensor, 1 - decay) if tensor.is_floating_point() else average[name].copy_(tensor)
        seen = loss.item() if not seen else 0.95 * seen + 0.05 * loss.item()
        if step % 20 == 19:
            rest = (time.monotonic() - started) / (step + 1 - first) * (args.steps - step - 1)
            print(f"text: step {step + 1}/{args.steps}, 1 - cosine {seen:.4f}, {rest:.0f} s left", flush=True)
        if (step + 1) % args.save_every == 0 or step + 1 == args.steps:
            _save(tower, optimiser, average, step + 1, out)
    tower.load_state_dict(average)
    tower.requires_grad_(False).eval()
    return average


def _schedule(step: int, args: TowerArgs) -> float:
    if step < args.warmup:
        return (step + 1) / args.warmup
    done = (step - args.warmup) / max(args.steps - args.warmup, 1)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))


def _batches(
    tokenizer: Callable[[list[str]], Tensor], lesson: Lesson, args: TowerArgs, first: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Draw phrases for ever; the shortest padding that a batch allows is kept."""
    chance = torch.Generator().manual_seed(args.seed + first)
    rows = args.batch * _BUCKETS
    while True:
        core = torch.randint(lesson.core, (round(rows * args.core_share),), generator=chance)
        rest = torch.randint(len(lesson.phrases), (rows - len(core),), generator=chance)
        drawn = torch.cat([core, rest])
        wrap = torch.rand(rows, generator=chance) < args.templated
        which = torch.randint(len(TEMPLATES), (rows,), generator=chance)
        texts = [
            TEMPLATES[w].format(lesson.phrases[i]) if wrapped else lesson.phrases[i]
            for i, wrapped, w in zip(drawn.tolist(), wrap.tolist(), which.tolist(), strict=True)
        ]
        tokens = tokenizer(texts)  # (rows, context)
        length = (tokens != 0).sum(1)
        order = length.argsort()
        for index in torch.randperm(_BUCKETS, generator=chance).tolist():
            part = order[index * args.batch : (index + 1) * args.batch]
            yield tokens[part, : int(length[part].max())], lesson.targets[drawn[part]]


def _save(tower: nn.Module, optimiser: torch.optim.Optimizer, average: dict[str, Tensor], step: int, out: Path) -> None:
    state = {"tower": tower.state_dict(), "optimiser": optimiser.state_dict(), "step": step}
    torch.save(state, out / "state.part")
    (out / "state.part").replace(out / "state.pt")
    save_file({name: tensor.contiguous() for name, tensor in average.items()}, out / "tower.part")
    (out / "tower.part").replace(out / "tower.safetensors")


def _resume(tower: nn.Module, optimiser: torch.optim.Optimizer, average: dict[str, Tensor], out: Path) -> int:
    if not (out / "state.pt").exists() or not (out / "tower.safetensors").exists():
        return 0
    state = torch.load(out / "state.pt", weights_only=True)
    tower.load_state_dict(state["tower"])
    optimiser.load_state_dict(state["optimiser"])
    average.update(load_file(out / "tower.safetensors"))
    return int(state["step"])


def agreement(tower: TextTransformer, tokenizer: Callable[[list[str]], Tensor], lesson: Lesson) -> float:
    """Return the mean cosine between the tower's and the wanted embeddings of the core phrases."""
    total = 0.0
    with torch.no_grad():
        for first in range(0, lesson.core, 512):
            rows = slice(first, min(first + 512, lesson.core))
            tokens = tokenizer(list(lesson.phrases[rows]))
            tokens = tokens[:, : int((tokens != 0).sum(1).max())]
            cosines = functional.cosine_similarity(embed_text(tower, tokens), lesson.targets[rows])
            total += float(cosines.sum())
    return total / lesson.core
