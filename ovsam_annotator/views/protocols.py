"""What controllers may ask of the views (verbs) and hear from them (signals); nothing else crosses this border.

A controller takes these protocols, so that it can be tested with `MagicMock(spec=...)` or with small fakes. Widgets
satisfy them structurally. Signals are bound Qt signals; the comment behind each one gives its arguments. Every verb is
quick, must be called on the GUI thread, and never reads a file, a database or a model.
"""

# ruff: noqa: D102  (a signal is described by the comment on its line)

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TypeAlias

    import numpy as np
    from numpy.typing import NDArray
    from PySide6.QtCore import SignalInstance

    from ovsam_annotator.views.data import (
        CanvasObject,
        ClassRow,
        DisplayOptions,
        EncodeState,
        ExportChoice,
        HistoryRow,
        JobRow,
        MaskShape,
        Message,
        ModelRow,
        ObjectRow,
        PictureImage,
        PictureRow,
        PromptMarks,
        ProposalRow,
        ReportData,
        ReviewStep,
        SaveState,
        SearchRow,
        SettingRow,
        Suggestion,
        Tool,
    )

    Xyxy: TypeAlias = tuple[float, float, float, float]

__all__ = [
    "CanvasView",
    "ClassManagerView",
    "HistoryView",
    "LabelListView",
    "MainWindowView",
    "ObjectPanelView",
    "PictureListView",
    "ProposalsView",
    "ReportView",
    "ReviewView",
]


class CanvasView(Protocol):
    """The picture with its masks, and the mouse on it. Coordinates are picture pixels."""

    @property
    def point_added(self) -> SignalInstance: ...  # x: float, y: float, positive: bool
    @property
    def box_drawn(self) -> SignalInstance: ...  # x1, y1, x2, y2: float
    @property
    def object_clicked(self) -> SignalInstance: ...  # x, y: float, extend: bool (Shift); Ctrl+click or select tool
    @property
    def object_activated(self) -> SignalInstance: ...  # x, y: float; double click with the select tool: refine it
    @property
    def rested(self) -> SignalInstance: ...  # x, y: float; the pointer rests on the picture (hover preview)
    @property
    def rest_ended(self) -> SignalInstance: ...  # the pointer moved on or left: drop the hover preview
    @property
    def pointer_moved(self) -> SignalInstance: ...  # x, y: float; at most once a frame, inside the picture only
    @property
    def stroke_drawn(self) -> SignalInstance: ...  # points: (N, 2) float array, radius: float, erase: bool
    @property
    def polygon_drawn(self) -> SignalInstance: ...  # points: (N, 2) float array; double click or Enter closes it
    @property
    def vertices_edited(self) -> SignalInstance: ...  # uid: str, rings: tuple of (N, 2) float arrays
    @property
    def retry_asked(self) -> SignalInstance: ...  # the failed chip's Retry
    @property
    def display_changed(self) -> SignalInstance: ...  # DisplayOptions, changed from the canvas itself (opacity keys)

    def show_picture(self, picture: PictureImage | None) -> None:
        """Show a picture at fit zoom, without objects, prompts or suggestion; None empties the canvas."""

    def set_objects(self, objects: Sequence[CanvasObject]) -> None:
        """Replace all stored objects of the picture; later ones lie on top."""

    def put_objects(self, objects: Sequence[CanvasObject]) -> None:
        """Add objects, or replace those with the same uid; only their boxes are painted again."""

    def remove_objects(self, uids: Sequence[str]) -> None:
        """Remove objects; unknown uids are ignored."""

    def set_selection(self, uids: Sequence[str]) -> None:
        """Mark objects as selected."""

    def set_marks(self, marks: PromptMarks) -> None:
        """Show the prompt of the object in work; the canvas shows a fresh dot by itself until this arrives."""

    def set_suggestion(self, suggestion: Suggestion | None) -> None:
        """Show the chosen candidate with a dashed outline."""

    def set_hover(self, shape: MaskShape | None, name: str = "") -> None:
        """Show or drop the hover preview."""

    def set_proposals(self, shapes: Sequence[tuple[MaskShape, tuple[int, int, int], str]], lit: str = "") -> None:
        """Show proposals (shape, colour, name), dashed; those named `lit` stand out."""

    def set_vertices(self, uid: str, rings: Sequence[NDArray[np.floating]] | None) -> None:
        """Offer the handles of one object's rings, or take them away."""

    def set_tool(self, tool: Tool) -> None:
        """Choose what the left button does."""

    def set_brush_radius(self, radius: float) -> None:
        """Radius of brush and eraser in picture pixels."""

    def set_display(self, options: DisplayOptions) -> None:
        """Choose how masks are painted."""

    def set_lock(self, name: str) -> None:
        """Show the locked class at the cursor; empty text takes it away."""

    def set_encode_state(self, state: EncodeState, text: str = "", fraction: float | None = None) -> None:
        """Show the chip on the canvas: queued, running with its stage, failed with Retry; ready hides it."""

    def set_contrast(self, low: float, high: float) -> None:
        """Change the shown value range of a picture with more than 8 bits; display only."""

    def add_point_at_cursor(self, *, positive: bool) -> None:
        """Q and E, C and Shift+C: click at the pointer or the keyboard crosshair; emits `point_added`."""

    def zoom_fit(self) -> None:
        """Fit the picture."""

    def zoom_actual(self) -> None:
        """Show one picture pixel as one screen pixel."""

    def zoom_by(self, factor: float) -> None:
        """Zoom around the pointer, or the middle of the view."""

    def show_box(self, box_xyxy: Xyxy) -> None:
        """Scroll, and zoom where needed, until a box is well in view."""


