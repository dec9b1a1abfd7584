"""A segmenter without a model, for demo and tests: ellipses round the prompt, and names from the vocabulary."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from ovsam_annotator.inference.messages import (
    Encode,
    Encoded,
    EncodeText,
    Everything,
    ModelReady,
    Predict,
    Predicted,
    Proposed,
    SelectModel,
    TextEncoded,
)
from ovsam_annotator.inference.segmenter import UnknownVocabularyError
from ovsam_annotator.model.shapes import mask_shape
from ovsam_core.masks import Mask
from ovsam_core.pictures import picture_size
from ovsam_core.prompts import Prompt
from ovsam_core.results import Candidate, Label, Prediction

if TYPE_CHECKING:
    from collections.abc import Callable

    from ovsam_annotator.inference.messages import Answer, Progress, Request
    from ovsam_core.vocabulary import Vocabulary

__all__ = ["FAKE_MODEL", "FakeEngine"]

FAKE_MODEL = "demo"
_LOGITS = 64  # side of the low-resolution logits
_DIMENSION = 16  # of the region vectors


class FakeEngine:
    """An `Engine` that draws ellipses: round the positive points, or in the box, without the negative points."""

    def __init__(self) -> None:
        self._vocabularies: dict[str, Vocabulary] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        self._guard = threading.Lock()

    def run(self, request: Request, report: Callable[[Progress], None], cancelled: Callable[[], bool]) -> Answer:
        """Answer at once; only the picture's header is read."""
        del report, cancelled
        match request:
            case SelectModel():
                return ModelReady(FAKE_MODEL, "demo", "demo", "MIT")
            case EncodeText():
                with self._guard:
                    self._vocabularies[request.vocabulary.digest] = request.vocabulary
                return TextEncoded(request.vocabulary.digest)
            case Encode():
                self._size(request.path)
                return Encoded(request.picture_id, 0.0, cached=False)
            case Predict():
                prediction = self._predict(request.path, request.prompt, request.vocabulary_digest)
                shapes = tuple(mask_shape(c.mask) for c in prediction.candidates)
                return Predicted(request.picture_id, request.generation, prediction, shapes, request.hover)
            case Everything():
                boxes = request.boxes if request.boxes is not None else self._grid(request.path)
                found = tuple(
                    self._predict(request.path, Prompt.of(box=box), request.vocabulary_digest) for box in boxes
                )
                shapes = tuple(mask_shape(p.mask) for p in found)
                return Proposed(request.picture_id, request.generation, found, shapes)

    def close(self) -> None:
        """Nothing to give back."""

    def _size(self, path: str) -> tuple[int, int]:
        with self._guard:
            known = self._sizes.get(path)
        if known is None:
            known = picture_size(path)
            with self._guard:
                self._sizes[path] = known
        return known

    def _grid(self, path: str) -> list[tuple[float, float, float, float]]:
        width, height = self._size(path)
        columns = np.linspace(0, width, 4)
        rows = np.linspace(0, height, 4)
        return [
            (float(columns[i]), float(rows[j]), float(columns[i + 1]), float(rows[j + 1]))
            for j in range(3)
            for i in range(3)
        ]

    def _predict(self, path: str, prompt: Prompt, digest: str) -> Prediction:
        with self._guard:
            vocabulary = self._vocabularies.get(digest)
        if vocabulary is None:
            raise UnknownVocabularyError(f"vocabulary {digest}: its names were not encoded")
        width, height = self._size(path)
        labels = _names(vocabulary, path, prompt)
        candidates = []
        for scale, iou in ((1.0, 0.95), (0.6, 0.8), (1.5, 0.7)):
            pixels = _ellipses(prompt, width, height, scale)
            mask = Mask.of(pixels)
            x, y, w, h = mask.bbox_xywh
            box = (float(x), float(y), float(x + w), float(y + h))
            rows = np.minimum(np.arange(_LOGITS) * height // _LOGITS, height - 1)
            columns = np.minimum(np.arange(_LOGITS) * width // _LOGITS, width - 1)
            logits = np.where(pixels[np.ix_(rows, columns)], 6, -6).astype(np.float16)
            seed = xxhash.xxh3_64_intdigest(labels[0].entry_id.encode())
            region = np.random.default_rng(seed).normal(size=_DIMENSION).astype(np.float32)
            candidates.append(Candidate(mask, iou, logits, box, labels, region / np.linalg.norm(region)))
        return Prediction(tuple(candidates), ("head", "clip"), empty=candidates[0].mask.area == 0)


def _ellipses(prompt: Prompt, width: int, height: int, scale: float) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """(H, W) bool: what the prompt describes."""
    ys, xs = np.ogrid[:height, :width]
    xs, ys = xs + 0.5, ys + 0.5  # centres of pixels
    pixels = np.zeros((height, width), np.bool_)
    if prompt.box_xyxy is not None:
        x1, y1, x2, y2 = (float(v) for v in prompt.box_xyxy)
        shrink = min(scale, 1.0)
        rx, ry = max((x2 - x1) / 2 * shrink, 0.5), max((y2 - y1) / 2 * shrink, 0.5)
        pixels |= ((xs - (x1 + x2) / 2) / rx) ** 2 + ((ys - (y1 + y2) / 2) / ry) ** 2 <= 1
    elif prompt.mask is not None and prompt.mask.shape == (height, width):
        pixels |= prompt.mask > 0
    radius = max(min(width, height) / 16 * scale, 2.0)
    for (x, y), positive in zip(prompt.points_xy.tolist(), prompt.labels.tolist(), strict=True):
        disc = (xs - x) ** 2 + (ys - y) ** 2 <= radius**2
        pixels = pixels | disc if positive else pixels & ~disc
    return pixels


def _names(vocabulary: Vocabulary, path: str, prompt: Prompt) -> tuple[Label, ...]:
    """Nine names that depend on the picture and on where the prompt is, roughly."""
    if len(prompt.points_xy):
        x, y = prompt.points_xy[0].tolist()
    elif prompt.box_xyxy is not None:
        x, y = ((prompt.box_xyxy[:2] + prompt.box_xyxy[2:]) / 2).tolist()
    else:
        x, y = 0.0, 0.0
    cell = f"{path}:{int(x) // 32}:{int(y) // 32}"  # neighbours within 32 pixels share their names
    first = xxhash.xxh3_64_intdigest(cell.encode())
    count = min(9, len(vocabulary))
    scores = np.array([0.62 * 0.55**k for k in range(count)])
    entries = [vocabulary[(first + k) % len(vocabulary)] for k in range(count)]
    return tuple(Label(e.id, e.name, float(s), "head") for e, s in zip(entries, scores, strict=True))
