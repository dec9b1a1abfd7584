"""The mask stage: a frozen trunk, and neck, skips and decoder that learn to answer simulated prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  the usual name
from torch import Tensor, nn

from ovsam_core.modeling.mask_decoder import DecodedMasks, ImageSkips, MaskDecoder
from ovsam_core.modeling.neck import MultiLayerTransformerNeck
from ovsam_core.modeling.prompt_encoder import PromptTensors
from ovsam_core.modeling.roi import mask_boxes
from training.losses import box_weighted_bce, dice_loss, iou_head_loss
from training.task import Task, freeze

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ovsam_core.config import ModelConfig

__all__ = ["MaskPath", "MaskTask", "PromptArgs", "deepest", "next_clicks", "normalise"]

_MEAN, _STD = 127.0, 128.0
_BLOCKS = (1, 2, 4, 6)
"""Stages of EfficientNet after which the maps of strides 4, 8, 16 and 32 are taken."""


@dataclass
class PromptArgs:
    """How prompts are simulated.

    Attributes:
        box: share of pictures whose objects are prompted by boxes; the others get clicks.
        jitter: standard deviation of a box edge, share of the box's side.
        rounds: chances of 0, 1, 2, … correction rounds before the answer that counts.
        drop_mask: share of correction rounds without the previous mask.
        no_click: share of first correction rounds that bring the previous mask alone, blurred, as the zoom pass does.
        centre: share of first clicks at the point deepest inside the mask; the others fall anywhere inside.
        dice: weight of the Dice loss.
        bce: weight of the box-weighted cross-entropy.
        iou: weight of the IoU head's squared error.
        outside: weight of the mean cross-entropy outside the box.
        rest: weight of the candidates that are not the best one.
    """

    box: float = 0.5
    jitter: float = 0.05
    rounds: tuple[float, ...] = (0.5, 0.28, 0.14, 0.08)
    drop_mask: float = 0.25
    no_click: float = 0.35
    centre: float = 0.6
    dice: float = 1.0
    bce: float = 1.0
    iou: float = 0.5
    outside: float = 0.5
    rest: float = 0.05


class MaskPath(nn.Module):
    """The trained parts between trunk and masks, under the names they have in the model.

    Args:
        config: the model's configuration.
        channels: of the trunk's maps at strides 4, 8, 16 and 32.
    """

    def __init__(self, config: ModelConfig, channels: Sequence[int]) -> None:
        super().__init__()
        neck, decoder = config.neck, config.decoder
        self.neck = MultiLayerTransformerNeck(
            in_channels=channels,
            width=neck.width,
            depth=neck.depth,
            heads=neck.heads,
            window=neck.window,
            grid=config.neck_grid,
            out_channels=decoder.width,
            learnt_position=neck.position == "learnt",
            mlp_ratio=neck.mlp_ratio,
        )
        self.skips = ImageSkips(in_channels=channels, width=decoder.width, edge_channels=decoder.edge_channels)
        self.decoder = MaskDecoder(
            form=decoder.form,
            width=decoder.width,
            depth=decoder.depth,
            heads=decoder.heads,
            mlp_dim=decoder.mlp_dim,
            candidates=decoder.candidates,
            mask_channels=decoder.mask_channels,
            skips=decoder.skips,
            prompt_maps=decoder.prompt_maps,
            content_tokens=decoder.content_tokens,
            box_start=decoder.box_start,
            pooled_iou=decoder.pooled_iou,
            context_iou=decoder.context_iou,
        )

    def encode(self, pixels: Tensor, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the features that `decoder` reads, of (B, 3, S, S) normalised pixels and the trunk's maps."""
        return {"neck": self.neck(maps), **self.skips(pixels, maps)}