class LabelListView(Protocol):
    """Names beside the mask. The window places it; it never covers the mask and never leaves the screen."""

    @property
    def name_chosen(self) -> SignalInstance: ...  # entry_id: str, rank: int (1 to 9; 0 from the search)
    @property
    def name_typed(self) -> SignalInstance: ...  # text: str; a name that the vocabulary does not have
    @property
    def unnamed_accepted(self) -> SignalInstance: ...  # Shift+Enter
    @property
    def candidate_chosen(self) -> SignalInstance: ...  # index: int
    @property
    def search_changed(self) -> SignalInstance: ...  # text: str
    @property
    def search_closed(self) -> SignalInstance: ...  # Esc in the search
    @property
    def dropped(self) -> SignalInstance: ...  # the close button: same as Esc

    def show_suggestion(self, suggestion: Suggestion, marks_xy: Sequence[tuple[float, float]] = ()) -> None:
        """Show names and candidates beside the chosen mask (beside `marks_xy` where it is empty)."""

    def clear(self) -> None:
        """Hide the list and forget its rows."""

    def highlight(self, index: int | None) -> None:
        """Move the highlight; None takes it away."""

    def cycle(self, step: int) -> None:
        """Move the highlight by one (Tab: 1, Shift+Tab: -1), round the end."""

    def highlighted(self) -> int | None:
        """Index of the row that Enter accepts."""

    def open_search(self, text: str = "") -> None:
        """Open the search line and give it the keyboard."""

    def set_results(self, text: str, rows: Sequence[SearchRow]) -> None:
        """Show results for a search text; ignored when the text has changed since."""

    def close_search(self) -> None:
        """Close the search line and give the keyboard back to the canvas."""


class PictureListView(Protocol):
    """All pictures of the project. Filtering (text, `label:`, `score<`, `is:`, `objects:`) happens inside the view."""

    @property
    def picture_chosen(self) -> SignalInstance: ...  # picture_id: int
    @property
    def thumbnails_wanted(self) -> SignalInstance: ...  # picture_ids: tuple[int, ...], the visible rows without one
    @property
    def filter_changed(self) -> SignalInstance: ...  # visible picture_ids in order: tuple[int, ...]

    def set_rows(self, rows: Sequence[PictureRow]) -> None:
        """Replace all rows."""

    def put_rows(self, rows: Sequence[PictureRow]) -> None:
        """Replace rows with the same id, append others."""

    def set_current(self, picture_id: int | None) -> None:
        """Mark the open picture and scroll to it; emits nothing."""

    def set_thumbnail(self, picture_id: int, pixels: NDArray[np.uint8]) -> None:
        """Give a row its thumbnail, (h, w, 3) uint8, at most 128 pixels a side."""

    def visible_ids(self) -> tuple[int, ...]:
        """Ids that pass the filter, in order: what A and D walk through."""

    def neighbours(self, picture_id: int | None, by: int) -> Iterator[int]:
        """Ids that pass the filter after (by 1) or before (by -1) a picture, nearest first; all for an unknown one."""


