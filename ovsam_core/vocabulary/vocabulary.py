"""An ordered set of names in which no name stands twice."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

import xxhash

from ovsam_core.errors import VocabularyError
from ovsam_core.vocabulary.hypernyms import hypernym_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["Entry", "Vocabulary", "normalise", "own_entry"]


def normalise(name: str) -> str:
    """Fold a name for comparison: Unicode NFKC, case, underscores and runs of white space."""
    return " ".join(unicodedata.normalize("NFKC", name).replace("_", " ").split()).casefold()


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that a mask can be called.

    Attributes:
        id: WordNet synset (`dog.n.01`), `lvis:12`, `coco:3` or `own:slug`.
        name: display name, unique within a vocabulary ("crane (wading bird)").
        synonyms: further names; the text classifier takes the best of all.
        definition: one sentence, may be empty.
        parent: id of the WordNet hypernym, may be empty.
        spoken: what the text tower reads instead of name and synonyms, where the bare name misleads (COCO's "orange" is
            read as "orange fruit" by the paper's classifier); empty where nothing does.
    """

    id: str
    name: str
    synonyms: tuple[str, ...] = ()
    definition: str = ""
    parent: str = ""
    spoken: tuple[str, ...] = ()

    @property
    def phrases(self) -> tuple[str, ...]:
        """What the text tower reads: the names without the remark in brackets that only tells homonyms apart.

        A name that a class list writes as alternatives ("cup/mug", "tv_or_monitor") is split, as the paper's classifier
        does.
        """
        if self.spoken:
            return self.spoken
        spoken: list[str] = []
        for name in (re.sub(r"\s*\([^()]*\)\s*$", "", self.name) or self.name, *self.synonyms):
            spoken += [part.strip() for part in re.split(r"_or_|/|,", name)]
        return tuple(dict.fromkeys(" ".join(s.replace("_", " ").split()) for s in spoken if s))


def own_entry(name: str, synonyms: Iterable[str] = (), definition: str = "", parent: str = "") -> Entry:
    """Make an entry of a user's own: its id is `own:` and the name as a slug that keeps letters of every script.

    Raises:
        VocabularyError: the name holds no letter, digit or other visible sign.
    """
    shown = " ".join(name.replace("_", " ").split())
    if not shown:
        raise VocabularyError("name: must not be empty")
    slug = re.sub(r"[^\w]+", "-", normalise(name)).strip("-") or xxhash.xxh3_64_hexdigest(shown.encode())
    return Entry(f"own:{slug}", shown, tuple(s.strip() for s in synonyms if s.strip()), definition, parent)


