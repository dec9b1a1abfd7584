"""Where the files that ship with the program lie: in the wheel, or beside the checkout."""

from __future__ import annotations

from pathlib import Path

from ovsam_core.errors import AssetError

__all__ = ["asset_path"]

_PLACES = (Path(__file__).parent / "assets", Path(__file__).parent.parent / "assets")


def asset_path(*parts: str) -> Path:
    """Return the path of a shipped file or folder.

    Args:
        *parts: path components below the assets folder, for example `"starter", "config.json"`.

    Raises:
        AssetError: neither the installed package nor the checkout has it.
    """
    for place in _PLACES:
        path = place.joinpath(*parts)
        if path.exists():
            return path
    raise AssetError(f"{'/'.join(parts)}: not among the program's files; reinstall ovsam-annotator to restore it")
