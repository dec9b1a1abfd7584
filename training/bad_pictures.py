"""Pictures that cannot be read: skipped, counted, listed, and too many of them stop the run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ovsam_core.errors import OvsamError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["BadPictures", "TooManyBadPicturesError"]


class TooManyBadPicturesError(OvsamError):
    """More pictures than allowed could not be read; the message names the first and, where there is one, the list."""


class BadPictures:
    """The unreadable pictures of a run.

    Args:
        total: number of pictures of the run.
        allowed: share of them that may be unreadable.
        listing: JSON file that is kept up to date; None keeps none.
        known: of an earlier part of the run, path → reason.
        show: print each picture that is skipped.

    Attributes:
        found: path → reason.
    """

    def __init__(
        self,
        total: int,
        allowed: float,
        *,
        listing: Path | None = None,
        known: Mapping[str, str] | None = None,
        show: bool = True,
    ) -> None:
        self.total, self.allowed, self.listing, self.show = total, allowed, listing, show
        self.found = dict(known or {})

    def add(self, pictures: Iterable[tuple[str, str]]) -> None:
        """Take note of pictures and reasons; one that is known already does not count again.

        Raises:
            TooManyBadPicturesError: too many by now.
        """
        # The engine's messages begin with the path.
        fresh = {path: why.removeprefix(f"{path}: ") for path, why in pictures if path not in self.found}
        if not fresh:
            return
        self.found |= fresh
        if self.show:
            for path, why in fresh.items():
                print(f"skipped {path}: {why}")
        if self.listing is not None:
            self.listing.write_text(json.dumps(self.found, indent=1), encoding="utf-8")
        if len(self.found) > self.allowed * self.total:
            path, why = next(iter(self.found.items()))
            where = f"{self.listing}: " if self.listing is not None else ""
            raise TooManyBadPicturesError(
                f"{where}{len(self.found)} of {self.total} pictures could not be read, more than the "
                f"{self.allowed:.0%} that --max-bad allows; the first is {path}: {why}"
            )
