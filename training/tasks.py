"""The two tasks of the paper: the neck learns SAM's features (SAM2CLIP), head and decoder learn names (CLIP2SAM)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ovsam_core.modeling.prompt_encoder import PromptTensors
from training import losses
from training.sampling import draw_seed
from training.task import Task, freeze, train_only

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ovsam_core.modeling.ovsam import OVSAM
    from ovsam_core.text import EncodedVocabulary

__all__ = ["Clip2Sam", "LossArgs", "Sam2Clip", "class_logits", "mask_terms"]

_TRAINED = ("fpn", "head", "skips", "mask_decoder")
_PROMPT_ENCODER = ("mask_decoder.prompt_encoder",)  # SAM's, frozen in the paper


@dataclass
class LossArgs:
    """Weights of the joint loss (official code: 2, 5, 5) and how masks are sampled.

    Attributes:
        names: weight of the class loss.
        bce: weight of the masks' binary cross-entropy.
        dice: weight of the masks' Dice loss.
        iou: weight of the predicted IoU's squared error, where the decoder predicts one.
        background: weight of the background class.
        federated: classes that take part in a federated (LVIS) picture's class loss; 0 lets all take part, as the
            official code does.
        points: points a mask that the mask losses look at.
        rest: share of all candidates beside the best one, where the decoder offers several.
    """

    names: float = 2.0
    bce: float = 5.0
    dice: float = 5.0
    iou: float = 1.0
    background: float = 0.1
    federated: int = 50
    points: int = losses.POINTS
    rest: float = 0.1


class Sam2Clip(Task):
    """Distil a SAM image encoder into the neck (paper Sec. 3.2): mean squared error over the whole padded map.

    Args:
        network: its trunk is frozen, its neck learns.
        teacher: batch → (B, C, S/16, S/16) features; a frozen SAM run live, or dumped features.
    """

    network: OVSAM

    def __init__(self, network: OVSAM, teacher: Callable[[Mapping[str, Any]], Tensor]) -> None:
        super().__init__()
        self.network = train_only(network, ("neck",))
        self.teacher = freeze(teacher) if isinstance(teacher, torch.nn.Module) else teacher

    def forward(self, batch: Mapping[str, Any], totals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the distillation loss."""
        with torch.no_grad():
            maps = self.network.backbone.maps(batch["pixels"])
            target = self.teacher(batch)
        return {"mse": losses.distillation_loss(self.network.neck(maps), target, totals["pictures"])}

    def architecture(self) -> dict[str, Any]:
        """Return the settings that the neck depends on, and its parameters."""
        config = self.network.config
        return {"neck": asdict(config.neck), "input": asdict(config.input), **super().architecture()}


