"""Icons that ship with the program, drawn in the text colour of the palette."""

from __future__ import annotations

from functools import cache

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPalette, QPixmap
from PySide6.QtSvg import QSvgRenderer

from ovsam_core.assets import asset_path

__all__ = ["app_icon", "icon", "read_icons", "swatch"]

_SIDE = 64  # pixels: sharp at 200 per cent and three times the density


@cache
def _source(name: str) -> str:
    return asset_path("icons", f"{name}.svg").read_text(encoding="utf-8")


def read_icons() -> None:
    """Read every icon file now, before the window is up: later the GUI thread reads none."""
    for path in asset_path("icons").glob("*.svg"):
        _source(path.stem)


def _pixmap(name: str, colour: QColor) -> QPixmap:
    svg = _source(name).replace("currentColor", colour.name())
    pixmap = QPixmap(_SIDE, _SIDE)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    QSvgRenderer(QByteArray(svg.encode())).render(painter, QRectF(0, 0, _SIDE, _SIDE))
    painter.end()
    return pixmap


def icon(name: str, palette: QPalette) -> QIcon:
    """Icon of `assets/icons/NAME.svg` in the palette's text colour, paler when disabled, readable in a selected row."""
    plain, chosen = QPalette.ColorRole.ButtonText, QPalette.ColorRole.HighlightedText
    return _icon(name, palette.color(plain).name(), palette.color(chosen).name())


@cache
def _icon(name: str, colour: str, chosen: str) -> QIcon:
    made = QIcon(_pixmap(name, QColor(colour)))
    made.addPixmap(_pixmap(name, QColor("#808389")), QIcon.Mode.Disabled)
    made.addPixmap(_pixmap(name, QColor(chosen)), QIcon.Mode.Selected)
    return made


@cache
def swatch(colour: tuple[int, int, int]) -> QPixmap:
    """A small square of a class's colour, with a rim that keeps it visible on a selected row of the same colour."""
    pixmap = QPixmap(24, 24)
    pixmap.setDevicePixelRatio(2)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setPen(QColor(255, 255, 255, 190))
    painter.setBrush(QColor(*colour))
    painter.drawRect(QRectF(0.25, 0.25, 11.5, 11.5))
    painter.end()
    return pixmap


def app_icon() -> QIcon:
    """Icon of the program."""
    return QIcon(_pixmap("app", QColor("black")))
