"""Names: what a mask can be called."""

from ovsam_core.vocabulary.search import Hit, VocabularySearch
from ovsam_core.vocabulary.sources import PRESETS, preset, preset_column
from ovsam_core.vocabulary.vocabulary import Entry, Vocabulary, normalise, own_entry

__all__ = [
    "PRESETS",
    "Entry",
    "Hit",
    "Vocabulary",
    "VocabularySearch",
    "normalise",
    "own_entry",
    "preset",
    "preset_column",
]
