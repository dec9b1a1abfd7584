"""The model in use: chosen from the menu, loaded in the background, named in the status bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from ovsam_annotator.inference.messages import Failed, ModelReady, SelectModel
from ovsam_annotator.views import data

if TYPE_CHECKING:
    from ovsam_annotator.controller.preferences import PreferencesController
    from ovsam_annotator.controller.provenance import Provenance
    from ovsam_annotator.inference.segmenter import Segmenter
    from ovsam_annotator.views.protocols import MainWindowView

__all__ = ["ModelsController"]


class ModelsController(QObject):
    """Switches models; the document stays.

    Args:
        window: shows model and device.
        segmenter: loads models.
        provenance: what new objects are marked with.
        preferences: keep the choice, and list the models.

    Attributes:
        leaving: another model is on its way: whatever the old one has proposed is dropped.
        changed: another model than before is loaded; nothing that the old one made ready counts.
    """

    leaving = Signal()
    changed = Signal()

    def __init__(
        self,
        *,
        window: MainWindowView,
        segmenter: Segmenter,
        provenance: Provenance,
        preferences: PreferencesController,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._window = window
        self._segmenter = segmenter
        self._provenance = provenance
        self._preferences = preferences
        window.model_chosen.connect(self.choose)

    def take(self, answer: object) -> None:
        """An answer of the segmenter, as far as it is about the model."""
        match answer:
            case ModelReady():
                self.ready(answer)
            case Failed() if answer.stage == "loading":
                self._window.show_message(data.Message("model", answer.text, answer.advice, "error"))

    def choose(self, model_id: str) -> None:
        """Switch to another model; the document stays."""
        self.leaving.emit()
        self._window.set_device(model_id, "", self.tr("starting"))
        self._segmenter.submit(SelectModel(model_id))
        self._preferences.keep("model", model_id)

    def ready(self, ready: ModelReady) -> None:
        """A model is loaded."""
        changed = self._provenance.head_hash not in ("", ready.head_hash)
        self._provenance.model_id = ready.model_id
        self._provenance.head_hash = ready.head_hash
        self._window.set_device(ready.model_id, ready.device, ready.licence)
        self._window.clear_message("model")
        if ready.notice:
            self._window.show_message(data.Message("model", ready.notice, level="warning"))
        self._preferences.show_models(ready.model_id)
        if changed:
            self.changed.emit()
