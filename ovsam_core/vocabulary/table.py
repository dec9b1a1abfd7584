"""Tab-separated tables: the shipped vocabularies, one row an entry, a header line with the column names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovsam_core.errors import VocabularyError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["read_table", "write_table"]


def read_table(path: Path) -> list[dict[str, str]]:
    """Read a table.

    Raises:
        VocabularyError: a row has another number of cells than the header; the message names file and line.
    """
    header, *lines = path.read_text("utf-8").splitlines()
    columns = header.split("\t")
    rows = []
    for number, line in enumerate(lines, 2):
        cells = line.split("\t")
        if len(cells) != len(columns):
            raise VocabularyError(f"{path}: line {number} has {len(cells)} cells, expected {len(columns)}")
        rows.append(dict(zip(columns, cells, strict=True)))
    return rows


def write_table(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """Write rows that share their keys; tabs and line breaks in cells become spaces."""
    columns = list(rows[0])
    lines = ["\t".join(columns)]
    lines += ["\t".join(" ".join(row[column].split()) for column in columns) for row in rows]
    path.write_text("\n".join(lines) + "\n", "utf-8")
