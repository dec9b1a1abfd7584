"""CLIP2SAM: FPN, name head and mask decoder learn on annotated pictures (paper Sec. 3.3).

    python -m training.train_clip2sam --model DIR --data coco.json --classes coco-base --out RUN

Boxes without masks (V3Det, Objects365) and folders named after classes (ImageNet-21k) can be mixed in; the former teach
names of regions, the latter names of whole pictures.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path  # noqa: TC003  option types are read at run time
from typing import TYPE_CHECKING, Any, Literal

from ovsam_core.errors import FormatError
from ovsam_core.vocabulary import Vocabulary, own_entry, preset_column
from training.args import ConfigError, command
from training.data import Mixture, PromptArgs, PromptSamples, collate
from training.loop import FitResult, fit
from training.networks import encode_names, load_network, save_network
from training.options import LoopArgs, OptimArgs
from training.records import names_of, read_class_folder, read_records
from training.shared_records import SharedRecords
from training.tasks import Clip2Sam, LossArgs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovsam_core.config import InputConfig
    from training.records import PictureRecord

__all__ = ["Clip2SamArgs", "class_rows", "main", "train", "training_vocabulary"]


@dataclass
class Clip2SamOptim(OptimArgs):
    """The official schedule; see `OptimArgs`.

    Attributes:
        lr: peak learning rate for 16 pictures a step.
    """

    base_batch: int = 16
    clip: float = 0.01
    schedule: Literal["cosine", "step", "constant"] = "step"


@dataclass
class Clip2SamArgs:
    """Train head and decoder.

    Attributes:
        data: COCO or LVIS files, or folders of SA-1B.
        out: folder of the run; the trained model is written to its folder `model`.
        model: model directory or configuration to start from.
        weights: published files that fill it (CLIP, SAM); see docs/training.md.
        images: folders of the pictures, one for each of data (or one for all); default as in `training.evaluate`.
        classes: coco-base trains the 48, lvis-norare leaves out the rare ones, data takes all names of the data, else
            a vocabulary (preset or file).
        boxes_only: further COCO files whose masks are not used.
        class_folders: folders of classification pictures.
        ratios: how often each of data, boxes_only and class_folders is drawn; default by number of pictures.
        epoch_pictures: pictures in an epoch of a mixture; 0 takes the number of all pictures.
        trained: parts that learn.
        frozen: parts inside them that do not.
        prompts: prompts and augmentation.
        loss: weights.
        loop: length, batch and housekeeping.
        optim: optimiser and schedule.
    """

    data: tuple[Path, ...]
    out: Path
    model: str = "ovsam-rn50x16-coco"
    weights: tuple[Path, ...] = ()
    images: tuple[Path, ...] = ()
    classes: str = "coco-base"
    boxes_only: tuple[Path, ...] = ()
    class_folders: tuple[Path, ...] = ()
    ratios: tuple[float, ...] = ()
    epoch_pictures: int = 0
    trained: tuple[str, ...] = ("fpn", "head", "skips", "mask_decoder")
    frozen: tuple[str, ...] = ("mask_decoder.prompt_encoder",)
    prompts: PromptArgs = field(default_factory=PromptArgs)
    loss: LossArgs = field(default_factory=LossArgs)
    loop: LoopArgs = field(default_factory=LoopArgs)
    optim: Clip2SamOptim = field(default_factory=Clip2SamOptim)


def training_vocabulary(classes: str, names: Sequence[str]) -> Vocabulary:
    """Return the names that are trained.

    Args:
        classes: see `Clip2SamArgs.classes`.
        names: category names of the data.

    Raises:
        ConfigError: the data has no names.
    """
    if classes == "coco-base":
        return Vocabulary.load("coco").restrict(i for i, s in preset_column("coco", "split").items() if s == "base")
    if classes == "lvis-norare":
        return Vocabulary.load("lvis").restrict(i for i, f in preset_column("lvis", "frequency").items() if f != "r")
    if classes != "data":
        return Vocabulary.load(classes)
    if not names:
        raise ConfigError("--classes data: the data has no category names")
    known = Vocabulary.load("coco").combine(Vocabulary.load("lvis"))
    entries = [known.find(name) or own_entry(name) for name in names]
    return Vocabulary("data", tuple({entry.id: entry for entry in entries}.values()))


def class_rows(vocabulary: Vocabulary, names: Sequence[str]) -> dict[str, int]:
    """Return category name → row of the classifier, for the names that the vocabulary has."""
    found = {name: vocabulary.find(name) for name in names}
    return {name: vocabulary.index_of[entry.id] for name, entry in found.items() if entry is not None}


def train(args: Clip2SamArgs) -> FitResult:
    """Run the stage and write the model.

    Raises:
        OvsamError: data, model or options cannot be used; the message says which.
    """
    network = load_network(args.model, weights=args.weights, seed=args.loop.seed)
    vocabulary, rows, sets = _sources(args, network.config.input)
    encoded = encode_names(network, vocabulary)
    task = Clip2Sam(network, encoded, args.loss, trained=args.trained, frozen=args.frozen)
    data = sets[0] if len(sets) == 1 else _mixture(args, sets)
    result = fit(task, data, args.out, args.loop, args.optim, collate=collate, config=args)
    if result.main:
        seen = tuple(e.id for e in vocabulary if vocabulary.index_of[e.id] in set(rows.values()))
        card = _card(args, result, len(seen))
        save_network(network, args.out / "model", card=card, seen=seen)
        print(f"wrote {args.out / 'model'}")
    return result


def _sources(args: Clip2SamArgs, settings: InputConfig) -> tuple[Vocabulary, dict[str, int], list[PromptSamples]]:
    """Return the trained names, category name → row, and a data set for each source; the lists read are let go."""
    masks = [read_records(p, _images(args, i)) for i, p in enumerate(args.data)]
    boxes = [_without_masks(read_records(p)) for p in args.boxes_only]
    whole = [SharedRecords(read_class_folder(p)) for p in args.class_folders]
    sources: list[Sequence[PictureRecord]] = [*masks, *boxes, *whole]
    names = names_of(p for pictures in sources for p in pictures)
    vocabulary = training_vocabulary(args.classes, names)
    rows = class_rows(vocabulary, names)
    options: dict[str, Any] = {"seed": args.loop.seed, "federated": args.loss.federated}
    sets = [PromptSamples(pictures, rows, settings, args.prompts, **options) for pictures in sources]
    for place, one in zip([*args.data, *args.boxes_only, *args.class_folders], sets, strict=True):
        if not len(one):
            raise FormatError(f"{place}: no picture has an object of the {len(vocabulary)} trained classes")
    return vocabulary, rows, sets


def _images(args: Clip2SamArgs, index: int) -> Path | None:
    return args.images[min(index, len(args.images) - 1)] if args.images else None


def _without_masks(pictures: list[PictureRecord]) -> list[PictureRecord]:
    return [replace(p, objects=tuple(replace(o, segmentation=None) for o in p.objects)) for p in pictures]


def _mixture(args: Clip2SamArgs, sets: list[PromptSamples]) -> Mixture:
    ratios = list(args.ratios) or [float(len(s)) for s in sets]
    if len(ratios) != len(sets):
        raise ConfigError(
            f"--ratios: expected {len(sets)} numbers (data, boxes_only, class_folders), got {len(ratios)}"
        )
    return Mixture(list(sets), ratios, args.epoch_pictures or sum(len(s) for s in sets), seed=args.loop.seed)


def _card(args: Clip2SamArgs, result: FitResult, seen: int) -> str:
    sources = ", ".join(p.name for p in (*args.data, *args.boxes_only, *args.class_folders))
    return (
        f"# CLIP2SAM on {sources}\n\nStarted from {args.model}; {result.step} steps, {seen} classes "
        f"({args.classes}), seed {args.loop.seed}. Options: config.yaml of the run.\n"
    )


def main(args: Clip2SamArgs) -> None:
    """Run the stage."""
    train(args)


if __name__ == "__main__":
    sys.exit(command(Clip2SamArgs, main, program="python -m training.train_clip2sam"))
