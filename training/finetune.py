"""Curated labels in, a better model out: few pictures, new names, the encoder untouched.

python -m training.finetune --model starter --data mine.json --out my-model
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path  # noqa: TC003  option types are read at run time
from typing import TYPE_CHECKING, Any

import torch
import xxhash

from ovsam_core.errors import OvsamError
from ovsam_core.modeling.build import build_model
from ovsam_core.predictor import ModelInfo, OvsamPredictor
from ovsam_core.speed import Speed
from ovsam_core.splits import SplitRule, split_pictures
from ovsam_core.vocabulary import Vocabulary
from training import metrics
from training.args import ConfigError, command, to_yaml
from training.data import PromptArgs, PromptSamples, collate
from training.finetune_masks import DecoderTask, ViewArgs, ViewSamples, collate_views
from training.loop import FitResult, fit
from training.mask_task import PromptArgs as SimulatedPrompts
from training.measuring import measure
from training.names import AdapterTask, RegionVectors, collate_vectors, embed_objects
from training.networks import device_of, encode_names, load_network, save_network, shipped_phrases
from training.options import LoopArgs, OptimArgs
from training.recalibration import calibration_error, name_scores, refitted_temperature
from training.records import names_of, read_records, thinned
from training.systems import OvsamSystem
from training.tasks import Clip2Sam, LossArgs
from training.train_clip2sam import class_rows, training_vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovsam_core.embedding import ImageEmbedding
    from ovsam_core.modeling.ovsam import OVSAM
    from training.data import Samples
    from training.records import PictureRecord
    from training.task import Task

__all__ = ["FinetuneArgs", "GuardError", "finetune", "main"]

_KEPT_VIEWS = 400  # views whose features are kept in memory: up to 2 MB each for the bundled model
_VIEWS = 40  # of one picture, at most: later epochs see them again with other prompts
_SHOWN = {"miou_box": "mean IoU from a box", "miou_centre": "mean IoU from one click", "top1": "top-1"}
_CHECKED = 30  # validation objects looked at between steps; all of them at the end


class GuardError(OvsamError):
    """The fine-tuned model is worse than the one it started from; nothing was written."""


@dataclass
class FinetuneLoop(LoopArgs):
    """Length of the mask stage; see `LoopArgs`."""

    epochs: int = 1000
    max_steps: int = 120
    batch_size: int = 4
    validate_every: int = 40
    patience: int = 3
    log_every: int = 20
    keep: int = 1


@dataclass
class FinetuneOptim(OptimArgs):
    """Gentle by default: the decoder knows masks already; see `OptimArgs`."""

    lr: float = 2e-4
    weight_decay: float = 0.01
    clip: float = 1.0
    warmup_steps: int = 20
    ema: float = 0.98


@dataclass
class NamesArgs:
    """Teaching names to the adapter.

    Attributes:
        hidden: width of the adapter's middle layer.
        steps: optimiser steps.
        batch: objects a step and process; fewer where there are not as many.
        lr: peak learning rate.
        weight_decay: AdamW's decay.
        noise: noise on the embeddings, relative to their length.
        anchor: weight of leaving other names where they are.
        beside: vocabulary whose names compete with the taught ones; "none" for the taught ones alone.
    """

    hidden: int = 64
    steps: int = 300
    batch: int = 256
    lr: float = 2e-3
    weight_decay: float = 0.05
    noise: float = 0.3
    anchor: float = 1.0
    beside: str = "coco"


@dataclass
class FinetuneArgs:
    """Fine-tune a model on curated labels.

    Attributes:
        data: COCO JSON, or a project file NAME.ovsam, whose reviewed objects count.
        out: folder of the new model; the run's log and checkpoints go to its folder `run`.
        model: model to start from.
        images: folder of the pictures; default as in `training.evaluate`.
        learn: masks, names or both.
        limit: use at most this many pictures, drawn by seed; 0 takes all.
        validation: share of pictures kept for validation.
        validation_objects: at most about this many of their objects are measured, spread over the pictures.
        group: what must not stand on both sides: folder, none, field:KEY of the pictures in the file, or pattern:REGEX
            on the file name. A project has groups of its own, whatever KEY is.
        guard: refuse a model that is worse on validation by more than one standard error.
        views: what the mask stage looks at, where the decoder is of the full form.
        simulated: its prompts, corrections and loss there.
        prompts: prompts and augmentation of the mask stage where the decoder is of the paper's form, or where a trained
            name head learns with it.
        loss: its loss there.
        names: teaching names where the model has no trained name head.
        loop: length of the mask stage.
        optim: its optimiser.
    """

    data: Path
    out: Path
    model: str = "starter"
    images: Path | None = None
    learn: tuple[str, ...] = ("masks", "names")
    limit: int = 0
    validation: float = 0.2
    validation_objects: int = 120
    group: str = "folder"
    guard: bool = True
    views: ViewArgs = field(default_factory=ViewArgs)
    simulated: SimulatedPrompts = field(default_factory=SimulatedPrompts)
    prompts: PromptArgs = field(default_factory=lambda: PromptArgs(boxes=6, points=6, scale=(0.8, 1.6), jitter=0.05))
    loss: LossArgs = field(default_factory=lambda: LossArgs(points=2048))
    names: NamesArgs = field(default_factory=NamesArgs)
    loop: FinetuneLoop = field(default_factory=FinetuneLoop)
    optim: FinetuneOptim = field(default_factory=FinetuneOptim)


def finetune(args: FinetuneArgs) -> dict[str, Any]:
    """Run the stage and return the validation figures before and after.

    Raises:
        GuardError: the result is worse than the model it started from.
        OvsamError: data, model or options cannot be used.
    """
    if unknown := set(args.learn) - {"masks", "names"}:
        raise ConfigError(f"--learn: expected masks, names or both, got {', '.join(sorted(unknown))}")
    train, val = _split(args)
    network = load_network(args.model)
    print(to_yaml(args), end="")
    print(f"{len(train)} pictures to learn from, {len(val)} for validation")
    names = names_of(train)
    vocabulary = training_vocabulary("data", names) if names else None
    ranked = _beside(vocabulary, args.names.beside)
    val = thinned(val, args.validation_objects)
    kept: dict[str, ImageEmbedding] = {}  # the encoder stays, so each picture of the validation share is encoded once
    clicked = "masks" in args.learn  # names alone leave every mask as it is
    before = _figures(network, val, ranked, kept, clicked=clicked)
    encoder = network.config.hashes.encoder
    results: list[FitResult] = []
    if vocabulary is not None and ranked is not None and "names" in args.learn:
        network, learnt = _learn_names(args, network, train, vocabulary, ranked)
        results += learnt
    if "masks" in args.learn:
        results.append(_learn_masks(args, network, train, val, vocabulary, kept))
    report: dict[str, Any] = {"train": len(train), "validation": len(val)}
    if vocabulary is not None and ranked is not None and "names" in args.learn:
        # What is seen decides how much the frozen branch says: from here on, measure the model that will be written.
        seen = dict.fromkeys((*network.config.seen, *(entry.id for entry in vocabulary)))
        network.config = replace(network.config, seen=tuple(seen))
        report["temperature"] = _recalibrate(network, val, ranked, kept)
    after = _figures(network, val, ranked, kept, clicked=clicked)
    report |= {"before": before, "after": after}
    if args.guard:
        _guard(before, after)
    if not all(result.main for result in results):  # the first process writes
        return report
    _print(report)
    save_network(network, args.out, card=_card(args, report))
    if network.config.hashes.encoder != encoder:
        raise AssertionError("fine-tuning moved the encoder")
    (args.out / "finetune.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    print(f"wrote {args.out}: use it with --model {args.out}, or `ovsam models import {args.out}`")
    return report


def _split(args: FinetuneArgs) -> tuple[list[PictureRecord], list[PictureRecord]]:
    kind, _, key = args.group.partition(":")
    pictures = read_records(args.data, args.images, group_key=key if kind == "field" else "group")
    if kind == "field" and not any(p.group for p in pictures):
        raise ConfigError(f"--group {args.group}: no picture of {args.data} has a {key!r}")
    pictures = [p for p in pictures if p.masked()]
    if args.limit and len(pictures) > args.limit:
        chosen = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(args.loop.seed))
        pictures = [pictures[i] for i in sorted(chosen[: args.limit].tolist())]
    if len(pictures) < 2:
        raise ConfigError(
            f"{args.data}: {len(pictures)} pictures with masks; fine-tuning needs two: one to learn from, one to check"
        )
    rule = SplitRule(fraction=args.validation, group=args.group, seed=args.loop.seed)
    names = [p.path.as_posix() for p in pictures]
    split = split_pictures(names, [p.path for p in pictures], rule, fields=[p.group or None for p in pictures])
    if not split.train or not split.val:
        raise ConfigError(
            f"{args.data}: all pictures form one group ({args.group} and near-duplicates); nothing to check"
        )
    return [pictures[i] for i in split.train], [pictures[i] for i in split.val]


def _beside(vocabulary: Vocabulary | None, other: str) -> Vocabulary | None:
    """Put other names beside the taught ones, so that a region is not the taught name for want of another."""
    if vocabulary is None or other == "none":
        return vocabulary
    return vocabulary.combine(Vocabulary.load(other))


def _learn_names(
    args: FinetuneArgs,
    network: OVSAM,
    train: Sequence[PictureRecord],
    vocabulary: Vocabulary,
    ranked: Vocabulary,
) -> tuple[OVSAM, list[FitResult]]:
    """Teach names to the adapter; a model with a trained name head learns them together with masks instead."""
    if network.config.head.variant not in {"none", "adapter"}:
        return network, []
    if network.config.head.variant == "none":
        network = _with_adapter(network, args.names.hidden)
    encoded = encode_names(network, ranked)
    device = device_of(args.loop.device)
    network.to(device)
    rows = class_rows(ranked, [n for n in names_of(train) if vocabulary.find(n)])
    vectors, labels, ids = embed_objects(network, train, rows, device, max_bad=args.loop.max_bad)
    counts = torch.bincount(labels, minlength=len(ranked))
    settings = args.names
    task = AdapterTask(network, encoded, counts, noise=settings.noise, anchor=settings.anchor)
    size = min(settings.batch, len(labels))
    loop = replace(args.loop, max_steps=settings.steps, batch_size=size, validate_every=0, log_every=100)
    optim = OptimArgs(
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        warmup_steps=min(10, settings.steps // 10),
        clip=1.0,
        ema=0.98,
        norm_decay=True,
    )
    data = RegionVectors(vectors, labels, ids, seed=args.loop.seed)
    return network, [fit(task, data, _run_folder(args, train) / "names", loop, optim, collate=collate_vectors)]


def _with_adapter(network: OVSAM, hidden: int) -> OVSAM:
    """Return the same model with an adapter head that changes nothing yet."""
    old = network.config
    head = replace(old.head, variant="adapter", channels=hidden)
    # The adapter speaks for every size of object: without a frozen cell it still has the crop.
    fusion = replace(old.fusion, enabled=True, tiny_rule=False)
    made = build_model(replace(old, head=head, fusion=fusion), directory=network.directory)
    made.load_state_dict(network.state_dict(), strict=False)
    return made.eval()


def _learn_masks(
    args: FinetuneArgs,
    network: OVSAM,
    train: Sequence[PictureRecord],
    val: Sequence[PictureRecord],
    vocabulary: Vocabulary | None,
    kept: dict[str, ImageEmbedding],
) -> FitResult:
    """Train the mask decoder (and a trained name head with it) on features that are computed once for each view."""
    joint = network.config.head.variant not in {"none", "adapter"} and "names" in args.learn and vocabulary is not None
    views = max(1, min(_VIEWS, _KEPT_VIEWS // len(train))) if len(train) <= _KEPT_VIEWS else 0
    task: Task
    data: Samples
    if network.config.decoder.form == "full" and not joint:
        task = DecoderTask(network, args.simulated, keep=views > 0)
        data = ViewSamples(train, network.config, args.views, seed=args.loop.seed, views=views)
    else:
        taught = vocabulary or Vocabulary.of(["object"])
        rows = class_rows(taught, names_of(train))
        loss = args.loss if joint else replace(args.loss, names=0.0)
        trained = ("mask_decoder", "head") if joint else ("mask_decoder",)
        task = Clip2Sam(network, encode_names(network, taught), loss, trained=trained, keep_features=views > 0)
        data = PromptSamples(list(train), rows, network.config.input, args.prompts, seed=args.loop.seed, views=views)
    checked = thinned(val, _CHECKED)

    def validate(_: Task, step: int) -> float:
        del step
        return float(_figures(network, checked, None, kept)["miou"])

    return fit(
        task,
        data,
        _run_folder(args, train) / "masks",
        args.loop,
        args.optim,
        collate=collate_views if isinstance(data, ViewSamples) else collate,
        config=None,
        validate=validate,
    )


def _recalibrate(
    network: OVSAM, val: Sequence[PictureRecord], ranked: Vocabulary, kept: dict[str, ImageEmbedding]
) -> dict[str, Any]:
    """Fit the temperature again on the validation share; return it and the calibration error there, before and after.

    The share taught nothing, but it chose the temperature: the error after is a little kind.
    """
    old = network.config.temperature
    scores = name_scores(_predictor(network.eval()), val, ranked, kept=kept)
    new = refitted_temperature(scores, old)
    network.config = replace(network.config, temperature=new)
    errors = {"ece_before": calibration_error(scores, old), "ece_after": calibration_error(scores, new)}
    return {"before": old, "after": new, "objects": len(scores.target), **errors}


def _figures(
    network: OVSAM,
    pictures: Sequence[PictureRecord],
    vocabulary: Vocabulary | None,
    kept: dict[str, ImageEmbedding],
    *,
    clicked: bool = True,
) -> dict[str, Any]:
    """Measure masks by box (and centre) prompts, names by box prompts, with everything the model does at run time."""
    predictor = _predictor(network.eval())
    boxes = measure(OvsamSystem(predictor, vocabulary, kept=kept), pictures, vocabulary).objects
    clicks = boxes
    if clicked:
        clicks = measure(OvsamSystem(predictor, None, kept=kept), pictures, None, prompt="centre").objects
    both = metrics.mean((b.iou + c.iou) / 2 for b, c in zip(boxes, clicks, strict=True))
    top1 = metrics.accuracy(o.rank for o in boxes if o.rank is not None)
    return {
        "miou": both["mean"],
        "miou_se": both["se"],
        "miou_box": metrics.mean(o.iou for o in boxes)["mean"],
        "miou_centre": metrics.mean(o.iou for o in clicks)["mean"] if clicked else None,
        "objects": both["n"],
        "top1": top1["mean"],
        "top1_se": top1["se"],
        "named": top1["n"],
    }


def _predictor(network: OVSAM) -> OvsamPredictor:
    """Wrap the network as it stands; nothing of it is copied or changed."""
    config, device = network.config, next(network.parameters()).device
    info = ModelInfo(
        "in training",
        config.hashes.encoder,
        "",
        config.hashes.text,
        config.input.size,
        config.embed_dim,
        config.seen,
        config.licence,
    )
    return OvsamPredictor(network, info, device=device, speed=Speed(), shipped=shipped_phrases(network))


def _guard(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    for key, words in (("miou", "mean IoU"), ("top1", "top-1")):
        old, new, error = before[key], after[key], after[f"{key}_se"]
        if old is not None and new is not None and new < old - (error or 0.0):
            raise GuardError(
                f"refused: {words} on validation fell from {old:.3f} to {new:.3f}, by more than one standard error "
                f"({error or 0.0:.3f}); nothing was written. More pictures or a lower --optim.lr may help; --guard "
                "false writes it all the same"
            )


def _run_folder(args: FinetuneArgs, train: Sequence[PictureRecord]) -> Path:
    """Return where checkpoints go: other options or other labels are another run and never resume this one."""
    state = xxhash.xxh3_64(to_yaml(args).encode())
    for picture in train:
        state.update(f"{picture.path} {[(o.id, o.name, o.box_xyxy, o.area) for o in picture.objects]}".encode())
    return args.out / "run" / state.hexdigest()


def _print(report: Mapping[str, Any]) -> None:
    for key, words in _SHOWN.items():
        old, new = report["before"][key], report["after"][key]
        if old is not None and new is not None:
            print(f"validation, {words}: {old:.3f} → {new:.3f}")
    if found := report.get("temperature"):
        print(f"temperature: {found['before']:.3f} → {found['after']:.3f}")


def _card(args: FinetuneArgs, report: Mapping[str, Any]) -> str:
    before, after = report["before"], report["after"]
    rows = "\n".join(
        f"| {words} | {before[key]:.3f} | {after[key]:.3f} |"
        for key, words in _SHOWN.items()
        if before[key] is not None and after[key] is not None
    )
    return (
        f"# Fine-tuned from {args.model}\n\n{report['train']} pictures of {args.data.name}, "
        f"{report['validation']} more kept for validation, seed {args.loop.seed}. The encoder is unchanged: cached "
        f"embeddings and remembered examples stay valid.\n\n| validation | before | after |\n|---|---|---|\n{rows}\n"
    )


def main(args: FinetuneArgs) -> None:
    """Run the stage."""
    finetune(args)


if __name__ == "__main__":
    sys.exit(command(FinetuneArgs, main, program="python -m training.finetune"))
