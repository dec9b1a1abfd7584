import dataclasses
import sqlite3
import zlib

import numpy as np
import pytest
import torch

from ovsam_core.errors import AssetError, CancelledError
from ovsam_core.text import encode_vocabulary
from ovsam_core.text_cache import PhraseCache, read_phrases, write_phrases
from ovsam_core.vocabulary import Entry, Vocabulary

DIM = 8


@dataclasses.dataclass
class Config:
    embed_dim: int
    templates: tuple
    hashes: object
    vision: dict


class Tower:
    """Embeds a sentence by its letters; counts what it was asked."""

    def __init__(self, templates=("a {}", "the {}"), text_hash="t1"):
        hashes = dataclasses.make_dataclass("H", ["text"])(text_hash)
        self.config = Config(DIM, templates, hashes, {"text_cfg": {}})
        self.sentences = []

    @staticmethod
    def tokenizer(texts):
        rows = torch.zeros(len(texts), 40, dtype=torch.int64)
        for row, text in zip(rows, texts, strict=True):
            row[: len(text)] = torch.tensor([ord(c) for c in text])
        return rows

    def encode_text(self, tokens):
        texts = ["".join(chr(c) for c in row if c) for row in tokens.tolist()]
        self.sentences += texts
        draws = [np.random.default_rng(zlib.crc32(text.encode())).standard_normal(DIM) for text in texts]
        return torch.nn.functional.normalize(torch.tensor(np.array(draws), dtype=torch.float32), dim=1)


def test_rows_are_unit_means_of_the_sentences():
    tower = Tower()
    encoded = encode_vocabulary(tower, Vocabulary.of(["dog", "elephant"]))
    expected = tower.encode_text(tower.tokenizer(["a dog", "the dog"])).mean(0)
    np.testing.assert_allclose(encoded.rows[0], expected / expected.norm(), atol=2e-3)
    np.testing.assert_allclose(np.linalg.norm(encoded.rows.astype(np.float32), axis=1), 1, atol=2e-3)


def test_synonyms_are_max_pooled_and_never_lower_a_class():
    tower = Tower()
    plain = encode_vocabulary(tower, Vocabulary("a", (Entry("1", "dog"), Entry("2", "cat"))))
    rich = encode_vocabulary(tower, Vocabulary("b", (Entry("1", "dog", ("hound", "pup")), Entry("2", "cat"))))
    regions = torch.nn.functional.normalize(torch.randn(50, DIM), dim=1)
    few, many = plain.logits(regions, 100.0), rich.logits(regions, 100.0)
    assert many.shape == (50, 2)
    assert (many[:, 0] >= few[:, 0] - 1e-4).all()
    assert (many[:, 0] > few[:, 0] + 1).any()
    torch.testing.assert_close(many[:, 1], few[:, 1])
    torch.testing.assert_close(rich.logits(regions[:2], 100.0), many[:2])
    assert rich.entry_of_row.tolist() == [0, 0, 0, 1]


def test_only_new_names_are_encoded():
    tower = Tower()
    encode_vocabulary(tower, Vocabulary.of(["dog", "cat"]))
    tower.sentences.clear()
    encode_vocabulary(tower, Vocabulary.of(["cat", "cow", "dog"]))
    assert sorted(tower.sentences) == ["a cow", "the cow"]


def test_another_tower_or_other_sentences_share_nothing():
    encode_vocabulary(Tower(), Vocabulary.of(["dog"]))
    for tower in (Tower(text_hash="t2"), Tower(templates=("my {}",))):
        encode_vocabulary(tower, Vocabulary.of(["dog"]))
        assert tower.sentences


def test_weights_without_a_hash_are_never_cached():
    for _ in range(2):
        tower = Tower(text_hash="")
        encode_vocabulary(tower, Vocabulary.of(["dog"]))
        assert tower.sentences


def test_many_names_use_one_sentence_unless_asked():
    names = Vocabulary.of([f"n{i}" for i in range(2001)])
    tower = Tower()
    encode_vocabulary(tower, names)
    assert len(tower.sentences) == 2001
    tower.sentences.clear()
    encode_vocabulary(tower, names, sentences="all")
    assert len(tower.sentences) == 4002


def test_progress_and_cancel_keep_what_is_done():
    names = Vocabulary.of([f"n{i}" for i in range(400)])
    shares = []
    tower = Tower()
    with pytest.raises(CancelledError, match=r"128 of 400"):
        encode_vocabulary(tower, names, progress=shares.append, cancelled=lambda: True)
    assert shares == [pytest.approx(0.32)]
    tower.sentences.clear()
    encode_vocabulary(tower, names, progress=shares.append)
    assert len(tower.sentences) == 2 * (400 - 128)
    assert shares[-1] == 1


def test_shipped_phrases_are_used_and_foreign_ones_ignored(tmp_path):
    tower = Tower()
    vector = np.ones(DIM, np.float16) / np.float16(DIM**0.5)
    path = tmp_path / "e" / "coco.safetensors"
    write_phrases(path, {"dog": vector}, tower.config.templates, "t1")
    encoded = encode_vocabulary(tower, Vocabulary.of(["dog"]), shipped=[path])
    assert not tower.sentences
    np.testing.assert_array_equal(encoded.rows[0], vector)
    assert read_phrases(path, tower.config.templates, "other") == {}
    assert read_phrases(path, ("x {}",), "t1") == {}


def test_damaged_shipped_file_is_an_error(tmp_path):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    with pytest.raises(AssetError, match=r"bad\.safetensors: damaged"):
        encode_vocabulary(Tower(), Vocabulary.of(["dog"]), shipped=[path])


def test_damaged_cache_is_set_aside_and_computed_again():
    cache = PhraseCache("t1")
    cache.path.parent.mkdir(parents=True)
    cache.path.write_bytes(b"not a database at all" * 100)
    tower = Tower()
    encode_vocabulary(tower, Vocabulary.of(["dog"]))
    assert tower.sentences == ["a dog", "the dog"]
    assert cache.path.with_suffix(".damaged").exists()
    with sqlite3.connect(cache.path) as connection:
        assert connection.execute("SELECT count(*) FROM phrase").fetchone() == (1,)
    connection.close()
