"""JSON into frozen dataclasses, by their annotations and with messages that help."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ovsam_core.errors import ModelError

__all__ = ["nearest", "read_strictly"]


def nearest(word: str, known: tuple[str, ...]) -> str:
    """Return the end of a message about an unknown word: the nearest known one, or all of them."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.4)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"


def read_strictly(kind: Any, value: Any, where: str) -> Any:
    """Turn parsed JSON into a value of the annotated type, or say which key is wrong.

    Args:
        kind: a dataclass, `Literal`, `tuple`, `Mapping`, `X | None`, or a plain type; whole numbers pass for floats.
        value: what `json.loads` made.
        where: the place in the file, for messages.

    Raises:
        ModelError: an unknown key (the message names the nearest right one), a missing key or a wrong value.
    """
    if is_dataclass(kind):
        return _read_dataclass(kind, value, where)
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        if value not in args:
            near = nearest(str(value), tuple(str(a) for a in args))
            raise ModelError(f"{where}: {value!r} is not one of {', '.join(map(repr, args))}{near}")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ModelError(f"{where}: expected a list, got {value!r}")
        if args[-1] is not Ellipsis and len(value) != len(args):
            raise ModelError(f"{where}: expected {len(args)} values, got {len(value)}")
        return tuple(read_strictly(args[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin in (Union, types.UnionType):
        return None if value is None else read_strictly(args[0], value, where)
    if origin is Mapping:
        if not isinstance(value, dict):
            raise ModelError(f"{where}: expected an object, got {value!r}")
        return value
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ModelError(f"{where}: expected {kind.__name__}, got {value!r}")
    return value


def _read_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ModelError(f"{where}: expected an object, got {value!r}")
    hints = get_type_hints(kind)
    known = tuple(f.name for f in fields(kind))
    for key in value:
        if key not in known:
            raise ModelError(f"{where}: unknown key {key!r}{nearest(key, known)}")
    for f in fields(kind):
        if f.name not in value and f.default is MISSING and f.default_factory is MISSING:
            raise ModelError(f"{where}: key {f.name!r} is missing")
    return kind(**{key: read_strictly(hints[key], v, f"{where}: {key}") for key, v in value.items()})
