"""The starter's names at toy size: sources, joint space, text tower, calibration."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from ovsam_core.config import named_config
from ovsam_core.modeling.build import build_model, make_tokenizer
from ovsam_core.modeling.clip_text import embed_text
from training.minilm import MiniLM, WordPiece, encode_phrases
from training.phrases import clean_name, collect_phrases, wordnet_nouns
from training.starter_calibrate import choose_shares, mixed
from training.starter_features import LabelledRegion, View, coco_regions, extract_crops, folder_regions, pool_crop
from training.starter_names import Bag, JointArgs, NameSet, mean_embedding, train_joint
from training.starter_sources import caltech_name, held_pictures
from training.starter_stages import NameArgs, load_joint, write_names
from training.text_tower import Lesson, TowerArgs, agreement, start_tokens, train_tower

CHANNELS, CLASSES = 48, 10


class Trunk(nn.Module):
    """Means over 20-pixel cells: a trunk whose features can be worked out by hand."""

    def forward_features(self, pixels):
        return functional.avg_pool2d(pixels, 20)


@pytest.fixture(scope="module")
def toy():
    """Ten classes with a direction each in features and in sentence vectors; the last two are held out."""
    chance = torch.Generator().manual_seed(0)
    centres = torch.randn(CLASSES, CHANNELS, generator=chance)
    sentences = functional.normalize(torch.randn(CLASSES, 384, generator=chance), dim=1)
    labels = torch.arange(CLASSES).repeat(30)
    features = centres[labels] + 0.3 * torch.randn(len(labels), CHANNELS, generator=chance)
    allowed = torch.ones(CLASSES, dtype=torch.bool)
    allowed[-2:] = False
    plain = NameSet(sentences, torch.arange(CLASSES), torch.ones(CLASSES, dtype=torch.bool))
    names = {"object": plain, "distil": plain, "named": NameSet(sentences, torch.arange(CLASSES), allowed)}
    seen = labels < CLASSES - 2
    bags = [
        Bag("object", features[seen], labels[seen]),
        Bag("named", features[seen], labels[seen]),
        Bag("distil", features, labels),
    ]
    args = JointArgs(dim=8, steps=60, batch=64, lr=1e-2, dropout=0.1)
    space = train_joint(bags, (centres, torch.zeros(CLASSES)), names, args)
    return {"space": space, "features": features, "labels": labels, "names": names, "bags": bags, "centres": centres}


def test_regions_find_their_names(toy):
    space, names = toy["space"], toy["names"]["object"]
    with torch.no_grad():
        logits = names.logits(space.image(toy["features"]), space.text(names.vectors))
    right = logits.argmax(1) == toy["labels"]
    assert right[toy["labels"] < CLASSES - 2].float().mean() > 0.9
    assert right[toy["labels"] >= CLASSES - 2].float().mean() > 0.5  # taught by the soft labels alone; chance is 0.1


def test_the_same_seed_gives_the_same_space(toy):
    args = JointArgs(dim=8, steps=3, batch=32)
    first, again = (
        train_joint(toy["bags"], (toy["centres"], torch.zeros(CLASSES)), toy["names"], args) for _ in range(2)
    )
    assert torch.equal(first.image_map, again.image_map)


def test_the_projection_of_plain_features_is_the_image_map(toy):
    weight, bias = toy["space"].projection()
    with torch.no_grad():
        expected = toy["space"].image(toy["features"])
    found = functional.normalize(functional.linear(toy["features"], weight, bias), dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_class_is_as_near_as_its_nearest_synonym():
    vectors = torch.eye(3)
    names = NameSet(vectors, torch.tensor([0, 0, 1]), torch.tensor([True, True]))
    logits = names.logits(torch.tensor([[0.0, 1.0, 0.0], [0.6, 0.0, 0.8]]), vectors)
    torch.testing.assert_close(logits, torch.tensor([[1.0, 0.0], [0.6, 0.8]]))
    closed = NameSet(vectors, torch.tensor([0, 0, 1]), torch.tensor([True, False]))
    assert closed.logits(torch.eye(3), vectors).argmax(1).eq(0).all()


def test_joint_space_survives_its_file(toy, tmp_path):
    from safetensors.torch import load_file, save_file

    save_file(toy["space"].state_dict(), tmp_path / "joint.safetensors")
    again = load_joint(tmp_path / "joint.safetensors", JointArgs(dim=8))
    with torch.no_grad():
        assert torch.equal(again.image(toy["features"]), toy["space"].image(toy["features"]))
    tower = build_model(named_config("tiny")).text.state_dict()
    save_file({name: tensor.contiguous() for name, tensor in tower.items()}, tmp_path / "tower.safetensors")
    write_names(toy["space"], tmp_path / "tower.safetensors", tmp_path / "names", NameArgs(), {"temperature": 2.0})
    config = json.loads((tmp_path / "names" / "config.json").read_text())
    assert config["temperature"] == 2.0
    assert config["logit_scale"] == pytest.approx(toy["space"].log_scale.item())
    tensors = load_file(tmp_path / "names" / "names.safetensors")
    assert {"backbone.visual.head.proj.weight", "backbone.visual.head.proj.bias"} < tensors.keys()
    assert torch.equal(tensors["text.token_embedding.weight"], tower["token_embedding.weight"])


def test_calibration_takes_the_branch_that_tells_classes_apart(toy):
    noise = torch.randn(len(toy["labels"]), CHANNELS, generator=torch.Generator().manual_seed(1))
    table = dict.fromkeys(("box", "mask", "whole0", "whole1"), noise) | dict.fromkeys(
        ("under0", "under1"), toy["features"]
    )
    chosen = choose_shares(toy["space"], table, toy["labels"], toy["names"]["object"])
    assert chosen["crop"]["mask_share"] == 1.0
    assert chosen["crop"]["weight"] > 0.5
    only = mixed(toy["space"], table, 0.0, 1.0, 1.0)
    with torch.no_grad():
        torch.testing.assert_close(only, toy["space"].image(toy["features"]), rtol=1e-4, atol=1e-5)


def test_mean_of_unit_vectors_is_weighted_and_unit():
    first, second = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    torch.testing.assert_close(mean_embedding([first, second]), torch.tensor([[0.5**0.5, 0.5**0.5]]))
    torch.testing.assert_close(mean_embedding([first, second], [1.0, 0.0]), first)


# ---- features


def _coco(folder):
    from pycocotools import mask as rle_tools

    (folder / "images").mkdir()
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:30, 20:40] = (0, 0, 255)  # red, in OpenCV's order
    cv2.imwrite(str(folder / "images" / "one.png"), image)
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 20:40] = 1
    rle = rle_tools.encode(np.asfortranarray(mask))
    rle["counts"] = rle["counts"].decode()
    note = {"image_id": 1, "iscrowd": 0, "area": 400, "bbox": [20, 10, 20, 20], "segmentation": rle}
    notes = [
        {**note, "id": 1, "category_id": 3},
        {**note, "id": 2, "category_id": 9},
        {**note, "id": 3, "iscrowd": 1, "category_id": 3},
    ]
    image = {"id": 1, "file_name": "one.png", "height": 40, "width": 60}
    data = {"images": [image], "annotations": notes, "categories": [{"id": i, "name": str(i)} for i in (3, 7, 9)]}
    (folder / "toy.json").write_text(json.dumps(data))
    return folder / "toy.json"


def test_crowds_and_other_categories_are_left_out(tmp_path):
    path = _coco(tmp_path)
    (region,) = coco_regions(path, [7, 3])
    assert region.label == 1
    assert region.box_xyxy == (20, 10, 40, 30)
    assert coco_regions(path, [7, 3], smallest=401) == []


def test_a_crop_is_pooled_whole_and_under_its_mask(tmp_path):
    regions = coco_regions(_coco(tmp_path), [3])
    rows = extract_crops(Trunk(), regions, View(2.0), tmp_path / "crops.npy")
    assert rows.shape == (1, 2, 3)
    whole, under = rows[0].astype(np.float32)
    red, black = (255 - 127) / 128, -127 / 128
    np.testing.assert_allclose(under[0], red, atol=0.3)  # enlarging blurs the edge
    np.testing.assert_allclose(under[1:], black, atol=0.05)
    assert whole[0] == pytest.approx(0.25 * red + 0.75 * black, abs=0.05)
    (tmp_path / "images" / "one.png").unlink()
    assert np.array_equal(extract_crops(Trunk(), regions, View(2.0), tmp_path / "crops.npy"), rows)  # read, not made


def test_flips_and_jitter_are_seeded(tmp_path):
    regions = coco_regions(_coco(tmp_path), [3])
    view = View(1.5, flip=True, jitter=0.2)
    first, again, other = (
        extract_crops(Trunk(), regions, view, tmp_path / f"{i}.npy", seed=seed) for i, seed in enumerate((0, 0, 5))
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_pictures_without_a_box_are_their_central_square(tmp_path):
    image = np.zeros((20, 60, 3), np.uint8)
    image[:, 20:40] = 255
    cv2.imwrite(str(tmp_path / "wide.png"), image)
    rows = extract_crops(Trunk(), folder_regions([(tmp_path / "wide.png", 4)]), View(1.0), tmp_path / "wide.npy")
    np.testing.assert_allclose(rows.astype(np.float32), 1.0, atol=0.01)


def test_an_object_that_misses_every_cell_is_pooled_whole():
    grid = torch.rand(2, 3, 4, 4)
    pooled = pool_crop(grid, torch.zeros(2, 4, 4))
    torch.testing.assert_close(pooled[:, 0], pooled[:, 1])


def test_one_picture_stays_on_one_side():
    regions = [LabelledRegion(None, None, 0, picture // 3, 1.0) for picture in range(60)]
    held = held_pictures(regions, share=0.25)
    assert held.sum() == 15
    assert all(held[i : i + 3].unique().numel() == 1 for i in range(0, 60, 3))


# ---- text


def test_names_are_written_as_people_say_them(tmp_path):
    assert clean_name("aerosol_can_(spray)") == "aerosol can"
    assert caltech_name("water_lilly") == "water lily"
    assert caltech_name("soccer_ball") == "soccer ball"
    assert collect_phrases(["a", "b", ""], ["b", "c", "d"], limit=3) == ["a", "b", "c"]
    (tmp_path / "index.noun").write_text("  1 licence\nhot_dog n 1\ncanaan n 1\n1920s n 1\n")
    (tmp_path / "data.noun").write_text(
        "  1 licence\n00000001 13 n 01 hot_dog 0 000 | food\n00000002 15 n 01 Canaan 0 000 | land\n"
        "00000003 28 n 01 1920s 0 000 | decade\n"
    )
    assert wordnet_nouns(tmp_path) == ["hot dog"]


def test_words_are_cut_into_the_longest_pieces():
    cut = WordPiece(["[UNK]", "[CLS]", "[SEP]", "cat", "##s", "##fish", "café", "cafe", "'"])
    assert cut("Cats catfish") == [1, 3, 4, 3, 5, 2]
    assert cut("Café's") == [1, 7, 8, 0, 2]
    assert cut("xyz") == [1, 0, 2]


def test_padding_changes_no_sentence(tmp_path):
    chance = torch.Generator().manual_seed(0)

    def tensor(*shape):
        return torch.randn(*shape, generator=chance) * 0.3

    weights = {
        "embeddings.word_embeddings.weight": tensor(6, 24),
        "embeddings.position_embeddings.weight": tensor(16, 24),
        "embeddings.token_type_embeddings.weight": tensor(2, 24),
    }
    layer = "encoder.layer.0"
    norms = ["embeddings.LayerNorm", f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    weights |= {f"{name}.{part}": tensor(24) for name in norms for part in ("weight", "bias")}
    shapes = {f"attention.self.{part}": (24, 24) for part in ("query", "key", "value")}
    shapes |= {"attention.output.dense": (24, 24), "intermediate.dense": (48, 24), "output.dense": (24, 48)}
    for name, (rows, columns) in shapes.items():
        weights[f"{layer}.{name}.weight"] = tensor(rows, columns)
        weights[f"{layer}.{name}.bias"] = tensor(rows)
    teacher = MiniLM(weights, WordPiece(["[UNK]", "[CLS]", "[SEP]", "cat", "dog", "bird"]))
    alone, together = teacher(["cat"]), teacher(["cat", "dog bird cat bird"])
    torch.testing.assert_close(alone[0], together[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(2))
    kept = encode_phrases(teacher, ["dog bird cat bird", "cat"], tmp_path / "v.npy")
    np.testing.assert_allclose(kept[1], alone[0].numpy(), atol=2e-3)


@pytest.fixture
def lesson():
    config = named_config("tiny")
    targets = functional.normalize(torch.randn(6, config.embed_dim, generator=torch.Generator().manual_seed(2)), dim=1)
    return Lesson(["cat", "dog", "red car", "wine glass", "spoon", "a tall tree"], targets, 4)


def _tower():
    config = named_config("tiny")
    return build_model(config, seed=3).text, make_tokenizer(config)


def test_the_tower_learns_its_lesson_and_goes_on_where_it_stopped(lesson, tmp_path):
    tower, tokenizer = _tower()
    before = agreement(tower, tokenizer, lesson)
    args = TowerArgs(steps=60, batch=8, lr=5e-3, warmup=5, save_every=30, ema=0.9)
    train_tower(tower, tokenizer, lesson, tmp_path, args)
    after = agreement(tower, tokenizer, lesson)
    assert after > before + 0.3
    again, _ = _tower()
    train_tower(again, tokenizer, lesson, tmp_path, args)  # nothing is left to do: the kept weights are read
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, tower.state_dict()[name]), name


def test_tokens_start_with_the_meaning_of_their_letters():
    tower, tokenizer = _tower()
    dim = tower.text_projection.shape[1]

    def embed(words):
        rows = [torch.randn(dim, generator=torch.Generator().manual_seed(len(word))) for word in words]
        return functional.normalize(torch.stack(rows), dim=1)

    end = tokenizer.all_special_ids[1]
    kept = tower.token_embedding.weight[end].clone()
    start_tokens(tower, tokenizer, embed)
    rows = tower.token_embedding.weight.detach()
    assert torch.equal(rows[end], kept)
    assert torch.equal(rows[0], rows[1])  # one letter each
    with torch.no_grad():
        assert embed_text(tower, tokenizer(["cat"])).isfinite().all()
