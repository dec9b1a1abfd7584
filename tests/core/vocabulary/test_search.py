from ovsam_core.vocabulary import VocabularySearch, preset


def names(hits):
    return [hit.entry.name for hit in hits]


def test_prefix_shortest_first_and_later_words():
    search = VocabularySearch(preset("lvis"))
    assert names(search.prefix("gira"))[0] == "giraffe"
    assert "teddy bear" in names(search.prefix("bear"))
    assert names(search.prefix("")) == []
    assert names(search.prefix("zzzz")) == []


def test_synonyms_are_found_and_shown():
    hit = VocabularySearch(preset("lvis")).prefix("aeropl")[0]
    assert (hit.entry.name, hit.matched) == ("airplane", "aeroplane")


def test_an_entry_is_listed_once():
    found = names(VocabularySearch(preset("coco")).prefix("bi", limit=50))
    assert len(found) == len(set(found))


def test_fuzzy_survives_misspelling():
    search = VocabularySearch(preset("lvis"))
    assert names(search.fuzzy("giraf"))[0] == "giraffe"
    assert "coffee maker" in names(search.fuzzy("cofee makr", limit=5))
