"""What one picture costs once: the network's feature maps, as a value that can be kept, saved and handed back."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
import xxhash
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from ovsam_core.errors import EmbeddingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

__all__ = ["ImageEmbedding"]

_VERSION = 1


@dataclass(frozen=True, slots=True, eq=False)
class ImageEmbedding:
    """Feature maps of one picture, in half precision, without any of its pixels.

    Attributes:
        tensors: feature maps by name ("neck", "fpn0" … "trunk", …), each (1, C, h, w) float16 on the CPU.
        size_hw: height and width of the picture in pixels.
        input_hw: height and width that the picture takes of the square network input (the rest is padding).
        scale_xy: network-input pixels per picture pixel, along x and along y.
        picture_key: key of the picture, see `ovsam_core.pictures`; "" for an anonymous array that no cache keeps.
        encoder_hash: what computed it: trunk, neck, FPN, input size and precision.
    """

    tensors: Mapping[str, Tensor]
    size_hw: tuple[int, int]
    input_hw: tuple[int, int]
    scale_xy: tuple[float, float]
    picture_key: str
    encoder_hash: str

    @property
    def nbytes(self) -> int:
        """Bytes of all feature maps."""
        return sum(t.numel() * t.element_size() for t in self.tensors.values())

    def save(self, path: Path) -> None:
        """Write a safetensors file; readers see the old file or the new one, never half of one.

        Raises:
            EmbeddingError: the folder cannot be written (full, read-only).
        """
        tensors = {name: tensor.contiguous() for name, tensor in self.tensors.items()}
        head = self._head()
        data = save_tensors(tensors, {"ovsam": head, "digest": _digest(head, tensors)})
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=".part", dir=path.parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                Path(name).replace(path)
            except BaseException:
                with suppress(OSError):
                    Path(name).unlink()
                raise
        except OSError as error:
            raise EmbeddingError(f"{path}: cannot be written: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file that `save` wrote and check every byte of it.

        Raises:
            EmbeddingError: missing, damaged, of another format version, or not an embedding at all.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise EmbeddingError(f"{path}: cannot be read: {error.strerror or error}") from error
        try:
            meta = _metadata(data)
            tensors = load_tensors(data)
            head = meta["ovsam"]
            if meta["digest"] != _digest(head, tensors):
                raise EmbeddingError(f"{path}: the content does not match its digest; the file is damaged")
            fields: dict[str, Any] = json.loads(head)
            if fields.pop("version") != _VERSION:
                raise EmbeddingError(f"{path}: written in another format version")
            for name in ("size_hw", "input_hw", "scale_xy"):
                first, second = fields[name]
                fields[name] = first, second
            return cls(tensors=tensors, **fields)
        except (SafetensorError, KeyError, ValueError, TypeError, OverflowError) as error:
            raise EmbeddingError(f"{path}: not an embedding file: {error}") from error

    def _head(self) -> str:
        fields = {
            "version": _VERSION,
            "size_hw": self.size_hw,
            "input_hw": self.input_hw,
            "scale_xy": self.scale_xy,
            "picture_key": self.picture_key,
            "encoder_hash": self.encoder_hash,
        }
        return json.dumps(fields, sort_keys=True)


def _metadata(data: bytes) -> dict[str, str]:
    """Read the free-form metadata of a safetensors buffer: 8 bytes of length, then JSON."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > len(data) - 8:
        raise ValueError("truncated")
    header: Any = json.loads(data[8 : 8 + size])
    meta = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(meta, dict):
        raise ValueError("no metadata")  # noqa: TRY004 - the file is wrong, not the caller
    return meta


def _digest(head: str, tensors: Mapping[str, Tensor]) -> str:
    """Hash the description and every feature map; guards against bit rot, not against malice."""
    state = xxhash.xxh3_128(head.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        state.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        state.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return state.hexdigest()
