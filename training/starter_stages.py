"""The stages that give the starter its names: features, joint space, text tower, calibration."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003  the options are read from the annotations
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from ovsam_core.config import ModelConfig, named_config
from ovsam_core.modeling.build import build_model, make_tokenizer
from ovsam_core.text_cache import write_phrases as write_embeddings
from ovsam_core.vocabulary import Vocabulary
from training import starter_features as features
from training.minilm import MiniLM, encode_phrases
from training.starter_names import Bag, JointArgs, JointSpace, train_joint
from training.starter_sources import (
    Sources,
    held_pictures,
    name_sets,
    open_sources,
    phrase_lists,
    read_phrases,
    write_phrases,
)
from training.text_tower import Lesson, TowerArgs, agreement, start_tokens, train_tower

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

__all__ = [
    "NameArgs",
    "extract_features",
    "learn_joint",
    "learn_text",
    "load_joint",
    "names_config",
    "ship_embeddings",
    "starter_config",
    "write_names",
]

_SHIPPED = ("coco", "lvis", "imagenet-1k")


@dataclass
class NameArgs:
    """How the starter learns names.

    Attributes:
        joint: the joint space.
        tower: the text tower.
        wordnet: WordNet database folder (Debian's `wordnet-base`); without it the text tower learns fewer nouns.
        phrases: most phrases for the text tower.
        persons: pictures with one annotated person to add; more would drown the other classes.
        layers: of the text tower.
        held_share: share of the Caltech-101 classes kept out of the weights.
    """

    joint: JointArgs = field(default_factory=JointArgs)
    tower: TowerArgs = field(default_factory=TowerArgs)
    wordnet: Path | None = None
    phrases: int = 80_000
    persons: int = 100
    layers: int = 3
    held_share: float = 0.25


def names_config(layers: int) -> dict[str, Any]:
    """Return the settings that the names change in the starter's configuration."""
    return {
        "vision": {"vision_cfg": {"timm_proj_bias": True}, "text_cfg": {"layers": layers}},
        "templates": ["{}"],  # the tower has learnt that sentences round a name change nothing
    }


def extract_features(data: Path, out: Path, args: NameArgs) -> None:
    """Look at every region once, in every view, and read every phrase with MiniLM; finished files are kept."""
    sources, trunk = open_sources(data, held_share=args.held_share), features.load_trunk()
    for name, regions in sources.sets().items():
        views = features.CROP_VIEWS if name in {"objects", "persons"} else features.PICTURE_VIEWS
        for index, view in enumerate(views[: 1 if name == "persons" else None]):
            features.extract_crops(trunk, regions, view, out / f"{name}-crop{index}.npy", seed=index * 100_000)
    for name, view in _map_views():
        regions = sources.sets()[name]
        files = sorted({region.path for region in regions})
        side = "-flip" if view.flip else ""
        maps = features.extract_maps(trunk, files, out / f"{name}-map{side}.npy", flip=view.flip)
        features.pool_maps(trunk, maps, files, regions, view, out / f"{name}-roi{side}.npy", seed=7)
    phrases, core = phrase_lists(sources, args.wordnet, args.phrases)
    write_phrases(out / "phrases.json", phrases, core)
    encode_phrases(MiniLM.from_package(), phrases, out / "minilm.npy")


def _map_views() -> tuple[tuple[str, features.View], ...]:
    plain, turned = features.View(1.0), features.View(1.0, flip=True, jitter=0.1)
    return ("objects", plain), ("objects", turned), ("persons", plain)


def learn_joint(
    data: Path, folder: Path, out: Path, args: NameArgs, *, held_out: bool = False, without: Sequence[int] = ()
) -> JointSpace:
    """Learn the joint space from the extracted features and keep it in `out` (.safetensors).

    Args:
        data: the data folder.
        folder: of the features.
        out: an existing file is read instead.
        args: how.
        held_out: leave out a fifth of the COCO pictures, which calibration then uses.
        without: COCO classes that nothing is learnt from.
    """
    sources, trunk = open_sources(data, held_share=args.held_share), features.load_trunk()
    classifier = trunk.classifier.weight.detach().clone(), trunk.classifier.bias.detach().clone()  # type: ignore[union-attr,operator]
    if out.exists():
        return load_joint(out, args.joint)
    names = name_sets(sources, MiniLM.from_package())
    bags = _bags(sources, folder, args, held_out=held_out, without=without)
    names["object"].allowed[list(without)] = False
    space = train_joint(bags, classifier, names, args.joint)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in space.state_dict().items()}, out)
    return space


