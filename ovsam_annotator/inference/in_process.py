"""The engine on a real model, in this process: what the model's own process runs, and what tests run on `tiny`.

This is the annotator's only module that imports torch; the window's process never imports it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from ovsam_annotator.inference.messages import (
    Encode,
    Encoded,
    EncodeText,
    Everything,
    ModelReady,
    Predict,
    Predicted,
    Progress,
    Proposed,
    SelectModel,
    TextEncoded,
    is_background,
)
from ovsam_annotator.inference.segmenter import UnknownVocabularyError
from ovsam_annotator.model.shapes import mask_shape
from ovsam_core.embedding_cache import EmbeddingCache
from ovsam_core.errors import CancelledError, OvsamError
from ovsam_core.pictures import Picture, load_picture
from ovsam_core.predictor import load_predictor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ovsam_annotator.inference.messages import Answer, Request
    from ovsam_core.embedding import ImageEmbedding
    from ovsam_core.predictor import OvsamPredictor
    from ovsam_core.results import Prediction
    from ovsam_core.text import EncodedVocabulary

__all__ = ["ModelEngine"]

_PICTURE_BYTES = 1 << 30  # decoded pictures kept for the zoom pass and the crop branch
_TEXTS = 4  # vocabularies kept encoded
_QUIET_S = 0.4  # after a prompt: who refines an object clicks again about then
_FALLBACK = "tiny"


class _Local(threading.local):
    """Which request a thread of this engine works on."""

    background: bool = False
    cancelled: Callable[[], bool] | None = None


class ModelEngine:
    """An `Engine` that holds a predictor, decoded pictures, embeddings and encoded vocabularies.

    Two threads may call `run` at once. Before every layer of the network a request looks whether it was cancelled, and
    a background one waits there while the other thread works and for a moment after a prompt: the user's click never
    waits for a prefetch, and a paused prefetch loses no work.

    Args:
        model_id: model to load at the first request, unless a `SelectModel` comes before.
        cache: embeddings in memory and on the disk; a default one where None is given.
        fallback: use a small random model, with a notice, where the wanted one cannot be found.
        quiet_s: how long background work rests after a prompt.
    """

    def __init__(
        self,
        model_id: str,
        *,
        cache: EmbeddingCache | None = None,
        fallback: bool = False,
        quiet_s: float = _QUIET_S,
    ) -> None:
        self._model_id = model_id
        self._cache = cache if cache is not None else EmbeddingCache()
        self._fallback = fallback
        self._predictor: OvsamPredictor | None = None
        self._notice = ""
        self._hooks: list[Any] = []
        self._loading = threading.Lock()
        self._local = _Local()
        self._gate = threading.Condition()
        self._user_requests = 0
        self._quiet_s = quiet_s
        self._quiet_until = 0.0
        self._in_flight: dict[str, threading.Event] = {}
        self._encoding_names = threading.Lock()
        self._pictures: OrderedDict[str, Picture] = OrderedDict()
        self._texts: OrderedDict[str, EncodedVocabulary] = OrderedDict()
        self._guard = threading.Lock()

    def run(self, request: Request, report: Callable[[Progress], None], cancelled: Callable[[], bool]) -> Answer:
        """Work on one request; see `Engine.run`."""
        background = is_background(request)
        self._local.background, self._local.cancelled = background, cancelled
        if not background:
            with self._gate:
                self._user_requests += 1
        try:
            return self._answer(request, report, cancelled)
        finally:
            self._local.background, self._local.cancelled = False, None
            if not background:
                with self._gate:
                    if isinstance(request, Predict):
                        self._quiet_until = time.monotonic() + self._quiet_s
                    self._user_requests -= 1
                    self._gate.notify_all()

    def close(self) -> None:
        """Drop the model and everything kept in memory."""
        self._drop_model()
        with self._guard:
            self._pictures.clear()

    def _answer(self, request: Request, report: Callable[[Progress], None], cancelled: Callable[[], bool]) -> Answer:
        match request:
            case SelectModel():
                if request.model_id != self._model_id:
                    self._drop_model()
                    self._model_id = request.model_id
                report(Progress(None, "loading"))
                return self._ready(self._model())
            case EncodeText():
                self._encode_text(request, report, cancelled)
                return TextEncoded(request.vocabulary.digest)
            case Encode():
                start = time.perf_counter()
                _, cached = self._embedding(request.picture_id, request.path, report)
                return Encoded(request.picture_id, time.perf_counter() - start, cached)
            case Predict():
                prediction = self._predict(request, report)
                shapes = tuple(mask_shape(c.mask) for c in prediction.candidates)
                return Predicted(request.picture_id, request.generation, prediction, shapes, request.hover)
            case Everything():
                found = self._everything(request, report, cancelled)
                shapes = tuple(mask_shape(p.mask) for p in found)
                return Proposed(request.picture_id, request.generation, found, shapes)

    def _model(self) -> OvsamPredictor:
        with self._loading:
            if self._predictor is None:
                try:
                    predictor = load_predictor(self._model_id)
                except OvsamError as error:
                    if not self._fallback:
                        raise
                    predictor = load_predictor(_FALLBACK)
                    self._notice = f"{error}. A small untrained model stands in: its masks and names mean nothing."
                for module in predictor.model.modules():
                    self._hooks.append(module.register_forward_pre_hook(self._before_layer))
                self._predictor = predictor
            return self._predictor

    def _drop_model(self) -> None:
        with self._loading:
            for hook in self._hooks:
                hook.remove()
            self._hooks.clear()
            self._predictor = None
            self._notice = ""
            with self._guard:
                self._texts.clear()
            self._cache.forget_memory()

    def _ready(self, predictor: OvsamPredictor) -> ModelReady:
        info = predictor.info
        return ModelReady(info.id, str(predictor.device), info.head_hash, info.licence, self._notice)

    def _before_layer(self, *_: object) -> None:
        local = self._local
        if local.background:
            with self._gate:
                while (self._user_requests or time.monotonic() < self._quiet_until) and not (
                    local.cancelled and local.cancelled()
                ):
                    self._gate.wait(0.05)  # wakes to look whether the paused work is still wanted
        self._check_wanted()

    def _picture(self, path: str) -> Picture:
        with self._guard:
            known = self._pictures.get(path)
            if known is not None:
                self._pictures.move_to_end(path)
                return known
        picture = load_picture(path)
        with self._guard:
            self._pictures[path] = picture
            while len(self._pictures) > 1 and sum(p.rgb.nbytes for p in self._pictures.values()) > _PICTURE_BYTES:
                self._pictures.popitem(last=False)
        return picture

    def _embedding(self, picture_id: int, path: str, report: Callable[[Progress], None]) -> tuple[ImageEmbedding, bool]:
        """The picture's embedding, and whether no network had to run."""
        report(Progress(picture_id, "reading"))
        picture = self._picture(path)
        predictor = self._model()
        self._wait_for_other(picture.key)
        found = self._cache.get(predictor.info.encoder_hash, picture.key)
        if found is not None:
            return found, True
        with self._guard:
            done = self._in_flight[picture.key] = threading.Event()
        try:
            report(Progress(picture_id, "encoding"))
            embedding = predictor.set_image(picture)
            self._cache.put(embedding)
            return embedding, False
        finally:
            with self._guard:
                self._in_flight.pop(picture.key, None)
            done.set()

    def _wait_for_other(self, key: str) -> None:
        """Let the other thread finish this very picture instead of starting it again."""
        with self._guard:
            other = self._in_flight.get(key)
        if other is not None:
            with self._stepping_aside():
                while not other.wait(0.05):
                    self._check_wanted()

    @contextmanager
    def _stepping_aside(self) -> Iterator[None]:
        """Let background work run: it is doing what this thread, the user's, waits for."""
        user = not self._local.background
        if user:
            with self._gate:
                self._user_requests -= 1
                self._quiet_until = 0.0
                self._gate.notify_all()
        try:
            yield
        finally:
            if user:
                with self._gate:
                    self._user_requests += 1

    def _check_wanted(self) -> None:
        if self._local.cancelled is not None and self._local.cancelled():
            raise CancelledError("no longer wanted")

    def _predict(self, request: Predict, report: Callable[[Progress], None]) -> Prediction:
        text = self._text(request.vocabulary_digest)
        embedding, _ = self._embedding(request.picture_id, request.path, report)
        report(Progress(request.picture_id, "decoding"))
        prompt = request.prompt
        return self._model().predict(
            points=prompt.points_xy if len(prompt.points_xy) else None,
            point_labels=prompt.labels if len(prompt.points_xy) else None,
            box=prompt.box_xyxy,
            mask=prompt.mask,
            vocabulary=text,
            embedding=embedding,
            picture=None if request.hover else self._picture(request.path),
        )

    def _everything(
        self, request: Everything, report: Callable[[Progress], None], cancelled: Callable[[], bool]
    ) -> tuple[Prediction, ...]:
        text = self._text(request.vocabulary_digest)
        embedding, _ = self._embedding(request.picture_id, request.path, report)

        def progress(fraction: float) -> None:
            report(Progress(request.picture_id, "decoding", fraction))

        boxes = None if request.boxes is None else torch.tensor(request.boxes, dtype=torch.float32).numpy()
        return tuple(
            self._model().everything(embedding, boxes=boxes, vocabulary=text, progress=progress, cancelled=cancelled)
        )

    def _encode_text(
        self, request: EncodeText, report: Callable[[Progress], None], cancelled: Callable[[], bool]
    ) -> None:
        digest = request.vocabulary.digest
        with self._guard:
            if digest in self._texts:
                self._texts.move_to_end(digest)
                return

        def progress(fraction: float) -> None:
            report(Progress(None, "names", fraction))

        model = self._model()
        with self._stepping_aside():
            while not self._encoding_names.acquire(timeout=0.05):
                self._check_wanted()
        try:
            encoded = model.encode_vocabulary(request.vocabulary, progress=progress, cancelled=cancelled)
        finally:
            self._encoding_names.release()
        with self._guard:
            self._texts[digest] = encoded
            while len(self._texts) > _TEXTS:
                self._texts.popitem(last=False)

    def _text(self, digest: str) -> EncodedVocabulary:
        with self._guard:
            found = self._texts.get(digest)
        if found is None:
            raise UnknownVocabularyError(f"vocabulary {digest}: its names were not encoded")
        return found
