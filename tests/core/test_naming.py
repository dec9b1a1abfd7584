"""Properties of names, from embeddings to ranked labels."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ovsam_core.config import FusionConfig, named_config
from ovsam_core.modeling.build import build_model
from ovsam_core.naming import Regions, embed_regions, name_regions
from ovsam_core.text import EncodedVocabulary
from ovsam_core.vocabulary import Entry, Vocabulary

DIMS = named_config("tiny").embed_dim


@pytest.fixture(scope="module")
def model():
    return build_model(named_config("tiny"))


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    rows = rng.standard_normal(shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def encoded(rng: np.random.Generator, synonyms: list[int]) -> EncodedVocabulary:
    entries = tuple(Entry(f"own:{k}", f"name {k}", tuple(f"{k}-{i}" for i in range(n))) for k, n in enumerate(synonyms))
    counts = [1 + n for n in synonyms]
    rows = unit(rng, sum(counts), DIMS).astype(np.float16)
    return EncodedVocabulary(Vocabulary("test", entries), rows, np.cumsum([0, *counts[:-1]]), "digest")


def regions(rng: np.random.Generator, n: int, *, head: bool = True) -> Regions:
    vectors = [torch.from_numpy(unit(rng, n, DIMS)) for _ in range(2)]
    return Regions(vectors[0], vectors[1] if head else None, None, torch.zeros(n, dtype=torch.bool))


def assert_same(got, expected) -> None:
    """Compare labels: sums in another order move a score by some 1e-5."""
    for one, other in zip(got, expected, strict=True):
        assert {a.entry_id: a.score for a in one} == pytest.approx({b.entry_id: b.score for b in other}, abs=1e-3)


SEEDS = st.integers(0, 2**32 - 1)
SYNONYMS = st.lists(st.integers(0, 3), min_size=1, max_size=6)


@settings(max_examples=30, deadline=None)
@given(SEEDS, SYNONYMS, st.booleans())
def test_the_background_is_never_named(model, seed, synonyms, head):
    rng = np.random.default_rng(seed)
    names = encoded(rng, synonyms)
    away = names.rows.astype(np.float32).mean(0)  # as far from every name as one vector can be
    far = torch.from_numpy(-away / np.linalg.norm(away))[None]
    drawn = regions(rng, 3, head=head)
    far_regions = Regions(far, far if head else None, None, torch.zeros(1, dtype=torch.bool))
    known = {entry.id for entry in names.vocabulary}
    for labels in name_regions(model, drawn, names) + name_regions(model, far_regions, names):
        assert labels
        assert {label.entry_id for label in labels} <= known
        assert sum(label.score for label in labels) <= 1 + 1e-5


@settings(max_examples=20, deadline=None)
@given(SEEDS, SYNONYMS, st.permutations(range(4)))
def test_regions_are_named_independently_of_company_and_order(model, seed, synonyms, order):
    rng = np.random.default_rng(seed)
    names, drawn = encoded(rng, synonyms), regions(rng, 4)
    together = name_regions(model, drawn, names)

    def some(index: list[int]) -> Regions:
        return Regions(drawn.clip[index], drawn.head[index], None, drawn.tiny[index])

    assert_same(name_regions(model, some(list(order)), names), [together[i] for i in order])
    assert_same([name_regions(model, some([i]), names)[0] for i in range(4)], together)


@settings(max_examples=20, deadline=None)
@given(SEEDS, SYNONYMS, st.sampled_from(["head", "clip"]))
def test_the_ends_of_fusion_are_one_branch_alone(model, seed, synonyms, branch):
    rng = np.random.default_rng(seed)
    names, drawn = encoded(rng, synonyms), regions(rng, 3)
    share = 0.0 if branch == "head" else 1.0
    whole = model.config
    try:
        model.config = replace(whole, fusion=FusionConfig(alpha=share, beta=share))
        got = name_regions(model, drawn, names)
        if branch == "head":
            model.config = replace(whole, fusion=FusionConfig(enabled=False))
            alone = name_regions(model, drawn, names)
        else:
            alone = name_regions(model, Regions(drawn.clip, None, None, drawn.tiny), names)
    finally:
        model.config = whole
    assert_same(got, alone)


def test_a_tiny_mask_is_one_without_a_cell(model):
    with torch.inference_mode():
        features = model.encode(torch.randn(1, 3, 128, 128))
        masks = torch.full((2, 32, 32), -1.0)
        masks[1, 8:16, 8:16] = 1
        found = embed_regions(model, features, torch.tensor([[1.0, 1, 9, 9], [32, 32, 64, 64]]), masks)
    assert found.tiny.tolist() == [True, False]
    assert found.branches == ("head", "clip")


def test_each_name_says_which_frozen_branch_put_it_there(model):
    rows = np.eye(3, DIMS, dtype=np.float16)
    entries = (Entry("own:a", "by the map"), Entry("own:b", "by the crop", ("also by the crop",)))
    names = EncodedVocabulary(Vocabulary("test", entries), rows, np.array([0, 1]), "digest")
    clip, crop = torch.zeros(1, DIMS), torch.zeros(1, DIMS)
    clip[0, 0], crop[0, 2] = 1, 1  # the crop sees the second name's synonym
    frozen = build_model(replace(named_config("tiny"), fusion=FusionConfig(alpha=1.0, beta=1.0)))
    for seen, expected in ((crop, {"own:a": "clip", "own:b": "crop"}), (None, {"own:a": "clip", "own:b": "clip"})):
        labels = name_regions(frozen, Regions(clip, clip, seen, torch.zeros(1, dtype=torch.bool)), names)[0]
        assert {label.entry_id: label.decided_by for label in labels} == expected