@dataclass(frozen=True)
class Vocabulary:
    """Entries in a fixed order, with unique ids and unique display names.

    Attributes:
        id: what it is called, such as `coco` or `coco+lvis`.
        entries: the entries.
    """

    id: str
    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        """Refuse what would make an answer ambiguous."""
        if not self.entries:
            raise VocabularyError(f"{self.id}: a vocabulary needs at least one name")
        names: dict[str, Entry] = {}
        ids: set[str] = set()
        for entry in self.entries:
            if entry.id in ids:
                raise VocabularyError(f"{self.id}: id {entry.id!r} stands twice")
            other = names.setdefault(normalise(entry.name), entry)
            if other is not entry:
                raise VocabularyError(f"{self.id}: name {entry.name!r} stands twice ({other.id}, {entry.id})")
            ids.add(entry.id)

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __getitem__(self, index: int) -> Entry:
        return self.entries[index]

    @cached_property
    def digest(self) -> str:
        """128-bit xxh3 over ids, names and phrases in order, as hex: equal digests rank equally."""
        state = xxhash.xxh3_128()
        for entry in self.entries:
            state.update("\x1f".join((entry.id, entry.name, *entry.phrases)).encode() + b"\x1e")
        return state.hexdigest()

    @cached_property
    def index_of(self) -> dict[str, int]:
        """Entry id → position."""
        return {entry.id: i for i, entry in enumerate(self.entries)}

    @cached_property
    def children_of(self) -> dict[str, list[int]]:
        """WordNet parent → positions of its entries."""
        table: dict[str, list[int]] = {}
        for i, entry in enumerate(self.entries):
            if entry.parent:
                table.setdefault(entry.parent, []).append(i)
        return table

    @cached_property
    def _by_name(self) -> dict[str, int]:
        table = {normalise(entry.name): i for i, entry in enumerate(self.entries)}
        for i, entry in enumerate(self.entries):
            for name in entry.phrases:
                table.setdefault(normalise(name), i)
        return table

    def find(self, name: str) -> Entry | None:
        """Look a name up: display names first, then synonyms in order of entries; None where nobody is called so."""
        index = self._by_name.get(normalise(name))
        return None if index is None else self.entries[index]

    @classmethod
    def load(cls, name_or_path: str | Path) -> Vocabulary:
        """Load a preset (`coco`, `lvis`, `imagenet-1k`, `imagenet-21k`, `all`), presets joined by `+`, or a file.

        A file is a text list (one entry a line, synonyms behind commas), a CSV or TSV table with a `name` column, or a
        COCO JSON file, whose categories are taken.

        Raises:
            VocabularyError: nothing of that name, or a file that cannot be read; the message says where.
        """
        from ovsam_core.vocabulary.sources import load  # noqa: PLC0415  (sources builds vocabularies: it imports us)

        return load(name_or_path)

    @classmethod
    def of(cls, names: Iterable[str], vocabulary_id: str = "own") -> Self:
        """Make a vocabulary of plain names; repeated names are taken once."""
        entries = {normalise(name): own_entry(name) for name in names}
        return cls(vocabulary_id, tuple({entry.id: entry for entry in entries.values()}.values()))

    def combine(self, *others: Vocabulary) -> Vocabulary:
        """Join vocabularies by synset and by normalised name; the first that has an entry decides how it is called.

        Synonyms of the same entry are united. A homonym with another id gets its parent (or id) behind its name, unless
        one of the two is a user's own name, which then is the same thing.
        """
        entries: dict[str, Entry] = {}
        ids: dict[str, str] = {}
        for entry in (entry for vocabulary in (self, *others) for entry in vocabulary):
            key = normalise(entry.name)
            known = entries.get(entry.id) or entries.get(ids.get(key, ""))
            if known is None:
                entries[entry.id], ids[key] = entry, entry.id
            elif known.id == entry.id or "own:" in (known.id[:4], entry.id[:4]):
                united = dict.fromkeys((*known.synonyms, entry.name, *entry.synonyms))
                synonyms = tuple(s for s in united if normalise(s) != normalise(known.name))
                entries[known.id] = replace(
                    known,
                    synonyms=synonyms,
                    definition=known.definition or entry.definition,
                    parent=known.parent or entry.parent,
                )
            else:
                name = f"{entry.name} ({hypernym_name(entry.parent) or entry.id})"
                if normalise(name) in ids:
                    name = f"{entry.name} ({entry.id})"
                entries[entry.id] = replace(entry, name=name, synonyms=(entry.name, *entry.synonyms))
                ids[normalise(name)] = entry.id
        return Vocabulary("+".join([self.id, *(other.id for other in others)]), tuple(entries.values()))

    def restrict(self, entry_ids: Iterable[str]) -> Vocabulary:
        """Keep the entries with these ids, in this vocabulary's order.

        Raises:
            VocabularyError: an id is not in the vocabulary.
        """
        wanted = set(entry_ids)
        missing = sorted(wanted - self.index_of.keys())
        if missing:
            raise VocabularyError(f"{self.id}: no entry {', '.join(map(repr, missing[:5]))}")
        return Vocabulary(f"{self.id}*{len(wanted)}", tuple(e for e in self.entries if e.id in wanted))

    def add(self, *entries: Entry | str) -> Vocabulary:
        """Append entries or plain names; what is there already (by id or name) stays as it is."""
        known = {normalise(entry.name) for entry in self.entries}
        ids = set(self.index_of)
        new: list[Entry] = []
        for item in entries:
            entry = own_entry(item) if isinstance(item, str) else item
            if normalise(entry.name) not in known and entry.id not in ids:
                known.add(normalise(entry.name))
                ids.add(entry.id)
                new.append(entry)
        return Vocabulary(self.id if self.id.endswith("*") or not new else f"{self.id}*", (*self.entries, *new))
