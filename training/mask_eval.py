"""Quick figures for choosing masks while they train: box and clicks, on the whole picture and with the zoom pass.

`python -m training.mask_eval --run RUN --data COCO.json --limit 60` reads the newest averaged weights of a mask run.
The figures that count are those of `training.evaluate`, which asks the predictor.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  the options are read from the annotations
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  the usual name
from torch import Tensor

from ovsam_core.config import named_config
from ovsam_core.crops import window_inside
from ovsam_core.errors import CheckpointError
from ovsam_core.modeling.prompt_encoder import PromptTensors
from ovsam_core.pictures import load_picture
from training import checkpoints, metrics
from training.args import command
from training.mask_data import FILL, cut_window, load_objects
from training.mask_task import MaskTask, PromptArgs, normalise
from training.starter_features import load_trunk

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["QuickArgs", "View", "main", "mask_figures"]


@dataclass
class QuickArgs:
    """Quick figures of a mask run.

    Attributes:
        run: folder of the mask run.
        data: COCO file with its pictures in `images` beside it.
        limit: objects to look at, spread evenly over the file.
        clicks: clicks to simulate.
        zoom: side of the zoom pass's crop, pixels.
        smallest: least area of an object, pixels.
        threads: processor threads; 0 leaves it to torch.
    """

    run: Path
    data: Path
    limit: int = 60
    clicks: int = 3
    zoom: int = 256
    smallest: float = 1024.0
    threads: int = 0


@dataclass(frozen=True)
class View:
    """What the network saw of a picture: features of a square cut, and how to come back to the picture.

    Attributes:
        features: of the cut.
        x: left edge of the cut, pixels of the picture.
        y: top edge.
        side: of the cut, pixels of the picture.
        size: of the network input, pixels.
        size_hw: of the picture.
    """

    features: dict[str, Tensor]
    x: int
    y: int
    side: int
    size: int
    size_hw: tuple[int, int]

    @classmethod
    def of(cls, task: MaskTask, image: NDArray[np.uint8], x: int, y: int, side: int, size: int) -> View:
        """Cut, resize and encode."""
        pixels = torch.from_numpy(cut_window(image, x, y, side, size, FILL)).permute(2, 0, 1)[None]
        ready = normalise(pixels)
        return cls(task.path.encode(ready, task.maps(ready)), x, y, side, size, (image.shape[0], image.shape[1]))

    def decode(
        self,
        task: MaskTask,
        points: NDArray[np.float32],
        labels: NDArray[np.int8],
        box: NDArray[np.float32] | None,
        previous: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Answer one prompt given in pixels of the picture.

        Args:
            task: trained parts.
            points: (P, 2).
            labels: (P,).
            box: (4,) or None.
            previous: (1, 1, H, W) logits of the picture's size, or None.

        Returns:
            Logits (M, H, W) of the picture's size (-8 outside the cut), predicted IoU (M,), and low-resolution logits.
        """
        scale, corner = self.size / self.side, np.array([self.x, self.y], np.float32)
        coords = torch.from_numpy((points - corner) * np.float32(scale))[None]
        frame = None
        if box is not None:
            frame = torch.from_numpy((box - np.tile(corner, 2)) * np.float32(scale)).clamp(0, self.size)[None]
        logits = None if previous is None else self._inward(previous)
        found = task.path.decoder(self.features, PromptTensors(coords, torch.from_numpy(labels)[None], frame, logits))
        assert found.iou is not None
        return self._outward(found.logits), found.iou[0], found.logits

    def _inward(self, previous: Tensor) -> Tensor:
        """Cut the picture-sized logits as the pixels were cut."""
        height, width = self.size_hw
        right, bottom = max(0, self.x + self.side - width), max(0, self.y + self.side - height)
        padded = F.pad(previous, (0, right, 0, bottom), value=-8.0)
        cut = padded[:, :, self.y : self.y + self.side, self.x : self.x + self.side]
        grid = self.size // 4
        return F.interpolate(cut, (grid, grid), mode="bilinear", align_corners=False, antialias=self.side > grid)

    def _outward(self, logits: Tensor) -> Tensor:
        height, width = self.size_hw
        large = F.interpolate(logits, (self.side, self.side), mode="bilinear", align_corners=False)[0]
        full = large.new_full((large.shape[0], height, width), -8.0)
        h, w = min(self.side, height - self.y), min(self.side, width - self.x)
        full[:, self.y : self.y + h, self.x : self.x + w] = large[:, :h, :w]
        return full


