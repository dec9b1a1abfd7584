"""The preview while the pointer rests: what a click here would take, without the crop branch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from ovsam_annotator.inference.messages import Predict, Predicted
from ovsam_core.prompts import Prompt

if TYPE_CHECKING:
    from ovsam_annotator.inference.segmenter import Segmenter
    from ovsam_annotator.views.protocols import CanvasView

__all__ = ["HoverController"]

_FIRST_GENERATION = 1 << 50  # far from the numbers of clicks, proposals and batches


class HoverController(QObject):
    """Asks for previews, one at a time, and shows them.

    Args:
        canvas: shows the preview.
        segmenter: makes it.
    """

    def __init__(self, *, canvas: CanvasView, segmenter: Segmenter, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._canvas = canvas
        self._segmenter = segmenter
        self._generation = _FIRST_GENERATION
        self._asked: int | None = None

    def ask(self, picture: int, path: str, x: float, y: float, vocabulary_digest: str) -> None:
        """The pointer rests on a picture."""
        self._generation += 1
        self._asked = self._generation
        prompt = Prompt.of([(x, y)], [1])
        self._segmenter.submit(Predict(picture, path, self._generation, prompt, vocabulary_digest, hover=True))

    def end(self) -> None:
        """The pointer moved on."""
        if self._asked is not None:
            self._segmenter.cancel(self._asked)
            self._asked = None
            self._canvas.set_hover(None)

    def take(self, answer: object) -> None:
        """An answer of the segmenter; those of older rests are dropped."""
        match answer:
            case Predicted() if answer.generation == self._asked and not answer.prediction.empty:
                labels = answer.prediction.labels
                self._canvas.set_hover(answer.shapes[0], labels[0].name if labels else "")
