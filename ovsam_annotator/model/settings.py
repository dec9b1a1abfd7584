"""What the program remembers about a person: typed, checked when read, written atomically."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_type_hints

import orjson
from platformdirs import user_config_path

__all__ = ["Settings", "config_folder", "load_settings", "save_settings"]

_RECENT = 12
_THEMES = ("system", "light", "dark")


def config_folder() -> Path:
    """Folder of the settings: `$OVSAM_CONFIG`, or the platform's."""
    given = os.environ.get("OVSAM_CONFIG")
    return Path(given) if given else user_config_path("ovsam", appauthor=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """A person's settings; a project's own (vocabulary, overlap rule) are kept with the project.

    Attributes:
        theme: colours of the window.
        hover: show what a click would do when the pointer rests.
        fill: fill opacity of masks, 0 to 1.
        outlines: paint outlines.
        names: paint names on masks.
        crosshair: lines through the cursor.
        model: id of the model.
        brush_radius: of brush and eraser, in picture pixels.
        keys: keys that differ from the defaults, by command id.
        recent: project files, newest first.
        layout: size and docks of the window.
        seconds: seconds a picture measured on this machine, by model id.
    """

    theme: Literal["system", "light", "dark"] = "system"
    hover: bool = True
    fill: float = 0.4
    outlines: bool = True
    names: bool = True
    crosshair: bool = False
    model: str = "starter"
    brush_radius: float = 12.0
    keys: dict[str, tuple[str, ...]] = field(default_factory=dict)
    recent: tuple[str, ...] = ()
    layout: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def with_recent(self, path: str) -> Settings:
        """Put a project at the head of the recent ones."""
        return replace(self, recent=(path, *(p for p in self.recent if p != path))[:_RECENT])

    def changed(self, key: str, value: object) -> Settings:
        """Set one field; a value of the wrong kind is ignored."""
        checked = _checked({key: value})
        return replace(self, **checked)


def load_settings(path: Path | None = None) -> Settings:
    """Read the settings; missing, damaged or foreign values are replaced by defaults, field by field."""
    path = path or config_folder() / "settings.json"
    try:
        values = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return Settings()
    return Settings(**_checked(values)) if isinstance(values, dict) else Settings()


def save_settings(settings: Settings, path: Path | None = None) -> None:
    """Write the settings atomically.

    Raises:
        OSError: the folder cannot be written.
    """
    path = path or config_folder() / "settings.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".settings-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(orjson.dumps(asdict(settings), option=orjson.OPT_INDENT_2))
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    """Keep what has the field's type, converted where JSON says it differently."""
    hints = get_type_hints(Settings)
    result: dict[str, Any] = {}
    for item in fields(Settings):
        if item.name not in values:
            continue
        value, kind = values[item.name], hints[item.name]
        if kind is bool and isinstance(value, bool):
            result[item.name] = value
        elif kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
            result[item.name] = float(value)
        elif isinstance(value, str) and (kind is str or (item.name == "theme" and value in _THEMES)):
            result[item.name] = value
        elif item.name == "recent" and isinstance(value, (list, tuple)):
            result[item.name] = tuple(str(v) for v in value)[:_RECENT]
        elif item.name == "keys" and isinstance(value, dict):
            result[item.name] = {str(k): tuple(map(str, v)) for k, v in value.items() if isinstance(v, (list, tuple))}
        elif item.name == "seconds" and isinstance(value, dict):
            result[item.name] = {str(k): float(v) for k, v in value.items() if isinstance(v, (int, float))}
        elif item.name == "layout" and isinstance(value, dict):
            result[item.name] = value
    return result
