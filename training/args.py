"""Typed options: dataclasses filled from YAML and the command line, printed in full and saved beside the checkpoint."""

from __future__ import annotations

import dataclasses
import difflib
import re
import sys
import textwrap
import types
import typing
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from ovsam_core.errors import OvsamError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["ConfigError", "as_dict", "command", "differences", "from_mapping", "parse", "save", "to_yaml"]

T = TypeVar("T")


class ConfigError(OvsamError):
    """An option is unknown, missing or has the wrong type."""


def parse(kind: type[T], argv: Sequence[str], *, program: str = "") -> T:
    """Fill the dataclass `kind` from `--config FILE.yaml` (first) and `--field value` pairs (they win).

    Fields of nested dataclasses are written with a dot (`--loop.epochs 3`) and, where the last part is unique, without
    the prefix (`--epochs 3`). A list takes comma-separated values, a bool takes true or false or nothing (true).

    Args:
        kind: a dataclass; fields without default are required.
        argv: the arguments after the program's name.
        program: the command, for the help text.

    Raises:
        ConfigError: an unknown key (the message names the nearest right one), a bad value or a missing field.
        SystemExit: `--help` was asked for.
    """
    if any(a in {"-h", "--help"} for a in argv):
        sys.stdout.write(_help(kind, program))
        raise SystemExit(0)
    values: dict[str, Any] = {}
    fields = _flatten(kind)
    given: list[tuple[str, str]] = []
    position = 0
    while position < len(argv):
        key, equals, value = argv[position].partition("=")
        position += 1
        if not key.startswith("--"):
            raise ConfigError(f"{key}: expected an option that starts with --")
        if not equals:
            if position < len(argv) and not argv[position].startswith("--"):
                value = argv[position]
                position += 1
            else:
                value = "true"
        given.append((key[2:].replace("-", "_"), value))
    for key, value in given:
        if key == "config":
            _merge(values, _read_yaml(Path(value)))
    for key, value in given:
        if key != "config":
            path = _resolve(key, fields)
            _put(values, path, _from_text(fields[path], value, path))
    return from_mapping(kind, values)


def from_mapping(kind: type[T], values: Mapping[str, Any], *, where: str = "", base: T | None = None) -> T:
    """Build the dataclass `kind` from nested mappings, checking every key and type.

    Args:
        kind: a dataclass.
        values: option → value; a nested dataclass is a mapping of its own, and what it leaves out stays as the field's
            default has it.
        where: the options' common prefix, for messages.
        base: where options that `values` leaves out come from; None takes the fields' own defaults.

    Raises:
        ConfigError: an unknown key, a bad value or a missing field.
    """
    hints = typing.get_type_hints(kind)
    names = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in names:
            raise ConfigError(f"{where}{key}: no such option{_nearest(key, list(names))}")
    filled = {}
    for name, field in names.items():
        default = _default(field) if base is None else getattr(base, name)
        if name in values:
            filled[name] = _convert(hints[name], values[name], f"{where}{name}", default)
        elif default is not dataclasses.MISSING:
            filled[name] = default
        elif not dataclasses.is_dataclass(hints[name]):
            raise ConfigError(f"{where}{name}: this option is required")
        else:
            filled[name] = from_mapping(typing.cast("type[Any]", hints[name]), {}, where=f"{where}{name}.")
    return kind(**filled)


def _default(field: dataclasses.Field[Any]) -> Any:
    """Return what the field holds where nothing is given, or MISSING."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def as_dict(config: object) -> dict[str, Any]:
    """Return nested plain values (paths and enums as text), as YAML and JSON can hold them."""
    plain = _plain(config)
    if not isinstance(plain, dict):
        raise TypeError(f"expected a dataclass, got {type(config).__name__}")
    return plain


def to_yaml(config: object) -> str:
    """Return the configuration in full as YAML."""
    return str(yaml.safe_dump(as_dict(config), sort_keys=False))


def save(config: object, path: Path) -> None:
    """Write the configuration in full; `parse` reads it back with `--config`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_yaml(config), encoding="utf-8")


def differences(old: Mapping[str, Any], new: Mapping[str, Any], *, where: str = "") -> list[str]:
    """List the fields in which two nested mappings differ, as `name: old → new`."""
    found = []
    for key in sorted(set(old) | set(new)):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, where=f"{where}{key}.")
        elif a != b:
            found.append(f"{where}{key}: {a} → {b}")
    return found


def command(kind: type[T], main: Callable[[T], object], *, program: str, argv: Sequence[str] | None = None) -> int:
    """Parse, run, and turn our own errors and the system's into exit codes.

    0 ok, 1 failed, 2 usage, 130 interrupted.
    """
    try:
        config = parse(kind, sys.argv[1:] if argv is None else argv, program=program)
    except ConfigError as error:
        sys.stderr.write(f"{program}: {error}\n")
        return 2
    try:
        main(config)
    except OvsamError as error:
        sys.stderr.write(f"{program}: {error}\n")
        return 1
    except OSError as error:  # a folder that cannot be written, a full disk
        sys.stderr.write(f"{program}: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"{program}: interrupted\n")
        return 130
    return 0


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML ({error})") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping of options, got {type(data).__name__}")
    return data


