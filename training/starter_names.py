"""The joint space of the starter: where regions of the frozen trunk and names meet.

Image side: one linear map of the trunk's pooled 1,280 features. Text side: one linear map of MiniLM's sentence vectors,
later distilled into a small text tower. Both are learnt together from three sources: the trunk's own ImageNet-1k
classifier (its answers on every region are soft labels), labelled regions (COCO) and labelled pictures (Caltech-101).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Bag", "JointArgs", "JointSpace", "NameSet", "mean_embedding", "train_joint"]


@dataclass
class JointArgs:
    """How the joint space is learnt.

    Attributes:
        dim: dimensions of the joint space.
        steps: optimiser steps.
        batch: regions in a step.
        shares: of a batch that come from objects, named pictures and ImageNet pictures.
        lr: peak learning rate.
        weight_decay: of the two linear maps.
        dropout: of the trunk's features; it keeps 1,280 numbers from memorising 2,000 objects.
        class_power: objects of a class with n examples weigh n to minus this.
        distil: weight of the soft labels.
        named: weight of the named pictures.
        scale: factor on cosines at the start; it is learnt.
        blend: share of a text's embedding that comes from the known names nearest to it, not from the linear map, which
            says little of names that it was not learnt on.
        nearness: temperature of that neighbourhood on cosines of sentence vectors.
        ridge: of the text map's start, a regression from names to classifier rows.
        seed: of everything drawn.
    """

    dim: int = 384
    steps: int = 400
    batch: int = 640
    shares: tuple[float, float, float] = (0.5, 0.2, 0.3)
    lr: float = 1e-3
    weight_decay: float = 0.02
    dropout: float = 0.3
    class_power: float = 0.5
    distil: float = 1.0
    named: float = 0.3
    scale: float = 20.0
    blend: float = 0.2
    nearness: float = 0.07
    ridge: float = 0.3
    seed: int = 0


@dataclass(frozen=True)
class NameSet:
    """The names of a list of classes as sentence vectors.

    Attributes:
        vectors: (R, 384), one row a phrase.
        entry: (R,) int64, the class of each phrase, ascending.
        allowed: (K,) bool, classes that may be answered; the others are held out.
    """

    vectors: Tensor
    entry: Tensor
    allowed: Tensor

    def logits(self, regions: Tensor, texts: Tensor) -> Tensor:
        """Return (N, K) greatest cosine among each class's phrases; a class that is not allowed gets -100."""
        cosines = regions @ texts.T  # (N, R)
        if len(self.entry) != len(self.allowed):
            start = cosines.new_full((len(regions), len(self.allowed)), -2.0)
            cosines = start.scatter_reduce(1, self.entry.expand_as(cosines), cosines, "amax")
        return cosines.masked_fill(~self.allowed, -100.0)


@dataclass(frozen=True)
class Bag:
    """Regions of one source.

    Attributes:
        kind: "object" (COCO), "named" (Caltech-101) or "distil" (ImageNet sample: soft labels alone).
        features: (N, 1280) pooled trunk features.
        labels: (N,) class in the source's own list.
    """

    kind: str
    features: Tensor
    labels: Tensor


class JointSpace(nn.Module):
    """Two linear maps into one unit sphere.

    Args:
        classifier: (1000, C) rows of the trunk's own classifier; their main directions are the start of the image map.
        names: (1000, 384) sentence vectors of the same classes; a ridge regression onto the projected rows is the start
            of the text map.
        mean: (C,) of the features.
        spread: (C,) standard deviation of the features.
        args: dimensions and start.
    """

    mean: Tensor
    spread: Tensor
    centre: Tensor
    anchors: Tensor

    def __init__(self, classifier: Tensor, names: Tensor, mean: Tensor, spread: Tensor, args: JointArgs) -> None:
        super().__init__()
        rows = classifier * spread
        rows = rows - rows.mean(0)
        directions = torch.linalg.svd(rows, full_matrices=False).Vh[: args.dim]  # (D, C)
        target = functional.normalize(rows @ directions.T, dim=1)
        self.register_buffer("mean", mean)
        self.register_buffer("spread", spread)
        self.register_buffer("centre", names.mean(0))
        self.register_buffer("anchors", names.new_zeros(0, names.shape[1]))
        self.blend, self.nearness = args.blend, args.nearness
        shifted = names - self.centre
        ridge = args.ridge * torch.eye(names.shape[1])
        self.text_map = nn.Parameter(torch.linalg.solve(shifted.T @ shifted + ridge, shifted.T @ target).T.contiguous())
        self.image_map = nn.Parameter(directions.clone(memory_format=torch.contiguous_format))
        self.image_bias = nn.Parameter(torch.zeros(args.dim))
        self.log_scale = nn.Parameter(torch.tensor(math.log(args.scale)))
        self.dropout = args.dropout

    def text(self, vectors: Tensor) -> Tensor:
        """Map (R, 384) sentence vectors to (R, D), unit length.

        Once anchors are known (`train_joint` sets them when it has finished), a text is drawn to the embeddings of the
        known names around it, as ConSE (Norouzi et al. 2014) carries a classifier over to other names.
        """
        linear = functional.normalize(functional.linear(vectors - self.centre, self.text_map), dim=-1)
        if not len(self.anchors):
            return linear
        known = functional.normalize(functional.linear(self.anchors - self.centre, self.text_map), dim=-1)  # (A, D)
        near = (vectors @ self.anchors.T / self.nearness).softmax(1)  # (R, A)
        around = functional.normalize(near @ known, dim=-1)
        return functional.normalize((1 - self.blend) * linear + self.blend * around, dim=-1)

    def image(self, features: Tensor) -> Tensor:
        """Map (N, C) pooled trunk features to (N, D), unit length."""
        scaled = functional.dropout((features - self.mean) / self.spread, self.dropout, self.training)
        return functional.normalize(functional.linear(scaled, self.image_map, self.image_bias), dim=-1)

    def projection(self) -> tuple[Tensor, Tensor]:
        """Return weight (D, C) and bias (D,) of the image map on plain features."""
        weight = (self.image_map / self.spread).detach()
        return weight, (self.image_bias - weight @ self.mean).detach()


