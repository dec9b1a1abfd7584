"""Generate the shipped vocabularies from timm's ImageNet lists, the LVIS and COCO category lists, and WordNet 3.0.

    python -m training.make_vocabularies --wordnet /usr/share/wordnet --lists DIR --out assets/vocabularies

`--lists` holds `lvis_v1.json` (the LVIS v1 categories, CC BY 4.0) and `coco_ov.json` (COCO-80 with the synonyms and the
base/novel split of the paper's classifier). WordNet is Debian's `wordnet-base`. Output is one tab-separated table a
vocabulary, plus `hypernyms.tsv` with every ancestor that the tables' parents lead to. The files are committed; nobody
needs to run this unless a source changes.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from timm.data.imagenet_info import ImageNetInfo

from ovsam_core.vocabulary.table import write_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["WordNet", "main"]

# COCO names that LVIS spells otherwise, or means otherwise ("orange" the colour, "mouse" the animal), by hand.
_COCO_SYNSETS = {
    "bus": "bus.n.01",
    "car": "car.n.01",
    "cell phone": "cellular_telephone.n.01",
    "hair drier": "hand_blower.n.01",
    "hot dog": "hotdog.n.02",
    "keyboard": "computer_keyboard.n.01",
    "laptop": "laptop.n.01",
    "microwave": "microwave.n.02",
    "mouse": "mouse.n.04",
    "orange": "orange.n.01",
    "potted plant": "pot_plant.n.01",
    "remote": "remote_control.n.01",
    "skis": "ski.n.01",
    "sports ball": "ball.n.06",
    "tie": "necktie.n.01",
    "train": "train.n.01",
    "wine glass": "wineglass.n.01",
}


@dataclass(frozen=True)
class Synset:
    """One WordNet noun synset: its lemmas (spaces, not underscores), definition and first hypernym's offset."""

    lemmas: tuple[str, ...]
    definition: str
    parent: str | None


class WordNet:
    """The noun part of a WordNet 3.0 database folder.

    Attributes:
        synsets: eight-digit offset → Synset.
        names: offset → synset name such as `dog.n.01` (the first lemma and its sense number).
        offsets: every `lemma.n.NN` → offset.
    """

    def __init__(self, folder: Path) -> None:
        self.offsets: dict[str, str] = {}
        for line in _records(folder / "index.noun"):
            fields = line.split()
            for sense, offset in enumerate(fields[-int(fields[2]) :], 1):
                self.offsets[f"{fields[0]}.n.{sense:02d}"] = offset
        self.synsets: dict[str, Synset] = {}
        for line in _records(folder / "data.noun"):
            data, _, gloss = line.partition("|")
            fields = data.split()
            count = int(fields[3], 16)
            lemmas = tuple(fields[4 + 2 * i].replace("_", " ") for i in range(count))
            pointers = fields[5 + 2 * count :]
            parent = next((pointers[i + 1] for i in range(0, len(pointers) - 3, 4) if pointers[i] in {"@", "@i"}), None)
            definition = re.split(r'; "|: "', gloss.strip())[0].strip().rstrip(";")
            self.synsets[fields[0]] = Synset(lemmas, definition, parent)
        self.names: dict[str, str] = {}
        senses = {(name.rsplit(".", 2)[0], offset): name for name, offset in self.offsets.items()}
        for offset, synset in self.synsets.items():
            self.names[offset] = senses[synset.lemmas[0].replace(" ", "_").lower(), offset]

    def parent_of(self, offset: str) -> str:
        """Name of the first hypernym, or an empty string at the root."""
        parent = self.synsets[offset].parent
        return self.names[parent] if parent else ""

    def row(self, offset: str) -> dict[str, str]:
        """Describe a synset as a table row."""
        synset = self.synsets[offset]
        return {
            "id": self.names[offset],
            "name": synset.lemmas[0],
            "synonyms": "|".join(synset.lemmas[1:]),
            "definition": synset.definition,
            "parent": self.parent_of(offset),
        }


def _records(path: Path) -> Iterable[str]:
    # The licence text at the head of every WordNet file is indented.
    return (line for line in path.read_text("utf-8").splitlines() if not line.startswith(" "))


