"""SAM2CLIP: the neck on the frozen CLIP trunk learns SAM's image features (paper Sec. 3.2).

python -m training.distill_sam2clip --model ovsam-rn50x16-coco --data sa1b/ --features features/ --out RUN
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003  option types are read at run time
from typing import TYPE_CHECKING, Any

import torch

from training.args import ConfigError, command
from training.data import PictureSamples, collate
from training.loop import FitResult, fit
from training.networks import load_network, save_network
from training.options import LoopArgs, OptimArgs
from training.sam import build_sam
from training.tasks import Sam2Clip
from training.teacher import DumpedTeacher, LiveTeacher, TeacherArgs, list_pictures

if TYPE_CHECKING:
    from torch import Tensor

    from ovsam_core.modeling.ovsam import OVSAM

__all__ = ["DistillArgs", "explained_variance", "main", "train"]


@dataclass
class DistillLoop(LoopArgs):
    """The official length; see `LoopArgs`."""

    epochs: int = 24


@dataclass
class DistillOptim(OptimArgs):
    """The official schedule; see `OptimArgs`."""

    base_batch: int = 16


@dataclass
class DistillArgs:
    """Distil SAM into the neck.

    Attributes:
        data: COCO file, SA-1B folder, or any folder of pictures.
        out: folder of the run; the model is written to its folder `model`.
        model: model directory or configuration to start from.
        weights: published files that fill it: CLIP's towers, SAM's prompt encoder and decoder.
        images: folder of the pictures, for a COCO file.
        features: dumped teacher features; without, the teacher runs live.
        check: unseen pictures on which the explained variance is measured at the end.
        check_limit: at most this many of them.
        teacher: which SAM.
        loop: length, batch and housekeeping.
        optim: optimiser and schedule.
    """

    data: Path
    out: Path
    model: str = "ovsam-rn50x16-coco"
    weights: tuple[Path, ...] = ()
    images: Path | None = None
    features: Path | None = None
    check: Path | None = None
    check_limit: int = 200
    teacher: TeacherArgs = field(default_factory=TeacherArgs)
    loop: DistillLoop = field(default_factory=DistillLoop)
    optim: DistillOptim = field(default_factory=DistillOptim)


def train(args: DistillArgs) -> FitResult:
    """Run the stage and write the model.

    Raises:
        OvsamError: data, teacher or options cannot be used; the message says which.
    """
    network = load_network(args.model, weights=args.weights, seed=args.loop.seed)
    settings = network.config.input
    pictures = list_pictures(args.data, args.images)
    if not pictures:
        raise ConfigError(f"{args.data}: no pictures")
    if args.teacher.sam is not None or args.teacher.sam_type == "toy":
        _copy_position(network, args.teacher)
    teacher = DumpedTeacher(args.features, settings) if args.features else LiveTeacher(args.teacher, settings)
    task = Sam2Clip(network, teacher)
    data = PictureSamples(pictures, settings, seed=args.loop.seed)
    result = fit(task, data, args.out, args.loop, args.optim, collate=collate, config=args)
    if result.main:
        card = (
            f"# SAM2CLIP neck\n\nDistilled from SAM {args.teacher.sam_type} on {args.data.name}, {result.step} steps.\n"
        )
        if args.check:
            unseen = PictureSamples(list_pictures(args.check, args.images)[: args.check_limit], settings)
            live = LiveTeacher(args.teacher, settings).to(next(network.parameters()).device)
            figures = explained_variance(network, live, data, unseen, seen=args.check_limit)
            (args.out / "explained_variance.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
            print("unseen pictures: " + ", ".join(f"{k} {v:.4f}" for k, v in figures.items()))
        save_network(network, args.out / "model", card=card)
        print(f"wrote {args.out / 'model'}")
    return result


@torch.no_grad()
def explained_variance(
    network: OVSAM, teacher: LiveTeacher, train_set: PictureSamples, unseen: PictureSamples, *, seen: int = 200
) -> dict[str, float]:
    """Return how much of the teacher's variance round its mean map the student explains on unseen pictures.

    Beside it stand two answers that know nothing of the picture: the mean map of the teacher on training pictures
    (0 by definition), and the teacher's own features of another unseen picture.

    Args:
        network: the student.
        teacher: the teacher, on the same device.
        train_set: pictures for the mean map.
        unseen: pictures to measure on.
        seen: pictures used for the mean map.

    Returns:
        "explained" of the student, "explained_mean_map", "explained_shuffled_teacher", and the three squared errors.
    """
    network.eval()
    device = next(network.parameters()).device
    mean = torch.stack([_target(teacher, train_set, i, device) for i in range(min(seen, len(train_set)))]).mean(0)
    targets = [_target(teacher, unseen, i, device) for i in range(len(unseen))]
    answers = [network.neck(network.backbone.maps(_batch(unseen, i, device)["pixels"]))[0] for i in range(len(unseen))]

    def error(guesses: list[Tensor]) -> float:
        return float(torch.stack([(g - t).square().mean() for g, t in zip(guesses, targets, strict=True)]).mean())

    base = error([mean] * len(targets))
    student, shuffled = error(answers), error([*targets[1:], targets[0]])
    return {
        "explained": 1 - student / base,
        "explained_mean_map": 0.0,
        "explained_shuffled_teacher": 1 - shuffled / base,
        "mse_student": student,
        "mse_mean_map": base,
        "mse_shuffled_teacher": shuffled,
    }


def _batch(data: PictureSamples, index: int, device: torch.device) -> dict[str, Any]:
    batch = collate([data[0, index]])
    return batch | {"pixels": batch["pixels"].to(device)}


def _target(teacher: LiveTeacher, data: PictureSamples, index: int, device: torch.device) -> Tensor:
    features: Tensor = teacher(_batch(data, index, device))[0]
    return features


def _copy_position(network: OVSAM, args: TeacherArgs) -> None:
    """Start the neck from SAM's positional embedding where the shapes agree (they do in the paper's models)."""
    own = getattr(network.neck, "pos_embed", None)
    given = build_sam(args.sam_type, args.sam, seed=args.seed).image_encoder.pos_embed
    if isinstance(own, torch.Tensor) and own.shape == given.shape:
        own.data.copy_(given)


def main(args: DistillArgs) -> None:
    """Run the stage."""
    train(args)


if __name__ == "__main__":
    sys.exit(command(DistillArgs, main, program="python -m training.distill_sam2clip"))
