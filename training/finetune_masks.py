"""Fine-tuning masks as they are used: whole pictures and zoom crops, boxes and clicks, first answers and refined ones.

Nearly every mask of a small object leaves the program through the zoom pass: a crop round the first answer, encoded at
another size, with that answer as prompt. A decoder that learns from whole pictures alone forgets it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch import nn

from ovsam_core.preprocess import resize_and_pad
from ovsam_core.zoom import Zoom, zoom_window
from training.data import Samples
from training.mask_task import MaskTask, PromptArgs
from training.records import decode_mask
from training.task import Task, train_only

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from ovsam_core.config import ModelConfig
    from ovsam_core.modeling.mask_decoder import MaskDecoder
    from ovsam_core.modeling.ovsam import OVSAM
    from ovsam_core.pictures import Picture
    from training.records import PictureRecord

__all__ = ["DecoderTask", "ViewArgs", "ViewSamples", "collate_views"]

_SHOWN = 0.6  # share of an object's box that a crop must show of it: of less, nobody could tell its outline


@dataclass
class ViewArgs:
    """What is looked at while masks are learnt.

    Attributes:
        zoom: share of crops round one object, as the zoom pass cuts them; the others are whole pictures.
        scale: side of a crop over the longer side of its object, smallest and largest.
        objects: at most this many objects are prompted in a view.
        flip: chance of a horizontal flip.
        colour: greatest change of brightness and of each channel's gain, as a share.
        smallest: objects with fewer pixels than this at the network's input teach nothing.
    """

    zoom: float = 0.8
    scale: tuple[float, ...] = (1.3, 2.2)
    objects: int = 4
    flip: float = 0.5
    colour: float = 0.15
    smallest: float = 60.0


class ViewSamples(Samples):
    """Whole pictures and crops of annotated pictures, with the masks in them.

    Args:
        pictures: the truth; only objects with a mask count.
        config: of the network: its input and its zoom pass.
        args: what is looked at.
        seed: start of every draw.
        views: number of views a picture has; 0 draws a new one every epoch.
    """

    def __init__(
        self, pictures: Sequence[PictureRecord], config: ModelConfig, args: ViewArgs, *, seed: int = 0, views: int = 0
    ) -> None:
        super().__init__((p for p in pictures if p.masked()), seed=seed, views=views)
        self.config, self.args = config, args

    def sample(self, record: PictureRecord, picture: Picture, seed: int, view_seed: int) -> dict[str, Any]:
        """Draw one view and the objects to prompt in it.

        Returns:
            pixels (3, S, S) float32, normalised; masks (T, S/2, S/2) float32, shares of the pixels that are covered.
        """
        rng = np.random.default_rng(view_seed)
        things, rgb = record.masked(), picture.rgb
        if flip := bool(rng.random() < self.args.flip):
            rgb = np.ascontiguousarray(rgb[:, ::-1])
        width = rgb.shape[1]
        boxes = [_flipped(o.box_xyxy, width) if flip else o.box_xyxy for o in things]
        target = int(rng.integers(len(things)))
        window = self._window(boxes[target], picture.size_hw, rng)
        rgb = _recoloured(rgb, rng, self.args.colour)
        if window is None:
            size, window = self.config.input.size, (0, 0, width, rgb.shape[0])
            made = resize_and_pad(rgb, self.config)
            pixels, input_hw = made.pixels[0], made.input_hw
        else:
            size = self.config.zoom.size or self.config.input.size
            cut, place = Zoom(rgb, window).input(self.config.input, size)
            pixels, input_hw = cut[0], place.input_hw
        draw = np.random.default_rng(seed)
        shown = [
            i for i in draw.permutation(len(things)).tolist() if i != target and _share(boxes[i], window) >= _SHOWN
        ]
        masks: list[NDArray[np.float32]] = []
        for i in [target, *shown]:
            truth = decode_mask(things[i], *picture.size_hw)
            mask = _half(truth[:, ::-1] if flip else truth, window, input_hw, size)
            large = 4 * mask.sum() >= self.args.smallest or i == target
            if large and mask.max() > 0.5:  # else nothing is left that a prompt could point at
                masks.append(mask)
            if len(masks) == self.args.objects:
                break
        stacked = np.stack(masks) if masks else np.zeros((0, size // 2, size // 2), np.float32)
        return {"pixels": pixels, "masks": torch.from_numpy(stacked)}

    def _window(
        self, box_xyxy: Sequence[float], size_hw: tuple[int, int], rng: np.random.Generator
    ) -> tuple[int, int, int, int] | None:
        """Return a crop round the box, a little off its middle, or None for the whole picture."""
        if not self.config.zoom.enabled or rng.random() >= self.args.zoom:
            return None
        scale = float(rng.uniform(self.args.scale[0], self.args.scale[-1]))
        box = np.array(box_xyxy, np.float32)
        slack = 0.3 * (scale - 1) * float(max(box[2:] - box[:2]))
        shift = np.tile(rng.uniform(-slack, slack, 2).astype(np.float32), 2)
        return zoom_window(box + shift, size_hw, scale)


class DecoderTask(MaskTask):
    """Learn masks from simulated prompts, the decoder alone; the frozen encoder's features are kept by view.

    Args:
        network: with the full form of the decoder; all of it but the decoder is frozen.
        prompts: how prompts are simulated.
        keep: keep the features of samples that name their view.
    """

    path: _Network  # type: ignore[assignment]

    def __init__(self, network: OVSAM, prompts: PromptArgs, *, keep: bool = True) -> None:
        Task.__init__(self)  # not MaskTask's: there is no path of its own to build
        network = train_only(network, ("mask_decoder",), ("mask_decoder.prompt_encoder",))
        self.path = _Network(network)
        self.prompts, self.keep = prompts, keep
        self._features: dict[str, dict[str, Tensor]] = {}

    def forward(self, batch: Mapping[str, Any], totals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Task.forward`; every view is answered alone, so that a batch may be divided at will."""
        terms: dict[str, Tensor] = {}
        for index in range(len(batch["ids"])):
            masks = batch["masks"][index]
            if not len(masks):
                continue
            features = self._kept(batch["view"][index] if "view" in batch else None, batch["pixels"][index])
            parts = self._answer(features, masks, batch["seeds"][index], totals["objects"])
            terms = {k: terms[k] + v if k in terms else v for k, v in parts.items()}
        return terms or {"single": next(self.path.decoder.parameters()).sum() * 0.0}

    def architecture(self) -> dict[str, Any]:
        """Return the parameters that learn."""
        return Task.architecture(self)

    def _kept(self, view: str | None, pixels: Tensor) -> dict[str, Tensor]:
        found = self._features.get(view) if view is not None else None
        if found is None:
            with torch.no_grad():
                made = self.path.network.encode(pixels[None])
            found = {k: v.half() for k, v in made.items()}  # as embeddings are kept at run time
            if self.keep and view is not None:
                self._features[view] = {k: v.cpu() for k, v in found.items()}
        return {k: v.to(pixels.device, torch.float32) for k, v in found.items()}


