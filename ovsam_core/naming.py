"""Names for regions: the learnt branch, the frozen branch and the crop branch, fused, calibrated and ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload
from weakref import WeakKeyDictionary

import torch
from torch.nn import functional

from ovsam_core.calibration import calibrated_scores
from ovsam_core.modeling.fusion import decides, fuse
from ovsam_core.modeling.head import RegionAdapter
from ovsam_core.ranking import rank

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from ovsam_core.modeling.ovsam import OVSAM
    from ovsam_core.results import Branch, Label
    from ovsam_core.text import EncodedVocabulary

__all__ = ["Regions", "embed_regions", "name_regions"]

# 22,000 set look-ups take longer than the rest of ranking: done once a vocabulary.
_SEEN: WeakKeyDictionary[EncodedVocabulary, tuple[tuple[str, ...], Tensor]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Regions:
    """Embeddings of N regions by every branch that took part, unit length.

    Attributes:
        clip: (N, D) frozen branch.
        head: (N, D) learnt branch, or None where the model has none.
        crop: (N, D) crop branch, or None where it did not run.
        tiny: (N,) bool, the mask has no cell on the trunk's grid.
    """

    clip: Tensor
    head: Tensor | None
    crop: Tensor | None
    tiny: Tensor

    def at(self, rows: Sequence[int], crop: Tensor | None = None) -> Regions:
        """Return some of the regions, with their crops' embeddings (len(rows), D) where the crop branch ran."""
        index = torch.tensor(rows, dtype=torch.long, device=self.clip.device)
        return Regions(self.clip[index], None if self.head is None else self.head[index], crop, self.tiny[index])

    @property
    def branches(self) -> tuple[Branch, ...]:
        """Names of the branches that took part."""
        parts: tuple[tuple[Branch, Tensor | None], ...] = (
            ("head", self.head),
            ("clip", self.clip),
            ("crop", self.crop),
        )
        return tuple(name for name, vectors in parts if vectors is not None)


def embed_regions(
    model: OVSAM,
    features: Mapping[str, Tensor],
    boxes: Tensor,
    masks: Tensor,
    label_tokens: Tensor | None = None,
    crop: Tensor | None = None,
) -> Regions:
    """Embed regions of one picture.

    Args:
        model: the model.
        features: of the picture, as `OVSAM.encode` returns them.
        boxes: (N, 4) xyxy, pixels of the network input.
        masks: (N, h, w) mask logits over the padded input.
        label_tokens: (N, C) of the decoder, for models that name by them.
        crop: (N, D) embeddings of the crop branch, where it ran.
    """
    cells = functional.interpolate(masks[:, None], features["trunk"].shape[-2:], mode="bilinear", align_corners=False)
    tiny = ~(cells > 0).any(3).any(2)[:, 0]  # (N,)
    head = None
    if model.head is not None:
        head = model.region_head(features, boxes, masks, label_tokens).float()
    return Regions(model.region_clip(features, boxes, masks).float(), head, crop, tiny)


def name_regions(
    model: OVSAM, regions: Regions, encoded: EncodedVocabulary, *, top_k: int = 9
) -> list[tuple[Label, ...]]:
    """Rank a vocabulary's names for each region.

    Args:
        model: its configuration tells shares, scale and temperature.
        regions: N regions.
        encoded: the names.
        top_k: names a region.

    Returns:
        N tuples of labels, best first.
    """
    if not len(regions.clip) or not len(encoded.vocabulary):
        return [()] * len(regions.clip)
    log_p, frozen_leads = _log_scores(model, regions, encoded)
    k = len(encoded.vocabulary)
    scores = calibrated_scores(log_p[:, :k], log_p[:, k], model.config.temperature)[:, :k].numpy()
    share = model.config.crop.weight
    return [
        rank(row, encoded.vocabulary, _Deciders(regions, i, frozen_leads, encoded, share), top_k=top_k)
        for i, row in enumerate(scores)
    ]


def _log_scores(model: OVSAM, regions: Regions, encoded: EncodedVocabulary) -> tuple[Tensor, Tensor | bool]:
    """Return (N, K + 1) log scores, background last, and whether the frozen branches decide: (N, K) bool, or always."""
    scale, settings = model.logit_scale, model.config.fusion
    share = model.config.crop.weight
    frozen = regions.clip.cpu()
    if regions.crop is not None:
        frozen = functional.normalize((1 - share) * frozen + share * regions.crop.cpu(), dim=-1)
    clip = _with_background(encoded.logits(frozen, scale))
    if regions.head is None:
        return clip.log_softmax(1), True
    vectors = regions.head
    if isinstance(model.head, RegionAdapter):  # it adapts whatever the frozen branches say together
        vectors = model.head(frozen.to(vectors.device))
    head = _with_background(encoded.logits(vectors.cpu(), scale))
    if not settings.enabled:
        return head.log_softmax(1), False
    seen = _seen(model, encoded)
    tiny = regions.tiny.cpu() if settings.tiny_rule else None
    log_p = fuse(head, clip, seen, settings.alpha, settings.beta, tiny)
    return log_p, decides(head, clip, seen, settings.alpha, settings.beta, tiny)[:, :-1]


def _with_background(logits: Tensor) -> Tensor:
    """Append the background column: its embedding is zero, so is its logit."""
    return torch.cat([logits, logits.new_zeros(len(logits), 1)], 1)


def _seen(model: OVSAM, encoded: EncodedVocabulary) -> Tensor:
    """Return (K + 1,) bool, the classes that the head was trained on; the background is one of them."""
    found = _SEEN.get(encoded)
    if found is None or found[0] != model.config.seen:
        known = frozenset(model.config.seen)
        rows = [entry.id in known or entry.name in known for entry in encoded.vocabulary]
        found = _SEEN[encoded] = model.config.seen, torch.tensor([*rows, True])
    return found[1]


class _Deciders(Sequence["Branch"]):
    """Which branch put each name where it stands, found when asked: a large vocabulary needs nine of its 22,000."""

    def __init__(
        self, regions: Regions, row: int, frozen_leads: Tensor | bool, encoded: EncodedVocabulary, share: float
    ) -> None:
        self._regions, self._row = regions, row
        self._frozen_leads = frozen_leads
        self._encoded, self._share = encoded, share

    def __len__(self) -> int:
        return len(self._encoded.vocabulary)

    @overload
    def __getitem__(self, index: int) -> Branch: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Branch]: ...
    def __getitem__(self, index: int | slice) -> Branch | Sequence[Branch]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        leads = self._frozen_leads
        if not (leads if isinstance(leads, bool) else bool(leads[self._row, index])):
            return "head"
        if self._regions.crop is None:
            return "clip"
        by_clip, by_crop = self._encoded.cosines_of(index, self._regions.clip[self._row], self._regions.crop[self._row])
        return "crop" if self._share * by_crop > (1 - self._share) * by_clip else "clip"
