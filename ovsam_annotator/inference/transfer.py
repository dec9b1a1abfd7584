"""Values between the window's process and the model's: small parts through the pipe, arrays through shared memory."""

from __future__ import annotations

import pickle
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import shared_memory

__all__ = ["Parcel", "discard", "pack", "unpack"]

_INLINE = 64 << 10  # below this a shared memory block costs more than the copy through the pipe


@dataclass(frozen=True, slots=True)
class Parcel:
    """A packed value.

    Attributes:
        data: everything but the arrays. Both ends are this program: nothing here is ever read from a file.
        inline: the arrays' bytes, where they are small.
        block: name of the shared memory block that holds them otherwise; whoever unpacks removes it.
        sizes: bytes of each array.
    """

    data: bytes
    inline: tuple[bytes, ...] = ()
    block: str = ""
    sizes: tuple[int, ...] = ()


def pack(value: object) -> Parcel:
    """Pack any value that can be pickled."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    views = [buffer.raw() for buffer in buffers]
    sizes = tuple(view.nbytes for view in views)
    if sum(sizes) <= _INLINE:
        return Parcel(data, tuple(bytes(view) for view in views), "", sizes)
    block = shared_memory.SharedMemory(create=True, size=sum(sizes))
    try:
        memory, start = block.buf, 0
        assert memory is not None
        for view, size in zip(views, sizes, strict=True):
            memory[start : start + size] = view
            start += size
        return Parcel(data, (), block.name, sizes)
    finally:
        block.close()


def unpack(parcel: Parcel) -> object:
    """Return the value with arrays of its own, and remove the shared memory block.

    Raises:
        FileNotFoundError: the block is gone, because the process that made it died.
    """
    if not parcel.block:
        return pickle.loads(parcel.data, buffers=[bytearray(b) for b in parcel.inline])  # noqa: S301 - from our own child
    block = shared_memory.SharedMemory(parcel.block)
    try:
        memory, start = block.buf, 0
        assert memory is not None
        buffers = []
        for size in parcel.sizes:
            buffers.append(bytearray(memory[start : start + size]))
            start += size
    finally:
        block.close()
        block.unlink()
    return pickle.loads(parcel.data, buffers=buffers)  # noqa: S301 - from our own child


def discard(parcel: Parcel) -> None:
    """Remove the block of a parcel that nobody will unpack."""
    if parcel.block:
        with suppress(FileNotFoundError):
            block = shared_memory.SharedMemory(parcel.block)
            block.close()
            block.unlink()