class _Network(nn.Module):
    """The whole network where the mask stage has a path of its own."""

    def __init__(self, network: OVSAM) -> None:
        super().__init__()
        self.network = network

    @property
    def decoder(self) -> MaskDecoder:
        return self.network.mask_decoder


def collate_views(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Keep views apart, for they differ in size."""
    batch: dict[str, Any] = {
        "ids": [s["id"] for s in samples],
        "seeds": [s["seed"] for s in samples],
        "bad": [pair for s in samples for pair in s["bad"]],
        "pixels": [s["pixels"] for s in samples],
        "masks": [s["masks"] for s in samples],
    }
    return batch | ({"view": [s["view"] for s in samples]} if "view" in samples[0] else {})


def _flipped(box_xyxy: Sequence[float], width: int) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = box_xyxy
    return width - x2, y1, width - x1, y2


def _share(box_xyxy: Sequence[float], window_xyxy: Sequence[float]) -> float:
    """Return the share of a box that lies in a window."""
    low = np.maximum(box_xyxy[:2], window_xyxy[:2])
    high = np.minimum(box_xyxy[2:], window_xyxy[2:])
    area = (box_xyxy[2] - box_xyxy[0]) * (box_xyxy[3] - box_xyxy[1])
    return float(np.clip(high - low, 0, None).prod() / max(area, 1e-6))


def _recoloured(rgb: NDArray[np.uint8], rng: np.random.Generator, most: float) -> NDArray[np.uint8]:
    gain = 1 + rng.uniform(-most, most) + rng.uniform(-most / 3, most / 3, 3)
    table = np.clip(np.arange(256)[:, None] * gain + 0.5, 0, 255).astype(np.uint8)  # (256, 3)
    return np.stack([table[rgb[..., c], c] for c in range(3)], axis=-1)


def _half(
    truth: NDArray[np.bool_], window_xyxy: tuple[int, int, int, int], input_hw: tuple[int, int], size: int
) -> NDArray[np.float32]:
    """Return the mask in a window at half the network's input, (size/2, size/2), padded with zeros."""
    x1, y1, x2, y2 = window_xyxy
    cut = np.ascontiguousarray(truth[y1:y2, x1:x2]).astype(np.float32)
    height, width = max(1, round(input_hw[0] / 2)), max(1, round(input_hw[1] / 2))
    how = cv2.INTER_AREA if height < cut.shape[0] else cv2.INTER_LINEAR
    padded = np.zeros((size // 2, size // 2), np.float32)
    padded[:height, :width] = cv2.resize(cut, (width, height), interpolation=how)
    return padded
