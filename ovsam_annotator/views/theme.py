"""Dark, light or the system's colours: Fusion with our own palettes, so that it looks the same everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QPalette

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

__all__ = ["SAVE_COLOURS", "STATE_COLOURS", "apply_theme", "is_dark"]

_Role = QPalette.ColorRole

_DARK = {
    _Role.Window: "#2b2d31",
    _Role.Base: "#202226",
    _Role.AlternateBase: "#26282c",
    _Role.Button: "#383b41",
    _Role.Text: "#e8e8ea",
    _Role.Light: "#4a4d54",
    _Role.Midlight: "#404349",
    _Role.Mid: "#1c1d20",
    _Role.Dark: "#17181a",
    _Role.Shadow: "#0c0c0d",
    _Role.Highlight: "#2f6fb5",
    _Role.HighlightedText: "#ffffff",
    _Role.Link: "#7db8f0",
    _Role.ToolTipBase: "#17181a",
    _Role.PlaceholderText: "#9a9da3",
}
_LIGHT = {
    _Role.Window: "#f1f2f4",
    _Role.Base: "#ffffff",
    _Role.AlternateBase: "#f6f7f9",
    _Role.Button: "#e6e8eb",
    _Role.Text: "#1c1e21",
    _Role.Light: "#ffffff",
    _Role.Midlight: "#f4f5f7",
    _Role.Mid: "#b6bac0",
    _Role.Dark: "#9ea2a8",
    _Role.Shadow: "#6b6f76",
    _Role.Highlight: "#1f62a8",
    _Role.HighlightedText: "#ffffff",
    _Role.Link: "#11558f",
    _Role.ToolTipBase: "#fffdf2",
    _Role.PlaceholderText: "#6a6e75",
}

# Dots of pictures and objects by state; each one also has its own shape, see `picture_delegate`.
STATE_COLOURS = {
    "unseen": "#8d9096",
    "in work": "#56b4e9",
    "done": "#e69f00",
    "approved": "#009e73",
    "needs work": "#d55e00",
    "excluded": "#6b6e74",
    "open": "#8d9096",
}
SAVE_COLOURS = {"saved": "#1f7a55", "pending": "#8a5a00", "failed": "#b3261e", "read only": "#55606e"}

_SHEET = """
QToolTip { color: %(text)s; background: %(tip)s; border: 1px solid %(line)s; padding: 3px; }
#chip { color: #f4f4f4; background: rgba(20, 20, 22, 215); border-radius: 6px; padding: 4px 8px; }
#chip QLabel { color: #f4f4f4; }
#chip[failed="true"] { background: rgba(140, 28, 20, 235); }
#labelList { background: %(window)s; border: 1px solid %(line)s; border-radius: 8px; }
#names { background: transparent; }
#found::item { padding: 3px 4px; }
QDialogButtonBox { dialogbuttonbox-buttons-have-icons: 0; }
#faint { color: %(faint)s; }
#title { font-size: 20pt; font-weight: 600; }
#message { border-radius: 6px; background: %(alternate)s; border: 1px solid %(line)s; }
#message[level="error"] { border-left: 5px solid #d5453a; }
#message[level="warning"] { border-left: 5px solid #e69f00; }
#message[level="info"] { border-left: 5px solid #56b4e9; }
#reviewBar { background: %(alternate)s; border-bottom: 1px solid %(line)s; }
#cheatSheet { background: %(window)s; border: 1px solid %(line)s; border-radius: 8px; }
#key { border: 1px solid %(faint)s; border-radius: 3px; padding: 1px 5px; }
#card { background: %(base)s; border: 1px solid %(line)s; border-radius: 8px; text-align: left; padding: 10px 14px; }
#card:hover, #card:focus { border-color: %(highlight)s; }
QStatusBar::item { border: none; }
QDockWidget::title { padding: 5px 8px; background: %(alternate)s; }
"""


def is_dark(palette: QPalette) -> bool:
    """Whether a palette is a dark one."""
    return palette.color(_Role.Window).lightness() < 128


def _wants_dark(application: QApplication, theme: str) -> bool:
    if theme == "system":
        return application.styleHints().colorScheme() == Qt.ColorScheme.Dark
    return theme == "dark"


def apply_theme(application: QApplication, theme: str) -> None:
    """Give the program its colours.

    Args:
        application: the program.
        theme: "dark", "light", or "system" for what the desktop says now.
    """
    colours = _DARK if _wants_dark(application, theme) else _LIGHT
    palette = QPalette()
    for role, colour in colours.items():
        palette.setColor(role, QColor(colour))
    for role in (_Role.WindowText, _Role.ButtonText, _Role.ToolTipText):
        palette.setColor(role, QColor(colours[_Role.Text]))
    palette.setColor(_Role.BrightText, QColor("#ffffff"))
    palette.setColor(_Role.Accent, QColor(colours[_Role.Highlight]))
    faint = QColor(colours[_Role.Text])
    faint.setAlpha(110)
    for role in (_Role.WindowText, _Role.Text, _Role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, faint)
    application.setStyle("Fusion")
    application.setPalette(palette)
    application.setStyleSheet(
        _SHEET
        % {
            "text": colours[_Role.Text],
            "tip": colours[_Role.ToolTipBase],
            "line": colours[_Role.Light if colours is _DARK else _Role.Mid],
            "window": colours[_Role.Window],
            "base": colours[_Role.Base],
            "alternate": colours[_Role.AlternateBase],
            "faint": colours[_Role.PlaceholderText],
            "highlight": colours[_Role.Highlight],
        }
    )
