"""Measure the open vocabulary of the starter: names that no training label carried.

    python -m training.starter_open --data DIR --names DIR --out FILE.json

One joint space is learnt without 20 COCO classes and a quarter of the Caltech-101 classes, then asked for them. Beside
stands what the trunk's own ImageNet classifier says when it is carried over to other names by text similarity alone
(ConSE, Norouzi et al. 2014: the mean sentence vector of its answers), and chance. ImageNet-1k holds some of the
held-out things under names of its own; the figures are given for those it does not hold, too.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003  the options are read from the annotations
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from ovsam_core.assets import asset_path
from ovsam_core.vocabulary import Vocabulary
from ovsam_core.vocabulary.table import read_table
from training import starter_features as features
from training.args import command
from training.minilm import MiniLM
from training.phrases import clean_name
from training.starter_calibrate import mixed, region_features
from training.starter_sources import name_sets, open_sources
from training.starter_stages import NameArgs, learn_joint

if TYPE_CHECKING:
    from torch import Tensor

    from training.starter_names import JointSpace, NameSet

__all__ = ["OpenArgs", "accuracy", "main"]

_SMALLEST = 32**2


@dataclass
class OpenArgs:
    """Measure names that no training label carried.

    Attributes:
        data: the data folder.
        names: folder of the name stages (with `features`).
        out: JSON file for the figures.
        held: COCO classes left out.
        seed: of the choice of COCO classes.
        learning: how names are learnt.
    """

    data: Path
    names: Path
    out: Path
    held: int = 20
    seed: int = 0
    learning: NameArgs = field(default_factory=NameArgs)


def accuracy(logits: Tensor, labels: Tensor, rows: Tensor) -> dict[str, float]:
    """Return top-1, top-5 and number of the chosen rows."""
    order = logits[rows].topk(min(5, logits.shape[1]), dim=1).indices == labels[rows, None]
    count = int(rows.sum())
    if not count:
        return {"n": 0, "top1": float("nan"), "top5": float("nan")}
    return {"n": count, "top1": float(order[:, 0].float().mean()), "top5": float(order.any(1).float().mean())}


def _conse(rows: Tensor, classifier: tuple[Tensor, Tensor], known: Tensor, names: NameSet) -> Tensor:
    """Carry the ImageNet classifier over: cosine of names with the mean sentence vector of its answers."""
    answers = functional.normalize(functional.linear(rows, *classifier).softmax(1) @ known, dim=1)
    return names.logits(answers, names.vectors)


def _pictures(space: JointSpace, rows: Tensor, names: NameSet) -> Tensor:
    with torch.no_grad():
        return names.logits(space.image(rows), space.text(names.vectors))


def main(args: OpenArgs) -> dict[str, Any]:
    """Learn, ask, write and print."""
    coco = Vocabulary.load("coco")
    chance = np.random.default_rng(args.seed)
    away = sorted(int(i) for i in chance.permutation(np.arange(1, len(coco)))[: args.held])  # person stays
    trunk = features.load_trunk()
    classifier = trunk.classifier.weight.detach(), trunk.classifier.bias.detach()  # type: ignore[union-attr,operator]
    sources = open_sources(args.data, held_share=args.learning.held_share)
    sets = name_sets(sources, MiniLM.from_package())
    file = args.names / f"joint-without-{args.held}.safetensors"
    space = learn_joint(args.data, args.names / "features", file, args.learning, without=away)

    category = [int(row["coco_id"]) for row in read_table(asset_path("vocabularies", "coco.tsv"))]
    regions = features.coco_regions(args.data / "coco_val.json", category, _SMALLEST)
    labels = torch.tensor([region.label for region in regions])
    table = region_features(trunk, regions, args.names / "coco_val", (1.2, 1.6))
    objects = sets["object"]
    with torch.no_grad():
        texts = space.text(objects.vectors)
    ours = objects.logits(mixed(space, table, 0.0, 1.0, 2 / 3), texts)
    carried = _conse(table["under0"], classifier, sets["distil"].vectors, objects)
    unseen = torch.isin(labels, torch.tensor(away))

    named = torch.from_numpy(np.load(args.names / "features" / "named-crop0.npy")[:, 0].astype(np.float32))
    marks = torch.tensor([region.label for region in sources.named])
    kept_out = torch.isin(marks, torch.tensor(sources.held))
    imagenet = {clean_name(row["name"]).lower() for row in read_table(asset_path("vocabularies", "imagenet-1k.tsv"))}
    strange = torch.tensor([i for i in sources.held if sources.caltech[i].lower() not in imagenet])
    everything = type(objects)(
        sets["named"].vectors, sets["named"].entry, torch.ones(len(sources.caltech), dtype=torch.bool)
    )
    figures = {
        "held_coco": [coco[i].name for i in away],
        "held_caltech": [sources.caltech[i] for i in sources.held],
        "coco_val": {
            "seen": accuracy(ours, labels, ~unseen),
            "unseen": accuracy(ours, labels, unseen),
            "unseen, ImageNet classifier carried over": accuracy(carried, labels, unseen),
            "seen, ImageNet classifier carried over": accuracy(carried, labels, ~unseen),
            "chance": {"top1": 1 / len(coco), "top5": 5 / len(coco)},
        },
        "caltech": {
            "unseen": accuracy(_pictures(space, named, everything), marks, kept_out),
            "unseen, no ImageNet name": accuracy(
                _pictures(space, named, everything), marks, torch.isin(marks, strange)
            ),
            "unseen, ImageNet classifier carried over": accuracy(
                _conse(named, classifier, sets["distil"].vectors, everything), marks, kept_out
            ),
            "unseen, no ImageNet name, ImageNet classifier carried over": accuracy(
                _conse(named, classifier, sets["distil"].vectors, everything), marks, torch.isin(marks, strange)
            ),
            "chance": {"top1": 1 / len(sources.caltech), "top5": 5 / len(sources.caltech)},
        },
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    for part in ("coco_val", "caltech"):
        for name, values in figures[part].items():  # type: ignore[attr-defined]
            print(
                f"{part}, {name}: "
                + ", ".join(f"{k} {v:.3f}" if k != "n" else f"{v} objects" for k, v in values.items())
            )
    return figures


if __name__ == "__main__":
    sys.exit(command(OpenArgs, main, program="python -m training.starter_open"))
