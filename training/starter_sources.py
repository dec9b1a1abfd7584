"""What the starter's names are learnt from: labelled regions, labelled pictures, and lists of names."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ovsam_core.assets import asset_path
from ovsam_core.vocabulary import Vocabulary
from ovsam_core.vocabulary.table import read_table
from training.args import ConfigError
from training.phrases import clean_name, collect_phrases, table_names, wordnet_nouns
from training.starter_features import LabelledRegion, coco_regions, folder_regions
from training.starter_names import NameSet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

__all__ = [
    "Sources",
    "caltech_name",
    "held_pictures",
    "name_sets",
    "open_sources",
    "phrase_lists",
    "read_phrases",
    "write_phrases",
]

_CALTECH_NAMES = {
    "Faces": "face",
    "Leopards": "leopard",
    "Motorbikes": "motorbike",
    "airplanes": "airplane",
    "brain": "brain",
    "buddha": "Buddha statue",
    "car_side": "car",
    "cellphone": "cell phone",
    "cougar_body": "cougar",
    "cougar_face": "cougar",
    "crocodile_head": "crocodile",
    "flamingo_head": "flamingo",
    "garfield": "Garfield cat",
    "hawksbill": "hawksbill turtle",
    "inline_skate": "inline skate",
    "ketch": "ketch sailboat",
    "rhino": "rhinoceros",
    "sea_horse": "seahorse",
    "water_lilly": "water lily",
    "yin_yang": "yin and yang",
}


def caltech_name(folder: str) -> str:
    """Return what a Caltech-101 folder shows, as a person would say it."""
    return _CALTECH_NAMES.get(folder, clean_name(folder))


@dataclass(frozen=True)
class Sources:
    """Every labelled region, and what its labels mean.

    Attributes:
        objects: of COCO train; labels are positions in the COCO vocabulary.
        persons: of pictures in which one person is annotated.
        distil: ImageNet sample; labels are positions in ImageNet-1k.
        named: Caltech-101; labels are positions in `caltech`.
        caltech: a readable name for each Caltech-101 class.
        held: Caltech-101 classes that nothing is learnt from, so that learning from examples can be tried on them.
    """

    objects: Sequence[LabelledRegion]
    persons: Sequence[LabelledRegion]
    distil: Sequence[LabelledRegion]
    named: Sequence[LabelledRegion]
    caltech: tuple[str, ...]
    held: tuple[int, ...]

    def sets(self) -> dict[str, Sequence[LabelledRegion]]:
        """Return the four lists by name."""
        return {"objects": self.objects, "persons": self.persons, "distil": self.distil, "named": self.named}


def open_sources(data: Path, *, held_share: float = 0.25, seed: int = 0) -> Sources:
    """Read the data folder.

    Args:
        data: holds `coco_train.json`, `persons_train.json`, `images/` and `labels/`.
        held_share: share of the Caltech-101 classes, drawn from those that no COCO name names, kept apart.
        seed: of that draw.

    Raises:
        ConfigError: a part is missing.
    """
    folders = sorted(path for path in (data / "labels" / "caltech101").glob("*") if path.is_dir())
    sample = sorted((data / "labels" / "imagenet_sample").glob("*.*"))
    for name, found in (("labels/caltech101", folders), ("labels/imagenet_sample", sample)):
        if not found:
            raise ConfigError(f"--data {data}: {name} is missing or empty")
    coco = [int(row["coco_id"]) for row in read_table(asset_path("vocabularies", "coco.tsv"))]
    classes = {row["wnid"]: i for i, row in enumerate(read_table(asset_path("vocabularies", "imagenet-1k.tsv")))}
    caltech = tuple(caltech_name(path.name) for path in folders)
    spoken = {entry.name for entry in Vocabulary.load("coco")}
    free = [index for index, name in enumerate(caltech) if name not in spoken]
    order = np.random.default_rng(seed).permutation(free)
    held = tuple(sorted(int(i) for i in order[: round(held_share * len(folders))]))
    pictures = [(path, index) for index, folder in enumerate(folders) for path in sorted(folder.glob("*.*"))]
    return Sources(
        objects=coco_regions(data / "coco_train.json", coco),
        persons=coco_regions(data / "persons_train.json", coco),
        distil=folder_regions([(path, classes[path.name.split("_")[0]]) for path in sample]),
        named=folder_regions(pictures),
        caltech=caltech,
        held=held,
    )


def held_pictures(objects: Sequence[LabelledRegion], share: float = 0.2, seed: int = 1) -> Tensor:
    """Return (N,) bool: objects on the pictures that calibration keeps apart."""
    count = 1 + max(region.picture for region in objects)
    chosen = np.random.default_rng(seed).permutation(count)[: round(share * count)]
    return torch.isin(torch.tensor([region.picture for region in objects]), torch.from_numpy(chosen))


def name_sets(sources: Sources, encode: Callable[[Sequence[str]], Tensor]) -> dict[str, NameSet]:
    """Return the names of COCO (with all synonyms), Caltech-101 and ImageNet-1k as sentence vectors.

    Args:
        sources: tells the Caltech names and which of them are held out.
        encode: texts to (N, 384).
    """
    spoken = [entry.phrases for entry in Vocabulary.load("coco")]
    entry = torch.tensor([index for index, phrases in enumerate(spoken) for _ in phrases])
    flat = [phrase for phrases in spoken for phrase in phrases]
    allowed = torch.ones(len(sources.caltech), dtype=torch.bool)
    allowed[list(sources.held)] = False
    rows = read_table(asset_path("vocabularies", "imagenet-1k.tsv"))
    imagenet = encode([clean_name(row["name"]) for row in rows])
    return {
        "object": NameSet(encode(flat), entry, torch.ones(len(spoken), dtype=torch.bool)),
        "named": NameSet(encode(sources.caltech), torch.arange(len(sources.caltech)), allowed),
        "distil": NameSet(imagenet, torch.arange(len(rows)), torch.ones(len(rows), dtype=torch.bool)),
    }


def phrase_lists(sources: Sources, wordnet: Path | None, limit: int = 80_000) -> tuple[list[str], int]:
    """Return phrases for the text tower, and how many of the first are those that regions are compared with.

    Args:
        sources: tells the Caltech names.
        wordnet: a WordNet database folder; None leaves its further nouns out.
        limit: most phrases.
    """
    core = [
        phrase
        for name in ("coco", "lvis", "imagenet-1k")
        for entry in Vocabulary.load(name)
        for phrase in entry.phrases
    ]
    core = list(dict.fromkeys([*core, *sources.caltech]))
    more = table_names(asset_path("vocabularies", "imagenet-21k.tsv"))
    nouns = [] if wordnet is None else sorted(wordnet_nouns(wordnet), key=lambda noun: noun.count(" "))
    return collect_phrases([*core, *more], nouns, limit=limit), min(len(core), limit)


def read_phrases(path: Path) -> tuple[list[str], int]:
    """Read what `write_phrases` wrote."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return list(data["phrases"]), int(data["core"])


def write_phrases(path: Path, phrases: Sequence[str], core: int) -> None:
    """Keep a phrase list beside its vectors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"core": core, "phrases": list(phrases)}), encoding="utf-8")
