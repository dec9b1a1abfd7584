"""What the window says about saving, which happens by itself after every action."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from ovsam_annotator.views import data

if TYPE_CHECKING:
    from ovsam_annotator.controller.session import Session
    from ovsam_annotator.views.protocols import MainWindowView

__all__ = ["FAILED", "SavingController"]

FAILED = "save"
"""Key of the message that offers to try again."""


class SavingController(QObject):
    """Keeps the saved chip true, says once when saving fails, and tries again on request.

    Args:
        window: shows both.
    """

    def __init__(self, *, window: MainWindowView, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._window = window
        self._session: Session | None = None
        window.save_retry_asked.connect(self.retry)

    def attach(self, session: Session | None) -> None:
        """Work on another project, or none."""
        self._session = session
        if session is None:
            return
        session.store.state_changed.connect(self._window.set_saved)
        session.store.save_failed.connect(self._failed)
        if session.read_only:
            self._window.set_saved(data.SaveState.READ_ONLY, self.tr("read-only"))
        else:
            self._window.set_saved(data.SaveState.SAVED, self.tr("saved"))

    def now(self) -> None:
        """Ctrl+S: what could not be saved is tried again; otherwise there is nothing to do, and it says so."""
        if self._session is not None:
            self._session.store.retry()
            if not self._session.store.pending and not self._session.read_only:
                self._window.set_hint(self.tr("Everything is saved; every action is saved at once"))

    def retry(self) -> None:
        """Try a failed write again now."""
        if self._session is not None:
            self._session.store.retry()

    def _failed(self, text: str) -> None:
        self._window.show_message(
            data.Message(
                FAILED,
                self.tr("Saving fails: {text}").format(text=text),
                self.tr("Your work is kept and saving is tried again; do not close the program."),
                "error",
                self.tr("Retry"),
            )
        )
