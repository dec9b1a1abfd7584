"""Every command of the program: its id, text, default keys and where they work. Plain data, no Qt.

Keys are written as Qt's portable text. A *canvas* key works only while the canvas has the keyboard, so that Tab, Enter
and the like keep their usual meaning elsewhere; a *window* key works everywhere but in a text field. *Local* commands
are carried out by the views themselves; all others reach the controllers through `MainWindowView.command`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["COMMANDS", "MENUS", "Command", "command_by_id", "conflicts", "default_keys"]

Scope = Literal["window", "canvas"]


@dataclass(frozen=True, slots=True)
class Command:
    """One thing a person can ask for.

    Attributes:
        command_id: stable id, `menu.verb`.
        text: what the menu says.
        keys: default keys, the first one shown in the menu.
        menu: menu it stands in; empty for keys alone (shown by the cheat sheet, not by a menu).
        scope: where its keys work.
        local: carried out by the views.
        checkable: stays pressed.
        group: commands of one group exclude each other when checkable.
        separator: a line stands above it in the menu.
    """

    command_id: str
    text: str
    keys: tuple[str, ...] = ()
    menu: str = ""
    scope: Scope = "window"
    local: bool = False
    checkable: bool = False
    group: str = ""
    separator: bool = False


MENUS = ("File", "Edit", "Picture", "Object", "Label", "Model", "Review", "View", "Help")

_FILE = (
    Command("file.open_folder", "Open folder…", ("Ctrl+O",), "File"),
    Command("file.open_file", "Open project, picture or COCO file…", ("Ctrl+Shift+O",), "File"),
    Command("file.start", "Start page", (), "File"),
    Command("file.save", "Save now", ("Ctrl+S",), "File", separator=True),
    Command("file.import", "Import annotations…", ("Ctrl+I",), "File", separator=True),
    Command("file.export", "Export annotations…", ("Ctrl+E",), "File"),
    Command("file.settings", "Settings…", ("Ctrl+,",), "File", local=True, separator=True),
    Command("file.keys", "Keyboard shortcuts…", ("Ctrl+K",), "File", local=True),
    Command("file.quit", "Quit", ("Ctrl+Q",), "File", local=True, separator=True),
)

_EDIT = (
    Command("edit.undo", "Undo", ("Ctrl+Z",), "Edit"),
    Command("edit.redo", "Redo", ("Ctrl+Shift+Z", "Ctrl+Y"), "Edit"),
    Command("edit.select_all", "Select all objects", ("Ctrl+A",), "Edit", separator=True),
    Command("tool.prompt", "Prompt: click or drag a box", ("W",), "Edit", checkable=True, group="tool", separator=True),
    Command("tool.select", "Select", ("S",), "Edit", checkable=True, group="tool"),
    Command("tool.brush", "Brush", ("B",), "Edit", checkable=True, group="tool"),
    Command("tool.eraser", "Eraser", ("Shift+B",), "Edit", checkable=True, group="tool"),
    Command("tool.polygon", "Draw polygon", ("P",), "Edit", checkable=True, group="tool"),
    Command("tool.vertices", "Edit vertices", ("Shift+P",), "Edit", checkable=True, group="tool"),
    Command("brush.smaller", "Smaller brush", ("-",), "Edit", separator=True),
    Command("brush.bigger", "Bigger brush", ("=", "+"), "Edit"),
)

_PICTURE = (
    Command("picture.previous", "Previous picture", ("A",), "Picture"),
    Command("picture.next", "Next picture", ("D",), "Picture"),
    Command("picture.previous_open", "Previous unreviewed", ("Ctrl+Shift+A",), "Picture"),
    Command("picture.next_open", "Next unreviewed", ("Ctrl+Shift+D",), "Picture"),
    Command("picture.done", "Done, next picture", ("Ctrl+Return",), "Picture", separator=True),
    Command("picture.copy_previous", "Suggest the previous picture's objects", ("Ctrl+D",), "Picture"),
)

_OBJECT = (
    Command("object.next", "Next object", ("]",), "Object"),
    Command("object.previous", "Previous object", ("[",), "Object"),
    Command("object.rename", "Rename…", ("F2",), "Object", separator=True),
    Command("object.refine", "Refine with clicks", ("G",), "Object"),
    Command("object.lock", "Lock or unlock", ("K",), "Object"),
    Command("object.hide", "Hide or show", ("Ctrl+H",), "Object"),
    Command("object.delete", "Delete", ("Delete",), "Object"),
    Command("mask.fill_holes", "Fill holes", ("Shift+F",), "Object", separator=True),
    Command("mask.drop_crumbs", "Drop crumbs", ("Shift+D",), "Object"),
    Command("mask.grow", "Grow by one pixel", ("Alt+Up",), "Object"),
    Command("mask.shrink", "Shrink by one pixel", ("Alt+Down",), "Object"),
    Command("mask.split", "Split into parts", ("Shift+S",), "Object"),
    Command("mask.merge", "Merge selected", ("M",), "Object"),
)

_LABEL = (
    Command("label.accept", "Accept the highlighted name", ("Return", "Enter"), "Label", scope="canvas"),
    Command("label.accept_unnamed", "Accept without a name", ("Shift+Return", "Shift+Enter"), "Label", scope="canvas"),
    Command("label.search", "Search the vocabulary", ("/",), "Label"),
    Command("label.next", "Next name", ("Tab",), "Label", scope="canvas", local=True),
    Command("label.previous", "Previous name", ("Shift+Tab",), "Label", scope="canvas", local=True),
    Command("label.candidate_next", "Next mask", (".",), "Label", separator=True),
    Command("label.candidate_previous", "Previous mask", (",",), "Label"),
    Command("label.drop", "Drop the object in work", ("Esc",), "Label", scope="canvas"),
    Command("prompt.undo", "Take back the last click", ("Backspace",), "Label", separator=True),
    Command("prompt.positive", "Click at the cursor: on the object", ("Q", "C"), "Label", local=True),
    Command("prompt.negative", "Click at the cursor: off the object", ("E", "Shift+C"), "Label", local=True),
    Command("class.lock", "Fixed class: on for the last one, or off", ("L",), "Label", separator=True),
    *(Command(f"label.name_{n}", f"Accept name {n}", (str(n),)) for n in range(1, 10)),
    *(Command(f"class.hotkey_{n}", f"Class with hotkey {n % 10}", (f"Ctrl+{n % 10}",)) for n in range(1, 11)),
)

_MODEL = (
    Command("model.everything", "Label everything", ("Ctrl+G",), "Model"),
    Command("model.find", "Find by name", ("Ctrl+F",), "Model", local=True),
    Command("model.clear", "Clear proposals", (), "Model"),
    Command("model.batch", "Pre-label pictures…", ("Ctrl+B",), "Model", separator=True),
    Command("model.hover", "Hover preview", ("T",), "Model", checkable=True, separator=True),
)

_REVIEW = (
    Command("review.toggle", "Review mode", ("R",), "Review", checkable=True),
    Command("review.approve", "Approve object", ("Y",), "Review", separator=True),
    Command("review.fix", "Object needs work", ("U",), "Review"),
    Command("review.exclude", "Delete object in review", ("X",), "Review"),
    Command("review.next", "Next open object, on any picture", ("J",), "Review"),
    Command("review.approve_picture", "Approve picture", ("Shift+Y",), "Review", separator=True),
    Command("review.fix_picture", "Picture needs work", ("Shift+U",), "Review"),
    Command("review.exclude_picture", "Exclude picture", ("Shift+X",), "Review"),
)

_VIEW = (
    Command("view.fit", "Fit", ("F",), "View", local=True),
    Command("view.actual", "One to one", ("0",), "View", local=True),
    Command("view.zoom_in", "Zoom in", ("Ctrl++", "Ctrl+="), "View", local=True),
    Command("view.zoom_out", "Zoom out", ("Ctrl+-",), "View", local=True),
    Command("view.outline", "Outlines only", ("O",), "View", local=True, checkable=True, separator=True),
    Command("view.fill_more", "Stronger fill", ("Alt+Right",), "View", local=True),
    Command("view.fill_less", "Weaker fill", ("Alt+Left",), "View", local=True),
    Command("view.names", "Names on masks", ("N",), "View", local=True, checkable=True),
    Command("view.hide", "Hide masks while held", ("H",), "View", local=True),
    Command("view.crosshair", "Crosshair", ("Shift+W",), "View", local=True, checkable=True),
    Command("view.contrast", "Contrast window…", ("Shift+V",), "View", local=True),
    Command("view.theme_system", "System colours", (), "View", checkable=True, group="theme", separator=True),
    Command("view.theme_light", "Light", (), "View", checkable=True, group="theme"),
    Command("view.theme_dark", "Dark", (), "View", checkable=True, group="theme"),
)

_HELP = (
    Command("help.keys", "Show all keys", ("?", "F1"), "Help", local=True),
    Command("help.about", "About", (), "Help", local=True),
)

COMMANDS: tuple[Command, ...] = (
    *_FILE,
    *_EDIT,
    *_PICTURE,
    *_OBJECT,
    *_LABEL,
    *_MODEL,
    *_REVIEW,
    *_VIEW,
    *_HELP,
)

_BY_ID = {command.command_id: command for command in COMMANDS}


def command_by_id(command_id: str) -> Command:
    """Return a command.

    Raises:
        KeyError: there is none with this id.
    """
    return _BY_ID[command_id]


def default_keys() -> dict[str, tuple[str, ...]]:
    """Keys of every command as shipped."""
    return {command.command_id: command.keys for command in COMMANDS}


def conflicts(keys: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Find keys that more than one command claims.

    Args:
        keys: portable key texts by command id.

    Returns:
        Ids of the commands that share it, for each such key, in the order of the command table.
    """
    owners: dict[str, list[str]] = {}
    for command in COMMANDS:
        for key in dict.fromkeys(keys.get(command.command_id, ())):
            owners.setdefault(key, []).append(command.command_id)
    return {key: tuple(ids) for key, ids in owners.items() if len(ids) > 1}
