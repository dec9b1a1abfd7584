"""The language of the window: loads a translation where there is one, and translates the words that are data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from PySide6.QtCore import QCoreApplication, QLibraryInfo, QLocale, QTranslator

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["counted", "install_translation", "state_word"]


def install_translation(application: QCoreApplication, folder: Path, locale: QLocale | None = None) -> bool:
    """Translate the window into a language; call it before any widget is made.

    Args:
        application: the program.
        folder: holds `ovsam_LANGUAGE.qm`, for example `ovsam_de.qm`; it may be missing.
        locale: language and country; the system's by default.

    Returns:
        Whether there is a translation; Qt's own buttons are translated with it.
    """
    wanted = locale or QLocale.system()
    ours = QTranslator(application)
    if not ours.load(wanted, "ovsam", "_", str(folder)):
        return False
    application.installTranslator(ours)
    qt = QTranslator(application)
    if qt.load(wanted, "qtbase", "_", QLibraryInfo.path(QLibraryInfo.LibraryPath.TranslationsPath)):
        application.installTranslator(qt)
    return True


def counted(kind: Literal["object", "picture", "proposal"], n: int) -> str:
    """A number of things, in words that fit one and many."""
    one, many = {
        "object": (QCoreApplication.translate("Count", "1 object"), QCoreApplication.translate("Count", "{n} objects")),
        "picture": (
            QCoreApplication.translate("Count", "1 picture"),
            QCoreApplication.translate("Count", "{n} pictures"),
        ),
        "proposal": (
            QCoreApplication.translate("Count", "1 proposal"),
            QCoreApplication.translate("Count", "{n} proposals"),
        ),
    }[kind]
    return one if n == 1 else many.format(n=f"{n:,}")


def state_word(value: str) -> str:
    """Word for a state of a picture, an object or the model's work; a state that is unknown here stays as it is."""
    words = {
        "unseen": QCoreApplication.translate("State", "unseen"),
        "in work": QCoreApplication.translate("State", "in work"),
        "done": QCoreApplication.translate("State", "done"),
        "approved": QCoreApplication.translate("State", "approved"),
        "needs work": QCoreApplication.translate("State", "needs work"),
        "excluded": QCoreApplication.translate("State", "excluded"),
        "open": QCoreApplication.translate("State", "open"),
        "none": QCoreApplication.translate("State", "none"),
        "queued": QCoreApplication.translate("State", "queued"),
        "running": QCoreApplication.translate("State", "running"),
        "ready": QCoreApplication.translate("State", "ready"),
        "failed": QCoreApplication.translate("State", "failed"),
    }
    return words.get(value, value)
