"""Phrase embeddings on disk: a phrase is encoded once for a text tower and a set of sentences."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import xxhash
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ovsam_core.embedding_cache import cache_folder
from ovsam_core.errors import AssetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["PhraseCache", "read_phrases", "templates_digest", "write_phrases"]

_VARIABLES = 500  # phrases asked for in one statement; SQLite's oldest limit on variables is 999


def templates_digest(templates: Sequence[str]) -> str:
    """Digest of the sentences that a phrase was read in."""
    return xxhash.xxh3_64_hexdigest("\x1f".join(templates).encode())


class PhraseCache:
    """One SQLite file a text tower, `text/TEXT_HASH.sqlite` in the cache folder; several processes may share it.

    What cannot be read is computed again: a damaged file is set aside (`.damaged`), never trusted and never deleted.
    """

    def __init__(self, text_hash: str, folder: Path | None = None) -> None:
        self.path = (folder or cache_folder()) / "text" / f"{text_hash}.sqlite"

    def get(self, phrases: Iterable[str], templates: Sequence[str], dim: int) -> dict[str, NDArray[np.float16]]:
        """Return the known phrases' (dim,) float16 unit vectors."""
        wanted = list(phrases)
        if not self.path.exists():
            return {}
        key = templates_digest(templates)
        found: dict[str, NDArray[np.float16]] = {}
        try:
            with closing(self._connect()) as connection:
                for start in range(0, len(wanted), _VARIABLES):
                    part = wanted[start : start + _VARIABLES]
                    marks = ",".join("?" * len(part))
                    query = f"SELECT phrase, vector FROM phrase WHERE templates = ? AND phrase IN ({marks})"  # noqa: S608
                    for phrase, blob in connection.execute(query, (key, *part)):
                        if len(blob) == 2 * dim:
                            found[phrase] = np.frombuffer(blob, np.float16)
        except sqlite3.DatabaseError:
            self._set_aside()
            return {}
        return found

    def put(self, vectors: Mapping[str, NDArray[np.float16]], templates: Sequence[str]) -> None:
        """Keep vectors; a full disk or a locked file only means that they are computed again next time."""
        key = templates_digest(templates)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as connection, connection:
                rows = ((key, phrase, vector.tobytes()) for phrase, vector in vectors.items())
                connection.executemany("INSERT OR REPLACE INTO phrase VALUES (?, ?, ?)", rows)
        except (sqlite3.OperationalError, OSError):
            return
        except sqlite3.DatabaseError:
            self._set_aside()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=10)
        try:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS phrase (templates TEXT, phrase TEXT, vector BLOB, "
                "PRIMARY KEY (templates, phrase)) WITHOUT ROWID"
            )
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _set_aside(self) -> None:
        self.path.replace(self.path.with_suffix(".damaged"))


def write_phrases(
    path: Path, vectors: Mapping[str, NDArray[np.float16]], templates: Sequence[str], text_hash: str
) -> None:
    """Write phrase embeddings that ship beside a model: tensor `rows` (R, D) fp16, the phrases as metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {
        "phrases": json.dumps(list(vectors), ensure_ascii=False),
        "templates": templates_digest(templates),
        "text_hash": text_hash,
    }
    save_file({"rows": np.stack(list(vectors.values()))}, path, metadata)


def read_phrases(path: Path, templates: Sequence[str], text_hash: str) -> dict[str, NDArray[np.float16]]:
    """Read what `write_phrases` wrote; empty where it belongs to another text tower or other sentences.

    Raises:
        AssetError: the file is damaged.
    """
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            if metadata.get("templates") != templates_digest(templates) or metadata.get("text_hash") != text_hash:
                return {}
            rows = file.get_tensor("rows")
            phrases = json.loads(metadata["phrases"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise AssetError(f"{path}: damaged ({error}); restore it by installing the model again") from error
    if rows.ndim != 2 or len(phrases) != len(rows):
        raise AssetError(f"{path}: rows: expected one for each of {len(phrases)} phrases, got shape {rows.shape}")
    return dict(zip(phrases, rows, strict=True))
