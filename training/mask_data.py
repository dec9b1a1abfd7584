"""Training samples for masks: crops round one object, windows at picture scale, and whole pictures, with their masks.

Every sample is a pure function of (seed, sample index, epoch), so runs repeat and resume exactly. A share of the
samples is the same in every epoch: the frozen trunk looks at those once, and only their prompts change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from ovsam_core.crops import window_inside
from ovsam_core.errors import PictureError
from ovsam_core.pictures import load_picture
from training.records import mask_of, read_records
from training.sampling import draw_seed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ovsam_core.masks import Mask

__all__ = ["MaskDataArgs", "MaskObject", "MaskSamples", "collate", "cut_window", "load_objects"]

FILL = 127
"""Value outside the picture; zero after the starter's normalisation, like the padding at run time."""


@dataclass
class MaskDataArgs:
    """What masks are learnt from and how it is cut.

    Attributes:
        sources: COCO files in the data folder and how often each is drawn from, relative to the others.
        samples: samples in an epoch.
        fixed: share of the samples that is the same in every epoch, so that the trunk's maps can be kept.
        zoom: share of crops round one object (the zoom pass at run time).
        window: share of crops at picture scale; the rest are whole pictures.
        crop: side of a crop, pixels.
        whole: sides of whole pictures, pixels; one is drawn for each.
        zoom_scale: side of a crop over the longer side of its object, smallest and largest.
        targets: objects prompted in a crop.
        targets_whole: objects prompted in a whole picture.
        smallest: least area of an object in a crop, pixels of the crop.
    """

    sources: dict[str, float] = field(
        default_factory=lambda: {"coco_train": 6.0, "persons_train": 1.5, "bsds_train": 2.0, "clothing_train": 1.5}
    )
    samples: int = 8000
    fixed: float = 0.75
    zoom: float = 0.7
    window: float = 0.22
    crop: int = 256
    whole: tuple[int, ...] = (384, 512)
    zoom_scale: tuple[float, ...] = (1.15, 2.6)
    targets: int = 3
    targets_whole: int = 5
    smallest: float = 60.0


@dataclass(frozen=True, slots=True)
class MaskObject:
    """One annotated mask.

    Attributes:
        picture: index into the list of pictures.
        box_xyxy: pixels, far edges exclusive.
        area: pixels.
        mask: its pixels.
    """

    picture: int
    box_xyxy: tuple[float, float, float, float]
    area: float
    mask: Mask


def load_objects(path: Path) -> tuple[list[Path], list[MaskObject]]:
    """Read pictures (from the folder `images` beside the file) and objects of a COCO file; crowds are left out.

    Raises:
        FormatError: any error the engine's reader reports, with place and field.
    """
    records = read_records(path)
    objects = [
        MaskObject(index, o.box_xyxy, o.area, mask_of(o, picture.height, picture.width))
        for index, picture in enumerate(records)
        for o in picture.masked()
        if o.box_xyxy[2] - o.box_xyxy[0] >= 1 and o.box_xyxy[3] - o.box_xyxy[1] >= 1
    ]
    return [picture.path for picture in records], objects


@dataclass(frozen=True, slots=True)
class _Window:
    """A square cut (x, y, side) of a picture, resized to `size` pixels; whole pictures keep their corner at 0, 0."""

    x: int
    y: int
    side: int
    size: int

    def cut(self, image: NDArray[np.uint8], fill: int) -> NDArray[np.uint8]:
        return cut_window(image, self.x, self.y, self.side, self.size, fill)


def cut_window(image: NDArray[np.uint8], x: int, y: int, side: int, size: int, fill: int) -> NDArray[np.uint8]:
    """Cut the square (x, y, side) out of a picture (H, W, …) and resize it to `size`, as the predictor does.

    Shrunk by area averaging, enlarged bilinearly; `fill` stands outside the picture.
    """
    height, width = image.shape[:2]
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + side, width), min(y + side, height)
    canvas = np.full((side, side, *image.shape[2:]), fill, np.uint8)
    canvas[top - y : bottom - y, left - x : right - x] = image[top:bottom, left:right]
    how = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(canvas, (size, size), interpolation=how), np.uint8)


