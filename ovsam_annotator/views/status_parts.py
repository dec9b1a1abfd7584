"""The right end of the status bar: background jobs, progress of the project, model and device, the saved chip."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QToolButton, QWidget

from ovsam_annotator.views.data import JobRow, SaveState
from ovsam_annotator.views.theme import SAVE_COLOURS

__all__ = ["JobStrip", "SavedChip"]


class SavedChip(QPushButton):
    """Says when the work was saved; red with Retry after a failure."""

    retry_asked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(self.tr("Saved state"))
        self.setFlat(True)
        self._state = SaveState.SAVED
        self.clicked.connect(self._on_clicked)
        self.hide()

    def set_state(self, state: SaveState, text: str) -> None:
        """Show a state with its text ("saved 12:04:31")."""
        self._state = state
        default = {
            SaveState.SAVED: self.tr("saved"),
            SaveState.PENDING: self.tr("saving…"),
            SaveState.FAILED: self.tr("not saved"),
            SaveState.READ_ONLY: self.tr("read only"),
        }[state]
        shown = text or default
        if state is SaveState.FAILED:
            shown = self.tr("{text}. Retry").format(text=shown)
        self.setText(shown)
        self.setAccessibleDescription(shown)
        colour = SAVE_COLOURS[state.value]
        self.setStyleSheet(
            f"QPushButton {{ color: white; background: {colour}; border-radius: 4px; padding: 2px 10px; }}"
        )
        self.show()

    def _on_clicked(self) -> None:
        if self._state is SaveState.FAILED:
            self.retry_asked.emit()


class JobStrip(QWidget):
    """The newest background job with its bar, pause and cancel; others are counted."""

    paused = Signal(str, bool)
    cancelled = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._jobs: dict[str, JobRow] = {}
        self._text = QLabel()
        self._bar = QProgressBar()
        self._bar.setAccessibleName(self.tr("Progress of the background job"))
        self._bar.setTextVisible(False)
        self._bar.setFixedSize(110, 10)
        self._pause = QToolButton()
        self._pause.setAccessibleName(self.tr("Pause the background job"))
        self._pause.clicked.connect(self._on_pause)
        self._cancel = QToolButton()
        self._cancel.setText("✕")
        self._cancel.setAccessibleName(self.tr("Cancel the background job"))
        self._cancel.setToolTip(self._cancel.accessibleName())
        self._cancel.clicked.connect(lambda: self.cancelled.emit(self._newest().job_id))
        row = QHBoxLayout(self)
        row.setContentsMargins(6, 0, 6, 0)
        for widget in (self._text, self._bar, self._pause, self._cancel):
            row.addWidget(widget)
        self.hide()

    def show_job(self, job: JobRow) -> None:
        """Show or update a job."""
        self._jobs.pop(job.job_id, None)
        self._jobs[job.job_id] = job
        self._refresh()

    def remove_job(self, job_id: str) -> None:
        """Take a job away."""
        self._jobs.pop(job_id, None)
        self._refresh()

    def _newest(self) -> JobRow:
        return list(self._jobs.values())[-1]

    def _on_pause(self) -> None:
        job = self._newest()
        self.paused.emit(job.job_id, not job.paused)

    def _refresh(self) -> None:
        self.setVisible(bool(self._jobs))
        if not self._jobs:
            return
        job = self._newest()
        more = self.tr(" (+{count})").format(count=len(self._jobs) - 1) if len(self._jobs) > 1 else ""
        self._text.setText(f"{job.title}{': ' + job.text if job.text else ''}{more}")
        self._bar.setRange(0, 0 if job.fraction is None else 1000)
        if job.fraction is not None:
            self._bar.setValue(round(job.fraction * 1000))
        self._pause.setText("▶" if job.paused else "⏸")
        self._pause.setToolTip(self.tr("Go on") if job.paused else self.tr("Pause"))
        self._pause.setVisible(job.can_pause)
        self._cancel.setVisible(job.can_cancel)
