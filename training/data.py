"""Training samples: a picture, flipped, scaled and cropped, with forty prompts on its objects.

Every random choice is a function of (seed, epoch, sample index).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from ovsam_core.errors import FormatError, PictureError
from ovsam_core.pictures import load_picture
from ovsam_core.preprocess import normalise
from training.records import decode_mask
from training.sampling import draw_seed
from training.shared_records import SharedRecords

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from ovsam_core.config import InputConfig
    from ovsam_core.pictures import Picture
    from training.records import ObjectRecord, PictureRecord

__all__ = ["FederatedClasses", "Mixture", "PictureSamples", "PromptArgs", "PromptSamples", "Samples", "collate"]

_TRIES = 8  # neighbours tried in place of an unreadable picture
_CROPS = 4  # random windows tried before one is laid on an object


@dataclass
class PromptArgs:
    """How a picture becomes a sample.

    Attributes:
        boxes: box prompts a picture (paper's code: 21).
        points: prompts by one random point inside the mask (19).
        flip: chance of a horizontal flip.
        scale: least and greatest size, relative to the longest side that fits the input (COCO .9 to 2, LVIS .1 to 2).
        min_area: objects that the crop leaves fewer pixels of are dropped.
        jitter: box prompts' corners are moved by up to this share of the side; 0 as in the paper's code.
    """

    boxes: int = 21
    points: int = 19
    flip: float = 0.5
    scale: tuple[float, ...] = (0.9, 2.0)
    min_area: float = 32.0
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class _View:
    """Where the network's input lies on the picture: flip, then resize to `size_hw`, then cut at `offset_yx`."""

    flip: bool
    size_hw: tuple[int, int]
    offset_yx: tuple[int, int]
    shown_hw: tuple[int, int]
    picture_hw: tuple[int, int]

    def image(self, rgb: NDArray[np.uint8], interpolation: str) -> NDArray[np.uint8]:
        turned = np.ascontiguousarray(rgb[:, ::-1]) if self.flip else rgb
        height, width = self.size_hw
        how = cv2.INTER_AREA if interpolation == "area" and height < rgb.shape[0] else cv2.INTER_LINEAR
        resized = cv2.resize(turned, (width, height), interpolation=how)
        (y, x), (h, w) = self.offset_yx, self.shown_hw
        return np.asarray(resized[y : y + h, x : x + w], np.uint8)

    def mask(self, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Cut the same view out of a mask, (h, w) 0 or 1; only the object's box is resized."""
        shown = np.zeros(self.shown_hw, np.uint8)
        x1, y1, x2, y2 = self.box(_tight(mask.view(np.uint8)).tolist())
        (left, top), (right, bottom) = np.floor((x1, y1)).astype(int), np.ceil((x2, y2)).astype(int)
        if right <= left or bottom <= top:
            return shown
        turned = np.ascontiguousarray(mask[:, ::-1] if self.flip else mask).view(np.uint8) * np.uint8(255)
        y, x = self.offset_yx[0] + top, self.offset_yx[1] + left
        sy, sx = self.picture_hw[0] / self.size_hw[0], self.picture_hw[1] / self.size_hw[1]
        # Output pixel centres → picture pixel centres, as cv2.resize maps them.
        to_source = np.array([[sx, 0, (x + 0.5) * sx - 0.5], [0, sy, (y + 0.5) * sy - 0.5]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        size = (int(right - left), int(bottom - top))
        shown[top:bottom, left:right] = cv2.warpAffine(turned, to_source, size, flags=flags) > 127
        return shown

    def box(self, box: Sequence[float]) -> NDArray[np.float32]:
        x1, y1, x2, y2 = box
        if self.flip:
            x1, x2 = self.picture_hw[1] - x2, self.picture_hw[1] - x1
        sy, sx = self.size_hw[0] / self.picture_hw[0], self.size_hw[1] / self.picture_hw[1]
        (oy, ox), (h, w) = self.offset_yx, self.shown_hw
        moved = np.array([x1 * sx - ox, y1 * sy - oy, x2 * sx - ox, y2 * sy - oy], np.float32)
        moved[0::2] = moved[0::2].clip(0, w)
        moved[1::2] = moved[1::2].clip(0, h)
        return moved


class Samples(Dataset[dict[str, Any]], ABC):
    """Reading with replacement of what cannot be read.

    With `views`, a picture has that many views, which come back every `views` epochs with other prompts: features of a
    frozen encoder can be kept. Without, every epoch has a view of its own.
    """

    def __init__(self, pictures: Iterable[PictureRecord], *, seed: int, views: int = 0) -> None:
        self.pictures, self.seed, self.views = SharedRecords(pictures), seed, views

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        epoch, index = key
        bad: list[tuple[str, str]] = []
        for shift in range(_TRIES):
            place = (index + shift) % len(self.pictures)
            record = self.pictures[place]
            seed = draw_seed(self.seed, epoch, place)
            view = epoch % self.views if self.views else epoch
            try:
                sample = self.sample(record, load_picture(record.path), seed, draw_seed(self.seed, "view", view, place))
            except (PictureError, FormatError) as error:
                bad.append((str(record.path), str(error)))
                continue
            named = {"view": f"{place}/{view}"} if self.views else {}
            return sample | named | {"id": record.id, "seed": seed, "bad": bad}
        raise PictureError(f"{bad[0][0]} and the {len(bad) - 1} pictures after it cannot be read: {bad[0][1]}")

    @abstractmethod
    def sample(self, record: PictureRecord, picture: Picture, seed: int, view_seed: int) -> dict[str, Any]:
        """Make one sample; `view_seed` decides what part of the picture is seen, `seed` everything else."""


class PictureSamples(Samples):
    """Whole pictures as evaluation sees them, for distillation.

    Args:
        pictures: what is read.
        settings: the network's input.
        seed: of the (unused) draws.
    """

    def __init__(self, pictures: Sequence[PictureRecord], settings: InputConfig, *, seed: int = 0) -> None:
        super().__init__(pictures, seed=seed)
        self.settings = settings

    def sample(self, record: PictureRecord, picture: Picture, seed: int, view_seed: int) -> dict[str, Any]:  # noqa: ARG002
        """Return the padded picture: pixels (3, S, S) float32, input_hw, and the picture's key."""
        view = _whole_view(picture.size_hw, self.settings.size, flip=False)
        return {
            "pixels": _pixels(view, picture.rgb, self.settings),
            "input_hw": view.shown_hw,
            "key": picture.key,
            "path": str(record.path),
        }


class FederatedClasses:
    """Which classes an object of a federated picture may be told apart from.

    In LVIS, most classes were not looked for in most pictures: a region may well be one of them too, and so it may be
    one of those that are annotated in part. What counts against an object are the classes known to be absent and the
    completely annotated ones, filled up by others, drawn by the square root of their frequency (Federated Loss, Zhou
    et al. 2021) without those annotated in part.

    Args:
        pictures: the truth, for the frequencies.
        classes: category name → row of the classifier.
        count: number of classes a picture is filled up to.
    """

    def __init__(self, pictures: Sequence[PictureRecord], classes: Mapping[str, int], count: int) -> None:
        self.classes, self.count = dict(classes), count
        self.rows = np.unique(np.fromiter(self.classes.values(), np.int64, len(self.classes)))
        frequency = np.zeros(int(self.rows.max(initial=-1)) + 1)
        for name in (o.name for p in pictures for o in p.objects if o.name in self.classes):
            frequency[self.classes[name]] += 1
        self.chance = np.sqrt(np.maximum(frequency[self.rows], 1))

    def of(self, record: PictureRecord, seed: int) -> NDArray[np.int64]:
        """Return the rows of the classes that take part, ascending."""
        partial = self._rows(record.partial)
        whole = self._rows(record.absent | {o.name for o in record.objects}) - partial
        left = np.array([r not in whole and r not in partial for r in self.rows.tolist()], bool)
        wanted = min(max(0, self.count - len(whole)), int(left.sum()))
        if wanted:
            chance = self.chance * left
            drawn = np.random.default_rng(seed).choice(self.rows, wanted, replace=False, p=chance / chance.sum())
            whole |= set(drawn.tolist())
        return np.array(sorted(whole), np.int64)

    def _rows(self, names: Iterable[str]) -> set[int]:
        return {self.classes[name] for name in names if name in self.classes}


class PromptSamples(Samples):
    """Pictures with prompts on their objects, for CLIP2SAM.

    Args:
        pictures: the truth. Crowd regions are ignored; objects whose name is not in `classes` are left out (that is how
            novel classes stay unseen); objects without a name teach masks alone, objects without a mask names alone.
        classes: category name → row of the classifier.
        settings: the network's input.
        prompts: kinds and augmentation.
        seed: start of every draw.
        views: number of views a picture has; 0 draws a new one every epoch.
        federated: number of classes that take part in the class loss of a picture with federated annotations, see
            `FederatedClasses`; 0 lets all of them take part.
    """

    def __init__(
        self,
        pictures: Sequence[PictureRecord],
        classes: Mapping[str, int],
        settings: InputConfig,
        prompts: PromptArgs,
        *,
        seed: int = 0,
        views: int = 0,
        federated: int = 0,
    ) -> None:
        self.classes = dict(classes)
        self.federated = FederatedClasses(pictures, classes, federated) if federated else None
        super().__init__((p for p in pictures if any(map(self._counts, p.objects))), seed=seed, views=views)
        self.settings, self.prompts = settings, prompts

    def _counts(self, thing: ObjectRecord) -> bool:
        return not thing.crowd and (not thing.name or thing.name in self.classes)

    def sample(self, record: PictureRecord, picture: Picture, seed: int, view_seed: int) -> dict[str, Any]:
        """Draw one view and its prompts.

        Returns:
            pixels (3, S, S) float32; of U objects: boxes (U, 4), masks (U, S, S) uint8, has_mask (U,), labels (U,) with
            -1 for class-free; of P prompts, boxes first: object (P,), prompt_boxes (B, 4), prompt_points (P - B, 1, 2);
            allowed (A,) int64, the classes that take part in the class loss beside each object's own, empty for all.
        """
        rng = np.random.default_rng(view_seed)
        things = [o for o in record.objects if self._counts(o)]
        if record.whole:
            return self._whole(picture, things[0], rng)
        truths = [decode_mask(o, *picture.size_hw) if o.segmentation else None for o in things]
        view, boxes, masks = self._view(picture.size_hw, things, truths, rng)
        chosen = [i for i, box in enumerate(boxes) if box is not None]
        side = self.settings.size
        padded = np.zeros((len(chosen), side, side), np.uint8)
        for row, i in enumerate(chosen):
            cut = masks[i]
            if cut is not None:
                padded[row, : cut.shape[0], : cut.shape[1]] = cut
        has_mask = np.array([masks[i] is not None for i in chosen], bool)
        kept_boxes = np.stack([boxes[i] for i in chosen]) if chosen else np.zeros((0, 4), np.float32)  # type: ignore[misc]
        return {
            "pixels": _pixels(view, picture.rgb, self.settings),
            "boxes": torch.from_numpy(kept_boxes),
            "masks": torch.from_numpy(padded),
            "has_mask": torch.from_numpy(has_mask),
            "labels": torch.tensor([self.classes.get(things[i].name, -1) for i in chosen], dtype=torch.int64),
            "allowed": self._allowed(record, seed),
            **self._prompts(kept_boxes, padded, has_mask, np.random.default_rng(seed)),
        }

    def _allowed(self, record: PictureRecord, seed: int) -> torch.Tensor:
        if self.federated is None or not record.federated:
            return torch.zeros(0, dtype=torch.int64)
        return torch.from_numpy(self.federated.of(record, draw_seed(seed, "federated")))

    def _whole(self, picture: Picture, thing: ObjectRecord, rng: np.random.Generator) -> dict[str, Any]:
        """Classification data: the whole picture is the region; no mask is learnt."""
        view = _whole_view(picture.size_hw, self.settings.size, flip=bool(rng.random() < self.prompts.flip))
        height, width = view.shown_hw
        side = self.settings.size
        return {
            "pixels": _pixels(view, picture.rgb, self.settings),
            "boxes": torch.tensor([[0.0, 0.0, width, height]]),
            "masks": torch.zeros(1, side, side, dtype=torch.uint8),
            "has_mask": torch.zeros(1, dtype=torch.bool),
            "labels": torch.tensor([self.classes[thing.name]]),
            "allowed": torch.zeros(0, dtype=torch.int64),
            "object": torch.zeros(0, dtype=torch.int64),
            "prompt_boxes": torch.zeros(0, 4),
            "prompt_points": torch.zeros(0, 1, 2),
        }

    def _view(
        self,
        picture_hw: tuple[int, int],
        things: Sequence[ObjectRecord],
        truths: Sequence[NDArray[np.bool_] | None],
        rng: np.random.Generator,
    ) -> tuple[_View, list[NDArray[np.float32] | None], list[NDArray[np.uint8] | None]]:
        """Draw a view that shows at least one object, if any object is large enough to be shown."""
        low, high = self.prompts.scale[0], self.prompts.scale[-1]
        flip = bool(rng.random() < self.prompts.flip)
        side = self.settings.size
        for number in range(_CROPS + 1):
            factor = rng.uniform(low, high) * side / max(picture_hw)
            size = (max(1, round(picture_hw[0] * factor)), max(1, round(picture_hw[1] * factor)))
            shown = (min(side, size[0]), min(side, size[1]))
            room = (size[0] - shown[0], size[1] - shown[1])
            offset = (int(rng.integers(room[0] + 1)), int(rng.integers(room[1] + 1)))
            if number == _CROPS:  # lay the window on an object
                box = things[int(rng.integers(len(things)))].box_xyxy
                x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
                x = picture_hw[1] - x if flip else x
                centre = (y * size[0] / picture_hw[0], x * size[1] / picture_hw[1])
                offset = tuple(int(np.clip(c - s / 2, 0, r)) for c, s, r in zip(centre, shown, room, strict=True))  # type: ignore[assignment]
            view = _View(flip, size, offset, shown, picture_hw)
            boxes, masks = self._cut(view, things, truths)
            if any(b is not None for b in boxes):
                break
        return view, boxes, masks

    def _cut(
        self, view: _View, things: Sequence[ObjectRecord], truths: Sequence[NDArray[np.bool_] | None]
    ) -> tuple[list[NDArray[np.float32] | None], list[NDArray[np.uint8] | None]]:
        boxes: list[NDArray[np.float32] | None] = []
        masks: list[NDArray[np.uint8] | None] = []
        for thing, truth in zip(things, truths, strict=True):
            box = view.box(thing.box_xyxy)
            area = float((box[2] - box[0]) * (box[3] - box[1]))
            mask = view.mask(truth) if truth is not None and area >= self.prompts.min_area else None
            area = float(mask.sum()) if mask is not None else area if truth is None else 0.0
            visible = area >= self.prompts.min_area
            boxes.append((_tight(mask) if mask is not None else box) if visible else None)
            masks.append(mask if visible else None)
        return boxes, masks

    def _prompts(
        self,
        boxes: NDArray[np.float32],
        masks: NDArray[np.uint8],
        has_mask: NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> dict[str, Any]:
        """Deal the objects with masks to the prompts: repeated to fill, shuffled, the first ones as boxes."""
        able = np.flatnonzero(has_mask)
        count = self.prompts.boxes + self.prompts.points if len(able) else 0
        order = rng.permutation(np.resize(rng.permutation(able), count)) if count else np.zeros(0, np.int64)
        as_box, as_point = order[: self.prompts.boxes], order[self.prompts.boxes :]
        prompt_boxes = boxes[as_box] if count else np.zeros((0, 4), np.float32)
        if self.prompts.jitter and len(prompt_boxes):
            sides = np.tile(prompt_boxes[:, 2:] - prompt_boxes[:, :2], 2)
            noise = rng.uniform(-self.prompts.jitter, self.prompts.jitter, prompt_boxes.shape)
            prompt_boxes = (prompt_boxes + sides * noise).clip(0, self.settings.size).astype(np.float32)
        inside: dict[int, NDArray[np.float32]] = {}
        points = np.zeros((len(as_point), 1, 2), np.float32)
        for row, i in enumerate(as_point.tolist()):
            if i not in inside:
                x1, y1, x2, y2 = boxes[i].astype(int)
                y, x = np.nonzero(masks[i, y1:y2, x1:x2])
                inside[i] = np.stack([x + x1 + 0.5, y + y1 + 0.5], axis=1, dtype=np.float32)
            points[row, 0] = inside[i][int(rng.integers(len(inside[i])))]
        return {
            "object": torch.from_numpy(order.astype(np.int64)),
            "prompt_boxes": torch.from_numpy(prompt_boxes),
            "prompt_points": torch.from_numpy(points),
        }


@dataclass
class Mixture(Dataset[dict[str, Any]]):
    """Several sources drawn in fixed ratios: masks, boxes alone, and classification pictures in one run.

    Attributes:
        sources: the data sets.
        ratios: how often each is drawn, relative to the others.
        length: samples in an epoch.
        seed: start of every draw.
    """

    sources: list[Samples]
    ratios: list[float]
    length: int
    seed: int = 0
    _share: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._share = np.asarray(self.ratios, np.float64) / sum(self.ratios)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        epoch, index = key
        rng = np.random.default_rng(draw_seed(self.seed, "source", epoch, index))
        source = self.sources[int(rng.choice(len(self.sources), p=self._share))]
        # The picture changes with the epoch, so its views do too: the draw itself serves as the epoch.
        return source[epoch * self.length + index, int(rng.integers(len(source)))]


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Stack pixels; everything that has a length of its own stays a list, one item a picture."""
    batch: dict[str, Any] = {
        key: [s[key] for s in samples] for key in samples[0] if key not in {"pixels", "id", "seed", "bad"}
    }
    return batch | {
        "pixels": torch.stack([s["pixels"] for s in samples]),
        "ids": [s["id"] for s in samples],
        "seeds": [s["seed"] for s in samples],
        "bad": [pair for s in samples for pair in s["bad"]],
    }


def _whole_view(picture_hw: tuple[int, int], side: int, *, flip: bool) -> _View:
    factor = side / max(picture_hw)
    size = (max(1, int(picture_hw[0] * factor + 0.5)), max(1, int(picture_hw[1] * factor + 0.5)))
    return _View(flip, size, (0, 0), size, picture_hw)


def _pixels(view: _View, rgb: NDArray[np.uint8], settings: InputConfig) -> torch.Tensor:
    shown = view.image(rgb, settings.interpolation)
    pixels = torch.zeros(3, settings.size, settings.size)
    pixels[:, : shown.shape[0], : shown.shape[1]] = normalise(shown[None], settings.mean, settings.std)[0]
    return pixels


def _tight(mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    x, y, w, h = cv2.boundingRect(mask)
    return np.array([x, y, x + w, y + h], np.float32)
