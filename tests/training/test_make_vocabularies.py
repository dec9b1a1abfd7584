"""The shipped tables' generator, on a WordNet of eight synsets and lists of a few names."""

from __future__ import annotations

import json

import pytest

from ovsam_core.vocabulary.table import read_table
from training import make_vocabularies

SYNSETS = {  # offset: lemmas, parent, gloss
    "00000001": (["entity"], None, "that which exists"),
    "00000010": (["animal", "beast"], "00000001", 'a living thing; "the animal slept"'),
    "00000020": (["wading_bird"], "00000010", "a bird that wades"),
    "00000021": (["crane"], "00000020", "a large long-necked bird"),
    "00000030": (["lifting_device"], "00000001", "a device for lifting"),
    "00000031": (["crane"], "00000030", "lifts heavy objects"),
    "00000040": (["dog", "domestic_dog"], "00000010", "a member of the genus Canis; barks"),
    "00000050": (["orange"], "00000001", "round yellow fruit"),
}
SENSES = {"crane": ["00000031", "00000021"]}  # the machine is the first sense
WNIDS = ["n00000021", "n00000031", "n00000040"]


class Info:
    """Stands for timm's lists."""

    def __init__(self, name):
        self.wnids = WNIDS[:2] if name == "imagenet-1k" else WNIDS

    def num_classes(self):
        return len(self.wnids)

    def index_to_label_name(self, index):
        return self.wnids[index]


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The folder of tables."""
    licence = "  1 This is the licence\n"
    data, index = [licence], [licence]
    for offset, (lemmas, parent, gloss) in SYNSETS.items():
        words = " ".join(f"{lemma} 0" for lemma in lemmas)
        pointers = f"002 ~ 00000001 n 0000 @ {parent} n 0000" if parent else "000"
        data.append(f"{offset} 03 n {len(lemmas):02x} {words} {pointers} | {gloss}\n")
    for lemma in dict.fromkeys(name for lemmas, *_ in SYNSETS.values() for name in lemmas):
        offsets = SENSES.get(lemma, [o for o, (lemmas, *_) in SYNSETS.items() if lemma in lemmas])
        index.append(f"{lemma} n {len(offsets)} 1 @ {len(offsets)} 0 {' '.join(offsets)}\n")
    (tmp_path / "data.noun").write_text("".join(data))
    (tmp_path / "index.noun").write_text("".join(index))
    lvis = [
        {"id": 1, "name": "dog", "synset": "dog.n.01", "synonyms": ["dog", "pooch"], "def": "a dog", "frequency": "f"},
        {"id": 2, "name": "crane(bird)", "synset": "crane.n.02", "synonyms": ["crane(bird)"], "def": "b"},
        {"id": 3, "name": "zeppelin_kit", "synset": "stop_sign.n.01", "synonyms": ["zeppelin_kit"], "def": "c"},
    ]
    coco = [
        {"coco_id": 18, "name": "dog", "synonyms": ["dog", "puppy"], "split": "novel"},
        {"coco_id": 55, "name": "orange", "synonyms": ["orange fruit"], "split": "base"},
        {"coco_id": 90, "name": "toothbrush", "synonyms": ["toothbrush"], "split": None},
    ]
    (tmp_path / "lvis_v1.json").write_text(json.dumps([c | {"frequency": c.get("frequency", "r")} for c in lvis]))
    (tmp_path / "coco_ov.json").write_text(json.dumps(coco))
    monkeypatch.setattr(make_vocabularies, "ImageNetInfo", Info)
    make_vocabularies.main(["--wordnet", str(tmp_path), "--lists", str(tmp_path), "--out", str(tmp_path / "out")])
    return tmp_path / "out"


def test_lvis_takes_wordnets_ids_where_it_has_them(made):
    dog, crane, kit = read_table(made / "lvis.tsv")
    assert (dog["id"], dog["parent"], dog["synonyms"], dog["frequency"]) == ("dog.n.01", "animal.n.01", "pooch", "f")
    assert (crane["id"], crane["name"], crane["parent"]) == ("crane.n.02", "crane (bird)", "wading_bird.n.01")
    assert (kit["id"], kit["name"], kit["parent"], kit["lvis_id"]) == ("lvis:3", "zeppelin kit", "", "3")


def test_coco_shares_ids_with_lvis_and_keeps_its_split(made):
    dog, orange, brush = read_table(made / "coco.tsv")
    assert (dog["id"], dog["synonyms"], dog["split"], dog["spoken"]) == ("dog.n.01", "puppy", "novel", "")
    assert dog["definition"] == "a member of the genus Canis; barks"
    assert (orange["id"], orange["spoken"]) == ("orange.n.01", "orange fruit")  # by hand: LVIS means the colour
    assert (brush["id"], brush["split"]) == ("coco:90", "")


def test_equal_names_are_told_apart_by_their_parents(made):
    bird, machine = read_table(made / "imagenet-1k.tsv")
    assert (bird["name"], bird["id"]) == ("crane (wading bird)", "crane.n.02")
    assert (machine["name"], machine["id"]) == ("crane (lifting device)", "crane.n.01")
    assert bird["synonyms"] == "crane"
    dog = read_table(made / "imagenet-21k.tsv")[2]
    assert (dog["name"], dog["synonyms"], dog["wnid"]) == ("dog", "domestic dog", "n00000040")


def test_every_ancestor_of_a_table_is_listed(made):
    rows = {row["id"]: row for row in read_table(made / "hypernyms.tsv")}
    assert set(rows) == {"animal.n.01", "entity.n.01", "lifting_device.n.01", "wading_bird.n.01"}
    assert rows["wading_bird.n.01"]["parent"] == "animal.n.01"
    assert rows["entity.n.01"] == {"id": "entity.n.01", "name": "entity", "parent": ""}
