"""What the model made becomes an object's row, marked with the model that made it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovsam_core.store import ObjectRow, new_uid, pack_vector

if TYPE_CHECKING:
    from typing import Any

    from ovsam_core.results import Candidate
    from ovsam_core.store import Source

__all__ = ["Provenance"]

_NAMES_KEPT = 9  # what a person could choose from


@dataclass(slots=True)
class Provenance:
    """The model in use; every controller that makes objects holds this one.

    Attributes:
        model_id: its id; empty until it is loaded.
        head_hash: of its weights.
    """

    model_id: str = ""
    head_hash: str = ""

    def row_of(
        self,
        candidate: Candidate,
        picture: int,
        *,
        source: Source,
        class_uid: str | None = None,
        rank: int | None = None,
        score: float | None = None,
        prompts: tuple[dict[str, Any], ...] = (),
        seconds: float | None = None,
    ) -> ObjectRow:
        """Make the row of a new object.

        Args:
            candidate: its mask, names and embeddings.
            picture: id of its picture.
            source: who decided on it: a person by prompts, or a batch.
            class_uid: its class; None without a name.
            rank: place of its name among those offered, from 0; None for a name of the person's own.
            score: of its name.
            prompts: clicks and boxes that it took.
            seconds: that it took.
        """
        crop = candidate.crop_region
        return ObjectRow(
            uid=new_uid(),
            picture=picture,
            mask=candidate.mask,
            class_uid=class_uid,
            source=source,
            score=score,
            prompts=prompts,
            model_id=self.model_id or None,
            head_hash=self.head_hash or None,
            suggestions=candidate.labels[:_NAMES_KEPT],
            rank=rank,
            region=pack_vector(candidate.region),
            crop_region=None if crop is None else pack_vector(crop),
            created=time.time(),
            seconds=seconds,
        )
