"""The tool in hand: what the left button does, and what taking back and giving up mean meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, QObject, Signal

from ovsam_annotator.views import data

if TYPE_CHECKING:
    from ovsam_annotator.controller.annotation import AnnotationController
    from ovsam_annotator.controller.history import HistoryController
    from ovsam_annotator.controller.masks import MasksController
    from ovsam_annotator.controller.preferences import PreferencesController
    from ovsam_annotator.controller.proposals import ProposalsController
    from ovsam_annotator.controller.session import Session
    from ovsam_annotator.views.protocols import MainWindowView

__all__ = ["ToolsController"]


class ToolsController(QObject):
    """Chooses tools, and leads keys that mean something else with each object in work to whom they concern.

    Args:
        window: shows the tool.
        annotation: the object in work.
        masks: offers corners of the selected object.
        proposals: may be given up.
        history: steps that may be taken back.
        preferences: keep the size of the brush.

    Attributes:
        told: text for the status line.
    """

    told = Signal(str)

    def __init__(
        self,
        *,
        window: MainWindowView,
        annotation: AnnotationController,
        masks: MasksController,
        proposals: ProposalsController,
        history: HistoryController,
        preferences: PreferencesController,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._window = window
        self._annotation = annotation
        self._masks = masks
        self._proposals = proposals
        self._history = history
        self._preferences = preferences
        self._session: Session | None = None
        window.canvas.set_brush_radius(preferences.settings.brush_radius)

    def attach(self, session: Session | None) -> None:
        """Work on another project, or none."""
        self._session = session

    def set_tool(self, tool: data.Tool) -> None:
        """Choose what the left button does."""
        if tool is not data.Tool.PROMPT:
            self._annotation.drop()
        self._window.canvas.set_tool(tool)
        self._window.set_checked(f"tool.{tool.value}", checked=True)
        self._masks.offer_vertices(tool is data.Tool.VERTICES)
        self._window.set_hint(_tool_hint(tool))

    def scale_brush(self, factor: float) -> None:
        """Make brush and eraser larger or smaller."""
        radius = min(max(self._preferences.settings.brush_radius * factor, 0.5), 500.0)
        self._preferences.keep("brush_radius", radius)
        self._window.canvas.set_brush_radius(radius)

    def undo(self) -> None:
        """Take back the last click of the object in work, or the last step of the picture."""
        if not self._annotation.take_back():
            self._history.undo()

    def drop(self) -> None:
        """Esc: forget the object in work, else the proposals, else the selection."""
        if self._annotation.busy:
            self._annotation.drop()
        elif self._proposals.active:
            self._proposals.clear()
        elif self._session is not None:
            self._session.select(())

    def refine(self, uid: str) -> None:
        """Reopen a finished object for clicks."""
        self.set_tool(data.Tool.PROMPT)
        self._annotation.refine(uid)

    def refine_selected(self) -> None:
        """Reopen the object selected last."""
        chosen = self._session.document.selection if self._session and self._session.document else ()
        if chosen:
            self.refine(chosen[-1])
        else:
            self.told.emit(self.tr("Select an object first (Ctrl+click)"))


def _tool_hint(tool: data.Tool) -> str:
    """What the left button does with a tool."""
    return {
        data.Tool.PROMPT: QCoreApplication.translate("Tool", "Click an object, or drag a box round it"),
        data.Tool.SELECT: QCoreApplication.translate(
            "Tool", "Click selects; again at the same place the next larger object; double click refines"
        ),
        data.Tool.BRUSH: QCoreApplication.translate(
            "Tool", "Paint on the selected object, or a new one where none is selected"
        ),
        data.Tool.ERASER: QCoreApplication.translate("Tool", "Erase from the selected object"),
        data.Tool.POLYGON: QCoreApplication.translate(
            "Tool", "Click corners; Enter or a double click closes the polygon"
        ),
        data.Tool.VERTICES: QCoreApplication.translate("Tool", "Select an object, then drag its corners"),
    }[tool]
