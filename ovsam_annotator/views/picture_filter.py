"""What the filter line of the picture list means: plain text and a few words with a colon. No Qt.

    harbour label:boat is:unreviewed score<0.5 objects:0 objects>3

Everything must hold. Words without a colon are looked for in the file name. A label with spaces is quoted.
"""

from __future__ import annotations

import operator
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovsam_annotator.views.data import PictureState

if TYPE_CHECKING:
    from collections.abc import Callable

    from ovsam_annotator.views.data import PictureRow

__all__ = ["PictureFilter", "parse_filter"]

_COMPARED = re.compile(r"(score|objects)(<=|>=|<|>|:|=)(\d*\.?\d+)$")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
    ":": operator.eq,
    "=": operator.eq,
}
_STATES: dict[str, frozenset[PictureState]] = {
    **{state.value.replace(" ", "-"): frozenset({state}) for state in PictureState},
    "unreviewed": frozenset({PictureState.UNSEEN, PictureState.IN_WORK, PictureState.DONE, PictureState.NEEDS_WORK}),
}


@dataclass(frozen=True, slots=True)
class PictureFilter:
    """A parsed filter line.

    Attributes:
        words: lower-case pieces of the file name.
        labels: lower-case class names, or their beginnings.
        states: states that pass, one set for each `is:`.
        numbers: (field, comparison, value).
        wrong: words with a colon that mean nothing; they match nothing and are shown to the user.
        missing: only pictures whose file cannot be found.
    """

    words: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    states: tuple[frozenset[PictureState], ...] = ()
    numbers: tuple[tuple[str, str, float], ...] = ()
    wrong: tuple[str, ...] = ()
    missing: bool = False

    def matches(self, row: PictureRow) -> bool:
        """Whether a picture passes."""
        if self.wrong or (self.missing and not row.missing):
            return False
        name = row.name.casefold()
        return (
            all(word in name for word in self.words)
            and all(row.state in states for states in self.states)
            and all(any(c.casefold().startswith(label) for c in row.classes) for label in self.labels)
            and all(self._number(row, *test) for test in self.numbers)
        )

    @staticmethod
    def _number(row: PictureRow, field: str, sign: str, value: float) -> bool:
        have = row.lowest_score if field == "score" else float(row.objects)
        return have is not None and _COMPARE[sign](have, value)


def parse_filter(text: str) -> PictureFilter:
    """Read a filter line; an open quote counts as closed at the end."""
    words: list[str] = []
    labels: list[str] = []
    states: list[frozenset[PictureState]] = []
    numbers: list[tuple[str, str, float]] = []
    wrong: list[str] = []
    missing = False
    for token in _tokens(text):
        word = token.casefold()
        compared = _COMPARED.match(word)
        if compared:
            numbers.append((compared[1], compared[2], float(compared[3])))
        elif word.startswith("label:"):
            labels.append(word.removeprefix("label:"))
        elif word == "is:missing":
            missing = True
        elif word.startswith("is:") and word.removeprefix("is:") in _STATES:
            states.append(_STATES[word.removeprefix("is:")])
        elif word.startswith(("is:", "score<", "score>", "objects<", "objects>")):
            wrong.append(token)
        else:
            words.append(word)
    return PictureFilter(tuple(words), tuple(labels), tuple(states), tuple(numbers), tuple(wrong), missing)


def _tokens(text: str) -> list[str]:
    for attempt in (text, f'{text}"', f"{text}'"):
        try:
            return shlex.split(attempt)
        except ValueError:
            continue
    return text.split()
