"""The embedding's file and the cache of files: what is damaged or foreign is never used, and the quota holds."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ovsam_core.embedding import ImageEmbedding
from ovsam_core.embedding_cache import EmbeddingCache, cache_folder
from ovsam_core.errors import EmbeddingError


def make(key: str = "picture-1", *, encoder: str = "enc", side: int = 8, seed: int = 0) -> ImageEmbedding:
    random = torch.Generator().manual_seed(seed)
    return ImageEmbedding(
        tensors={
            "neck": torch.randn(1, 4, side, side, generator=random).half(),
            "trunk": torch.randn(1, 2, side // 2, side // 2, generator=random).half(),
        },
        size_hw=(48, 64),
        input_hw=(96, 128),
        scale_xy=(2.0, 2.0),
        picture_key=key,
        encoder_hash=encoder,
    )


def same(one: ImageEmbedding, other: ImageEmbedding) -> bool:
    fields = ("size_hw", "input_hw", "scale_xy", "picture_key", "encoder_hash")
    return (
        all(getattr(one, f) == getattr(other, f) for f in fields)
        and one.tensors.keys() == other.tensors.keys()
        and all(torch.equal(one.tensors[k], other.tensors[k]) for k in one.tensors)
    )


def test_saves_and_loads_every_field(tmp_path):
    embedding = make()
    embedding.save(tmp_path / "a" / "b.safetensors")
    assert same(ImageEmbedding.load(tmp_path / "a" / "b.safetensors"), embedding)
    assert embedding.nbytes == 2 * (4 * 64 + 2 * 16)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.safetensors"]


@pytest.mark.parametrize("at", [0, 7, 20, 300, -1, -40])
def test_one_changed_byte_is_noticed(tmp_path, at):
    path = tmp_path / "x.safetensors"
    make().save(path)
    data = bytearray(path.read_bytes())
    data[at] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(EmbeddingError, match=r"x\.safetensors"):
        ImageEmbedding.load(path)


@pytest.mark.parametrize("keep", [0, 4, 8, 100, -1])
def test_a_truncated_file_is_refused(tmp_path, keep):
    path = tmp_path / "x.safetensors"
    make().save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(EmbeddingError):
        ImageEmbedding.load(path)


def test_foreign_and_missing_files_are_refused(tmp_path):
    save_file({"neck": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    for name in ("foreign", "missing"):
        with pytest.raises(EmbeddingError):
            ImageEmbedding.load(tmp_path / f"{name}.safetensors")


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddingError, match="cannot be written"):
        make().save(tmp_path / "file" / "x.safetensors")


def test_the_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("OVSAM_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    assert EmbeddingCache().path("enc", "key") == tmp_path / "here" / "embeddings" / "enc" / "key.safetensors"


def test_hits_memory_then_disk(tmp_path):
    cache = EmbeddingCache(tmp_path)
    embedding = make()
    assert cache.get("enc", "picture-1") is None
    assert cache.put(embedding)
    assert cache.get("enc", "picture-1") is embedding
    cache.forget_memory()
    again = cache.get("enc", "picture-1")
    assert again is not embedding
    assert same(again, embedding)
    assert same(EmbeddingCache(tmp_path).get("enc", "picture-1"), embedding)
    assert cache.get("other", "picture-1") is None


def test_computes_once(tmp_path):
    calls = []

    def encode():
        calls.append(1)
        return make()

    for _ in range(3):
        EmbeddingCache(tmp_path).get_or_encode("enc", "picture-1", encode)
    assert len(calls) == 1


def test_a_damaged_file_is_computed_again_and_replaced(tmp_path):
    cache = EmbeddingCache(tmp_path, ram_bytes=0)
    cache.put(make())
    path = cache.path("enc", "picture-1")
    path.write_bytes(path.read_bytes()[:-9])
    assert cache.get("enc", "picture-1") is None
    assert not cache.has("enc", "picture-1")
    cache.get_or_encode("enc", "picture-1", make)
    assert cache.has("enc", "picture-1")


def test_a_file_under_another_name_is_not_trusted(tmp_path):
    cache = EmbeddingCache(tmp_path, ram_bytes=0)
    cache.put(make("one"))
    cache.path("enc", "one").rename(cache.path("enc", "two"))
    assert cache.get("enc", "two") is None
    assert not cache.has("enc", "two")
    target = cache.path("other", "one")
    target.parent.mkdir()
    make("one").save(target)
    assert cache.get("other", "one") is None


@pytest.mark.parametrize("key", ["", "..", "a/b", "../x", "/etc/passwd", "a\0b", ".hidden"])
def test_a_key_cannot_leave_the_folder(tmp_path, key):
    with pytest.raises(EmbeddingError, match="picture_key"):
        EmbeddingCache(tmp_path).path("enc", key)


def test_memory_drops_what_was_used_longest_ago(tmp_path):
    one = make("one")
    cache = EmbeddingCache(tmp_path, ram_bytes=2 * one.nbytes, disk_bytes=0)
    cache.put(one)
    cache.put(make("two"))
    assert cache.get("enc", "one") is one
    cache.put(make("three"))
    assert cache.get("enc", "one") is one
    assert cache.get("enc", "two") is None
    assert not list(tmp_path.rglob("*.safetensors"))


def test_the_disk_drops_what_was_used_longest_ago(tmp_path):
    cache = EmbeddingCache(tmp_path, ram_bytes=0)
    for age, name in enumerate(("new", "middle", "old")):
        cache.put(make(name))
        stamp = time.time() - 100 * (age + 1)
        os.utime(cache.path("enc", name), (stamp, stamp))
    size = cache.path("enc", "old").stat().st_size
    cache.get("enc", "old")  # a hit makes it young again
    cache.disk_bytes = 3 * size + 50
    cache.put(make("next"))
    assert {p.stem for p in (tmp_path / "embeddings" / "enc").iterdir()} == {"new", "old", "next"}
    usage = cache.usage()
    assert usage.files == 3
    assert usage.nbytes <= usage.quota
    assert not cache.put(make("refused", encoder="enc2"), evict=False)
    assert cache.usage() == usage


def test_an_embedding_larger_than_the_quota_is_not_written(tmp_path):
    cache = EmbeddingCache(tmp_path, disk_bytes=10)
    assert not cache.put(make())
    assert cache.get("enc", "picture-1") is not None  # memory still has it
    assert cache.usage().files == 0


def test_anonymous_pictures_are_not_kept(tmp_path):
    cache = EmbeddingCache(tmp_path)
    assert not cache.put(make(""))
    assert cache.get_or_encode("enc", "", lambda: make("")).picture_key == ""
    assert cache.usage().files == 0


def test_an_unwritable_disk_costs_no_result(tmp_path):
    (tmp_path / "embeddings").write_text("a file in the way")
    cache = EmbeddingCache(tmp_path, ram_bytes=0)
    assert not cache.put(make())
    assert cache.get_or_encode("enc", "picture-1", make).picture_key == "picture-1"


def test_parts_of_dead_processes_are_swept(tmp_path):
    cache = EmbeddingCache(tmp_path)
    cache.put(make())
    old, fresh = (cache.path("enc", "x").parent / f".{n}.part" for n in ("old", "fresh"))
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    cache.put(make("two"))
    assert not old.exists()
    assert fresh.exists()


def test_threads_share_one_cache(tmp_path):
    cache = EmbeddingCache(tmp_path, ram_bytes=3 * make().nbytes)
    wrong = []

    def work(offset):
        for i in range(20):
            name = f"p{(i + offset) % 6}"
            found = cache.get_or_encode("enc", name, lambda name=name: make(name))
            if found.picture_key != name:
                wrong.append(name)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert cache._recent_bytes == sum(e.nbytes for e in cache._recent.values()) <= cache.ram_bytes


def _hammer(folder: str, seed: int) -> None:
    cache = EmbeddingCache(Path(folder), ram_bytes=0, disk_bytes=6000)
    for i in range(30):
        name = f"p{(i * seed) % 7}"
        found = cache.get_or_encode("enc", name, lambda name=name: make(name, seed=1))
        if not same(found, make(name, seed=1)):
            raise SystemExit(1)


def test_processes_share_one_folder(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_hammer, args=(str(tmp_path), seed)) for seed in (1, 3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert not list(tmp_path.rglob("*.part"))
    assert EmbeddingCache(tmp_path, disk_bytes=6000).usage().nbytes <= 6000