class ObjectPanelView(Protocol):
    """Objects of the open picture."""

    @property
    def selection_changed(self) -> SignalInstance: ...  # uids: tuple[str, ...]
    @property
    def rename_asked(self) -> SignalInstance: ...  # uids: tuple[str, ...]
    @property
    def delete_asked(self) -> SignalInstance: ...  # uids: tuple[str, ...]
    @property
    def refine_asked(self) -> SignalInstance: ...  # uid: str
    @property
    def lock_changed(self) -> SignalInstance: ...  # uids: tuple[str, ...], locked: bool
    @property
    def hidden_changed(self) -> SignalInstance: ...  # uids: tuple[str, ...], hidden: bool
    @property
    def attribute_changed(self) -> SignalInstance: ...  # uid: str, key: str, value: str (empty value removes it)

    def set_rows(self, rows: Sequence[ObjectRow]) -> None:
        """Replace all rows."""

    def set_selection(self, uids: Sequence[str]) -> None:
        """Select rows; emits nothing."""

    def selection(self) -> tuple[str, ...]:
        """Uids of the selected rows."""


class ClassManagerView(Protocol):
    """Classes of the project."""

    @property
    def add_asked(self) -> SignalInstance: ...  # name: str
    @property
    def rename_asked(self) -> SignalInstance: ...  # uid: str, name: str
    @property
    def merge_asked(self) -> SignalInstance: ...  # uids: tuple[str, ...], into: str (uid)
    @property
    def delete_asked(
        self,
    ) -> SignalInstance: ...  # uid: str, keep: str ("unnamed", "delete" or a uid)
    @property
    def colour_changed(self) -> SignalInstance: ...  # uid: str, colour: Rgb
    @property
    def hotkey_changed(self) -> SignalInstance: ...  # uid: str, hotkey: int (1 to 10, 0 for none)
    @property
    def lock_asked(self) -> SignalInstance: ...  # uid: str; fixed-class mode; empty releases
    @property
    def import_asked(self) -> SignalInstance: ...  # path: str; text or COCO file with names
    @property
    def vocabulary_asked(self) -> SignalInstance: ...  # preset: str; restrict the project's vocabulary

    def set_rows(self, rows: Sequence[ClassRow]) -> None:
        """Replace all classes."""

    def set_locked(self, uid: str) -> None:
        """Mark the class that every accepted object gets; empty for none."""

    def set_vocabularies(self, presets: Sequence[tuple[str, str]], current: str) -> None:
        """Offer vocabularies, (id, title)."""


class HistoryView(Protocol):
    """The journal of the open picture."""

    @property
    def step_asked(self) -> SignalInstance: ...  # step: int; undo or redo up to and including this step

    def set_rows(self, rows: Sequence[HistoryRow]) -> None:
        """Replace all steps, oldest first."""


class ReportView(Protocol):
    """Figures of the project."""

    @property
    def refresh_asked(self) -> SignalInstance: ...  # shown, or the button pressed

    def set_report(self, report: ReportData) -> None:
        """Show figures."""


class ProposalsView(Protocol):
    """Proposals of "Label everything" and "Find by name"."""

    @property
    def everything_asked(self) -> SignalInstance: ...
    @property
    def find_asked(self) -> SignalInstance: ...  # name: str
    @property
    def name_lit(self) -> SignalInstance: ...  # name: str; the row under the cursor, empty for none
    @property
    def name_accepted(self) -> SignalInstance: ...  # name: str; all proposals of this name
    @property
    def accepted_above(self) -> SignalInstance: ...  # score: float
    @property
    def cleared(self) -> SignalInstance: ...

    def set_rows(self, rows: Sequence[ProposalRow]) -> None:
        """Replace the names of the proposals."""


class ReviewView(Protocol):
    """The bar above the canvas in review mode. Its buttons trigger the commands `review.approve` and so on."""

    def set_step(self, step: ReviewStep | None) -> None:
        """Show what is under review; None leaves review mode."""


