"""The model for people's programs: numpy in, masks and names out; a picture is encoded once, a prompt costs little."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from ovsam_core import everything
from ovsam_core.answer import Look, answer_prompts
from ovsam_core.checkpoint import hashes_of, load_model
from ovsam_core.config import named_config
from ovsam_core.embedding import ImageEmbedding
from ovsam_core.errors import CheckpointError, EmbeddingError, ModelError, PromptError
from ovsam_core.modeling.build import build_model
from ovsam_core.models.registry import STARTER, resolve
from ovsam_core.pictures import Picture
from ovsam_core.preprocess import resize_and_pad, to_input
from ovsam_core.prompt_batch import check_prompt, groups
from ovsam_core.prompts import Prompt
from ovsam_core.speed import Speed, choose_speed, prepare
from ovsam_core.text import EncodedVocabulary, encode_vocabulary
from ovsam_core.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

    from ovsam_core.config import ModelConfig
    from ovsam_core.embedding_cache import EmbeddingCache
    from ovsam_core.modeling.ovsam import OVSAM
    from ovsam_core.results import Prediction

__all__ = ["ModelInfo", "OvsamPredictor", "load_predictor"]

RANDOM_MODEL = "tiny"
"""The named configuration that can be loaded without weights: small, random, the same everywhere."""

LEAST_QUALITY = 0.4
"""Predicted IoU from which on a mask that nobody asked for is worth offering."""

_CHUNK = 32  # prompts in one forward pass of the decoder
_LIVE = 2  # embeddings kept ready on the device
_VOCABULARIES = 4  # encoded vocabularies kept by their digest


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a predictor runs.

    Attributes:
        id: name or folder name of the model.
        encoder_hash: identifies whatever an embedding depends on: trunk, neck, FPN, input, precision.
        head_hash: of decoder and name head.
        text_hash: of the text tower.
        input_size: side of the square network input, pixels.
        embed_dim: dimensions of region and name embeddings.
        seen: entry ids or names of the classes that the head was trained on.
        licence: of the weights.
        random_weights: nothing was learnt: masks and names mean nothing.
    """

    id: str
    encoder_hash: str
    head_hash: str
    text_hash: str
    input_size: int
    embed_dim: int
    seen: tuple[str, ...]
    licence: str
    random_weights: bool = False


def load_predictor(
    model: str | Path = STARTER,
    device: str = "auto",
    dtype: Literal["auto", "float32", "bfloat16"] = "auto",
) -> OvsamPredictor:
    """Load a model and make it ready for this machine.

    Args:
        model: name of an installed model, path of a model directory, or "tiny" for the random test model.
        device: "auto" takes a GPU where PyTorch sees one; or any name PyTorch knows ("cpu", "cuda:1").
        dtype: precision of the encoder. "auto" takes what was measured to be fastest here with the same masks; the
            first load on a machine measures it.

    Raises:
        ModelError: no such model or device.
        CheckpointError: the weights are damaged or belong to another architecture.
    """
    where = _device(device)
    if model == RANDOM_MODEL:
        network, directory = build_model(named_config(RANDOM_MODEL)), None
        network.config = network.config.with_hashes(hashes_of(network))
        speed = Speed()  # random weights: nothing to gain
    else:
        directory = resolve(model)
        network = load_model(directory)
        speed = choose_speed(network, where, dtype)
    config = network.config
    if not config.hashes.encoder:
        raise CheckpointError(f"{directory}: config.json: hashes.encoder is empty; save the model again")
    prepare(network, where, speed)
    info = ModelInfo(
        id=RANDOM_MODEL if directory is None else directory.name,
        encoder_hash=f"{config.hashes.encoder}-{speed.tag}",
        head_hash=config.hashes.head,
        text_hash=config.hashes.text,
        input_size=config.input.size,
        embed_dim=config.embed_dim,
        seen=config.seen,
        licence=config.licence,
        random_weights=directory is None,
    )
    shipped = () if directory is None else tuple(sorted((directory / "embeddings").glob("*.safetensors")))
    return OvsamPredictor(network, info, device=where, speed=speed, shipped=shipped)


