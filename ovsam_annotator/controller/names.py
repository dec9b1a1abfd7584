"""The names that masks can get: the project's vocabulary, and the search over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from ovsam_annotator.inference.messages import EncodeText, Failed, Predicted, Progress, TextEncoded
from ovsam_annotator.model.responsive import loading_for_good
from ovsam_annotator.views import data
from ovsam_core.vocabulary import Entry, Vocabulary, VocabularySearch, normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ovsam_annotator.controller.session import Session
    from ovsam_annotator.controller.tasks import Runner
    from ovsam_annotator.inference.segmenter import Segmenter
    from ovsam_annotator.views.protocols import LabelListView
    from ovsam_core.results import Label
    from ovsam_core.vocabulary import Hit

__all__ = ["DEFAULT_VOCABULARY", "PRESET_TITLES", "NamesController"]

DEFAULT_VOCABULARY = "coco"
"""What masks are ranked among at first: the same as on the command line; its embeddings ship with the starter."""

WHOLE_VOCABULARY = "all"
"""What the search finds; a name chosen from it becomes a class of the project and is ranked from then on."""

PRESET_TITLES = (
    ("all", "All names (22,000)"),
    ("lvis", "LVIS (1,203)"),
    ("coco", "COCO (80)"),
    ("imagenet-1k", "ImageNet (1,000)"),
    ("classes", "Only the classes of this project"),
)
_LIMIT = 30
_LONG = 2000  # names whose encoding takes so long that others are ranked until then


class NamesController(QObject):
    """Loads the project's vocabulary, has it encoded, and searches it.

    Args:
        label_list: has the search line.
        segmenter: encodes the names.
        runner: loads and searches.
        scores: the names on show, whose scores the search repeats.

    Another vocabulary is encoded in spare time while the one before is still ranked. The first vocabulary of a project
    is waited for; where it is a long one, the default names are ranked until it is there.

    Attributes:
        ready: (digest) prompts may name this vocabulary: it is encoded, or its encoding is queued before them.
        progress: (fraction, names ranked until then) how far the encoding of the next vocabulary is; 1.0 when done.
        failed: (text, whether there are no names to rank now).
    """

    ready = Signal(str)
    progress = Signal(float, str)
    failed = Signal(str, bool)

    def __init__(
        self,
        *,
        label_list: LabelListView,
        segmenter: Segmenter,
        runner: Runner,
        scores: Callable[[], Sequence[Label]] = tuple,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._list = label_list
        self._segmenter = segmenter
        self._runner = runner
        self._scores = scores
        self._session: Session | None = None
        self._preset = DEFAULT_VOCABULARY
        self._own: tuple[Entry, ...] = ()
        self._vocabulary: Vocabulary | None = None
        self._index: VocabularySearch | None = None
        self._whole: VocabularySearch | None = None
        self._whole_wanted = False
        self._entries: dict[str, Entry] = {}
        self._serial = 0
        self._ranked: Vocabulary | None = None
        self._text = ""
        label_list.search_changed.connect(self.search)

    @property
    def preset(self) -> str:
        """Id of the chosen vocabulary."""
        return self._preset

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The names in use; None until they are loaded."""
        return self._vocabulary

    def attach(self, session: Session | None, preset: str = DEFAULT_VOCABULARY) -> None:
        """Work on another project, or none."""
        self._session = session
        self._own = ()
        self._vocabulary = self._ranked = None
        self._index = None
        self._serial += 1  # what is still being loaded belongs to the project before
        self.progress.emit(1.0, "")
        if session is not None:
            session.classes_changed.connect(self._classes_changed)
            self._own = self._class_entries()
            self.choose(preset)

    def choose(self, preset: str) -> None:
        """Take another vocabulary: a preset's name, or "classes" for the project's own classes."""
        self._preset = preset
        self._load()

    def entry(self, entry_id: str) -> Entry | None:
        """The entry with this id; None where the vocabulary does not have it."""
        if self._vocabulary is not None and entry_id in self._vocabulary.index_of:
            return self._vocabulary[self._vocabulary.index_of[entry_id]]
        return self._entries.get(entry_id)

    def send_again(self) -> None:
        """Have the names encoded by another model, which knows none."""
        if self._vocabulary is not None:
            self._ranked = None
            self._load()

    # ---- loading

    def _class_entries(self) -> tuple[Entry, ...]:
        if self._session is None:
            return ()
        return tuple(Entry(row.entry_id, row.name) for row in self._session.classes)

    def _classes_changed(self, *_: object) -> None:
        own = self._class_entries()
        if own == self._own:
            return
        self._own = own
        vocabulary = self._vocabulary
        known = set() if vocabulary is None else set(vocabulary.index_of)
        if self._preset == "classes" or any(entry.id not in known for entry in own):
            self._load()

    def _load(self) -> None:
        self._serial += 1
        serial, preset, own = self._serial, self._preset, self._own

        def done(loaded: _Loaded) -> None:
            if serial != self._serial:
                return
            self._vocabulary, self._index = loaded.vocabulary, loaded.index
            if self._ranked is None:
                self._segmenter.submit(EncodeText(loaded.first))
                self._rank(loaded.first)
            if self._ranked is not loaded.vocabulary:
                self._segmenter.submit(EncodeText(loaded.vocabulary, spare=True))

        def failed(error: Exception) -> None:
            if serial != self._serial:
                return
            instead = self._ranked is None and preset != DEFAULT_VOCABULARY
            self.failed.emit(
                self.tr("Vocabulary “{preset}”: {error}").format(preset=preset, error=error),
                self._ranked is None and not instead,
            )
            if instead:
                self._preset = DEFAULT_VOCABULARY
                self._load()

        alone = self._ranked is None
        self._runner.run(lambda: _load(preset, own, alone=alone), done, failed)

    def _want_whole(self) -> None:
        """Index every name for the search: once there is time for it, or when somebody searches."""
        if not self._whole_wanted:
            self._whole_wanted = True
            self._runner.run(_load_whole, self._take_whole, lambda error: self.failed.emit(str(error), False))

    def _take_whole(self, found: tuple[VocabularySearch, dict[str, Entry]]) -> None:
        self._whole, self._entries = found
        if self._text.strip():
            self.search(self._text)

    def _rank(self, vocabulary: Vocabulary) -> None:
        self._ranked = vocabulary
        self.ready.emit(vocabulary.digest)

    def take(self, answer: object) -> None:
        """An answer of the segmenter about names."""
        wanted = self._vocabulary
        if isinstance(answer, Predicted) and not answer.hover:
            self._want_whole()
        match answer:
            case Progress(picture_id=None) if answer.stage == "names":
                ranked = self._ranked
                self.progress.emit(answer.fraction or 0.0, ranked.id if ranked and ranked is not wanted else "")
            case TextEncoded() if wanted is not None and answer.digest == wanted.digest:
                self.progress.emit(1.0, "")
                if self._ranked is not wanted:
                    self._rank(wanted)
            case Failed() if answer.stage == "names":
                self.failed.emit(f"{answer.text}. {answer.advice}", False)

    # ---- searching

    def search(self, text: str) -> None:
        """Show prefix hits at once; misspelt names a moment later."""
        self._text = text
        self._want_whole()
        index = self._index
        if index is None or not text.strip():
            self._list.set_results(text, ())
            return
        indexes = [index, *([self._whole] if self._whole is not None else [])]
        first = _joined(found.prefix(text, _LIMIT) for found in indexes)
        self._show(text, first)
        if len(first) < _LIMIT:

            def done(more: list[Hit]) -> None:
                if text == self._text and index is self._index:
                    self._show(text, _joined((first, more)))

            self._runner.run(lambda: _joined(found.fuzzy(text, _LIMIT) for found in indexes), done)

    def _show(self, text: str, hits: Sequence[Hit]) -> None:
        scores = {label.entry_id: label.score for label in self._scores()}
        found = [
            data.SearchRow(
                hit.entry.id,
                hit.entry.name,
                "" if normalise(hit.matched) == normalise(hit.entry.name) else hit.matched,
                hit.entry.definition,
                scores.get(hit.entry.id),
            )
            for hit in hits
        ]
        if not any(normalise(row.name) == normalise(text) for row in found):
            found.append(data.SearchRow("", text.strip()))
        self._list.set_results(text, found)


