"""The judge stage: the predicted IoU of candidates, fitted alone on masks that no longer change.

Most of what separates the best-scored candidate from the best one is ranking. So the trained masks answer many prompts
once, what the judge may know of each candidate is kept with its true IoU, and the judge is then fitted in seconds. The
loss is the squared error alone, so that the number stays an IoU; ranking losses were tried and held worse on pictures
that the fit had not seen.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  the usual name
from torch import Tensor

from ovsam_core.modeling.judge import ContextIoU
from training.losses import mask_iou
from training.mask_data import MaskDataArgs, MaskSamples, collate
from training.mask_task import MaskTask, corrected, first_prompts, normalise
from training.sampling import draw_seed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ovsam_core.modeling.prompt_encoder import PromptTensors

__all__ = ["Candidates", "JudgeArgs", "JudgeMasks", "collect", "fit_judge", "ranking_figures"]

_SITUATIONS = ("click", "click again", "box")


@dataclass
class JudgeMasks(MaskDataArgs):
    """Where the judge's prompts are simulated: many whole pictures, as first clicks meet them; see `MaskDataArgs`."""

    sources: dict[str, float] = field(
        default_factory=lambda: {"coco_train": 6.0, "persons_train": 1.5, "bsds_train": 2.0, "clothing_train": 0.5}
    )
    samples: int = 1200
    fixed: float = 0.0
    zoom: float = 0.35
    window: float = 0.3
    whole: tuple[int, ...] = (512,)
    targets_whole: int = 6


@dataclass
class JudgeArgs:
    """How the judge of candidates is fitted.

    Attributes:
        masks: where its prompts are simulated; the pictures are looked at once.
        held: share of the pictures that nothing is fitted on.
        steps: of the fit.
        batch: prompts a step.
        lr: peak learning rate, a cosine to zero.
        weight_decay: AdamW's decay.
        dropout: of what the judge knows, while it is fitted.
        doubt: error of the judge that chooses the answer to look at again.
        seed: of samples, prompts and fit.
    """

    masks: JudgeMasks = field(default_factory=JudgeMasks)
    held: float = 0.2
    steps: int = 1200
    batch: int = 192
    lr: float = 1e-3
    weight_decay: float = 0.3
    dropout: float = 0.2
    doubt: float = 0.1
    seed: int = 0


@dataclass
class Candidates:
    """Candidates of T prompts, M each.

    Attributes:
        known: (T, M, F) what the judge may know.
        iou: (T, M) true IoU.
        before: (T, M) IoU as the judge so far predicts it.
        situation: (T,) place in ("click", "click again", "box").
        source: (T,) which COCO file, by place in the list of sources.
        whole: (T,) seen in a whole picture.
        held: (T,) on a picture that is kept apart.
    """

    known: Tensor
    iou: Tensor
    before: Tensor
    situation: Tensor
    source: Tensor
    whole: Tensor
    held: Tensor

    def only(self, rows: Tensor) -> Candidates:
        """Return some rows (bool or indices)."""
        return Candidates(**{name: value[rows] for name, value in vars(self).items()})

    @classmethod
    def joined(cls, parts: Sequence[Candidates]) -> Candidates:
        """Put parts together."""
        return cls(**{name: torch.cat([getattr(part, name) for part in parts]) for name in vars(parts[0])})


@torch.no_grad()
def collect(task: MaskTask, data: Path, args: JudgeArgs) -> Candidates:
    """Let trained masks answer a click, a second click or a closer look, and a box, and keep every candidate.

    Args:
        task: trained masks whose judge is a `ContextIoU` of any weights.
        data: folder with the COCO files of `args.masks`.
        args: how.
    """
    samples = MaskSamples(data, args.masks, seed=args.seed)
    apart = _held_pictures(samples.source_of, args)
    started, parts = time.monotonic(), []
    task.eval()
    for index in range(len(samples)):
        sample = samples[0, index]
        parts += _answers(task, sample, samples.source_of[sample["id"]], sample["id"] in apart, args)
        if index % 20 == 19 or index + 1 == len(samples):
            rest = (time.monotonic() - started) / (index + 1) * (len(samples) - index - 1)
            print(f"judge: {index + 1}/{len(samples)} samples, {rest:.0f} s left", flush=True)
    return Candidates.joined(parts)