class OvsamPredictor:
    """Segments and names what prompts point at.

    Methods may be called from several threads at once, each with its own `embedding`; only the current embedding (the
    last picture that `set_image` saw) is shared.

    Attributes:
        info: what it runs.
        config: the model's whole configuration.
    """

    def __init__(
        self,
        model: OVSAM,
        info: ModelInfo,
        *,
        device: torch.device,
        speed: Speed,
        shipped: Sequence[Path] = (),
    ) -> None:
        """Wrap a model that `speed.prepare` made ready; `load_predictor` does all of it.

        Args:
            model: in eval mode, on the device.
            info: its description.
            device: where it runs.
            speed: how its encoder runs.
            shipped: phrase embeddings that lie beside the model.
        """
        self.info = info
        self.config: ModelConfig = model.config
        self._model = model
        self._device = device
        self._speed = speed
        self._shipped = tuple(shipped)
        self._lock = threading.Lock()
        self._text_lock = threading.Lock()
        self._current: ImageEmbedding | None = None
        self._live: OrderedDict[int, tuple[ImageEmbedding, dict[str, Tensor]]] = OrderedDict()
        self._encoded: OrderedDict[str, EncodedVocabulary] = OrderedDict()

    @property
    def model(self) -> OVSAM:
        """The network, for hooks; its weights are not to be moved."""
        return self._model

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self._device

    def set_image(self, image: NDArray[np.uint8] | Picture, *, cache: EmbeddingCache | None = None) -> ImageEmbedding:
        """Encode a picture and make it the current one.

        Args:
            image: (H, W, 3) uint8 RGB, or a Picture, whose key lets caches find the embedding again.
            cache: asked first and filled, where the image is a Picture.

        Raises:
            PictureError: not (H, W, 3) uint8.
        """
        if isinstance(image, Picture):
            rgb, key = image.rgb, image.key
        else:
            rgb, key = image, ""
        if cache is None:
            embedding = self._encode(rgb, key)
        else:
            embedding = cache.get_or_encode(self.info.encoder_hash, key, lambda: self._encode(rgb, key))
        self._current = embedding
        return embedding

    def predict(
        self,
        points: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask: NDArray[np.floating] | NDArray[np.bool_] | None = None,
        *,
        vocabulary: Vocabulary | EncodedVocabulary | str | None = None,
        top_k: int = 9,
        embedding: ImageEmbedding | None = None,
        picture: NDArray[np.uint8] | Picture | None = None,
        zoom: bool | None = None,
        crop: bool | None = None,
    ) -> Prediction:
        """Segment and name one object.

        Args:
            points: (P, 2) x, y in picture pixels; several points make an ambiguous click clear.
            point_labels: (P,) 1 on the object, 0 off it; all 1 by default.
            box: x1, y1, x2, y2 in picture pixels, far edges exclusive; the clearest prompt.
            mask: previous `Prediction.logits`, to refine an answer, or a bool mask (H, W).
            vocabulary: names to rank; a name of a preset, a path, a vocabulary, or one already encoded. None: no names.
            top_k: how many names.
            embedding: of the picture; the current one by default.
            picture: pixels for the zoom pass and the crop branch, which are skipped without.
            zoom: run the zoom pass where the object is small; None as the model's configuration says.
            crop: run the crop branch; None as the model's configuration says.

        Raises:
            PromptError: nothing was given, shapes are wrong, or the prompt lies outside the picture.
            EmbeddingError: no picture was set, or the embedding is of another encoder.
            VocabularyError: no such vocabulary.
        """
        prompt = Prompt.of(points, point_labels, box, mask)
        return self.predict_batch(
            [prompt], vocabulary=vocabulary, top_k=top_k, embedding=embedding, picture=picture, zoom=zoom, crop=crop
        )[0]

    def predict_batch(
        self,
        prompts: Sequence[Prompt],
        *,
        vocabulary: Vocabulary | EncodedVocabulary | str | None = None,
        top_k: int = 9,
        embedding: ImageEmbedding | None = None,
        picture: NDArray[np.uint8] | Picture | None = None,
        zoom: bool | None = None,
        crop: bool | None = None,
    ) -> list[Prediction]:
        """Segment and name many objects of one picture; arguments as in `predict`.

        Prompts with the same parts and the same number of points go through the network together, so that none is
        padded; the answers equal those given one by one.
        """
        embedding = self._checked(embedding)
        for prompt in prompts:
            check_prompt(prompt, embedding.size_hw)
        look = self._look(embedding, picture, vocabulary, top_k, zoom, crop)
        found: dict[int, Prediction] = {}
        for rows in groups(prompts, _CHUNK):
            found |= zip(rows, answer_prompts(look, [prompts[i] for i in rows]), strict=True)
        return [found[i] for i in range(len(prompts))]

    def everything(
        self,
        embedding: ImageEmbedding | None = None,
        *,
        grid: int | None = None,
        boxes: ArrayLike | None = None,
        quality: float = LEAST_QUALITY,
        vocabulary: Vocabulary | EncodedVocabulary | str | None = None,
        top_k: int = 9,
        picture: NDArray[np.uint8] | Picture | None = None,
        zoom: bool | None = None,
        progress: Callable[[float], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[Prediction]:
        """Segment and name all there is, or what given boxes hold.

        Args:
            embedding: of the picture; the current one by default.
            grid: points along the longer side, 16 by default; not together with `boxes`.
            boxes: (N, 4) xyxy picture pixels; each is answered, none suppressed.
            quality: least predicted IoU of a mask that a grid point found; given boxes are all answered.
            vocabulary: as in `predict`.
            top_k: how many names each.
            picture: as in `predict`.
            zoom: as in `predict`; every mask that stays gets its closer look.
            progress: told the finished share, 0 to 1.
            cancelled: asked between batches.

        Returns:
            Predictions of one candidate each; with a grid, largest first.

        Raises:
            PromptError: both or neither of grid and boxes make sense, or a box lies outside.
            CancelledError: `cancelled` said so.
        """
        embedding = self._checked(embedding)
        look = self._look(embedding, picture, vocabulary, top_k, zoom, crop=None)
        if boxes is not None and grid is not None:
            raise PromptError("everything takes a grid or boxes, not both")
        if boxes is None:
            return everything.by_grid(look, 16 if grid is None else grid, quality, progress, cancelled)
        prompts = [Prompt.of(box=box) for box in np.asarray(boxes, np.float32).reshape(-1, 4)]
        for prompt in prompts:
            check_prompt(prompt, embedding.size_hw)
        return everything.by_boxes(look, prompts, progress, cancelled)

    def region_embedding(self, boxes_xyxy: ArrayLike, embedding: ImageEmbedding | None = None) -> NDArray[np.float32]:
        """Embed regions by the frozen branch, which fine-tuning does not move: the vectors that memory compares.

        Args:
            boxes_xyxy: (N, 4) picture pixels.
            embedding: of the picture; the current one by default.

        Returns:
            (N, D) float32, unit length.
        """
        embedding = self._checked(embedding)
        boxes = to_input(np.asarray(boxes_xyxy, np.float32).reshape(-1, 4), embedding.scale_xy)
        if not len(boxes):
            return np.zeros((0, self.info.embed_dim), np.float32)
        with torch.inference_mode():
            vectors = self._model.region_clip(self._features(embedding), torch.from_numpy(boxes).to(self._device))
        return vectors.float().cpu().numpy()

    def encode_vocabulary(
        self,
        vocabulary: Vocabulary,
        *,
        progress: Callable[[float], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> EncodedVocabulary:
        """Encode a vocabulary; phrases known to the disk cache or shipped with the model are only read.

        Args:
            vocabulary: the names.
            progress: told the finished share, 0 to 1.
            cancelled: asked between batches.

        Raises:
            CancelledError: `cancelled` said so; what was encoded until then is kept.
        """
        with self._text_lock:
            found = self._encoded.get(vocabulary.digest)
            if found is None:
                found = encode_vocabulary(
                    _Text(self._model, self._device),
                    vocabulary,
                    shipped=self._shipped,
                    progress=progress,
                    cancelled=cancelled,
                )
                self._encoded[vocabulary.digest] = found
                while len(self._encoded) > _VOCABULARIES:
                    self._encoded.popitem(last=False)
            self._encoded.move_to_end(vocabulary.digest)
            return found

    @property
    def embedding_nbytes(self) -> int:
        """Bytes of one picture's embedding; the same for all pictures."""
        side = self.config.input.size
        network = build_model(self.config, device="meta")
        features = network.encode(torch.zeros(1, 3, side, side, device="meta"))
        return sum(2 * tensor.numel() for tensor in features.values())

    @torch.no_grad()
    def _encode(self, rgb: NDArray[np.uint8], key: str) -> ImageEmbedding:
        made = resize_and_pad(rgb, self.config)
        with self._speed.autocast(self._device):
            features = self._model.encode(self._speed.arrange(made.pixels.to(self._device)))
        return ImageEmbedding(
            tensors={name: tensor.half().contiguous().cpu() for name, tensor in features.items()},
            size_hw=(rgb.shape[0], rgb.shape[1]),
            input_hw=made.input_hw,
            scale_xy=made.scale_xy,
            picture_key=key,
            encoder_hash=self.info.encoder_hash,
        )

    def _look(
        self,
        embedding: ImageEmbedding,
        picture: NDArray[np.uint8] | Picture | None,
        vocabulary: Vocabulary | EncodedVocabulary | str | None,
        top_k: int,
        zoom: bool | None,
        crop: bool | None,
    ) -> Look:
        rgb = picture.rgb if isinstance(picture, Picture) else picture
        if rgb is not None and rgb.shape[:2] != embedding.size_hw:
            raise EmbeddingError(f"picture: {rgb.shape[:2]} pixels, but the embedding is of {embedding.size_hw}")
        return Look(
            model=self._model,
            device=self._device,
            speed=self._speed,
            embedding=embedding,
            features=self._features(embedding),
            rgb=rgb,
            encoded=self._names(vocabulary),
            top_k=top_k,
            zoom=self.config.zoom.enabled if zoom is None else zoom,
            crop=self.config.crop.enabled if crop is None else crop,
        )

    def _names(self, vocabulary: Vocabulary | EncodedVocabulary | str | None) -> EncodedVocabulary | None:
        if vocabulary is None or isinstance(vocabulary, EncodedVocabulary):
            return vocabulary
        return self.encode_vocabulary(Vocabulary.load(vocabulary) if isinstance(vocabulary, str) else vocabulary)

    def _checked(self, embedding: ImageEmbedding | None) -> ImageEmbedding:
        embedding = self._current if embedding is None else embedding
        if embedding is None:
            raise EmbeddingError("no picture yet: call set_image, or pass embedding=")
        if embedding.encoder_hash != self.info.encoder_hash:
            raise EmbeddingError(f"the embedding was computed by another encoder than {self.info.id}'s")
        return embedding

    def _features(self, embedding: ImageEmbedding) -> dict[str, Tensor]:
        """Return the embedding's maps as float32 on the device; the last few are kept there."""
        key = id(embedding)
        with self._lock:
            kept = self._live.get(key)
            if kept is not None:  # holding the embedding keeps its id from being given to another
                self._live.move_to_end(key)
                return kept[1]
        features = {name: tensor.to(self._device, torch.float32) for name, tensor in embedding.tensors.items()}
        with self._lock:
            self._live[key] = embedding, features
            while len(self._live) > _LIVE:
                self._live.popitem(last=False)
        return features


class _Text:
    """The text tower on its device, for code that thinks on the CPU."""

    def __init__(self, model: OVSAM, device: torch.device) -> None:
        self.config = model.config
        self._model = model
        self._device = device

    @property
    def tokenizer(self) -> Callable[[list[str]], Tensor]:
        return self._model.tokenizer

    def encode_text(self, tokens: Tensor) -> Tensor:
        return self._model.encode_text(tokens.to(self._device))


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"device {name!r} cannot be used here: {str(error).splitlines()[0]}") from error
    return device
