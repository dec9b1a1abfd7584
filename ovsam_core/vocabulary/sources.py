"""Where vocabularies come from: the shipped presets, and users' text, table and COCO files."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import orjson

from ovsam_core.assets import asset_path
from ovsam_core.errors import VocabularyError
from ovsam_core.vocabulary.table import read_table
from ovsam_core.vocabulary.vocabulary import Entry, Vocabulary, normalise, own_entry

__all__ = ["PRESETS", "load", "preset", "preset_column"]

PRESETS = ("coco", "lvis", "lvis-names", "imagenet-1k", "imagenet-21k", "all")
"""`all` is COCO, LVIS and both ImageNets in one: the paper's "22,000 classes". `lvis-names` leaves LVIS's synonyms out,
as the paper's classifier does."""

_ALIASES = {
    "coco80": "coco",
    "cocoov": "coco",
    "imagenet": "imagenet-1k",
    "imagenet1k": "imagenet-1k",
    "in1k": "imagenet-1k",
    "imagenet21k": "imagenet-21k",
    "imagenet22k": "imagenet-21k",
    "in21k": "imagenet-21k",
    "lvis1203": "lvis",
    "lvisv1": "lvis",
    "22k": "all",
}


def _preset_name(name: str) -> str | None:
    plain = re.sub(r"[\s_-]", "", name.lower())
    if plain in PRESETS:
        return plain
    return name if name in PRESETS else _ALIASES.get(plain)


@cache
def _preset_rows(name: str) -> tuple[dict[str, str], ...]:
    return tuple(read_table(asset_path("vocabularies", f"{name}.tsv")))


@cache
def preset(name: str) -> Vocabulary:
    """Return a shipped vocabulary; one of `PRESETS`."""
    if name == "all":
        joined = preset("coco").combine(preset("lvis"), preset("imagenet-1k"), preset("imagenet-21k"))
        return Vocabulary("all", joined.entries)
    if name == "lvis-names":
        return Vocabulary(name, tuple(replace(entry, synonyms=()) for entry in preset("lvis")))
    return Vocabulary(name, tuple(_entry(row) for row in _preset_rows(name)))


def preset_column(name: str, column: str) -> dict[str, str]:
    """Return entry id → cell of an extra column of a preset.

    Columns are `coco_id` and `split` (base, novel or empty: the 48 / 17 classes of the paper) of `coco`, `lvis_id` and
    `frequency` (r, c, f; rare is the paper's novel split) of `lvis`, `wnid` of `imagenet-1k` and `imagenet-21k`.
    """
    return {row["id"]: row[column] for row in _preset_rows(name)}


def _entry(row: dict[str, str]) -> Entry:
    synonyms = tuple(filter(None, row["synonyms"].split("|")))
    spoken = tuple(filter(None, row.get("spoken", "").split("|")))
    return Entry(row["id"], row["name"], synonyms, row["definition"], row["parent"], spoken)


def load(name_or_path: str | Path) -> Vocabulary:
    """Load presets by name, or a file: see `Vocabulary.load`."""
    text = str(name_or_path)
    path = Path(name_or_path)
    names = [_preset_name(part) for part in text.split("+")]
    if all(names) and not path.is_file():
        first, *others = (preset(name) for name in names if name)
        return first.combine(*others) if others else first
    if not path.is_file():
        raise VocabularyError(f"{text}: neither a file nor one of the vocabularies {', '.join(PRESETS)}")
    try:
        data = path.read_bytes()
        content = "" if path.suffix.lower() == ".json" else data.decode("utf-8-sig")
    except OSError as error:
        raise VocabularyError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise VocabularyError(f"{path}: not UTF-8 text (byte {error.start})") from error
    match path.suffix.lower():
        case ".json":
            return _from_coco(path, data)
        case ".csv" | ".tsv":
            return _from_table(path, content)
        case _:
            return _from_lines(path, content)


def _collect(path: Path, entries: list[tuple[str, Entry]]) -> Vocabulary:
    """Merge entries of the same name; `entries` are (where it stands, entry)."""
    by_name: dict[str, Entry] = {}
    ids: dict[str, str] = {}
    for where, entry in entries:
        key = normalise(entry.name)
        if key in by_name:
            old = by_name[key]
            by_name[key] = replace(old, synonyms=tuple(dict.fromkeys((*old.synonyms, *entry.synonyms))))
        elif entry.id in ids:
            raise VocabularyError(f"{path}: {where}: {entry.name!r} has the id {entry.id!r} of {ids[entry.id]!r}")
        else:
            by_name[key], ids[entry.id] = entry, entry.name
    if not by_name:
        raise VocabularyError(f"{path}: holds no name")
    return Vocabulary(path.stem, tuple(by_name.values()))


def _from_lines(path: Path, text: str) -> Vocabulary:
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        name, *synonyms = (part.strip() for part in line.split(","))
        if name and not name.startswith("#"):
            entries.append((f"line {number}", own_entry(name, synonyms)))
    return _collect(path, entries)


def _from_table(path: Path, text: str) -> Vocabulary:
    rows = csv.DictReader(text.splitlines(), delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    columns = {column.strip().lower(): column for column in rows.fieldnames or ()}
    if "name" not in columns:
        raise VocabularyError(
            f"{path}: the header line has no column 'name' (it has {', '.join(columns) or 'nothing'})"
        )

    def cell(row: dict[str, str], column: str) -> str:
        return (row.get(columns.get(column, ""), "") or "").strip()

    entries = []
    for number, row in enumerate(rows, 2):
        if not cell(row, "name"):
            raise VocabularyError(f"{path}: line {number}: name is empty")
        synonyms = [part.strip() for part in re.split(r"[|;]", cell(row, "synonyms"))]
        entry = own_entry(cell(row, "name"), synonyms, cell(row, "definition"), cell(row, "parent"))
        entry_id = cell(row, "id") or entry.id
        entries.append((f"line {number}", Entry(entry_id, entry.name, entry.synonyms, entry.definition, entry.parent)))
    return _collect(path, entries)


def _from_coco(path: Path, data: bytes) -> Vocabulary:
    try:
        content = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise VocabularyError(f"{path}: not valid JSON ({error})") from error
    categories = content.get("categories") if isinstance(content, dict) else None
    if not isinstance(categories, list) or not categories:
        raise VocabularyError(f"{path}: no list 'categories'")
    # COCO's own classes keep their synonyms and their identity: a model may have seen them.
    known = {
        (int(cell), normalise(preset("coco")[i].name)): preset("coco")[i]
        for i, cell in enumerate(preset_column("coco", "coco_id").values())
    }
    entries = []
    for i, category in enumerate(categories):
        name = category.get("name") if isinstance(category, dict) else None
        if not isinstance(name, str) or not name.strip():
            raise VocabularyError(f"{path}: categories[{i}].name: expected a text, got {name!r}")
        entry = known.get((category.get("id"), normalise(name)))
        entries.append((f"categories[{i}]", entry or own_entry(name, category.get("synonyms") or ())))
    return _collect(path, entries)