class MaskSamples(Dataset[dict[str, Any]]):
    """Pictures and masks for the mask stage; `samples[epoch, index]` is one sample.

    A sample is a dict: "id", "key" (equal keys hold equal pixels), "pixels" (S, S, 3) uint8, "masks" (T, S/2, S/2)
    float16 shares of covered pixels, "seed".

    Attributes:
        pictures: of all sources, one source after the other.
        source_of: place of a picture's COCO file in the list of sources, by the picture's file name.
    """

    def __init__(self, folder: Path, args: MaskDataArgs, *, seed: int) -> None:
        self.args, self.seed = args, seed
        self.pictures: list[Path] = []
        self.source_of: dict[str, int] = {}
        self.objects: list[MaskObject] = []
        self.by_picture: dict[int, list[int]] = {}
        shares = []
        for place, (name, weight) in enumerate(args.sources.items()):
            pictures, objects = load_objects(folder / f"{name}.json")
            self.source_of |= {path.name: place for path in pictures}
            first = len(self.pictures)
            self.pictures += pictures
            # Small objects teach little about outlines and are many; the square root of the area evens them out.
            draw = np.array([min(1.0, (o.area / 96**2) ** 0.5) for o in objects])
            shares.append(weight * draw / draw.sum())
            for o in objects:
                self.by_picture.setdefault(o.picture + first, []).append(len(self.objects))
                self.objects.append(MaskObject(o.picture + first, o.box_xyxy, o.area, o.mask))
        self.chances = np.concatenate(shares) / sum(args.sources.values())
        self._kept: dict[int, dict[str, Any]] = {}

    def __len__(self) -> int:
        return self.args.samples

    def __getitem__(self, which: tuple[int, int]) -> dict[str, Any]:
        epoch, index = which
        fixed = index < self.args.fixed * self.args.samples
        sample = self._kept.get(index)
        if sample is None:
            sample = self._make(index, 0 if fixed else epoch)
            if fixed and sample["pixels"].shape[0] <= self.args.crop:
                sample["key"] = index
                self._kept[index] = sample
        return {**sample, "seed": draw_seed(self.seed, epoch, index, "prompts")}

    def _make(self, index: int, epoch: int) -> dict[str, Any]:
        bad = []
        for attempt in range(20):
            rng = np.random.default_rng(draw_seed(self.seed, epoch, index, attempt, "sample"))
            main = int(rng.choice(len(self.objects), p=self.chances))
            path = self.pictures[self.objects[main].picture]
            try:
                image = load_picture(path).rgb
            except PictureError as error:
                bad.append((str(path), str(error)))
                continue
            sample = self._cut(image, main, rng)
            if sample is not None:
                return {**sample, "id": path.name, "key": None, "bad": bad}
        why = f"; the last error: {bad[-1][1]}" if bad else ""
        raise PictureError(f"{path}: the last of twenty draws in a row that gave no usable sample{why}")

    def _cut(self, image: NDArray[np.uint8], main: int, rng: np.random.Generator) -> dict[str, Any] | None:
        args, kind = self.args, rng.random()
        target = self.objects[main]
        whole = kind >= args.zoom + args.window
        if kind < args.zoom:
            window = _window_inside(target, image.shape[:2], args, rng)
        elif not whole:
            window = _scale_window(target, image.shape[:2], args, rng)
        else:
            longest = max(image.shape[:2])
            window = _Window(0, 0, longest, int(rng.choice(args.whole)))
        masks = self._masks(main, window, rng, args.targets_whole if whole else args.targets)
        if not masks:
            return None
        pixels = window.cut(image, FILL)
        stack = np.stack(masks)
        if rng.random() < 0.5 and not whole:
            pixels, stack = pixels[:, ::-1], stack[:, :, ::-1]
        elif rng.random() < 0.5 and whole:
            pixels, stack = _flip_whole(pixels, stack, image.shape[1] / window.side)
        pixels = _recolour(pixels, rng)
        return {"pixels": np.ascontiguousarray(pixels), "masks": np.ascontiguousarray(stack)}

    def _masks(self, main: int, window: _Window, rng: np.random.Generator, count: int) -> list[NDArray[np.float16]]:
        """The main object first, then others that the window shows more than half of."""
        others = [i for i in self.by_picture[self.objects[main].picture] if i != main]
        rng.shuffle(others)
        found: list[NDArray[np.float16]] = []
        for i in (main, *others[:12]):
            if len(found) == count:
                break
            x1, y1, x2, y2 = self.objects[i].box_xyxy
            if x1 >= window.x + window.side or x2 <= window.x or y1 >= window.y + window.side or y2 <= window.y:
                continue
            full = self.objects[i].mask.full()
            small = window.cut(full * np.uint8(255), 0)
            area = float(small.sum()) / 255
            shown = area * (window.side / window.size) ** 2 / max(1.0, self.objects[i].area)
            if area >= self.args.smallest and shown > (0.3 if i == main else 0.5):
                half = small.reshape(window.size // 2, 2, window.size // 2, 2).mean((1, 3)) / 255
                found.append(half.astype(np.float16))
            elif i == main:
                return []
        return found


def _window_inside(
    target: MaskObject, size_hw: tuple[int, ...], args: MaskDataArgs, rng: np.random.Generator
) -> _Window:
    """The zoom pass's window, larger or smaller, and off the middle as it is when the first mask was wrong."""
    x1, y1, x2, y2 = target.box_xyxy
    longest = max(x2 - x1, y2 - y1)
    scale = float(np.exp(rng.uniform(np.log(args.zoom_scale[0]), np.log(args.zoom_scale[-1]))))
    slack = (scale - 1) / 2 * longest
    dx, dy = rng.uniform(-0.7, 0.7, 2) * slack
    x, y, side = window_inside((x1 + dx, y1 + dy, x2 + dx, y2 + dy), (size_hw[0], size_hw[1]), scale)
    return _Window(x, y, side, args.crop)


def _scale_window(
    target: MaskObject, size_hw: tuple[int, ...], args: MaskDataArgs, rng: np.random.Generator
) -> _Window:
    """A window at the scale of a whole 512-pixel picture, a little larger or smaller, somewhere over the object."""
    side = max(size_hw) * args.crop / 512 * float(np.exp(rng.uniform(np.log(0.7), np.log(1.5))))
    x1, y1, x2, y2 = target.box_xyxy
    if max(x2 - x1, y2 - y1) > side:
        return _window_inside(target, size_hw, args, rng)
    left = rng.uniform(min(x2 - side, x1), max(x2 - side, x1))
    top = rng.uniform(min(y2 - side, y1), max(y2 - side, y1))
    left = min(max(left, 0.0), max(0.0, size_hw[1] - side))
    top = min(max(top, 0.0), max(0.0, size_hw[0] - side))
    return _Window(round(left), round(top), round(side), args.crop)


def _flip_whole(
    pixels: NDArray[np.uint8], masks: NDArray[np.float16], share: float
) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Mirror the picture, but leave its padding at the right."""
    half = round(masks.shape[2] * share)
    pixels, masks = pixels.copy(), masks.copy()
    pixels[:, : 2 * half] = pixels[:, : 2 * half][:, ::-1].copy()
    masks[:, :, :half] = masks[:, :, :half][:, :, ::-1].copy()
    return pixels, masks


def _recolour(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    gain = rng.uniform(0.8, 1.2) * rng.uniform(0.95, 1.05, 3)
    shift = rng.uniform(-12, 12)
    table = np.clip((np.arange(256)[:, None] - 127) * gain + 127 + shift, 0, 255).astype(np.uint8)
    return np.stack([table[pixels[..., c], c] for c in range(3)], axis=-1)


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Keep samples apart (they differ in size) as lists, pixels as (3, S, S) uint8 tensors."""
    return {
        "ids": [s["id"] for s in samples],
        "seeds": [s["seed"] for s in samples],
        "bad": [pair for s in samples for pair in s["bad"]],
        "keys": [s["key"] for s in samples],
        "pixels": [torch.from_numpy(s["pixels"]).permute(2, 0, 1) for s in samples],
        "masks": [torch.from_numpy(s["masks"]) for s in samples],
    }