def train_joint(
    bags: Sequence[Bag], classifier: tuple[Tensor, Tensor], names: Mapping[str, NameSet], args: JointArgs
) -> JointSpace:
    """Learn the joint space; half a minute on one core.

    Args:
        bags: what to learn from.
        classifier: weight (1000, C) and bias of the trunk's own classifier.
        names: NameSets of "object", "named" and "distil" classes.
        args: how.
    """
    torch.manual_seed(args.seed)
    kinds = ("object", "named", "distil")
    features = torch.cat([bag.features for bag in bags]).float()
    labels = torch.cat([bag.labels for bag in bags])
    kind = torch.cat([torch.full((len(bag.labels),), kinds.index(bag.kind)) for bag in bags])
    soft = torch.cat([functional.linear(part, *classifier).softmax(1) for part in torch.split(features, 4096)])
    groups = [(kind == index).nonzero()[:, 0] for index in range(3)]
    shares = [(group, share) for group, share in zip(groups, args.shares, strict=True) if len(group)]
    weight = _class_weights(labels[groups[0]], len(names["object"].allowed), args.class_power)
    spread = features.std(0) + 0.05  # dead channels would otherwise be blown up
    space = JointSpace(classifier[0], names["distil"].vectors, features.mean(0), spread, args).train()
    maps = [space.image_map, space.text_map]
    rest = [space.image_bias, space.log_scale]
    optimiser = torch.optim.AdamW(
        [{"params": maps, "weight_decay": args.weight_decay}, {"params": rest, "weight_decay": 0.0}], lr=args.lr
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, args.lr, total_steps=args.steps, pct_start=0.1)
    started = time.monotonic()
    for step in range(args.steps):
        drawn = torch.cat([group[torch.randint(len(group), (round(args.batch * share),))] for group, share in shares])
        loss = _joint_loss(space, features[drawn], labels[drawn], kind[drawn], soft[drawn], weight, names, args)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if step % 50 == 49 or step + 1 == args.steps:
            rest_s = (time.monotonic() - started) / (step + 1) * (args.steps - step - 1)
            print(f"joint: step {step + 1}/{args.steps}, loss {loss.item():.3f}, {rest_s:.0f} s left", flush=True)
    known = [names[key] for key in ("distil", "object", "named")]
    space.anchors = torch.cat([one.vectors[one.allowed[one.entry]] for one in known])
    return space.eval()


def _class_weights(labels: Tensor, classes: int, power: float) -> Tensor:
    """Weights n^-power, scaled so that the mean over the examples is 1."""
    count = torch.bincount(labels, minlength=classes).float().clamp(min=1)
    weight = count.pow(-power)
    return weight * (count.sum() / (weight * count).sum())


def _joint_loss(
    space: JointSpace,
    features: Tensor,
    labels: Tensor,
    kind: Tensor,
    soft: Tensor,
    weight: Tensor,
    names: Mapping[str, NameSet],
    args: JointArgs,
) -> Tensor:
    regions, scale = space.image(features), space.log_scale.exp()

    def logits(source: str, rows: Tensor) -> Tensor:
        return scale * names[source].logits(regions[rows], space.text(names[source].vectors))

    everything = torch.arange(len(labels))
    loss = args.distil * -(soft * logits("distil", everything).log_softmax(1)).sum(1).mean()
    objects, named = (kind == 0).nonzero()[:, 0], (kind == 1).nonzero()[:, 0]
    if len(objects):
        each = functional.cross_entropy(logits("object", objects), labels[objects], reduction="none")
        loss = loss + (each * weight[labels[objects]]).mean()
    if len(named):
        loss = loss + args.named * functional.cross_entropy(logits("named", named), labels[named])
    return loss


def mean_embedding(parts: Sequence[Tensor], shares: Sequence[float] | None = None) -> Tensor:
    """Return the weighted mean of unit vectors, (N, D), brought to unit length; equal shares by default."""
    weights = shares or [1.0] * len(parts)
    total = sum((share * part for share, part in zip(weights, parts, strict=True)), torch.zeros_like(parts[0]))
    return functional.normalize(total, dim=-1)
