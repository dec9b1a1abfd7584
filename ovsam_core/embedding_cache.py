"""One cache for every embedding: recent ones in memory, all of them on the disk within a quota."""

from __future__ import annotations

import os
import re
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_cache_path

from ovsam_core.embedding import ImageEmbedding
from ovsam_core.errors import EmbeddingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["CacheUsage", "EmbeddingCache", "cache_folder"]

RAM_BYTES = 1 << 30  # twenty pictures of the paper's RN50x16, hundreds of the starter
DISK_GB = 20.0
_STALE_PART_S = 3600.0  # a half-written file this old belongs to a process that died
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


def cache_folder() -> Path:
    """Return the folder of everything that can be computed again: `$OVSAM_CACHE`, or the platform's cache folder."""
    given = os.environ.get("OVSAM_CACHE")
    return Path(given) if given else user_cache_path("ovsam", appauthor=False)


def _quota() -> int:
    text = os.environ.get("OVSAM_CACHE_GB", "")
    try:
        value = float(text or DISK_GB)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise EmbeddingError(f"OVSAM_CACHE_GB: expected a number of gigabytes, got {text!r}")
    return int(value * 1e9)


@dataclass(frozen=True, slots=True)
class CacheUsage:
    """How full the disk layer is.

    Attributes:
        files: number of embeddings of all encoders.
        nbytes: their bytes together.
        quota: bytes that they may take.
    """

    files: int
    nbytes: int
    quota: int

    @property
    def free(self) -> int:
        """Bytes left below the quota; 0 when it is used up."""
        return max(0, self.quota - self.nbytes)


class EmbeddingCache:
    """Embeddings by encoder and picture, shared by threads and by processes.

    The memory layer drops what was used longest ago when its bytes exceed the limit. The disk layer holds
    `embeddings/ENCODER_HASH/PICTURE_KEY.safetensors`; a hit refreshes the file's time, a write drops the oldest files
    until the quota holds. A file that is damaged, of another encoder or under another picture's name is never used:
    the caller computes the embedding again and `put` replaces the file.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        ram_bytes: int = RAM_BYTES,
        disk_bytes: int | None = None,
    ) -> None:
        """Open the cache.

        Args:
            folder: base folder; `cache_folder()` by default. It is created on the first write.
            ram_bytes: bytes of embeddings kept in memory; 0 switches this layer off.
            disk_bytes: quota of the disk layer over all encoders; 0 switches this layer off; None takes
                `$OVSAM_CACHE_GB` gigabytes, or 20.
        """
        self.folder = (cache_folder() if folder is None else folder) / "embeddings"
        self.ram_bytes = ram_bytes
        self.disk_bytes = _quota() if disk_bytes is None else disk_bytes
        self._lock = threading.Lock()
        self._recent: OrderedDict[tuple[str, str], ImageEmbedding] = OrderedDict()
        self._recent_bytes = 0

    def path(self, encoder_hash: str, picture_key: str) -> Path:
        """Return where the file of this embedding lies or would lie.

        Raises:
            EmbeddingError: a key is empty or could leave the folder.
        """
        for name, key in (("encoder_hash", encoder_hash), ("picture_key", picture_key)):
            if not _KEY.fullmatch(key):
                raise EmbeddingError(f"{name}: {key!r} cannot name a file in the cache")
        return self.folder / encoder_hash / f"{picture_key}.safetensors"

    def get(self, encoder_hash: str, picture_key: str) -> ImageEmbedding | None:
        """Return the embedding, or None where it must be computed."""
        key = (encoder_hash, picture_key)
        with self._lock:
            found = self._recent.get(key)
            if found is not None:
                self._recent.move_to_end(key)
                return found
        if not self.disk_bytes:
            return None
        path = self.path(encoder_hash, picture_key)
        try:
            found = ImageEmbedding.load(path)
        except EmbeddingError:
            return None
        if (found.encoder_hash, found.picture_key) != key:
            return None
        with suppress(OSError):
            os.utime(path)
        self._keep(found)
        return found

    def put(self, embedding: ImageEmbedding, *, evict: bool = True) -> bool:
        """Keep an embedding in memory and on the disk.

        Args:
            embedding: an anonymous one (`picture_key` "") is left alone.
            evict: drop the oldest files where the quota would be exceeded; False leaves the disk as it is then.

        Returns:
            Whether it is on the disk now. A disk that is full or read-only costs speed, never the caller's result.
        """
        if not embedding.picture_key:
            return False
        self._keep(embedding)
        if embedding.nbytes > self.disk_bytes:
            return False
        path = self.path(embedding.encoder_hash, embedding.picture_key)
        if not evict and self.usage().free < embedding.nbytes:
            return False
        try:
            embedding.save(path)
        except EmbeddingError:
            return False
        self._shrink(keep=path)
        return True

    def get_or_encode(
        self, encoder_hash: str, picture_key: str, encode: Callable[[], ImageEmbedding]
    ) -> ImageEmbedding:
        """Return the cached embedding, or compute and keep it."""
        found = self.get(encoder_hash, picture_key) if picture_key else None
        if found is None:
            found = encode()
            self.put(found)
        return found

    def has(self, encoder_hash: str, picture_key: str) -> bool:
        """Tell whether a whole and matching embedding is on the disk; reads the file."""
        try:
            found = ImageEmbedding.load(self.path(encoder_hash, picture_key))
        except EmbeddingError:
            return False
        return (found.encoder_hash, found.picture_key) == (encoder_hash, picture_key)

    def usage(self) -> CacheUsage:
        """Measure the disk layer."""
        sizes = [size for _, size, _ in self._files()]
        return CacheUsage(len(sizes), sum(sizes), self.disk_bytes)

    def forget_memory(self) -> None:
        """Empty the memory layer; the disk keeps everything."""
        with self._lock:
            self._recent.clear()
            self._recent_bytes = 0

    def _keep(self, embedding: ImageEmbedding) -> None:
        if embedding.nbytes > self.ram_bytes:
            return
        key = (embedding.encoder_hash, embedding.picture_key)
        with self._lock:
            old = self._recent.pop(key, None)
            self._recent_bytes += embedding.nbytes - (old.nbytes if old else 0)
            self._recent[key] = embedding
            while self._recent_bytes > self.ram_bytes:
                self._recent_bytes -= self._recent.popitem(last=False)[1].nbytes

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Yield time, bytes and path of every embedding file; other processes may remove files meanwhile."""
        try:
            folders = [entry.path for entry in os.scandir(self.folder) if entry.is_dir()]
        except OSError:
            return
        for folder in folders:
            with suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    if not entry.name.endswith((".safetensors", ".part")):
                        continue
                    with suppress(OSError):
                        stat = entry.stat()
                        if entry.name.endswith(".safetensors"):
                            yield stat.st_mtime, stat.st_size, Path(entry.path)
                        elif time.time() - stat.st_mtime > _STALE_PART_S:
                            Path(entry.path).unlink()

    def _shrink(self, keep: Path) -> None:
        """Remove the files used longest ago until the quota holds; the file just written stays."""
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total <= self.disk_bytes:
                return
            if path != keep:
                with suppress(OSError):
                    path.unlink()
                total -= size
