"""List, show, search and encode vocabularies.

Example:
  ovsam vocab list
  ovsam vocab search lvis "traffic li"
  ovsam vocab encode my_names.txt
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ovsam_core.cli.common import add_json, add_model, bar, predictor_of, write_json
from ovsam_core.cli.predict import positive

if TYPE_CHECKING:
    import argparse

    from ovsam_core.vocabulary import Vocabulary

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="the presets and their sizes")
    add_json(listing, optional_value=True)
    show = actions.add_parser("show", help="all names of a vocabulary")
    show.add_argument("vocabulary", metavar="NAME|FILE")
    add_json(show, optional_value=True)
    search = actions.add_parser("search", help="names that begin with or resemble a text")
    search.add_argument("vocabulary", metavar="NAME|FILE")
    search.add_argument("text", metavar="TEXT")
    search.add_argument("--limit", metavar="N", type=positive, default=20)
    encode = actions.add_parser("encode", help="encode all names for a model ahead of time")
    encode.add_argument("vocabulary", metavar="NAME|FILE")
    add_model(encode)


def run(args: argparse.Namespace) -> int:
    """Run one action."""
    return {"list": _list, "show": _show, "search": _search, "encode": _encode}[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from ovsam_core.vocabulary import PRESETS, preset

    rows = [{"id": name, "names": len(preset(name))} for name in PRESETS]
    if args.json:
        write_json(rows, args.json)
    if args.json != "-":
        for row in rows:
            print(f"{row['id']:14} {row['names']:6} names")
    return 0


def _load(name: str) -> Vocabulary:
    from ovsam_core.vocabulary import Vocabulary

    return Vocabulary.load(name)


def _show(args: argparse.Namespace) -> int:
    vocabulary = _load(args.vocabulary)
    if args.json:
        rows = [
            {
                "id": entry.id,
                "name": entry.name,
                "synonyms": list(entry.synonyms),
                "definition": entry.definition,
                "parent": entry.parent,
            }
            for entry in vocabulary
        ]
        write_json({"id": vocabulary.id, "digest": vocabulary.digest, "entries": rows}, args.json)
    if args.json != "-":
        for entry in vocabulary:
            print("\t".join((entry.id, entry.name, ", ".join(entry.synonyms), entry.definition)))
    return 0


def _search(args: argparse.Namespace) -> int:
    from ovsam_core.vocabulary import VocabularySearch

    index = VocabularySearch(_load(args.vocabulary))
    hits = index.prefix(args.text, args.limit) or index.fuzzy(args.text, args.limit)
    for hit in hits:
        print("\t".join((hit.entry.id, hit.entry.name, hit.entry.definition)))
    if not hits:
        print("nothing resembles it", file=sys.stderr)
    return 0 if hits else 1


def _encode(args: argparse.Namespace) -> int:
    vocabulary = _load(args.vocabulary)
    predictor = predictor_of(args)
    with bar("names") as progress:
        encoded = predictor.encode_vocabulary(vocabulary, progress=progress)
    print(f"{len(vocabulary)} names, {len(encoded.rows)} phrases, {encoded.rows.shape[1]} dimensions")
    return 0
