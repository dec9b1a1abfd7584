"""What evaluation measures: anything that answers prompts with masks and, if it can, names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from ovsam_core.modeling.fusion import frozen_branch_boxes
from ovsam_core.modeling.roi import mask_boxes
from ovsam_core.naming import embed_regions, name_regions
from ovsam_core.preprocess import to_input
from ovsam_core.prompts import Prompt
from ovsam_core.text import EncodedVocabulary
from training.args import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ovsam_core.embedding import ImageEmbedding
    from ovsam_core.modeling.ovsam import OVSAM
    from ovsam_core.pictures import Picture
    from ovsam_core.predictor import OvsamPredictor
    from ovsam_core.results import Label, Prediction
    from ovsam_core.vocabulary import Vocabulary

__all__ = ["Answer", "OfficialSystem", "OvsamSystem", "System", "answer_of", "merged_phrases", "ranked"]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """One prompt's answer.

    Attributes:
        mask: (H, W) bool of the picture's size, the candidate that the system itself ranks first.
        others: the remaining candidates.
        names: (entry id, score), best first; empty where the system does not name.
        logits: what to feed back with the next click; None where the system cannot refine.
        predicted_iou: the system's own estimate; NaN without one.
    """

    mask: NDArray[np.bool_]
    others: tuple[NDArray[np.bool_], ...] = ()
    names: tuple[tuple[str, float], ...] = ()
    logits: NDArray[Any] | None = None
    predicted_iou: float = float("nan")


class System(ABC):
    """A model or a baseline under evaluation; `set_image` once, `answer` as often as wanted."""

    name: str
    seen: frozenset[str] = frozenset()

    @abstractmethod
    def set_image(self, picture: Picture) -> None:
        """Do what a picture costs once."""

    @abstractmethod
    def answer(self, prompts: Sequence[Prompt], truth_boxes: Sequence[Sequence[float]]) -> list[Answer]:
        """Answer prompts on the current picture.

        Args:
            prompts: in original pixels.
            truth_boxes: ground-truth boxes; only the official protocol's known leak reads them.
        """


class OvsamSystem(System):
    """Our predictor.

    Args:
        predictor: a loaded predictor.
        vocabulary: the names to choose from; None leaves names out.
        top_k: names kept of each answer.
        closer: give the predictor the picture, so that it may run the zoom pass and the crop branch.
        synonyms: see `merged_phrases`.
        region: whether the region of the answer's own mask is named, or the true box, whatever the prompt was.
        kept: embeddings by picture key, shared by systems of one encoder that see the same pictures again; None keeps
            none.
    """

    def __init__(
        self,
        predictor: OvsamPredictor,
        vocabulary: Vocabulary | None,
        *,
        top_k: int = 9,
        closer: bool = True,
        synonyms: Literal["max", "mean"] = "max",
        region: Literal["mask", "truth"] = "mask",
        kept: dict[str, ImageEmbedding] | None = None,
    ) -> None:
        self.predictor = predictor
        self.name = predictor.info.id
        self.seen = frozenset(predictor.info.seen)
        self.top_k, self.closer, self.region = top_k, closer, region
        self.vocabulary = None
        if vocabulary is not None:
            self.vocabulary = merged_phrases(predictor.encode_vocabulary(vocabulary), synonyms)
        self.picture: Picture | None = None
        self.kept = kept

    def set_image(self, picture: Picture) -> None:
        """Encode the picture, unless its embedding was kept."""
        self.picture = picture
        found = self.kept.get(picture.key) if self.kept is not None else None
        self.embedding = found or self.predictor.set_image(picture)
        if self.kept is not None:
            self.kept[picture.key] = self.embedding

    def answer(self, prompts: Sequence[Prompt], truth_boxes: Sequence[Sequence[float]]) -> list[Answer]:
        """Predict all prompts in one batch."""
        answers = self._predicted(prompts)
        if self.region == "mask" or self.vocabulary is None:
            return answers
        named = self._predicted([Prompt.of(box=box) for box in truth_boxes])
        return [replace(a, names=n.names) for a, n in zip(answers, named, strict=True)]

    def _predicted(self, prompts: Sequence[Prompt]) -> list[Answer]:
        predictions = self.predictor.predict_batch(
            list(prompts),
            vocabulary=self.vocabulary,
            top_k=self.top_k,
            embedding=self.embedding,
            picture=self.picture if self.closer else None,
            crop=None if self.vocabulary is not None else False,  # crops name; masks do not need them
        )
        return [answer_of(p) for p in predictions]


class OfficialSystem(OvsamSystem):
    """Our predictor, named as the official point evaluation names: with its known slips.

    The frozen branch gets the ground-truth box although the prompt was a point, and that box stays in pixels of the
    original while the feature map lies on the resized picture (`modeling.fusion.frozen_branch_boxes`).

    Args:
        predictor: segments.
        model: the same weights, for naming.
        vocabulary: the names to choose from.
        top_k: names kept of each answer.
        synonyms: see `merged_phrases`.
    """

    def __init__(
        self,
        predictor: OvsamPredictor,
        model: OVSAM,
        vocabulary: Vocabulary | None,
        *,
        top_k: int = 9,
        synonyms: Literal["max", "mean"] = "max",
    ) -> None:
        super().__init__(predictor, vocabulary, top_k=top_k, synonyms=synonyms)
        if model.head is not None and (model.head.label_token_classifies or model.head.roi_conv is None):
            raise ConfigError("--protocol official: the official evaluation knows the fpn head alone")
        self.model = model
        self.name += " (official slips)"

    def answer(self, prompts: Sequence[Prompt], truth_boxes: Sequence[Sequence[float]]) -> list[Answer]:
        """Predict masks, then name the predicted boxes with the leaked ones in the frozen branch."""
        predictions = self.predictor.predict_batch(
            list(prompts), embedding=self.embedding, picture=self.picture, crop=False
        )
        answers = [answer_of(p) for p in predictions]
        if self.vocabulary is None:
            return answers
        scale = self.embedding.scale_xy
        features = {name: tensor.float() for name, tensor in self.embedding.tensors.items()}
        logits = torch.stack([torch.from_numpy(np.asarray(p.logits, np.float32)) for p in predictions])
        truth = torch.from_numpy(to_input(np.asarray(truth_boxes, np.float32), scale))
        boxes = mask_boxes(logits, truth, self.model.config.input.size // logits.shape[-1])
        with torch.inference_mode():
            found = embed_regions(self.model, features, boxes, logits)
            leaked = frozen_branch_boxes("official", regions=boxes, truth=truth, scale_xy=scale)
            found = replace(found, clip=self.model.region_clip(features, leaked, logits).float())
            names = name_regions(self.model, found, self.vocabulary, top_k=self.top_k)
        return [replace(a, names=ranked(n)) for a, n in zip(answers, names, strict=True)]


def answer_of(prediction: Prediction) -> Answer:
    """Return a prediction as an answer; without a vocabulary it has no names."""
    first, *others = prediction.candidates
    names = ranked(prediction.labels)
    return Answer(first.mask.full(), tuple(c.mask.full() for c in others), names, first.logits, first.predicted_iou)


def merged_phrases(encoded: EncodedVocabulary, synonyms: Literal["max", "mean"]) -> EncodedVocabulary:
    """Return the vocabulary as it is, where the nearest phrase counts (max), or with each entry's mean phrase alone."""
    if synonyms == "max" or len(encoded.rows) == len(encoded.starts):
        return encoded
    sums = np.add.reduceat(encoded.rows.astype(np.float32), encoded.starts, axis=0)  # (K, D)
    rows = (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float16)
    return EncodedVocabulary(encoded.vocabulary, rows, np.arange(len(rows)), f"{encoded.digest}-mean")


def ranked(labels: Sequence[Label]) -> tuple[tuple[str, float], ...]:
    """Return (entry id, score) by score, undoing what is done for display.

    Names folded into a sibling come back, and a parent offered in the last place with its children's sum is left out.
    """
    shown = list(labels)
    if len(shown) > 1 and shown[-1].score > shown[-2].score:
        shown.pop()
    pairs = [(x.entry_id, x.score) for label in shown for x in (label, *label.folded)]
    return tuple(sorted(pairs, key=lambda pair: -pair[1]))
