"""Prompts → predictions on one encoded picture: decode, look closer, name."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from ovsam_core.crop_branch import crop_embeddings
from ovsam_core.crumbs import without_crumbs
from ovsam_core.mask_window import picture_mask, picture_window
from ovsam_core.masks import Mask
from ovsam_core.modeling.roi import mask_boxes
from ovsam_core.naming import embed_regions, name_regions
from ovsam_core.preprocess import to_input, to_original
from ovsam_core.prompt_batch import fallback_box, prompt_tensors
from ovsam_core.results import Candidate, Prediction
from ovsam_core.zoom import Zoom, paste_logits, zoom_window

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from ovsam_core.embedding import ImageEmbedding
    from ovsam_core.modeling.mask_decoder import DecodedMasks
    from ovsam_core.modeling.ovsam import OVSAM
    from ovsam_core.prompts import Prompt
    from ovsam_core.results import Label
    from ovsam_core.speed import Speed
    from ovsam_core.text import EncodedVocabulary

__all__ = [
    "Draft",
    "Look",
    "answer_prompts",
    "blended",
    "decode",
    "draft_prompts",
    "finish",
    "look_closer",
    "predicted_iou",
]

_AGREE = 0.3
"""IoU with the first answer below which the zoom pass has found another object and is dropped."""

_BLEND = 0.1
"""Difference of predicted IoU by which one of the zoom pass's candidates counts e times as much as another."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """All that answering needs of one picture.

    Attributes:
        model: the network.
        device: where it runs.
        speed: how its encoder runs.
        embedding: of the picture.
        features: the embedding's maps on the device, float32.
        rgb: the picture's pixels, or None.
        encoded: names to rank, or None.
        top_k: how many.
        zoom: look closer at small objects, where `rgb` is there.
        crop: run the crop branch, where `rgb` is there.
    """

    model: OVSAM
    device: torch.device
    speed: Speed
    embedding: ImageEmbedding
    features: Mapping[str, Tensor]
    rgb: NDArray[np.uint8] | None
    encoded: EncodedVocabulary | None
    top_k: int
    zoom: bool
    crop: bool

    @property
    def side(self) -> int:
        """Side of the square network input, pixels."""
        return self.model.config.input.size

    @property
    def closer(self) -> bool:
        """Whether the zoom pass may run."""
        return self.zoom and self.rgb is not None


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """One mask before it is named.

    Attributes:
        prompt: what was asked.
        logits: (h, w) float32 low-resolution logits over the padded input.
        iou: predicted IoU, 0 to 1.
        token: (C,) the decoder's label token.
        mask: at the picture's size.
        region: (4,) float32 xyxy picture pixels: what is named.
        zoomed: the zoom pass made it.
    """

    prompt: Prompt
    logits: Tensor
    iou: float
    token: Tensor
    mask: Mask
    region: NDArray[np.float32]
    zoomed: bool = False


@torch.inference_mode()
def answer_prompts(look: Look, prompts: Sequence[Prompt]) -> list[Prediction]:
    """Answer prompts that have the same parts and the same number of points."""
    clock = _Clock()
    drafts = draft_prompts(look, prompts)
    clock.stage("decode", len(prompts))
    if look.closer:
        drafts = [_sorted([look_closer(look, own[0]), *own[1:]]) for own in drafts]
        clock.stage("zoom", len(prompts))
    return finish(look, drafts, clock)


def draft_prompts(look: Look, prompts: Sequence[Prompt], *, best_only: bool = False) -> list[list[Draft]]:
    """Decode prompts that have the same parts; best first by predicted IoU.

    Args:
        look: the picture.
        prompts: N prompts.
        best_only: leave out all candidates but the best scored.
    """
    decoded = decode(look, look.features, look.embedding, look.side, prompts)
    scores = predicted_iou(decoded)
    regions = _regions(look, prompts, decoded.logits)
    count = scores.shape[1]
    kept = scores.argmax(1, keepdim=True) if best_only else torch.arange(count).expand(len(prompts), count)
    return [
        _sorted(
            Draft(
                prompt,
                decoded.logits[i, m],
                float(scores[i, m]),
                decoded.label_tokens[i],
                picture_mask(decoded.logits[i, m], look.embedding, look.side),
                regions[i, m],
            )
            for m in kept[i].tolist()
        )
        for i, prompt in enumerate(prompts)
    ]


def decode(
    look: Look, features: Mapping[str, Tensor], place: ImageEmbedding, side: int, prompts: Sequence[Prompt]
) -> DecodedMasks:
    """Run the decoder on prompts with the same parts, in float32 whatever the encoder's precision is."""
    tensors = prompt_tensors(prompts, place, side, look.device)
    decoded = look.model.decode(features, tensors)
    stride, share = side // decoded.logits.shape[-1], look.model.config.decoder.crumbs
    return replace(decoded, logits=without_crumbs(decoded.logits, tensors, stride, share))


