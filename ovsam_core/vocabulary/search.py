"""Search over a whole vocabulary: prefix hits at once, misspelt names a little later."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from rapidfuzz import fuzz, process

from ovsam_core.vocabulary.vocabulary import normalise

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ovsam_core.vocabulary.vocabulary import Entry, Vocabulary

__all__ = ["Hit", "VocabularySearch"]


_AT_ONCE = 2000  # names handled in one call, during which no other thread runs: a few milliseconds

_Key = TypeVar("_Key", bound=tuple[str, int])


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry found, and the one of its names that matched."""

    entry: Entry
    matched: str


class VocabularySearch:
    """An index of every name and synonym of a vocabulary; building it takes a pass over the names."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        names: dict[tuple[str, int], str] = {}
        for i, entry in enumerate(vocabulary):
            for name in (entry.name, *entry.synonyms):
                names.setdefault((normalise(name), i), name)
        self._keys = _sorted(names)
        self._shown = [names[key] for key in self._keys]
        self._words = _sorted(
            (word, k) for k, (name, _) in enumerate(self._keys) for word in set(name.split()[1:]) if len(word) > 1
        )
        self._folded = [name for name, _ in self._keys]

    def prefix(self, text: str, limit: int = 20) -> list[Hit]:
        """Find names that start with `text`, then names in which a later word does; shorter names first.

        Two binary searches: fit for the GUI thread at 22,000 entries.
        """
        query = normalise(text)
        if not query:
            return []
        start = bisect_left(self._keys, (query, -1))
        found: list[int] = []
        for k in range(start, len(self._keys)):
            if not self._keys[k][0].startswith(query) or len(found) >= 50 * limit:
                break
            found.append(k)
        found.sort(key=lambda k: (len(self._keys[k][0]), self._is_synonym(k), self._keys[k]))
        later: list[int] = []
        for w in range(bisect_left(self._words, (query, -1)), len(self._words)):
            if not self._words[w][0].startswith(query) or len(later) >= 50 * limit:
                break
            later.append(self._words[w][1])
        later.sort(key=lambda k: (len(self._keys[k][0]), self._is_synonym(k), self._keys[k]))
        return self._hits([*found, *later], limit)

    def fuzzy(self, text: str, limit: int = 20) -> list[Hit]:
        """Find names despite misspelling and word order, best first; tens of milliseconds at 22,000 entries."""
        query = normalise(text)
        if not query:
            return []
        matches: list[tuple[float, int]] = []
        for start in range(0, len(self._folded), _AT_ONCE):
            part = self._folded[start : start + _AT_ONCE]
            found = process.extract(query, part, scorer=fuzz.WRatio, limit=4 * limit, score_cutoff=60)
            matches += ((-score, start + k) for _, score, k in found)
        return self._hits([k for _, k in sorted(matches)[: 4 * limit]], limit)

    def _is_synonym(self, k: int) -> bool:
        return self._shown[k] != self._vocabulary[self._keys[k][1]].name

    def _hits(self, found: list[int], limit: int) -> list[Hit]:
        hits: dict[int, Hit] = {}
        for k in found:
            i = self._keys[k][1]
            hits.setdefault(i, Hit(self._vocabulary[i], self._shown[k]))
            if len(hits) == limit:
                break
        return list(hits.values())


def _sorted(keys: Iterable[_Key]) -> list[_Key]:
    """Sort piece by piece, so that other threads get their turn: one call would hold them up for 100 ms."""
    rest = iter(keys)
    pieces = []
    while piece := list(islice(rest, _AT_ONCE)):
        pieces.append(sorted(piece))
    return list(merge(*pieces))
