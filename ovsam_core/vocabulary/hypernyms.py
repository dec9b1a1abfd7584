"""The WordNet noun hierarchy above the shipped vocabularies."""

from __future__ import annotations

from functools import cache

from ovsam_core.assets import asset_path
from ovsam_core.vocabulary.table import read_table

__all__ = ["ancestors", "hypernym_name"]


@cache
def _table() -> dict[str, tuple[str, str]]:
    return {row["id"]: (row["name"], row["parent"]) for row in read_table(asset_path("vocabularies", "hypernyms.tsv"))}


def hypernym_name(synset: str) -> str | None:
    """Return the first lemma of an ancestor synset, or None where WordNet's hierarchy does not have it."""
    row = _table().get(synset)
    return row[0] if row else None


def ancestors(parent: str) -> list[str]:
    """List synset ids from `parent` (included) up to the root `entity.n.01`; empty for an unknown parent."""
    chain = []
    while parent in _table():
        chain.append(parent)
        parent = _table()[parent][1]
    return chain