def predicted_iou(decoded: DecodedMasks) -> Tensor:
    """Return (N, M) float32 on the CPU, 0 to 1.

    The one-mask form has no IoU head: SAM's stability score stands in, the IoU of the mask at the logits +1 and -1.
    """
    if decoded.iou is not None:
        return decoded.iou.float().clamp(0, 1).cpu()
    sure = (decoded.logits > 1).sum((2, 3)).float()
    possible = (decoded.logits > -1).sum((2, 3)).float()
    return (sure / possible.clamp(min=1)).cpu()


def finish(look: Look, drafts: Sequence[Sequence[Draft]], clock: _Clock | None = None) -> list[Prediction]:
    """Name masks, best first for each prompt, and make predictions of them."""
    clock = clock or _Clock()
    flat = [draft for own in drafts for draft in own]
    if not flat:
        return []
    bests = np.cumsum([0, *(len(own) for own in drafts[:-1])]).tolist()
    boxes = torch.from_numpy(to_input(np.stack([d.region for d in flat]), look.embedding.scale_xy)).to(look.device)
    logits = torch.stack([d.logits for d in flat])
    tokens = torch.stack([d.token for d in flat])
    found = embed_regions(look.model, look.features, boxes, logits, tokens)
    vectors = found.clip.cpu().numpy()
    clock.stage("names", len(drafts))
    crops: dict[int, NDArray[np.float32]] = {}
    parts: list[tuple[list[int], Tensor | None]] = [(list(range(len(flat))), None)]
    if look.crop and look.rgb is not None:  # of the best candidates only: each costs two passes through the trunk
        regions = np.stack([flat[i].region for i in bests])
        crop = crop_embeddings(look.model, look.rgb, regions, masks=[flat[i].mask for i in bests], device=look.device)
        crops = dict(zip(bests, crop.cpu().numpy(), strict=True))
        parts = [(bests, crop), (sorted(set(range(len(flat))) - set(bests)), None)]
        clock.stage("crop", len(drafts))
    labels: dict[int, tuple[Label, ...]] = dict.fromkeys(range(len(flat)), ())
    if look.encoded is not None:
        for rows, cropped in parts:
            named = name_regions(look.model, found.at(rows, cropped), look.encoded, top_k=look.top_k)
            labels |= zip(rows, named, strict=True)
        clock.stage("names", len(drafts))
    predictions = []
    for start, own in zip(bests, drafts, strict=True):
        candidates = tuple(
            _candidate(draft, vectors[start + j], crops.get(start + j), labels[start + j])
            for j, draft in enumerate(own)
        )
        used = (*_branches(look, bool(crops)), *(("zoom",) if any(d.zoomed for d in own) else ()))
        predictions.append(Prediction(candidates, used, not own[0].mask.area, clock.shares()))
    return predictions


def _regions(look: Look, prompts: Sequence[Prompt], logits: Tensor) -> NDArray[np.float32]:
    """Return (N, M, 4) picture boxes to name: the prompt's box, else the mask's, else the prompt's surroundings."""
    n, m = logits.shape[:2]
    fallback = np.stack([fallback_box(prompt, look.embedding) for prompt in prompts])  # (N, 4)
    if prompts[0].box_xyxy is not None:
        return np.repeat(fallback[:, None], m, axis=1)
    spare = torch.from_numpy(to_input(fallback, look.embedding.scale_xy)).to(logits.device)
    stride = look.side // logits.shape[-1]
    boxes = mask_boxes(logits.flatten(0, 1), spare.repeat_interleave(m, 0), stride)  # (N M, 4)
    h, w = look.embedding.size_hw
    original = to_original(boxes.cpu().numpy(), look.embedding.scale_xy)
    return np.clip(original, 0, np.array([w, h, w, h], np.float32)).reshape(n, m, 4)