def unique_names(rows: list[dict[str, str]], parent_names: dict[str, str]) -> None:
    """Tell equal display names apart in place: by parent ("crane (wading bird)"), by synonym, by synset id."""

    def clashes() -> list[dict[str, str]]:
        seen: dict[str, int] = {}
        for row in rows:
            seen[row["name"].casefold()] = seen.get(row["name"].casefold(), 0) + 1
        return [row for row in rows if seen[row["name"].casefold()] > 1]

    for row in clashes():
        row["base"] = row["name"]
        row["name"] = f"{row['name']} ({parent_names[row['parent']]})"
    for row in clashes():
        row["name"] = f"{row['base']} ({row['synonyms'].split('|')[0] or row['id']})"
    for row in clashes():
        row["name"] = f"{row['base']} ({row['id']})"
    for row in rows:
        base = row.pop("base", None)
        if base is not None and base not in row["synonyms"].split("|"):
            row["synonyms"] = "|".join(filter(None, (base, row["synonyms"])))


def _clean(name: str) -> str:
    return re.sub(r"\s+", " ", name.replace("_", " ").replace("(", " (")).strip()


def lvis_rows(path: Path, wordnet: WordNet) -> list[dict[str, str]]:
    """Read the LVIS category list; ids of synsets that WordNet does not have are `lvis:N`."""
    rows = []
    for category in json.loads(path.read_text("utf-8")):
        offset = wordnet.offsets.get(category["synset"].lower())
        name = _clean(category["name"])
        synonyms = [_clean(s) for s in category["synonyms"]]
        rows.append(
            {
                "id": wordnet.names[offset] if offset else f"lvis:{category['id']}",
                "name": name,
                "synonyms": "|".join(dict.fromkeys(s for s in synonyms if s != name)),
                "definition": category["def"],
                "parent": wordnet.parent_of(offset) if offset else "",
                "lvis_id": str(category["id"]),
                "frequency": category["frequency"],
            }
        )
    return rows


def coco_rows(path: Path, wordnet: WordNet, lvis: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Read COCO-80 with the official classifier's synonyms; ids are those of LVIS where the two mean the same."""
    by_name: dict[str, str] = {}
    for row in lvis:
        for name in (row["name"], *row["synonyms"].split("|")):
            by_name.setdefault(name, row["id"])
    rows = []
    for category in json.loads(path.read_text("utf-8")):
        entry_id = _COCO_SYNSETS.get(category["name"]) or by_name.get(category["name"]) or f"coco:{category['coco_id']}"
        offset = wordnet.offsets.get(entry_id)
        rows.append(
            {
                "id": wordnet.names[offset] if offset else entry_id,
                "name": category["name"],
                "synonyms": "|".join(dict.fromkeys(s for s in category["synonyms"] if s != category["name"])),
                "definition": wordnet.synsets[offset].definition if offset else "",
                "parent": wordnet.parent_of(offset) if offset else "",
                "coco_id": str(category["coco_id"]),
                "split": category["split"] or "",
                "spoken": "" if category["name"] in category["synonyms"] else "|".join(category["synonyms"]),
            }
        )
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Write the five tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wordnet", type=Path, required=True, help="folder with index.noun and data.noun (3.0)")
    parser.add_argument("--lists", type=Path, required=True, help="folder with lvis_v1.json and coco_ov.json")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    wordnet = WordNet(args.wordnet)
    parent_names = {wordnet.names[offset]: synset.lemmas[0] for offset, synset in wordnet.synsets.items()}
    tables = {"lvis": lvis_rows(args.lists / "lvis_v1.json", wordnet)}
    tables["coco"] = coco_rows(args.lists / "coco_ov.json", wordnet, tables["lvis"])
    for name, source in (("imagenet-1k", "imagenet-1k"), ("imagenet-21k", "imagenet-22k")):
        info = ImageNetInfo(source)
        wnids = [info.index_to_label_name(i) for i in range(info.num_classes())]  # type: ignore[no-untyped-call]
        tables[name] = [wordnet.row(wnid[1:]) | {"wnid": wnid} for wnid in wnids]
    for rows in tables.values():
        unique_names(rows, parent_names)
    ancestors: dict[str, str] = {}
    for row in (row for rows in tables.values() for row in rows):
        parent = row["parent"]
        while parent and parent not in ancestors:
            ancestors[parent] = wordnet.offsets[parent]
            parent = wordnet.parent_of(wordnet.offsets[parent])
    tables["hypernyms"] = [
        {"id": name, "name": wordnet.synsets[offset].lemmas[0], "parent": wordnet.parent_of(offset)}
        for name, offset in sorted(ancestors.items())
    ]
    for name, rows in tables.items():
        write_table(args.out / f"{name}.tsv", rows)
        print(f"{name}: {len(rows)} rows")


if __name__ == "__main__":
    main()