def _held_pictures(names: dict[str, int], args: JudgeArgs) -> set[str]:
    order = np.random.default_rng(draw_seed(args.seed, "held")).permutation(sorted(names))
    return set(order[: round(args.held * len(names))].tolist())


def _answers(task: MaskTask, sample: dict[str, Any], source: int, held: bool, args: JudgeArgs) -> list[Candidates]:
    batch = collate([sample])
    ready = normalise(batch["pixels"][0][None])
    features = task.path.encode(ready, task.maps(ready))
    masks = batch["masks"][0].float()  # (T, S/2, S/2)
    truth: NDArray[np.bool_] = masks.numpy() > 0.5
    rng = np.random.default_rng(sample["seed"])
    whole = ready.shape[-1] > args.masks.crop
    kept: list[Tensor] = []
    judge = task.path.decoder.iou_prediction_head
    assert isinstance(judge, ContextIoU)
    hook = judge.read.register_forward_pre_hook(lambda _, given: kept.append(given[0]))
    parts = []

    def answer(prompts: PromptTensors, situation: int) -> Any:
        found = task.path.decoder(features, prompts)
        logits = F.interpolate(found.logits, truth.shape[-2:], mode="bilinear", align_corners=False)
        iou = torch.stack([mask_iou(logits[:, m], masks) for m in range(logits.shape[1])], dim=1)
        n = len(masks)
        parts.append(
            Candidates(
                kept.pop().half(),
                iou,
                found.iou.clone(),
                torch.full((n,), situation),
                torch.full((n,), source),
                torch.full((n,), whole),
                torch.full((n,), held),
            )
        )
        return found

    try:
        first = first_prompts(truth, rng, task.prompts, False)
        found = answer(first, 0)
        # The answer that is looked at again is the one a fair judge would take.
        fair = parts[0].iou + torch.from_numpy(rng.normal(0, args.doubt, parts[0].iou.shape)).float()
        found = replace(found, iou=fair)
        answer(corrected(first, found, truth, rng, blurred=not whole and bool(rng.random() < 0.6), drop=False), 1)
        answer(first_prompts(truth, rng, task.prompts, True), 2)
    finally:
        hook.remove()
    return parts


def fit_judge(table: Candidates, width: int, fine: int, args: JudgeArgs) -> ContextIoU:
    """Fit a judge on the candidates that are not held out.

    What it knows is scaled to unit variance first; the scales then become part of its first layer.

    Args:
        table: candidates with their true IoU.
        width: channels of tokens and image embedding.
        fine: channels of the upscaled embedding.
        args: how.
    """
    torch.manual_seed(args.seed)
    judge = ContextIoU(width, fine).train()
    own = table.only(~table.held)
    known = own.known.float()
    mean, spread = known.mean((0, 1)), known.std((0, 1)).clamp(min=1e-3)
    known = (known - mean) / spread
    optimizer = torch.optim.AdamW(judge.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.steps)
    chance = torch.Generator().manual_seed(args.seed)
    for _ in range(args.steps):
        rows = torch.randint(len(known), (args.batch,), generator=chance)
        loss = F.mse_loss(judge.judge(F.dropout(known[rows], args.dropout)), own.iou[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        judge.read.weight /= spread
        judge.read.bias.copy_(judge.read.bias - judge.read.weight @ mean)
    return judge.eval()


@torch.no_grad()
def ranking_figures(judge: ContextIoU, table: Candidates, sources: Sequence[str]) -> list[str]:
    """Return one line for each source and situation on the held-out pictures: mean IoU of the chosen candidate.

    Args:
        judge: fitted.
        table: candidates.
        sources: names of the COCO files.
    """
    own = table.only(table.held)
    found = judge.judge(own.known.float())
    lines = []
    for place, name in enumerate(sources):
        for situation, title in enumerate(_SITUATIONS):
            for whole in (True, False):
                rows = (own.source == place) & (own.situation == situation) & (own.whole == whole)
                if not int(rows.sum()):
                    continue
                iou, new, old = own.iou[rows], found[rows], own.before[rows]
                chosen, was = (iou.gather(1, s.argmax(1, keepdim=True)).mean().item() for s in (new, old))
                lines.append(
                    f"{name}, {title}, {'picture' if whole else 'crop'}: {len(iou)} prompts, chosen {chosen:.3f} "
                    f"(judge so far {was:.3f}, best {iou.amax(1).mean():.3f}), "
                    f"error {(new - iou).abs().mean():.3f}"
                )
    return lines
