"""The phrases that the starter's text tower learns: names of things, as lists hold them and as people type them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ovsam_core.vocabulary.table import read_table

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["TEMPLATES", "clean_name", "collect_phrases", "table_names", "wordnet_nouns"]

TEMPLATES = (
    "a photo of a {}.",
    "a {}",
    "the {}",
    "{}s",
    "a photo of the {}",
    "There is a {} in the scene",
    "a small {}",
)


def clean_name(name: str) -> str:
    """Write a list's name as a person would: `aerosol_can` → `aerosol can`, without bracketed remarks."""
    return " ".join(re.sub(r"\(.*?\)", " ", name.replace("_", " ")).split())


def table_names(path: Path) -> list[str]:
    """Return every name and synonym of a vocabulary table."""
    return [clean_name(name) for row in read_table(path) for name in (row["name"], *row["synonyms"].split("|")) if name]


def wordnet_nouns(folder: Path) -> list[str]:
    """Return the common nouns of a WordNet database folder, lower case, without digits."""
    lines = (folder / "index.noun").read_text(encoding="utf-8").splitlines()
    common = _common_nouns(folder)
    words = [line.split(" ", 1)[0].replace("_", " ") for line in lines if line and not line.startswith(" ")]
    return [word for word in words if word in common and re.fullmatch(r"[a-z' -]+", word)]


def _common_nouns(folder: Path) -> set[str]:
    """`data.noun` keeps capitals, so proper names can be told apart there."""
    found = set()
    for line in (folder / "data.noun").read_text(encoding="utf-8").splitlines():
        if not line.startswith(" "):
            fields = line.split()
            found |= {fields[4 + 2 * i].replace("_", " ") for i in range(int(fields[3], 16))}
    return found


def collect_phrases(core: Iterable[str], rest: Iterable[str], *, limit: int = 100_000) -> list[str]:
    """Join names into one list without repetitions, the core names first, and cut it.

    Args:
        core: names that must be met (vocabularies, training labels).
        rest: further nouns, in the order of their use.
        limit: most phrases.
    """
    return list(dict.fromkeys(name for name in (*core, *rest) if name))[:limit]