class Clip2Sam(Task):
    """Learn masks and names together (paper Sec. 3.3).

    Args:
        network: trunk, text tower and (by default) neck and prompt encoder are frozen.
        encoded: text embeddings of the training vocabulary.
        weights: of the loss.
        trained: dotted names of the parts that learn.
        frozen: dotted names inside them that do not.
        keep_features: keep the frozen encoder's features of samples that name their view; only where nothing of the
            encoder learns.
    """

    network: OVSAM
    rows: Tensor
    entry_of_row: Tensor
    may_skip = True  # the official decoder has parameters that take no part; class-only batches have no masks

    def __init__(
        self,
        network: OVSAM,
        encoded: EncodedVocabulary,
        weights: LossArgs,
        *,
        trained: Sequence[str] = _TRAINED,
        frozen: Sequence[str] = _PROMPT_ENCODER,
        keep_features: bool = False,
    ) -> None:
        super().__init__()
        self.network = train_only(network, trained, frozen)
        self.weights, self.keep_features = weights, keep_features
        self.register_buffer("rows", torch.from_numpy(encoded.rows.astype("float32")), persistent=False)
        self.register_buffer("entry_of_row", torch.from_numpy(encoded.entry_of_row), persistent=False)
        self.classes = len(encoded.vocabulary)
        self._features: dict[str, dict[str, Tensor]] = {}

    def totals(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Count class weights and prompted masks."""
        named = masks = 0.0
        for index in range(len(batch["ids"])):
            rows = self._named(batch, index)
            targets = batch["labels"][index][rows]
            named += float(losses.class_weights(targets, self.classes, self.weights.background).sum())
            masks += len(batch["object"][index])
        return {"names": torch.tensor(named), "masks": torch.tensor(masks)}

    def forward(self, batch: Mapping[str, Any], totals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return class loss, mask losses and, with an IoU head, its loss."""
        terms: dict[str, Tensor] = {}
        for index, features in enumerate(self._encode(batch)):
            parts = self._picture(batch, index, features, totals)
            terms = {k: terms.get(k, 0.0) + v for k, v in parts.items()} if terms else parts
        return terms

    def architecture(self) -> dict[str, Any]:
        """Return the settings that the trained parts depend on, and their parameters."""
        config = self.network.config
        return {"decoder": asdict(config.decoder), "head": asdict(config.head), **super().architecture()}

    def _named(self, batch: Mapping[str, Any], index: int) -> Tensor:
        """Rows of objects that teach names: one for each prompt, and the objects that have no mask to prompt for."""
        prompted, labels = batch["object"][index], batch["labels"][index]
        bare = (~batch["has_mask"][index]).nonzero()[:, 0]
        rows = torch.cat([prompted, bare.to(prompted)])
        return rows[labels[rows] >= 0]

    def _encode(self, batch: Mapping[str, Any]) -> list[dict[str, Tensor]]:
        """Return each picture's features, (1, …); frozen parts run without gradient."""
        views = batch.get("view")
        if self.keep_features and views is not None:
            return [self._kept(view, pixels[None]) for view, pixels in zip(views, batch["pixels"], strict=True)]
        features = self._features_of(batch["pixels"])
        return [{k: v[i : i + 1] for k, v in features.items()} for i in range(len(batch["ids"]))]

    def _kept(self, view: str, pixels: Tensor) -> dict[str, Tensor]:
        if view not in self._features:
            with torch.no_grad():
                made = self._features_of(pixels)
            self._features[view] = {k: v.half().cpu() for k, v in made.items()}
        return {k: v.float().to(pixels.device) for k, v in self._features[view].items()}

    def _features_of(self, pixels: Tensor) -> dict[str, Tensor]:
        network = self.network
        with torch.no_grad():
            maps = network.backbone.maps(pixels)
        return network.encode_maps(pixels, maps)

    def _picture(
        self, batch: Mapping[str, Any], index: int, features: dict[str, Tensor], totals: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        prompted = batch["object"][index]
        seeds = [draw_seed(batch["seeds"][index], "points", i) for i in range(len(prompted))]
        by_box, by_point = batch["prompt_boxes"][index], batch["prompt_points"][index]
        zero = self.rows.new_zeros(())
        terms = {"names": zero, "bce": zero, "dice": zero}
        if self.network.mask_decoder.iou_prediction_head is not None:
            terms["iou"] = zero
        tokens, logits = [], []
        count = len(by_box)
        groups = (
            (_prompts(by_box, None), prompted[:count], seeds[:count], False),
            (_prompts(None, by_point), prompted[count:], seeds[count:], True),
        )
        for prompts, things, own_seeds, ambiguous in groups:
            if not len(things):
                continue
            found = self.network.decode(features, prompts)
            truth = batch["masks"][index][things]
            parts = mask_terms(
                found.logits, found.iou, truth, own_seeds, totals["masks"], self.weights, ambiguous=ambiguous
            )
            for name, value in parts.items():
                terms[name] = terms[name] + value
            tokens.append(found.label_tokens)
            logits.append(found.logits[:, 0])
        if self.network.head is not None and self.weights.names:
            terms["names"] = self._names(batch, index, features, tokens, logits, totals["names"])
        return terms

    def _names(
        self,
        batch: Mapping[str, Any],
        index: int,
        features: dict[str, Tensor],
        tokens: list[Tensor],
        logits: list[Tensor],
        total: Tensor,
    ) -> Tensor:
        network = self.network
        rows = self._named(batch, index)
        if not len(rows):
            return self.rows.new_zeros(())
        boxes, labels = batch["boxes"][index], batch["labels"][index]
        if network.config.head.label_token_classifies:
            return self._names_by_token(batch, index, features, tokens, logits, total)
        # The region decides, not the prompt: each object is embedded once, from its true box (official: gen_box False).
        unique, inverse = torch.unique(rows, return_inverse=True)
        masks = batch["masks"][index][unique].float() * 12 - 6
        regions = network.region_head(features, boxes[unique], masks)[inverse]
        return self._class_loss(regions, labels[rows], total, batch["allowed"][index])

    def _names_by_token(
        self,
        batch: Mapping[str, Any],
        index: int,
        features: dict[str, Tensor],
        tokens: list[Tensor],
        logits: list[Tensor],
        total: Tensor,
    ) -> Tensor:
        """The token variants (Table 7 right): every prompt's own token names it; bare objects are prompted by box."""
        prompted, labels, boxes = batch["object"][index], batch["labels"][index], batch["boxes"][index]
        bare = (~batch["has_mask"][index]).nonzero()[:, 0]
        if len(bare):
            found = self.network.decode(features, _prompts(boxes[bare], None))
            tokens, logits = [*tokens, found.label_tokens], [*logits, found.logits[:, 0]]
        rows = torch.cat([prompted, bare.to(prompted)])
        keep = labels[rows] >= 0
        masks = torch.cat(logits)[keep].detach()
        regions = self.network.region_head(features, boxes[rows[keep]], masks, torch.cat(tokens)[keep])
        return self._class_loss(regions, labels[rows[keep]], total, batch["allowed"][index])

    def _class_loss(self, regions: Tensor, targets: Tensor, total: Tensor, rows: Tensor) -> Tensor:
        scores = class_logits(regions.float(), self.rows, self.entry_of_row, self.classes, self.network.logit_scale)
        allowed = None
        if len(rows):
            allowed = torch.zeros(1, scores.shape[1], dtype=torch.bool, device=scores.device)
            allowed[:, rows] = allowed[:, -1] = True  # the background is no class that could be overlooked
        loss = losses.classification_loss(scores, targets, total, background=self.weights.background, allowed=allowed)
        return self.weights.names * loss


def mask_terms(
    logits: Tensor,
    iou: Tensor | None,
    truth: Tensor,
    seeds: Sequence[int],
    total: Tensor,
    weights: LossArgs,
    *,
    ambiguous: bool,
) -> dict[str, Tensor]:
    """Return the mask losses of N prompts' candidates.

    The one-mask form and the single-mask token learn every mask. Of several candidates, a click's best one learns
    (with a share of all), a box teaches them all alike.

    Args:
        logits: (N, M, h, w); where there are several, the first is the single-mask token's.
        iou: (N, M) predicted IoU, None without such a head.
        truth: (N, S, S) masks over the same field.
        seeds: N integers, from which the points are drawn.
        total: masks of the whole step.
        weights: of the terms.
        ambiguous: the prompts are clicks.

    Returns:
        Terms "bce" and "dice", and "iou" with such a head.
    """
    n, m = logits.shape[:2]
    flat = logits.flatten(0, 1)  # (N M, h, w)
    target = truth.to(flat.dtype).repeat_interleave(m, 0)  # (N M, S, S)
    own = [seed for seed in seeds for _ in range(m)]
    points = losses.uncertain_points(flat, own, count=weights.points)
    x, t = losses.point_sample(flat.float(), points), losses.point_sample(target.float(), points)
    bce = losses.point_bce(x, t).view(n, m)
    dice = losses.dice_loss(x, t).view(n, m)
    share = _candidate_shares(bce, dice, weights, ambiguous=ambiguous)
    terms = {
        "bce": weights.bce * (bce * share).sum() / total.clamp(min=1),
        "dice": weights.dice * (dice * share).sum() / total.clamp(min=1),
    }
    if iou is not None:
        small = torch.nn.functional.interpolate(truth[:, None].float(), flat.shape[-2:], mode="area")[:, 0]
        terms["iou"] = weights.iou * losses.iou_head_loss(iou, logits.detach(), small, total)
    return terms


def _candidate_shares(bce: Tensor, dice: Tensor, weights: LossArgs, *, ambiguous: bool) -> Tensor:
    """Return (N, M) shares of the candidates in the loss."""
    n, m = bce.shape
    if m == 1:
        return torch.ones_like(bce)
    share = torch.full_like(bce, 1 / (m - 1))
    if ambiguous:
        each = (weights.bce * bce + weights.dice * dice)[:, 1:].detach()
        best = torch.zeros(n, m, device=bce.device)
        best[torch.arange(n), each.argmin(1) + 1] = 1 - weights.rest
        share = best + weights.rest / (m - 1)
    share[:, 0] = 1.0
    return share


def class_logits(regions: Tensor, rows: Tensor, entry_of_row: Tensor, classes: int, scale: float) -> Tensor:
    """Compare regions with names: scaled cosines, the best phrase of each entry, background (0) last.

    Args:
        regions: (N, D), unit length.
        rows: (R, D) text embeddings, unit length.
        entry_of_row: (R,) the entry each row belongs to.
        classes: number of entries K.
        scale: factor on cosines.

    Returns:
        (N, K + 1).
    """
    cosines = regions @ rows.T  # (N, R)
    if len(rows) != classes:
        index = entry_of_row.expand(len(regions), -1)
        empty = cosines.new_full((len(regions), classes), -2.0)  # below any cosine
        cosines = empty.scatter_reduce(1, index, cosines, "amax")
    return torch.cat([cosines * scale, cosines.new_zeros(len(cosines), 1)], dim=1)


def _prompts(boxes: Tensor | None, points: Tensor | None) -> PromptTensors:
    if boxes is not None:
        none = boxes.new_zeros(len(boxes), 0, 2)
        return PromptTensors(none, none.new_zeros(len(boxes), 0, dtype=torch.int8), boxes)
    assert points is not None
    return PromptTensors(points, torch.ones(points.shape[:2], dtype=torch.int8, device=points.device))