@torch.no_grad()
def mask_figures(
    task: MaskTask,
    file: Path,
    *,
    limit: int,
    clicks: int = 5,
    whole: int = 512,
    zoom: int = 256,
    smallest: float = 1024.0,
) -> dict[str, float]:
    """Return mean IoU for every way of prompting.

    Args:
        task: trained parts, in eval mode.
        file: COCO file with its pictures in `images` beside it.
        limit: objects to look at, spread evenly over the file.
        clicks: clicks to simulate; 0 leaves clicks out.
        whole: side of whole pictures, pixels.
        zoom: side of the zoom pass's crop, pixels.
        smallest: least area of an object, pixels.
    """
    pictures, objects = load_objects(file)
    objects = [o for o in objects if o.area >= smallest]
    chosen = [objects[i] for i in np.unique(np.linspace(0, len(objects) - 1, limit).round().astype(int))]
    sums: dict[str, list[float]] = {}
    last, view = -1, None
    for target in sorted(chosen, key=lambda o: o.picture):
        if target.picture != last:
            last, image = target.picture, load_picture(pictures[target.picture]).rgb
            view = View.of(task, image, 0, 0, max(image.shape[:2]), whole)
        assert view is not None
        truth = target.mask.full()
        for name, value in _one(task, image, view, truth, np.array(target.box_xyxy, np.float32), clicks, zoom).items():
            sums.setdefault(name, []).append(value)
    return {"n": float(len(chosen)), **{name: float(np.mean(values)) for name, values in sums.items()}}


def _one(
    task: MaskTask,
    image: NDArray[np.uint8],
    view: View,
    truth: NDArray[np.bool_],
    box: NDArray[np.float32],
    clicks: int,
    zoom: int,
) -> dict[str, float]:
    none, no_labels = np.zeros((0, 2), np.float32), np.zeros(0, np.int8)
    figures = {}
    logits, iou, _ = view.decode(task, none, no_labels, box, None)
    best = int(iou.argmax())
    figures["box_whole"] = _iou(logits[best], truth)
    close = View.of(task, image, *window_inside(box, truth.shape), zoom)
    fresh, iou, _ = close.decode(task, none, no_labels, box, None)
    figures["box_zoom"] = _iou(fresh[int(iou.argmax())], truth)
    again, iou, _ = close.decode(task, none, no_labels, box, logits[best][None, None])
    figures["box_zoom_prior"] = _iou(again[int(iou.argmax())], truth)
    figures["box_mean"] = _iou((fresh[int(iou.argmax())] + again[int(iou.argmax())]) / 2, truth)
    points, labels = none, no_labels
    previous: Tensor | None = None
    kept: View | None = None
    for number in range(1, clicks + 1):
        if previous is None:
            click = (*metrics.centre_point(truth), 1)
        else:
            found = metrics.next_click(truth, (previous > 0).numpy(), [(x, y) for x, y in points.tolist()])
            if found is None:  # nothing is left to correct: the answer stays
                figures[f"clicks_{number}"] = 1.0
                continue
            click = found
        points = np.concatenate((points, np.array([click[:2]]))).astype(np.float32)
        labels = np.append(labels, click[2]).astype(np.int8)
        prior = None if previous is None else previous[None, None]
        base = view if kept is None else kept
        logits, iou, _ = base.decode(task, points, labels, None, prior)
        each = [_iou(m, truth) for m in logits]
        best = int(iou.argmax())
        first = logits[best]
        if number == 1:
            figures["click_whole"], figures["click_oracle"] = each[best], max(each)
            figures["click_single"] = each[0]
        if number in (1, 2, 3):
            ys, xs = np.nonzero((first > 0).numpy())
            if len(ys):
                frame = (min(xs.min(), points[:, 0].min()), min(ys.min(), points[:, 1].min()))
                far = (max(xs.max() + 1, points[:, 0].max()), max(ys.max() + 1, points[:, 1].max()))
                kept = View.of(task, image, *window_inside((*frame, *far), truth.shape), zoom)
                logits, iou, _ = kept.decode(task, points, labels, None, first[None, None])
                first = logits[int(iou.argmax())]
        previous = first
        figures[f"clicks_{number}"] = _iou(previous, truth)
    return figures


def _iou(logits: Tensor, truth: NDArray[np.bool_]) -> float:
    return metrics.mask_iou((logits > 0).numpy(), truth)


def main(args: QuickArgs) -> None:
    """Print the figures of a run's newest checkpoint."""
    if args.threads:
        torch.set_num_threads(args.threads)
    newest = checkpoints.latest(args.run)
    if newest is None:
        raise CheckpointError(f"{args.run}: holds no checkpoint of the mask stage")
    task = MaskTask(load_trunk(), named_config("starter"), PromptArgs())
    fresh = task.start_from(checkpoints.load(newest).ema)
    if fresh:
        raise CheckpointError(f"{newest}: not of the starter's configuration: {', '.join(fresh[:5])}")
    task.path.to(memory_format=torch.channels_last)
    task.eval()
    figures = mask_figures(
        task, args.data, limit=args.limit, clicks=args.clicks, zoom=args.zoom, smallest=args.smallest
    )
    print(f"{newest.name} {args.data.name} " + " ".join(f"{k} {v:.3f}" for k, v in figures.items()))


if __name__ == "__main__":
    sys.exit(command(QuickArgs, main, program="python -m training.mask_eval"))
