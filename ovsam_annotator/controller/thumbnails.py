"""Small pictures for the list, made in the background for the rows that are looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from ovsam_core.pictures import small_picture

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from ovsam_annotator.controller.session import Session
    from ovsam_annotator.controller.tasks import Runner
    from ovsam_annotator.views.protocols import PictureListView

__all__ = ["ThumbnailController"]

SIDE = 128  # pixels


class ThumbnailController(QObject):
    """Gives rows of the picture list their thumbnails.

    Args:
        pictures: the list.
        runner: reads picture files.
    """

    def __init__(self, *, pictures: PictureListView, runner: Runner, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pictures = pictures
        self._runner = runner
        self._session: Session | None = None
        self._under_way: set[int] = set()
        pictures.thumbnails_wanted.connect(self.make)

    def attach(self, session: Session | None) -> None:
        """Work on another project, or none."""
        self._session = session
        self._under_way.clear()

    def make(self, picture_ids: Sequence[int]) -> None:
        """Make thumbnails of visible rows in the background."""
        session = self._session
        if session is None:
            return
        for picture_id in picture_ids:
            picture = session.pictures.get(picture_id)
            if picture is not None and picture_id not in self._under_way:
                self._under_way.add(picture_id)
                self._make_one(session, picture_id, session.file_of(picture))

    def _make_one(self, session: Session, picture_id: int, path: Path) -> None:
        def done(pixels: NDArray[np.uint8]) -> None:
            if self._session is session:
                self._under_way.discard(picture_id)  # the list keeps the newest few hundred, and asks again
                self._pictures.set_thumbnail(picture_id, pixels)

        # of a file that cannot be read the row says so
        self._runner.run(lambda: small_picture(path, SIDE), done, lambda _: None)
