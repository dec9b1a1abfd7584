"""The person's settings: shown, changed and kept."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QCoreApplication, QObject, Signal

from ovsam_annotator.model.editing import Overlap
from ovsam_annotator.model.settings import Settings, save_settings
from ovsam_annotator.views import data

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ovsam_annotator.controller.session import Session
    from ovsam_annotator.controller.tasks import Runner
    from ovsam_annotator.views.protocols import MainWindowView

__all__ = ["PreferencesController"]

_log = logging.getLogger(__name__)


class PreferencesController(QObject):
    """Shows settings, keys, theme and models, and writes what changes in the background.

    Args:
        window: shows them.
        runner: writes them.
        settings: as they were read at the start.
        path: the settings file; the default one where None.
        models: lists the installed models, off the GUI thread.

    Attributes:
        settings: as they are now.
        hover_changed: hover previews were switched on or off.
        overlap_changed: the project's overlap rule was changed.
    """

    hover_changed = Signal(bool)
    overlap_changed = Signal(str)

    def __init__(
        self,
        *,
        window: MainWindowView,
        runner: Runner,
        settings: Settings,
        path: Path | None = None,
        models: Callable[[], Sequence[data.ModelRow]] = tuple,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._window = window
        self._runner = runner
        self._path = path
        self._models = models
        self._overlap = Overlap.ALLOW
        self.settings = settings
        window.setting_changed.connect(self.change)
        window.keys_changed.connect(self.set_keys)
        window.canvas.display_changed.connect(self._display_changed)
        window.set_keys(settings.keys)
        window.set_theme(settings.theme)
        window.set_checked(f"view.theme_{settings.theme}", checked=True)
        window.set_checked("model.hover", checked=settings.hover)
        window.canvas.set_display(self._display())
        if settings.layout:
            window.restore_layout(settings.layout)
        self._show()

    def recent(self) -> tuple[tuple[str, str], ...]:
        """Recent projects for the start page: path and folder."""
        return tuple((path, str(Path(path).parent)) for path in self.settings.recent)

    def add_recent(self, path: str) -> None:
        """Put a project at the head of the recent ones."""
        self.settings = self.settings.with_recent(path)
        self._save()

    def keep(self, key: str, value: object) -> None:
        """Set and write one setting; nothing is shown anew."""
        changed = self.settings.changed(key, value)
        if changed != self.settings:
            self.settings = changed
            self._save()

    def keep_layout(self) -> None:
        """Remember the window's layout."""
        self.keep("layout", self._window.layout_state())

    def change(self, key: str, value: object) -> None:
        """A setting was changed in the dialog."""
        if key == "overlap":
            self._overlap = Overlap(str(value))
            self.overlap_changed.emit(str(value))
        elif key == "theme":
            self.set_theme(str(value))
        else:
            self.keep(key, value)
            if key == "hover":
                self.hover_changed.emit(bool(value))
            if key == "brush_radius":
                self._window.canvas.set_brush_radius(self.settings.brush_radius)
            self._window.canvas.set_display(self._display())
        self._show()

    def set_keys(self, keys: Mapping[str, Sequence[str]]) -> None:
        """The keys were edited; conflicts were refused by the dialog."""
        self.keep("keys", {command: tuple(texts) for command, texts in keys.items()})
        self._window.set_keys(self.settings.keys)

    def set_theme(self, theme: str) -> None:
        """Choose "system", "light" or "dark"."""
        self.keep("theme", theme)
        self._window.set_theme(self.settings.theme)
        self._window.set_checked(f"view.theme_{self.settings.theme}", checked=True)

    def show(self, session: Session, overlap: Overlap) -> None:
        """Show the settings of an opened project as well."""
        del session
        self._overlap = overlap
        self._show()

    def show_models(self, current: str) -> None:
        """Fill the model menu."""

        def done(found: Sequence[data.ModelRow]) -> None:
            seconds = self.settings.seconds
            self._window.set_models([replace(row, seconds=seconds.get(row.model_id)) for row in found], current)

        self._runner.run(self._models, done)

    def note_speed(self, model_id: str, seconds: float) -> None:
        """Remember how long a picture took: a running mean, so that one slow picture changes little."""
        known = self.settings.seconds.get(model_id)
        mean = seconds if known is None else 0.8 * known + 0.2 * seconds
        self.keep("seconds", {**self.settings.seconds, model_id: round(mean, 3)})
        if known is None:
            self.show_models(model_id)

    def _display(self) -> data.DisplayOptions:
        s = self.settings
        return data.DisplayOptions(fill=s.fill, outlines=s.outlines, names=s.names, crosshair=s.crosshair)

    def _display_changed(self, options: data.DisplayOptions) -> None:
        for key in ("fill", "outlines", "names", "crosshair"):
            self.keep(key, getattr(options, key))

    def _save(self) -> None:
        settings = self.settings
        self._runner.run(
            lambda: save_settings(settings, self._path), None, lambda error: _log.warning("settings: %s", error)
        )

    def _show(self) -> None:
        s = self.settings
        rows: list[Any] = [
            data.SettingRow(
                "theme",
                self.tr("Colours"),
                s.theme,
                self.tr("Follow the system, or choose."),
                self.tr("Window"),
                _themes(),
            ),
            data.SettingRow(
                "hover",
                self.tr("Hover preview"),
                s.hover,
                self.tr("Outline and name of what a click would take."),
                self.tr("Model"),
            ),
            data.SettingRow(
                "fill",
                self.tr("Fill of masks"),
                s.fill,
                self.tr("0 shows outlines only."),
                self.tr("Masks"),
                (),
                0.0,
                1.0,
            ),
            data.SettingRow(
                "outlines", self.tr("Outlines"), s.outlines, self.tr("Paint the edge of every mask."), self.tr("Masks")
            ),
            data.SettingRow(
                "names", self.tr("Names on masks"), s.names, self.tr("Paint the name on every mask."), self.tr("Masks")
            ),
            data.SettingRow(
                "crosshair", self.tr("Crosshair"), s.crosshair, self.tr("Lines through the cursor."), self.tr("Masks")
            ),
            data.SettingRow(
                "brush_radius",
                self.tr("Brush radius"),
                s.brush_radius,
                self.tr("In picture pixels."),
                self.tr("Tools"),
                (),
                0.5,
                500.0,
            ),
            data.SettingRow(
                "overlap",
                self.tr("Overlapping masks"),
                str(self._overlap),
                self.tr("What happens where a new mask lies on an older one, in this project."),
                self.tr("Project"),
                _overlaps(),
            ),
        ]
        self._window.set_settings(rows)


def _themes() -> tuple[tuple[str, str], ...]:
    return (
        ("system", QCoreApplication.translate("Theme", "System")),
        ("light", QCoreApplication.translate("Theme", "Light")),
        ("dark", QCoreApplication.translate("Theme", "Dark")),
    )


def _overlaps() -> tuple[tuple[str, str], ...]:
    words = {
        Overlap.ALLOW: QCoreApplication.translate("Overlap", "Allow"),
        Overlap.GIVE_WAY: QCoreApplication.translate("Overlap", "New gives way"),
        Overlap.CUT: QCoreApplication.translate("Overlap", "New cuts in"),
    }
    return tuple((str(rule), words[rule]) for rule in Overlap)
