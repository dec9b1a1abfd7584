"""Teaching the adapter head: names from few pictures, on embeddings that the frozen branches computed once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from ovsam_core.crop_branch import crop_embeddings
from ovsam_core.errors import FormatError, PictureError
from ovsam_core.masks import Mask
from ovsam_core.pictures import load_picture
from ovsam_core.preprocess import resize_and_pad, to_input
from training.bad_pictures import BadPictures
from training.records import decode_mask
from training.sampling import draw_seed
from training.task import Task, train_only
from training.tasks import class_logits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovsam_core.modeling.ovsam import OVSAM
    from ovsam_core.text import EncodedVocabulary
    from training.records import PictureRecord

__all__ = ["AdapterTask", "RegionVectors", "collate_vectors", "embed_objects"]


class RegionVectors(Dataset[dict[str, Any]]):
    """Region embeddings with their names.

    Args:
        vectors: (N, D) float32 of the frozen branches, unit length.
        labels: (N,) int64 rows of the vocabulary.
        ids: N ids of the pictures they come from.
        seed: start of every draw.
    """

    def __init__(self, vectors: Tensor, labels: Tensor, ids: Sequence[str], *, seed: int = 0) -> None:
        self.vectors, self.labels, self.ids, self.seed = vectors, labels, list(ids), seed

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        epoch, index = key
        return {
            "id": self.ids[index],
            "seed": draw_seed(self.seed, epoch, index),
            "vector": self.vectors[index],
            "label": self.labels[index],
        }


def collate_vectors(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Stack vectors and labels."""
    return {
        "ids": [s["id"] for s in samples],
        "seeds": [s["seed"] for s in samples],
        "bad": [],
        "vectors": torch.stack([s["vector"] for s in samples]),
        "labels": torch.stack([s["label"] for s in samples]),
    }


