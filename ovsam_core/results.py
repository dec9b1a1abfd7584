"""What a prediction answers: masks, their quality and their names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from ovsam_core.masks import Mask

__all__ = ["Branch", "Candidate", "Label", "Prediction"]

Branch = Literal["head", "clip", "crop", "memory"]


@dataclass(frozen=True, slots=True)
class Label:
    """One name offered for a mask.

    Attributes:
        entry_id: id of the vocabulary entry.
        name: its unique display name.
        score: calibrated probability among the vocabulary's names and "none of these".
        decided_by: the branch that put it where it stands.
        folded: further names of the same WordNet parent that the list has no room for.
    """

    entry_id: str
    name: str
    score: float
    decided_by: Branch
    folded: tuple[Label, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One of the masks offered for a prompt, with its names.

    Attributes:
        mask: the mask at the picture's size.
        predicted_iou: the model's own estimate of the mask's IoU, 0 to 1.
        logits: (h, w) float16 low-resolution mask logits; feed them back as `Prompt.mask` to refine.
        box_xyxy: box of the mask (of the prompt where the mask is empty), pixels, far edges exclusive.
        labels: best first.
        region: (D,) float32 unit-length region embedding of the frozen branch.
        crop_region: (D,) float32 unit-length embedding of the crop branch; None where it did not run.
    """

    mask: Mask
    predicted_iou: float
    logits: NDArray[np.float16]
    box_xyxy: tuple[float, float, float, float]
    labels: tuple[Label, ...]
    region: NDArray[np.float32]
    crop_region: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """The answer to one prompt.

    Attributes:
        candidates: best first by predicted IoU; at least one.
        branches: the branches that took part ("head", "clip", "crop", "memory"; "zoom" where the zoom pass ran).
        empty: the best mask has no pixel; names were ranked for the prompt's own region.
        timing_ms: milliseconds by stage ("decode", "zoom", "names", "crop").
    """

    candidates: tuple[Candidate, ...]
    branches: tuple[str, ...]
    empty: bool = False
    timing_ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def best(self) -> Candidate:
        """The candidate with the greatest predicted IoU."""
        return self.candidates[0]

    @property
    def mask(self) -> Mask:
        """Mask of the best candidate."""
        return self.best.mask

    @property
    def box_xyxy(self) -> tuple[float, float, float, float]:
        """Box of the best candidate."""
        return self.best.box_xyxy

    @property
    def labels(self) -> tuple[Label, ...]:
        """Names of the best candidate, best first."""
        return self.best.labels

    @property
    def logits(self) -> NDArray[np.float16]:
        """Low-resolution logits of the best candidate, (h, w)."""
        return self.best.logits