class MainWindowView(Protocol):
    """The window: its parts, the commands, what it says, and the questions it asks."""

    @property
    def canvas(self) -> CanvasView: ...
    @property
    def label_list(self) -> LabelListView: ...
    @property
    def pictures(self) -> PictureListView: ...
    @property
    def objects(self) -> ObjectPanelView: ...
    @property
    def classes(self) -> ClassManagerView: ...
    @property
    def history(self) -> HistoryView: ...
    @property
    def report(self) -> ReportView: ...
    @property
    def proposals(self) -> ProposalsView: ...
    @property
    def review(self) -> ReviewView: ...

    @property
    def command(self) -> SignalInstance: ...  # command id: str, see `commands.COMMANDS`; purely visual ones stay inside
    @property
    def paths_opened(
        self,
    ) -> SignalInstance: ...  # paths: tuple[str, ...]; dropped on the window, or chosen on the start page
    @property
    def sample_asked(self) -> SignalInstance: ...  # the start page's sample project
    @property
    def model_chosen(self) -> SignalInstance: ...  # model_id: str
    @property
    def setting_changed(self) -> SignalInstance: ...  # key: str, value: object
    @property
    def keys_changed(self) -> SignalInstance: ...  # {command id: (key, …)}: dict; the whole edited map
    @property
    def message_action(self) -> SignalInstance: ...  # key: str of the message whose button was pressed
    @property
    def save_retry_asked(self) -> SignalInstance: ...
    @property
    def job_paused(self) -> SignalInstance: ...  # job_id: str, paused: bool
    @property
    def job_cancelled(self) -> SignalInstance: ...  # job_id: str
    @property
    def closing(self) -> SignalInstance: ...  # the window closes: write what is left

    def show_start(self, recent: Sequence[tuple[str, str]]) -> None:
        """Show the start page with recent projects, (path, detail)."""

    def show_work(self) -> None:
        """Show the canvas."""

    def set_title(self, project: str, picture: str = "") -> None:
        """Title of the window."""

    def set_hint(self, text: str) -> None:
        """Status line: what a click would do now."""

    def set_device(self, model: str, device: str, detail: str = "") -> None:
        """Model and device in the status bar."""

    def set_models(self, models: Sequence[ModelRow], current: str) -> None:
        """Fill the model menu."""

    def set_saved(self, state: SaveState, text: str = "") -> None:
        """The saved chip: green with the time, amber while pending, red with Retry."""

    def set_progress(self, done: int, total: int) -> None:
        """Progress of the project in pictures."""

    def set_enabled(self, commands: Mapping[str, bool]) -> None:
        """Switch commands on and off by id."""

    def set_checked(self, command: str, *, checked: bool) -> None:
        """Tick a command that stays pressed; emits nothing."""

    def set_settings(self, rows: Sequence[SettingRow]) -> None:
        """What the settings dialog shows."""

    def set_keys(self, keys: Mapping[str, Sequence[str]]) -> None:
        """Keys that differ from the defaults, by command id."""

    def set_theme(self, theme: str) -> None:
        """Choose "dark", "light" or "system"."""

    def show_message(self, message: Message) -> None:
        """Show a message without stopping the work."""

    def clear_message(self, key: str) -> None:
        """Take a message away."""

    def show_job(self, job: JobRow) -> None:
        """Show or update something that runs in the background."""

    def remove_job(self, job_id: str) -> None:
        """Take a finished job away."""

    def ask_open_folder(self) -> str:
        """Let the user choose a folder; empty when cancelled."""

    def ask_open_file(self, title: str, patterns: str) -> str:
        """Let the user choose a file; empty when cancelled."""

    def ask_save_file(self, title: str, suggestion: str, patterns: str) -> str:
        """Let the user choose a file to write; empty when cancelled."""

    def ask_export(self, start: ExportChoice) -> ExportChoice | None:
        """Show the export dialog; None when cancelled."""

    def ask_choice(self, title: str, text: str, choices: Sequence[str]) -> int:
        """Ask a question with named buttons; -1 when cancelled."""

    def ask_name(self, title: str, start: str, names: Sequence[str]) -> str:
        """Ask for a name, completing among `names`; empty when cancelled."""

    def show_report_text(self, title: str, lines: Sequence[str]) -> None:
        """Show the outcome of an import, export or batch, to read and copy."""

    def restore_layout(self, state: Mapping[str, Any]) -> None:
        """Restore size and docks from what `layout_state` returned."""

    def layout_state(self) -> dict[str, Any]:
        """Size and docks as plain values."""
