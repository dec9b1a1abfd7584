import numpy as np

from ovsam_core.ranking import rank
from ovsam_core.vocabulary import Entry, Vocabulary, preset


def scored(vocabulary, **scores):
    values = np.full(len(vocabulary), 1e-6)
    for name, score in scores.items():
        values[vocabulary.index_of[vocabulary.find(name.replace("_", " ")).id]] = score
    return values


def test_best_first_and_nine():
    coco = preset("coco")
    labels = rank(np.linspace(0, 1, 80), coco, "clip")
    assert [label.name for label in labels[:2]] == ["toothbrush", "hair drier"]
    assert len(labels) == 9
    assert labels[0].decided_by == "clip"


def test_small_vocabularies_and_no_names():
    two = Vocabulary.of(["a", "b"])
    assert [label.name for label in rank(np.array([0.2, 0.8]), two, "head")] == ["b", "a"]
    assert rank(np.array([0.2, 0.8]), two, "head", top_k=0) == ()


def test_branch_per_entry():
    labels = rank(np.array([0.2, 0.8]), Vocabulary.of(["a", "b"]), ("head", "memory"))
    assert [label.decided_by for label in labels] == ["memory", "head"]


def test_at_most_three_siblings_the_rest_folds():
    kinds = Vocabulary("v", (*(Entry(f"own:{i}", f"k{i}", parent="x") for i in range(5)), Entry("own:z", "z")))
    labels = rank(np.array([0.5, 0.4, 0.3, 0.2, 0.1, 0.05]), kinds, "head")
    assert [label.name for label in labels] == ["k0", "k1", "k2", "z"]
    assert [label.name for label in labels[2].folded] == ["k3", "k4"]


def test_shared_parent_is_offered_last_with_the_sum():
    everything = preset("all")
    scores = scored(everything, convertible=0.3, jeep=0.2, dog=0.1)
    labels = rank(scores, everything, "head")
    assert labels[-1].entry_id == "car.n.01"
    assert 0.5 <= labels[-1].score < 0.51
    assert len(labels) == 9


def test_a_closed_list_stays_closed():
    coco = preset("coco")
    scores = scored(coco, sheep=0.4, cow=0.4)
    scores[coco.index_of["car.n.01"]] = 0.1
    ids = {label.entry_id for label in rank(scores, coco, "head")}
    assert ids <= set(coco.index_of)


def test_ties_keep_their_order():
    many = Vocabulary.of([f"n{i:03d}" for i in range(300)])
    assert [label.name for label in rank(np.full(300, 1 / 300), many, "head")][:3] == ["n000", "n001", "n002"]
