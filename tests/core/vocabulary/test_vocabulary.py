import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovsam_core.errors import VocabularyError
from ovsam_core.vocabulary import PRESETS, Entry, Vocabulary, normalise, own_entry, preset, preset_column


def test_presets_have_the_published_sizes():
    assert {name: len(preset(name)) for name in PRESETS[:-1]} == {
        "coco": 80,
        "lvis": 1203,
        "lvis-names": 1203,
        "imagenet-1k": 1000,
        "imagenet-21k": 21841,
    }
    assert len(preset("all")) > 22000


def test_coco_reads_as_the_official_classifier():
    phrases = [entry.phrases for entry in preset("coco")]
    assert sum(map(len, phrases)) == 173
    assert max(map(len, phrases)) == 17
    assert preset("coco").find("orange").phrases == ("orange fruit",)


def test_lvis_names_read_as_the_official_classifier():
    # One phrase a class; the official script has 1,204, for it cuts "tape_(sticky_cloth_or_paper)" inside the brackets.
    assert [entry.phrases for entry in preset("lvis-names")][1] == ("air conditioner",)
    assert sum(len(entry.phrases) for entry in preset("lvis-names")) == 1203


def test_splits_of_the_paper():
    split = list(preset_column("coco", "split").values())
    assert (split.count("base"), split.count("novel")) == (48, 17)
    frequency = list(preset_column("lvis", "frequency").values())
    assert (frequency.count("r"), frequency.count("c"), frequency.count("f")) == (337, 461, 405)


def test_imagenet_1k_is_in_the_classifiers_order():
    assert [preset("imagenet-1k")[i].name for i in (0, 1, 999)] == ["tench", "goldfish", "toilet tissue"]


@pytest.mark.parametrize("alias", ["COCO", "coco-80", "coco_80", "coco80"])
def test_aliases(alias):
    assert Vocabulary.load(alias) is preset("coco")


def test_combining_joins_by_synset_and_by_name():
    joined = Vocabulary.load("coco+lvis")
    assert joined.id == "coco+lvis"
    assert len(joined) < 80 + 1203
    assert "dog.n.01" in joined.index_of
    drier = joined.entries[joined.index_of["hand_blower.n.01"]]
    assert drier.name == "hair drier"
    assert "hair dryer" in drier.synonyms


def test_homonyms_stay_apart_and_own_names_join():
    bird = Vocabulary("a", (Entry("crane.n.05", "crane", parent="wading_bird.n.01"),))
    lift = Vocabulary("b", (Entry("crane.n.04", "crane", parent="lifting_device.n.01"),))
    assert [e.name for e in bird.combine(lift)] == ["crane", "crane (lifting device)"]
    assert bird.combine(lift)[1].phrases == ("crane",)
    mine = Vocabulary.of(["Crane", "derrick"])
    assert [e.id for e in bird.combine(mine)] == ["crane.n.05", "own:derrick"]


@given(st.lists(st.sampled_from(["dog", "Dog", "dog_", "cat", "a b", "a  B", "キリン", "été"]), min_size=1))
def test_no_name_stands_twice(names):
    vocabulary = Vocabulary.of(names)
    folded = [normalise(e.name) for e in vocabulary]
    assert len(folded) == len(set(folded)) == len({e.id for e in vocabulary})
    assert {normalise(n) for n in names} == set(folded)


def test_add_and_restrict():
    coco = preset("coco")
    more = coco.add("forklift", "Dog", own_entry("pallet", ["skid"]))
    assert [e.id for e in more.entries[80:]] == ["own:forklift", "own:pallet"]
    assert more.digest != coco.digest
    less = coco.restrict(["dog.n.01", "cat.n.01"])
    assert [e.name for e in less] == ["cat", "dog"]
    with pytest.raises(VocabularyError, match=r"no entry 'wolf'"):
        coco.restrict(["wolf"])


def test_digest_tells_order_and_synonyms_apart():
    a, b = own_entry("a"), own_entry("b")
    digests = {Vocabulary("x", e).digest for e in [(a, b), (b, a), (own_entry("a", ["c"]), b)]}
    assert len(digests) == 3


def test_text_list(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("\ufefftea cup, teacup\n# a remark\n\nsaucer\nTea Cup, mug\n", "utf-8")
    vocabulary = Vocabulary.load(path)
    assert [(e.name, e.synonyms) for e in vocabulary] == [("tea cup", ("teacup", "mug")), ("saucer", ())]


def test_table(tmp_path):
    path = tmp_path / "names.csv"
    path.write_text("Name,Synonyms,Parent\nbolt,screw|fastener,fastener.n.02\nnut,,\n", "utf-8")
    bolt, nut = Vocabulary.load(path)
    assert bolt == Entry("own:bolt", "bolt", ("screw", "fastener"), "", "fastener.n.02")
    assert nut.synonyms == ()


def test_coco_file_keeps_what_coco_knows(tmp_path):
    path = tmp_path / "c.json"
    path.write_text('{"categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "nucleus"}]}')
    assert [e.id for e in Vocabulary.load(path)] == ["dog.n.01", "own:nucleus"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "label\nx\n", r"a\.csv: the header line has no column 'name'"),
        ("a.csv", "name\n\x20\n", r"a\.csv: line 2: name is empty"),
        ("a.txt", "\n#x\n", r"a\.txt: holds no name"),
        ("a.json", "{", r"a\.json: not valid JSON"),
        ("a.json", '{"images": []}', r"a\.json: no list 'categories'"),
        ("a.json", '{"categories": [{"id": 1}]}', r"a\.json: categories\[0\]\.name: expected a text, got None"),
    ],
)
def test_bad_files_say_where(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(VocabularyError, match=message):
        Vocabulary.load(tmp_path / name)


def test_binary_file_and_unknown_name(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(VocabularyError, match=r"not UTF-8 text \(byte 0\)"):
        Vocabulary.load(tmp_path / "a.txt")
    with pytest.raises(VocabularyError, match=r"nosuch: neither a file nor one of"):
        Vocabulary.load("nosuch")


def test_phrases_split_alternatives_and_drop_the_remark():
    assert Entry("x", "crane (bird)").phrases == ("crane",)
    assert Entry("x", "cup/mug", ("tv_or_monitor", "cup")).phrases == ("cup", "mug", "tv", "monitor")
