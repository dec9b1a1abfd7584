"""Figures of the project: what was made, how fast, and how often the first name was right."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, QObject

from ovsam_annotator.controller.rows import state_text
from ovsam_annotator.model.class_book import rgb_of
from ovsam_annotator.views import data

if TYPE_CHECKING:
    from ovsam_annotator.controller.session import Session
    from ovsam_annotator.views.protocols import ReportView
    from ovsam_core.store import Project

__all__ = ["ReportController", "read_report"]


def read_report(project: Project) -> data.ReportData:
    """Collect the figures; on the store's thread."""
    classes = {row.uid: row for row in project.classes()}
    summaries = project.summaries()
    counts = Counter(s.class_uid for s in summaries)
    made = [s for s in summaries if s.source == "prompt"]
    clicks = [len(row.prompts) for row in project.iter_objects() if row.source == "prompt" and row.prompts]
    states = Counter(picture.state for picture in project.pictures())
    return data.ReportData(
        classes=tuple(
            (
                classes[uid].name if uid else QCoreApplication.translate("Report", "no name"),
                n,
                rgb_of(classes[uid].colour) if uid else (170, 170, 170),
            )
            for uid, n in counts.most_common()
        ),
        areas=tuple(s.area for s in summaries),
        scores=tuple(s.score for s in summaries if s.score is not None),
        seconds=tuple(s.seconds for s in made if s.seconds is not None),
        clicks=tuple(clicks),
        ranks=tuple(0 if s.rank is None else s.rank + 1 for s in made if s.class_uid),
        pictures=tuple((state_text(state), n) for state, n in states.items()),
    )


class ReportController(QObject):
    """Fills the report panel when it is looked at.

    Args:
        view: the panel.
    """

    def __init__(self, *, view: ReportView, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._view = view
        self._session: Session | None = None
        view.refresh_asked.connect(self.show)

    def attach(self, session: Session | None) -> None:
        """Work on another project, or none."""
        self._session = session

    def show(self) -> None:
        """Read the figures and show them."""
        if self._session is not None:
            self._session.store.read(read_report, self._view.set_report)