def _joined(parts: Iterable[Sequence[Hit]]) -> list[Hit]:
    """Hits in order, each entry once."""
    found: dict[str, Hit] = {}
    for part in parts:
        for hit in part:
            found.setdefault(hit.entry.id, hit)
    return list(found.values())[:_LIMIT]


def _load_whole() -> tuple[VocabularySearch, dict[str, Entry]]:
    """Index every name that ships with the program."""
    with loading_for_good():
        vocabulary = Vocabulary.load(WHOLE_VOCABULARY)
        return VocabularySearch(vocabulary), {entry.id: entry for entry in vocabulary}


@dataclass(frozen=True, slots=True, eq=False)
class _Loaded:
    """A vocabulary, an index of it, and the names to rank until it is encoded (itself where it is short)."""

    vocabulary: Vocabulary
    index: VocabularySearch
    first: Vocabulary


def _load(preset: str, own: Iterable[Entry], *, alone: bool) -> _Loaded:
    """Load a preset with the project's own names, and index it; `alone` where no other names can be ranked yet."""
    mine: list[Any] = list(own)
    with loading_for_good():
        if preset == "classes" and mine:
            vocabulary = Vocabulary("classes", tuple(mine))
        else:
            vocabulary = Vocabulary.load(DEFAULT_VOCABULARY if preset == "classes" else preset)
            vocabulary = vocabulary.add(*mine)
        first = vocabulary
        if alone and len(vocabulary) > _LONG:
            first = Vocabulary.load(DEFAULT_VOCABULARY).add(*mine)
        # Computed here and kept: a digest over 22,000 names is nothing for the GUI thread.
        _ = (vocabulary.digest, vocabulary.index_of, first.digest)
        return _Loaded(vocabulary, VocabularySearch(vocabulary), first)