class AdapterTask(Task):
    """Learn the residual on the frozen embedding, and nothing where nothing was taught.

    Cross-entropy over the vocabulary, classes weighted by n^-1/2, plus an anchor: text embeddings, which stand for
    regions of every other name, must come out of the adapter as they went in.

    Args:
        network: with an adapter head; all the rest is frozen.
        encoded: the vocabulary that is ranked: taught names and others beside them.
        counts: (K,) examples of each entry.
        noise: standard deviation, relative to the vector's length, of noise on the embeddings.
        anchor: weight of the anchor.
    """

    network: OVSAM
    rows: Tensor
    entry_of_row: Tensor
    others: Tensor
    class_weight: Tensor

    def __init__(
        self,
        network: OVSAM,
        encoded: EncodedVocabulary,
        counts: Tensor,
        *,
        noise: float = 0.3,
        anchor: float = 1.0,
    ) -> None:
        super().__init__()
        self.network = train_only(network, ("head",))
        self.noise, self.anchor = noise, anchor
        rows = torch.from_numpy(encoded.rows.astype(np.float32))
        owner = torch.from_numpy(encoded.entry_of_row)
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("entry_of_row", owner, persistent=False)
        self.register_buffer("others", rows[counts[owner] == 0], persistent=False)
        self.register_buffer("class_weight", counts.clamp(min=1).float().rsqrt(), persistent=False)
        self.classes = len(counts)

    def totals(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Sum the class weights."""
        return {"names": self.class_weight[batch["labels"]].sum()}

    def forward(self, batch: Mapping[str, Any], totals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return class loss and anchor."""
        vectors, labels = batch["vectors"], batch["labels"]
        spread = self.noise / vectors.shape[1] ** 0.5
        jitter = [torch.randn(vectors.shape[1], generator=torch.Generator().manual_seed(s)) for s in batch["seeds"]]
        seen = functional.normalize(vectors + spread * torch.stack(jitter).to(vectors), dim=1)
        scores = self.scores(seen)
        each = functional.cross_entropy(scores, labels, reduction="none") * self.class_weight[labels]
        terms = {"names": each.sum() / totals["names"].clamp(min=1e-6)}
        if len(self.others):
            share = self.class_weight[labels].sum() / totals["names"]
            still = 1 - (self._adapted(self.others) * self.others).sum(1)
            terms["anchor"] = self.anchor * still.mean() * share
        return terms

    def scores(self, vectors: Tensor) -> Tensor:
        """Return (N, K + 1) logits of frozen embeddings, background last."""
        return class_logits(
            self._adapted(vectors), self.rows, self.entry_of_row, self.classes, self.network.logit_scale
        )

    def _adapted(self, vectors: Tensor) -> Tensor:
        assert self.network.head is not None  # the constructor was given a network with an adapter
        adapted: Tensor = self.network.head(vectors)
        return adapted


@torch.no_grad()
def embed_objects(
    network: OVSAM,
    pictures: Sequence[PictureRecord],
    rows: Mapping[str, int],
    device: torch.device,
    *,
    crop_share: float | None = None,
    max_bad: float = 0.01,
) -> tuple[Tensor, Tensor, list[str]]:
    """Embed every named object as naming will see it: by its box (and mask), and by crops where the model has them.

    Args:
        network: on the device.
        pictures: the truth; unreadable pictures and masks are passed over and printed.
        rows: category name → row of the vocabulary; other objects are passed over.
        device: where to compute.
        crop_share: share of the crop embedding, 0 to 1; None as the model's configuration says.
        max_bad: share of unreadable pictures that stops the run.

    Raises:
        TooManyBadPicturesError: more cannot be read; the message names the first.

    Returns:
        (N, D) float32 unit length, (N,) int64 rows, N picture ids.
    """
    vectors, labels, ids = [torch.zeros(0, network.config.embed_dim)], [], []
    bad = BadPictures(len(pictures), max_bad)
    side = network.config.input.size
    settings = network.config.crop
    share = (settings.weight if settings.enabled else 0.0) if crop_share is None else crop_share
    for record in pictures:
        things = [o for o in record.objects if not o.crowd and o.name in rows]
        if not things:
            continue
        try:
            picture = load_picture(record.path)
            truths = [decode_mask(o, *picture.size_hw) if o.segmentation is not None else None for o in things]
        except (PictureError, FormatError) as error:
            bad.add([(str(record.path), str(error))])
            continue
        made = resize_and_pad(picture.rgb, network.config)
        features = network.encode(made.pixels.to(device))
        boxes = np.array([o.box_xyxy for o in things], np.float32)
        masks = torch.stack([_low_resolution(t, b, made, side) for t, b in zip(truths, boxes, strict=True)])
        scaled = torch.from_numpy(to_input(boxes, made.scale_xy)).to(device)
        found = network.region_clip(features, scaled, masks.to(device)).float()
        if share:
            masks_full = [
                Mask.of(t) if t is not None else Mask.from_box(_xywh(o.box_xyxy), *picture.size_hw)
                for o, t in zip(things, truths, strict=True)
            ]
            crops = crop_embeddings(network, picture.rgb, boxes, masks=masks_full, device=device)
            found = functional.normalize((1 - share) * found + share * crops, dim=1)
        vectors.append(found.cpu())
        labels += [rows[o.name] for o in things]
        ids += [record.id] * len(things)
    return torch.cat(vectors), torch.tensor(labels, dtype=torch.int64), ids


def _xywh(box_xyxy: Sequence[float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = box_xyxy
    return x1, y1, x2 - x1, y2 - y1


def _low_resolution(truth: Any, box: Any, made: Any, side: int) -> Tensor:
    """Return a mask (or a filled box) as logits of ±6 at stride 4 of the padded input."""
    grid = side // 4
    logits = torch.full((grid, grid), -6.0)
    height, width = made.input_hw
    rows, columns = max(1, round(height / 4)), max(1, round(width / 4))
    if truth is None:
        x1, y1, x2, y2 = np.round(to_input(np.asarray(box)[None], made.scale_xy)[0] / 4).astype(int)
        logits[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)] = 6.0
        return logits
    small = functional.interpolate(torch.from_numpy(truth)[None, None].float(), (rows, columns), mode="area")[0, 0]
    logits[:rows, :columns] = small * 12 - 6
    return logits
