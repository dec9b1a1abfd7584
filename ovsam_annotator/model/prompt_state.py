"""The prompt of the object in work: what was clicked and dragged, step by step, and what the model made of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ovsam_core.prompts import Prompt

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["PromptState"]

Points = tuple[tuple[float, float, bool], ...]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class PromptState:
    """Immutable: each click returns the next state, and Backspace goes back to the one before.

    Attributes:
        points: (x, y, positive) for each click, in picture pixels.
        box_xyxy: the dragged box, or None; a second drag replaces the first.
        mask: what the next answer refines: logits of the last answer, or the mask of a finished object.
        base: the mask that refining started from, or None.
        refined: uid of the finished object that is being refined; empty for a new one.
        started: time of the first click, in seconds of any clock.
        before: the state that Backspace goes back to.
    """

    points: Points = ()
    box_xyxy: Box | None = None
    mask: NDArray[np.floating] | NDArray[np.bool_] | None = None
    base: NDArray[np.bool_] | None = None
    refined: str = ""
    started: float = 0.0
    before: PromptState | None = None

    @classmethod
    def refining(cls, uid: str, pixels: NDArray[np.bool_], started: float) -> PromptState:
        """Start from a finished object's (H, W) mask."""
        return cls(mask=pixels, base=pixels, refined=uid, started=started)

    @property
    def empty(self) -> bool:
        """Whether nothing was clicked or dragged."""
        return not self.points and self.box_xyxy is None

    @property
    def clicks(self) -> int:
        """Number of clicks and drags."""
        return len(self.points) + (self.box_xyxy is not None)

    def with_point(self, x: float, y: float, *, positive: bool, now: float) -> PromptState:
        """Add a click."""
        points = (*self.points, (x, y, positive))
        return replace(self, points=points, started=self.started or now, before=self)

    def with_box(self, box_xyxy: Box, now: float) -> PromptState:
        """Add or replace the box; the last answer is forgotten, for it was about another region."""
        return replace(self, box_xyxy=box_xyxy, mask=self.base, started=self.started or now, before=self)

    def answered(self, logits: NDArray[np.floating]) -> PromptState:
        """Keep an answer's low-resolution logits, which the next click refines."""
        return replace(self, mask=logits)

    def back(self) -> PromptState | None:
        """The state before the last click; None when nothing is left."""
        if self.before is None or (self.before.empty and not self.before.refined):
            return None
        return self.before

    def prompt(self) -> Prompt:
        """What the model is asked.

        Raises:
            PromptError: the state is empty.
        """
        xy = [(x, y) for x, y, _ in self.points]
        signs = [int(positive) for _, _, positive in self.points]
        return Prompt.of(xy or None, signs if xy else None, self.box_xyxy, self.mask)

    def record(self) -> tuple[dict[str, Any], ...]:
        """The prompt as JSON values, in the order given; the box comes first."""
        steps: list[dict[str, Any]] = []
        if self.box_xyxy is not None:
            steps.append({"box": [round(v, 2) for v in self.box_xyxy]})
        steps += [{"point": [round(x, 2), round(y, 2)], "label": int(positive)} for x, y, positive in self.points]
        return tuple(steps)