def _bags(sources: Sources, folder: Path, args: NameArgs, *, held_out: bool, without: Sequence[int] = ()) -> list[Bag]:
    def read(name: str) -> Tensor:
        return torch.from_numpy(np.load(folder / f"{name}.npy").astype(np.float32))  # (N, 2, C)

    def labels(name: str) -> Tensor:
        return torch.tensor([region.label for region in sources.sets()[name]])

    objects = labels("objects")
    used = ~held_pictures(sources.objects) if held_out else torch.ones(len(objects), dtype=torch.bool)
    used &= ~torch.isin(objects, torch.tensor(without, dtype=torch.int64))
    parts = [read(f"objects-crop{index}") for index in range(len(features.CROP_VIEWS))]
    parts += [read("objects-roi"), read("objects-roi-flip")]
    bags = [Bag("object", part[used][:, pool], objects[used]) for part in parts for pool in (0, 1)]
    few, crops, rois = slice(0, args.persons), read("persons-crop0"), read("persons-roi")
    persons = labels("persons")[few]
    bags += [Bag("object", part[few], persons) for part in (crops[:, 0], crops[:, 1], rois[:, 1])]
    learnt = ~torch.isin(labels("named"), torch.tensor(sources.held))
    for index in range(len(features.PICTURE_VIEWS)):
        bags.append(Bag("distil", read(f"distil-crop{index}")[:, 0], labels("distil")))
        bags.append(Bag("named", read(f"named-crop{index}")[learnt][:, 0], labels("named")[learnt]))
    return bags


def load_joint(path: Path, args: JointArgs) -> JointSpace:
    """Read a joint space that `learn_joint` kept."""
    state = load_file(path)
    channels, width = state["image_map"].shape[1], state["text_map"].shape[1]
    rows = torch.zeros(args.dim, channels), torch.zeros(args.dim, width)
    space = JointSpace(*rows, torch.zeros(channels), torch.ones(channels), args)
    space.anchors = torch.zeros_like(state["anchors"])
    space.load_state_dict(state)
    return space.eval()


def starter_config(layers: int) -> ModelConfig:
    """Return the starter's configuration as the names need it."""
    plain = json.loads(named_config("starter").to_json())
    changes = names_config(layers)
    plain["vision"]["vision_cfg"] |= changes["vision"]["vision_cfg"]
    plain["vision"]["text_cfg"] |= changes["vision"]["text_cfg"]
    return ModelConfig.from_json(json.dumps(plain | {"templates": changes["templates"]}))


def learn_text(folder: Path, space: JointSpace, out: Path, args: NameArgs) -> float:
    """Distil the text map into the text tower under `out`; returns the mean cosine over the core names."""
    phrases, core = read_phrases(folder / "phrases.json")
    vectors = torch.from_numpy(np.load(folder / "minilm.npy").astype(np.float32))
    torch.manual_seed(args.tower.seed)
    config = starter_config(args.layers)
    tower, tokenizer = build_model(config, seed=args.tower.seed).text, make_tokenizer(config)
    teacher = MiniLM.from_package()
    with torch.no_grad():
        lesson = Lesson(phrases, torch.cat([space.text(part) for part in torch.split(vectors, 4096)]), core)
        if not (out / "state.pt").exists():
            start_tokens(tower, tokenizer, lambda words: space.text(_in_parts(teacher, words)))
    train_tower(tower, tokenizer, lesson, out, args.tower)
    return agreement(tower, tokenizer, lesson)


def _in_parts(teacher: Callable[[Sequence[str]], Tensor], texts: Sequence[str]) -> Tensor:
    return torch.cat([teacher(texts[first : first + 256]) for first in range(0, len(texts), 256)]).clone()


def write_names(space: JointSpace, tower: Path, out: Path, args: NameArgs, changes: dict[str, Any]) -> None:
    """Write the folder that `--stage assemble` takes the names from.

    Args:
        space: its image map becomes the projection of the image tower.
        tower: weights of the text tower.
        out: the folder.
        args: shape of the tower.
        changes: what calibration found: shares, temperature.
    """
    weight, bias = space.projection()
    tensors = {"backbone.visual.head.proj.weight": weight, "backbone.visual.head.proj.bias": bias}
    tensors |= {f"text.{name}": tensor for name, tensor in load_file(tower).items()}
    config = names_config(args.layers) | {"logit_scale": space.log_scale.item()} | changes
    out.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, out / "names.safetensors")
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def ship_embeddings(space: JointSpace, config: ModelConfig, out: Path) -> None:
    """Write the shipped vocabularies' embeddings for a saved model under `out/embeddings`.

    They are the joint space's own, read by MiniLM: the text tower comes close to them and reads everything else.
    """
    teacher = MiniLM.from_package()
    for name in _SHIPPED:
        phrases = list(dict.fromkeys(phrase for entry in Vocabulary.load(name) for phrase in entry.phrases))
        with torch.no_grad():
            rows = functional.normalize(space.text(_in_parts(teacher, phrases)), dim=-1).to(torch.float16).numpy()
        vectors = dict(zip(phrases, rows, strict=True))
        write_embeddings(out / "embeddings" / f"{name}.safetensors", vectors, config.templates, config.hashes.text)