def _flatten(kind: type, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            flat |= _flatten(typing.cast("type", hint), f"{prefix}{field.name}.")
        else:
            flat[prefix + field.name] = hint
    return flat


def _resolve(key: str, fields: Mapping[str, Any]) -> str:
    if key in fields:
        return key
    matches = [f for f in fields if f.endswith("." + key)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ConfigError(f"--{key}: could be any of {', '.join(sorted(matches))}; write it in full")
    raise ConfigError(f"--{key}: no such option{_nearest(key, list(fields))}")


def _nearest(key: str, names: list[str]) -> str:
    last = {n.rsplit(".", 1)[-1]: n for n in names}
    close = difflib.get_close_matches(key, [*names, *last], n=1, cutoff=0.0)
    return f"; the nearest is {last.get(close[0], close[0])}" if close else ""


def _merge(into: dict[str, Any], new: Mapping[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _put(values: dict[str, Any], path: str, value: object) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
    values[last] = value


def _from_text(hint: object, text: str, where: str) -> object:
    origin = typing.get_origin(_inner(hint))
    words = origin is typing.Literal and all(isinstance(a, str) for a in typing.get_args(_inner(hint)))
    if _inner(hint) in {str, Path} or words:  # "no" is a word here, not YAML's false
        return text
    if origin in {tuple, list}:
        return [yaml.safe_load(part) for part in text.split(",") if part]
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: cannot read {text!r}") from error


def _inner(hint: object) -> object:
    """Strip `| None`."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        rest = [a for a in typing.get_args(hint) if a is not type(None)]
        return rest[0] if len(rest) == 1 else hint
    return hint


def _convert(hint: object, value: Any, where: str, default: Any = dataclasses.MISSING) -> object:
    if _inner(hint) is not hint:
        return None if value is None else _convert(_inner(hint), value, where, default)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        if dataclasses.is_dataclass(value):
            return value
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: expected a mapping, got {value!r}")
        base = default if dataclasses.is_dataclass(default) else None
        return from_mapping(typing.cast("type[Any]", hint), value, where=f"{where}.", base=base)
    if origin is typing.Literal:
        if value not in arguments:
            raise ConfigError(f"{where}: expected one of {', '.join(map(str, arguments))}, got {value!r}")
        return value
    if origin in {list, tuple}:
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            value = [value]
        items = [_convert(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
        return tuple(items) if origin is tuple else items
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: expected a mapping, got {value!r}")
        return {str(k): _convert(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    return _scalar(typing.cast("type", hint), value, where)


def _scalar(hint: type, value: Any, where: str) -> object:
    if hint is float and not isinstance(value, bool):
        try:
            return float(value)  # YAML 1.1 reads 1e-4 as text
        except (TypeError, ValueError):
            pass
    elif hint is Path and isinstance(value, str | Path):
        return Path(value)
    elif hint is str and isinstance(value, str | int | float):
        return str(value)
    elif isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    elif type(value) is hint:
        return value
    raise ConfigError(f"{where}: expected {hint.__name__}, got {value!r}")


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    return value.value if isinstance(value, Enum) else value


_HELP = """\
{usage}

{about}

{options}

Options of a group need their last part alone where no other group has it (`--lr` for `--optim.lr`). Lists take commas,
yes/no options `true` or `false`. A file given with --config holds the same options as nested mappings.
"""
_WIDTH = 110


def _help(kind: type, program: str) -> str:
    about = sys.modules[kind.__module__].__doc__ or kind.__doc__ or ""
    usage = f"usage: {program} [--config FILE.yaml] [--OPTION VALUE]…"
    return _HELP.format(usage=usage, about=about.strip(), options="\n".join(_help_fields(kind, "")))


def _help_fields(kind: type, prefix: str, base: object = dataclasses.MISSING) -> list[str]:
    """One entry per field, taken from the class docstrings; `base` holds the defaults, if given."""
    notes: dict[str, str] = {}
    for part in reversed(kind.__mro__):  # a stage's own options inherit what the general ones say of a field
        notes |= dict(re.findall(r"^ +(\w+): (.+(?:\n {12,}.+)*)", part.__doc__ or "", flags=re.MULTILINE))
    hints = typing.get_type_hints(kind)
    entries = []
    for field in dataclasses.fields(kind):
        default = _default(field) if base is dataclasses.MISSING else getattr(base, field.name)
        if dataclasses.is_dataclass(hints[field.name]):
            entries += _help_fields(typing.cast("type", hints[field.name]), f"{prefix}{field.name}.", default)
            continue
        note = " ".join(notes.get(field.name, "").split()).rstrip(".")
        state = "required" if default is dataclasses.MISSING else f"default {_shown(default)}"
        if typing.get_origin(_inner(hints[field.name])) is typing.Literal:
            words = [str(a) for a in typing.get_args(_inner(hints[field.name])) if a != ""]
            state = f"one of {', '.join(words)}; {state}"
        text = f"--{prefix}{field.name}  {note} ({state})"
        entries.append(textwrap.fill(text, _WIDTH, initial_indent="  ", subsequent_indent=" " * 6))
    return entries


def _shown(value: object) -> str:
    """Return a default as one would type it."""
    plain = _plain(value)
    if plain is None or plain in ("", [], {}):
        return "none"
    if isinstance(plain, list):
        return ",".join(map(str, plain))
    return str(plain).lower() if isinstance(plain, bool) else str(plain)