def look_closer(look: Look, draft: Draft) -> Draft:
    """Decode a small object again in a crop of its own; return the first answer where that does not help."""
    assert look.rgb is not None
    settings = look.model.config.zoom
    embedding = look.embedding
    x, y, w, h = draft.mask.bbox_xywh
    if not w or max(w * embedding.scale_xy[0], h * embedding.scale_xy[1]) >= settings.below:
        return draft
    # A person's box tells better than the first answer where the object ends.
    near = np.array([x, y, x + w, y + h], np.float32) if draft.prompt.box_xyxy is None else draft.prompt.box_xyxy
    window = zoom_window(near, embedding.size_hw, settings.scale)
    if window is None:
        return draft
    side = settings.size or look.side
    zoom = Zoom(look.rgb, window)
    pixels, place = zoom.input(look.model.config.input, side)
    with look.speed.autocast(look.device):
        raw = look.model.encode(look.speed.arrange(pixels.to(look.device)))
    features = {name: tensor.float() for name, tensor in raw.items()}
    decoded = decode(look, features, place, side, [zoom.prompt(draft.prompt, draft.logits, embedding, look.side)])
    scores = predicted_iou(decoded)[0]
    # The first answer settled which object it is, so these candidates differ at the edge alone: there they vote.
    blend = blended(decoded.logits[0], scores)
    answer, ax, ay = picture_window(blend, padded=side, input_hw=place.input_hw, size_hw=place.size_hw)
    x1, y1, x2, y2 = window
    full = np.zeros(embedding.size_hw, np.bool_, order="F")
    full[y1 + ay : y1 + ay + answer.shape[0], x1 + ax : x1 + ax + answer.shape[1]] = answer > 0
    first = draft.mask.full()
    if (first & full).sum() < _AGREE * (first | full).sum():
        return draft
    mask = Mask.of(full)
    region = draft.region
    if draft.prompt.box_xyxy is None:
        mx, my, mw, mh = mask.bbox_xywh
        region = np.array([mx, my, mx + mw, my + mh], np.float32)
    spread = np.full((y2 - y1, x2 - x1), -10.0, np.float32)  # off the object where the window was not computed
    spread[ay : ay + answer.shape[0], ax : ax + answer.shape[1]] = answer
    logits = paste_logits(spread, zoom, embedding, look.side).to(draft.logits.device)
    # It refines the answer that was best in the whole picture, and crops are scored a little lower: it stays the first.
    quality = max(draft.iou, float(scores.max()))
    return replace(draft, logits=logits, iou=quality, mask=mask, region=region, zoomed=True)


def blended(logits: Tensor, scores: Tensor) -> Tensor:
    """Return the (h, w) logits of the mean probability of (M, h, w) candidates, weighted by their (M,) scores."""
    weights = torch.softmax(scores.to(logits.device) / _BLEND, 0)
    return torch.logit((logits.sigmoid() * weights[:, None, None]).sum(0), eps=1e-4)


def _sorted(drafts: Iterable[Draft]) -> list[Draft]:
    """Best predicted IoU first; masks without a pixel come last."""
    return sorted(drafts, key=lambda d: (not d.mask.area, -d.iou))


def _candidate(
    draft: Draft, region: NDArray[np.float32], crop: NDArray[np.float32] | None, labels: tuple[Label, ...]
) -> Candidate:
    x, y, w, h = draft.mask.bbox_xywh
    x1, y1, x2, y2 = (float(v) for v in ((x, y, x + w, y + h) if w else draft.region))
    return Candidate(draft.mask, draft.iou, draft.logits.half().cpu().numpy(), (x1, y1, x2, y2), labels, region, crop)


def _branches(look: Look, cropped: bool) -> tuple[str, ...]:
    fused = look.model.config.fusion.enabled
    parts = ["head"] if look.model.head is not None else []
    if not parts or fused:
        parts.append("clip")
        if cropped:
            parts.append("crop")
    return tuple(parts) if look.encoded is not None else ()


class _Clock:
    """Milliseconds a prompt by stage."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self._stages: dict[str, float] = {}

    def stage(self, name: str, prompts: int) -> None:
        now = time.perf_counter()
        self._stages[name] = self._stages.get(name, 0.0) + (now - self._last) * 1000 / max(1, prompts)
        self._last = now

    def shares(self) -> dict[str, float]:
        return dict(self._stages)
