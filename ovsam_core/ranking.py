"""The nine names that are shown: best first, without nine kinds of the same thing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ovsam_core.results import Label
from ovsam_core.vocabulary.hypernyms import ancestors, hypernym_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ovsam_core.results import Branch
    from ovsam_core.vocabulary import Vocabulary

__all__ = ["rank"]

_SIBLINGS = 3  # of one parent among the names shown
_POOL = 8  # times the names shown: how deep siblings are looked for
_OPEN = 1000  # a vocabulary this large is not a closed list of classes: a parent from outside may be offered
_TELLING_DEPTH = 8  # steps from WordNet's root: "furniture" has 8 and says something, "device" and "container" 7


def rank(
    scores: NDArray[np.floating],
    vocabulary: Vocabulary,
    decided_by: Branch | Sequence[Branch],
    *,
    top_k: int = 9,
) -> tuple[Label, ...]:
    """Choose the names to show.

    At most three names of one WordNet parent are shown; the others fold into the last shown of them. Where the best
    two share a parent ("minivan", "convertible"), that parent ("car") is offered too, in the last place, with the sum
    of its children's scores: the safe answer when the exact one is not sure (the paper's failure cases, section S3.1).
    A parent that is not itself a name is only offered by vocabularies of 1,000 names and more: a list of classes stays
    closed.

    Args:
        scores: (K,) calibrated probabilities.
        vocabulary: K entries.
        decided_by: the branch that decided, for all or per entry.
        top_k: how many names; 0 or less for none.

    Returns:
        Labels, best first but for the parent in the last place.
    """
    if top_k <= 0:
        return ()
    best = _best(scores, _POOL * top_k)
    shown: list[int] = []
    folded: dict[int, list[int]] = {}
    last_of: dict[str, list[int]] = {}
    for i in best.tolist():
        siblings = last_of.setdefault(vocabulary[i].parent, [])
        if vocabulary[i].parent and len(siblings) == _SIBLINGS:
            folded.setdefault(siblings[-1], []).append(i)
        elif len(shown) < top_k:
            siblings.append(i)
            shown.append(i)

    def label(i: int, inside: Sequence[int] = ()) -> Label:
        entry = vocabulary[i]
        branch = decided_by if isinstance(decided_by, str) else decided_by[i]
        return Label(entry.id, entry.name, float(scores[i]), branch, tuple(label(j) for j in inside))

    labels = [label(i, folded.get(i, ())) for i in shown]
    parent = _shared_parent(shown, vocabulary)
    if parent and top_k > 2:
        place = vocabulary.index_of.get(parent)
        family = vocabulary.children_of[parent] + ([] if place is None else [place])
        total = float(scores[family].sum())
        name = vocabulary[place].name if place is not None else hypernym_name(parent)
        labels = [item for item in labels if item.entry_id != parent]
        labels[top_k - 1 :] = [Label(parent, name or parent, min(total, 1.0), labels[0].decided_by)]
    return tuple(labels)


def _best(scores: NDArray[np.floating], count: int) -> NDArray[np.intp]:
    """Return the places of the greatest scores, best first; ties go by place: equal input gives an equal list."""
    pool = np.arange(len(scores))
    if count < len(scores):  # sorting all 22,000 takes longer than the rest of ranking
        pool = np.flatnonzero(scores >= np.partition(scores, -count)[-count])
    return pool[np.argsort(-scores[pool], kind="stable")][:count]


def _shared_parent(shown: Sequence[int], vocabulary: Vocabulary) -> str:
    """Return the parent that the best two share and that is worth offering, or an empty string."""
    if len(shown) < 2:
        return ""
    parent = vocabulary[shown[0]].parent
    if not parent or parent != vocabulary[shown[1]].parent or len(ancestors(parent)) < _TELLING_DEPTH:
        return ""
    inside = vocabulary.index_of.get(parent)
    if inside in shown[:_SIBLINGS] or (inside is None and len(vocabulary) < _OPEN):
        return ""
    return parent