class MaskTask(Task):
    """Learn masks from simulated boxes, clicks and corrections.

    Args:
        trunk: timm EfficientNet, frozen here.
        config: the model's configuration.
        prompts: how prompts are simulated.
        keep: the trunk's maps of samples with a key stay in memory (fp16).
    """

    may_skip = True

    def __init__(self, trunk: nn.Module, config: ModelConfig, prompts: PromptArgs, *, keep: bool = True) -> None:
        super().__init__()
        self.trunk = freeze(trunk)
        self.path = MaskPath(config, trunk_channels(trunk))
        self.prompts, self.keep = prompts, keep
        self._maps: dict[int, list[Tensor]] = {}

    def totals(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Count the prompted objects."""
        return {"objects": torch.tensor(float(sum(len(m) for m in batch["masks"])))}

    @torch.no_grad()
    def start_from(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """Take over the trained parts of an earlier run, also where its windows or its judge of quality were others.

        Relative positions of another window size are resampled, as SAM does when the picture's size changes.

        Args:
            tensors: averaged weights of the earlier run, named as in this task.

        Returns:
            The names of parameters that keep their fresh values.
        """
        fresh = []
        for name, own in self.path.state_dict(prefix="path.", keep_vars=True).items():
            given = tensors.get(name)
            if given is not None and "rel_pos" in name and given.shape != own.shape:
                given = F.interpolate(given.T[None].float(), own.shape[0], mode="linear", align_corners=True)[0].T
            if given is None or given.shape != own.shape:
                fresh.append(name)
            else:
                own.copy_(given)
        return fresh

    @torch.no_grad()
    def maps(self, pixels: Tensor) -> list[Tensor]:
        """Return the frozen trunk's four maps of (B, 3, S, S) normalised pixels."""
        return trunk_maps(self.trunk, pixels)

    def forward(self, batch: Mapping[str, Any], totals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Task.forward`; pictures of one size go through the network together."""
        terms: dict[str, Tensor] = {}
        sizes = [p.shape[-1] for p in batch["pixels"]]
        for size in sorted(set(sizes)):
            rows = [i for i, s in enumerate(sizes) if s == size]
            part = self._one_size([{k: v[i] for k, v in batch.items() if k != "bad"} for i in rows], totals["objects"])
            for name, value in part.items():
                terms[name] = terms[name] + value if name in terms else value
        return terms

    def _one_size(self, samples: list[dict[str, Any]], total: Tensor) -> dict[str, Tensor]:
        device = next(self.path.parameters()).device
        pixels = normalise(torch.stack([s["pixels"] for s in samples]).to(device))
        features = self.path.encode(pixels, self._kept_maps(samples, pixels))
        terms: dict[str, Tensor] = {}
        for row, sample in enumerate(samples):
            own = {name: value[row : row + 1] for name, value in features.items()}
            part = self._answer(own, sample["masks"].to(device, torch.float32), sample["seeds"], total)
            terms = {name: terms[name] + value if name in terms else value for name, value in part.items()}
        return terms

    def _kept_maps(self, samples: list[dict[str, Any]], pixels: Tensor) -> list[Tensor]:
        missing = [i for i, s in enumerate(samples) if s["keys"] not in self._maps]
        fresh: dict[int, list[Tensor]] = {}
        if missing:
            # Rounded also where they are fresh: a run that is resumed has to see what an uninterrupted one keeps.
            made = [m.half() for m in self.maps(pixels[missing])]
            for row, i in enumerate(missing):
                fresh[i] = [m[row] for m in made]
                if self.keep and samples[i]["keys"] is not None:
                    self._maps[samples[i]["keys"]] = [m.clone() for m in fresh[i]]  # not the whole batch
        rows = [fresh[i] if i in fresh else self._maps[s["keys"]] for i, s in enumerate(samples)]
        return [
            torch.stack([row[level].float() for row in rows]).contiguous(memory_format=torch.channels_last)
            for level in range(4)
        ]

    def _answer(self, features: dict[str, Tensor], masks: Tensor, seed: int, total: Tensor) -> dict[str, Tensor]:
        """Prompt for every mask of one picture, correct, and take the loss of the last answer.

        A picture is answered alone and by its own seed, so that a batch may be divided at will; all its prompts are
        boxes or all are clicks, because the decoder wants prompts of one kind at a time.

        Args:
            features: of the picture, (1, …).
            masks: (T, S/2, S/2).
            seed: of all draws.
            total: objects of the whole step.
        """
        args, rng = self.prompts, np.random.default_rng(seed)
        features = {name: value.expand(len(masks), *value.shape[1:]) for name, value in features.items()}
        truth = masks.cpu().numpy() > 0.5
        prompts = first_prompts(truth, rng, args, bool(rng.random() < args.box)).to(masks.device)
        rounds = int(rng.choice(len(args.rounds), p=args.rounds))
        for number in range(rounds):
            with torch.no_grad():
                found = self.path.decoder({k: v.detach() for k, v in features.items()}, prompts)
            blurred = number == 0 and rng.random() < args.no_click
            drop = not blurred and rng.random() < args.drop_mask
            prompts = corrected(prompts, found, truth, rng, blurred=blurred, drop=drop)
        found = self.path.decoder(features, prompts)
        return self._losses(found, masks, total)

    def _losses(self, found: DecodedMasks, masks: Tensor, total: Tensor) -> dict[str, Tensor]:
        args = self.prompts
        n, count = found.logits.shape[:2]
        logits = F.interpolate(found.logits, masks.shape[-2:], mode="bilinear", align_corners=False)
        flat = logits.flatten(0, 1)  # (N M, h, w)
        truth = masks.repeat_interleave(count, 0)
        boxes = _tight_boxes(masks).repeat_interleave(count, 0)
        dice = dice_loss(flat, truth).reshape(n, count)
        bce = box_weighted_bce(flat, truth, boxes, outside=args.outside).reshape(n, count)
        each = args.dice * dice + args.bce * bce  # (N, M)
        best = each[:, 1:].argmin(1, keepdim=True) + 1
        shown = {
            "single": each[:, 0],
            "best": each.gather(1, best).squeeze(1) + args.rest * each[:, 1:].mean(1),
        }
        terms = {name: value.sum() / total.clamp(min=1) for name, value in shown.items()}
        assert found.iou is not None
        terms["iou"] = args.iou * iou_head_loss(found.iou, logits.detach(), masks > 0.5, total)
        return terms


def normalise(pixels: Tensor) -> Tensor:
    """Return (B, 3, S, S) uint8 as the trunk's float input."""
    return ((pixels.float() - _MEAN) / _STD).contiguous(memory_format=torch.channels_last)


def trunk_channels(trunk: Any) -> tuple[int, ...]:
    """Return the channels of an EfficientNet's maps at strides 4, 8, 16 and 32."""
    return tuple(trunk.blocks[i][-1].conv_pwl.out_channels for i in _BLOCKS)


def trunk_maps(trunk: Any, pixels: Tensor) -> list[Tensor]:
    """Return an EfficientNet's maps at strides 4, 8, 16 and 32."""
    x, maps = trunk.bn1(trunk.conv_stem(pixels)), []
    for i, block in enumerate(trunk.blocks):
        x = block(x)
        if i in _BLOCKS:
            maps.append(x)
    return maps


def first_prompts(
    truth: NDArray[np.bool_], rng: np.random.Generator, args: PromptArgs, with_box: bool
) -> PromptTensors:
    """Simulate the first prompt of every mask: a jittered box, or one click on the object.

    Args:
        truth: (N, h, w) masks at half the input's resolution.
        rng: source of the draws.
        args: how prompts are simulated.
        with_box: boxes instead of clicks.
    """
    n, _, size = truth.shape
    if with_box:
        boxes = 2 * _tight_boxes(torch.from_numpy(truth)).numpy()
        sides = np.concatenate([boxes[:, 2:] - boxes[:, :2]] * 2, axis=1)
        amount = args.jitter * rng.random((n, 1)).astype(np.float32) * 2  # some boxes are exact
        boxes = boxes + rng.normal(0, 1, boxes.shape).astype(np.float32).clip(-2, 2) * sides * amount
        boxes = boxes.clip(0, 2 * size)
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 2)
        empty = torch.zeros(n, 0, 2), torch.zeros(n, 0, dtype=torch.int8)
        return PromptTensors(*empty, torch.from_numpy(boxes.astype(np.float32)))
    points = [deepest(m) if rng.random() < args.centre else _anywhere(m, rng) for m in truth]
    coords = torch.tensor(np.array(points), dtype=torch.float32)[:, None] * 2 + 1
    return PromptTensors(coords, torch.ones(n, 1, dtype=torch.int8))


def corrected(
    prompts: PromptTensors,
    found: DecodedMasks,
    truth: NDArray[np.bool_],
    rng: np.random.Generator,
    *,
    blurred: bool,
    drop: bool,
) -> PromptTensors:
    """Feed an answer back: its best-scored logits, and a click on its largest error (none when `blurred`)."""
    assert found.iou is not None
    best = found.iou.argmax(1)
    if rng.random() >= 0.8:
        best = torch.from_numpy(rng.integers(found.iou.shape[1], size=len(truth))).to(best)
    logits = found.logits[torch.arange(len(truth)), best][:, None]  # (N, 1, h, w)
    if blurred:
        factor = int(rng.choice((1, 2, 4)))
        small = F.avg_pool2d(logits, factor)
        logits = F.interpolate(small, logits.shape[-2:], mode="bilinear", align_corners=False)
        return PromptTensors(prompts.coords, prompts.labels, prompts.boxes, logits)
    large = F.interpolate(logits, truth.shape[-2:], mode="bilinear", align_corners=False)[:, 0] > 0
    points, signs = next_clicks(large.cpu().numpy(), truth)
    coords = torch.tensor(points, dtype=torch.float32, device=logits.device)[:, None] * 2 + 1
    labels = torch.tensor(signs, dtype=torch.int8, device=logits.device)[:, None]
    return PromptTensors(
        torch.cat((prompts.coords, coords), 1),
        torch.cat((prompts.labels, labels), 1),
        prompts.boxes,
        None if drop else logits,
    )


def next_clicks(answer: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Return the corrective click of every mask: deepest in the larger of its missed and its surplus pixels.

    Args:
        answer: (N, h, w) predicted masks.
        truth: (N, h, w).

    Returns:
        (N, 2) x, y in pixels of the masks (whole numbers), and (N,) labels: 1 on missed, 0 on surplus pixels.
    """
    points, signs = [], []
    for mine, real in zip(answer, truth, strict=True):
        missed, surplus = real & ~mine, mine & ~real
        positive = missed.sum() >= surplus.sum()
        region = missed if positive else surplus
        points.append(deepest(region if region.any() else real))
        signs.append(positive)
    return np.array(points, np.float32), np.array(signs, np.int8)


def deepest(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the pixel (x, y) of a mask that is farthest from its edge and from the picture's."""
    distance = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)
    y, x = divmod(int(distance.argmax()), distance.shape[1])
    return max(x - 1, 0), max(y - 1, 0)


def _anywhere(mask: NDArray[np.bool_], rng: np.random.Generator) -> tuple[int, int]:
    inside = np.flatnonzero(mask)
    y, x = divmod(int(rng.choice(inside)), mask.shape[1]) if len(inside) else deepest(mask)[::-1]
    return x, y


def _tight_boxes(masks: Tensor) -> Tensor:
    """Return (N, 4) float32 xyxy boxes of masks (N, h, w), far edges exclusive; an empty mask gets its middle pixel."""
    middle = masks.shape[-1] // 2
    fallback = torch.tensor([[middle, middle, middle + 1, middle + 1]], device=masks.device)
    return mask_boxes(masks.float() - 0.5, fallback.expand(len(masks), -1), stride=1)
