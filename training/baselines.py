"""The systems to compare with, in the same evaluator (paper Sec. 4.1): crops named by CLIP, SAM, GrabCut, the box."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
import torch

from ovsam_core.calibration import calibrated_scores
from ovsam_core.prompts import Prompt
from training.args import ConfigError
from training.systems import Answer, System, answer_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ovsam_core.pictures import Picture
    from ovsam_core.predictor import OvsamPredictor
    from ovsam_core.text import EncodedVocabulary

__all__ = ["CropSystem", "GrabCutSystem", "RectangleSystem"]

_CLICK_SIDE = 32  # pixels of the region that is named where a mask is empty, as in our predictor


class RectangleSystem(System):
    """Fills the prompt's box: what any mask has to beat."""

    def __init__(self) -> None:
        self.name = "rectangle"

    def set_image(self, picture: Picture) -> None:
        """Keep the picture's size."""
        self.size_hw = picture.size_hw

    def answer(self, prompts: Sequence[Prompt], truth_boxes: Sequence[Sequence[float]]) -> list[Answer]:  # noqa: ARG002
        """Fill each box.

        Raises:
            ConfigError: a prompt has no box.
        """
        return [Answer(_filled(_box_of(prompt, self.name), self.size_hw)) for prompt in prompts]


class GrabCutSystem(System):
    """OpenCV's GrabCut from the prompt's box (Rother et al. 2004).

    Args:
        iterations: of its graph cut.
    """

    def __init__(self, iterations: int = 5) -> None:
        self.name = "GrabCut"
        self.iterations = iterations

    def set_image(self, picture: Picture) -> None:
        """Keep the pixels, in OpenCV's channel order."""
        self.bgr = np.ascontiguousarray(picture.rgb[..., ::-1])

    def answer(self, prompts: Sequence[Prompt], truth_boxes: Sequence[Sequence[float]]) -> list[Answer]:  # noqa: ARG002
        """Cut each object out of its box.

        Raises:
            ConfigError: a prompt has no box.
        """
        return [Answer(self._cut(_box_of(prompt, self.name))) for prompt in prompts]

    def _cut(self, box: NDArray[np.float32]) -> NDArray[np.bool_]:
        height, width = self.bgr.shape[:2]
        x1, y1 = np.floor(box[:2]).astype(int).clip(0)
        x2, y2 = min(width, int(np.ceil(box[2]))), min(height, int(np.ceil(box[3])))
        filled = _filled(box, (height, width))
        # A box that is the whole picture leaves no background to learn from.
        if filled.all() or x2 - x1 < 2 or y2 - y1 < 2:
            return filled
        labels = np.zeros((height, width), np.uint8)
        models = np.zeros((1, 65), np.float64), np.zeros((1, 65), np.float64)
        cv2.setRNGSeed(0)
        cv2.grabCut(self.bgr, labels, (x1, y1, x2 - x1, y2 - y1), *models, self.iterations, cv2.GC_INIT_WITH_RECT)
        cut = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
        return cut if cut.any() else filled


class CropSystem(System):
    """The paper's two combined baselines: masks from SAM, names from CLIP on the region.

    Args:
        kind: "image-crop" sends the cut-out picture through CLIP, "feature-crop" pools the region from CLIP's last
            feature map of the whole picture.
        predictor: gives CLIP's towers, and masks where `masks` is None.
        encoded: the names' text embeddings; CoOp's learnt ones if wanted.
        masks: the system that segments.
    """

    def __init__(
        self,
        kind: Literal["image-crop", "feature-crop"],
        predictor: OvsamPredictor,
        encoded: EncodedVocabulary | None,
        masks: System | None = None,
    ) -> None:
        self.kind, self.predictor, self.encoded, self.masks = kind, predictor, encoded, masks
        self.name = f"{kind} ({masks.name if masks else predictor.info.id} + {predictor.info.id})"

    def set_image(self, picture: Picture) -> None:
        """Encode the picture by both models."""
        self.picture = picture
        self.predictor.set_image(picture)
        if self.masks is not None:
            self.masks.set_image(picture)

    def answer(self, prompts: Sequence[Prompt], truth_boxes: Sequence[Sequence[float]]) -> list[Answer]:
        """Segment, then name the prompt's box or, for clicks, the mask's."""
        if self.masks is not None:
            answers = self.masks.answer(prompts, truth_boxes)
        else:
            found = self.predictor.predict_batch(list(prompts), picture=self.picture, crop=False)
            answers = [answer_of(prediction) for prediction in found]
        if self.encoded is None:
            return answers
        boxes = [_region(prompt, answer.mask) for prompt, answer in zip(prompts, answers, strict=True)]
        names = self._names(boxes)
        return [replace(a, names=n) for a, n in zip(answers, names, strict=True)]

    def _names(self, boxes: list[NDArray[np.float32]]) -> list[tuple[tuple[str, float], ...]]:
        assert self.encoded is not None
        if self.kind == "feature-crop":
            regions = self.predictor.region_embedding(np.stack(boxes))
        else:
            found = self.predictor.predict_batch(
                [Prompt.of(box=b) for b in boxes], picture=self.picture, crop=True, zoom=False
            )
            regions = np.stack([p.best.crop_region for p in found if p.best.crop_region is not None])
        scale = float(np.exp(self.predictor.config.logit_scale))
        logits = self.encoded.logits(torch.from_numpy(regions), scale)  # (N, K)
        background = torch.zeros(len(logits))
        scores = calibrated_scores(logits, background, self.predictor.config.temperature)[:, :-1].numpy()
        entries = self.encoded.vocabulary.entries
        return [tuple((entries[i].id, float(row[i])) for i in np.argsort(-row, kind="stable")[:9]) for row in scores]


def _box_of(prompt: Prompt, who: str) -> NDArray[np.float32]:
    if prompt.box_xyxy is None:
        raise ConfigError(f"the baseline {who} needs --prompt box")
    return prompt.box_xyxy


def _filled(box: NDArray[np.float32], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Fill the pixels whose centres lie in the box."""
    mask = np.zeros(size_hw, np.bool_)
    x1, y1, x2, y2 = np.round(box).astype(int).clip(0)
    mask[y1:y2, x1:x2] = True
    return mask


def _region(prompt: Prompt, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    if prompt.box_xyxy is not None:
        return prompt.box_xyxy
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    if w:
        return np.array([x, y, x + w, y + h], np.float32)
    height, width = mask.shape
    cx, cy = prompt.points_xy[0]
    half = _CLICK_SIDE / 2
    low = np.array([cx - half, cy - half]).clip(0)
    high = np.minimum([cx + half, cy + half], [width, height])
    return np.concatenate([low, high]).astype(np.float32)
