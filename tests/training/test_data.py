"""Samples: geometry, determinism, and what is left out."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from ovsam_core.config import InputConfig
from ovsam_core.errors import FormatError, PictureError
from ovsam_core.masks import Mask
from tests.training.builders import NAMES, coco_file, scene
from training.data import Mixture, PictureSamples, PromptArgs, PromptSamples, collate
from training.records import decode_mask, read_class_folder, read_records, read_sa1b

SETTINGS = InputConfig(size=64, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
CLASSES = {n: i for i, n in enumerate(NAMES)}


def samples(folder, count=4, classes=CLASSES, crowd=False, **prompts):
    pictures = read_records(coco_file(folder, count, crowd=crowd))
    return PromptSamples(pictures, classes, SETTINGS, PromptArgs(**prompts), seed=3)


def test_forty_prompts_lie_on_their_objects(tmp_path):
    data = samples(tmp_path)
    for index in range(4):
        for epoch in range(3):
            one = data[epoch, index]
            assert one["pixels"].shape == (3, 64, 64)
            assert (len(one["object"]), len(one["prompt_boxes"]), len(one["prompt_points"])) == (40, 21, 19)
            for row, thing in enumerate(one["object"][:21]):
                assert torch.equal(one["prompt_boxes"][row], one["boxes"][thing])
            for point, thing in zip(one["prompt_points"], one["object"][21:], strict=True):
                x, y = point[0].int().tolist()
                assert one["masks"][thing, y, x] == 1


def test_box_prompts_are_jittered_by_a_share_of_their_sides(tmp_path):
    one = samples(tmp_path, jitter=0.2)[0, 0]
    exact = one["boxes"][one["object"][:21]]
    moved = (one["prompt_boxes"] - exact).abs() / (exact[:, 2:] - exact[:, :2]).repeat(1, 2)
    assert 0.05 < moved.mean() < 0.15
    assert moved.max() <= 0.2 + 1e-6
    assert one["prompt_boxes"].min() >= 0
    assert one["prompt_boxes"].max() <= 64


def test_pixels_and_masks_agree_after_flip_scale_and_crop(tmp_path):
    data = samples(tmp_path)
    for epoch in range(6):
        one = data[epoch, 0]
        for mask, label in zip(one["masks"].bool(), one["labels"], strict=True):
            inside = one["pixels"][:, mask]
            assert inside.mean(1).argmax() == label  # the colour tells the class
            assert inside[label].median() > 200
            x1, y1, x2, y2 = one["boxes"][list(one["labels"]).index(label)].int().tolist()
            assert mask[y1:y2, x1:x2].sum() == mask.sum()


def test_draws_depend_on_epoch_and_index_alone(tmp_path):
    data = samples(tmp_path)
    again = samples(tmp_path)
    for key in ((0, 1), (5, 2)):
        one, two = data[key], again[key]
        assert all(torch.equal(one[k], two[k]) for k in ("pixels", "masks", "object", "prompt_points"))
    assert not torch.equal(data[0, 1]["pixels"], data[1, 1]["pixels"])


def test_crowds_and_unknown_classes_are_left_out(tmp_path):
    assert set(samples(tmp_path, classes={"person": 0, "cup": 1}, scale=(1.0, 1.0))[0, 0]["labels"].tolist()) == {0, 1}
    data = samples(tmp_path, crowd=True, scale=(1.0, 1.0))
    assert set(data[0, 0]["labels"].tolist()) == {0, 2}


def test_a_crop_always_shows_an_object(tmp_path):
    data = samples(tmp_path, scale=(4.0, 4.0))
    assert all(len(data[e, i]["labels"]) for e in range(5) for i in range(4))


def test_unreadable_pictures_are_replaced_and_listed(tmp_path):
    data = samples(tmp_path)
    (tmp_path / "images" / "1.png").write_bytes(b"no picture")
    one = data[0, 1]
    assert one["id"] == "2"
    assert one["bad"][0][0].endswith("1.png")
    assert collate([one, data[0, 0]])["bad"] == one["bad"]
    for i in range(4):
        (tmp_path / "images" / f"{i}.png").write_bytes(b"")
    with pytest.raises(PictureError, match=r"1\.png"):
        data[0, 1]


def test_boxes_only_and_classification_data(tmp_path):
    path = coco_file(tmp_path, 2)
    raw = json.loads(path.read_text())
    for item in raw["annotations"]:
        del item["segmentation"]
    path.write_text(json.dumps(raw))
    boxes_only = PromptSamples(read_records(path), CLASSES, SETTINGS, PromptArgs(scale=(1.0, 1.0), flip=0), seed=1)
    one = boxes_only[0, 0]
    assert not one["has_mask"].any()
    assert len(one["object"]) == 0
    assert one["boxes"].shape == (3, 4)
    for name in NAMES:
        (tmp_path / "classes" / name).mkdir(parents=True)
        (tmp_path / "classes" / name / "a.png").write_bytes((tmp_path / "images" / "0.png").read_bytes())
    whole = PromptSamples(read_class_folder(tmp_path / "classes"), CLASSES, SETTINGS, PromptArgs(), seed=1)
    two = whole[0, 2]
    assert two["boxes"].tolist() == [[0, 0, 64, 48]]
    assert two["labels"].tolist() == [CLASSES[sorted(NAMES)[2]]]
    mixed = Mixture([boxes_only, whole], [3, 1], 400, seed=2)
    kinds = [len(mixed[0, i]["labels"]) == 1 for i in range(200)]
    assert 0.15 < np.mean(kinds) < 0.35


def test_whole_pictures_are_padded_like_the_engines(tmp_path):
    from ovsam_core.preprocess import resize_and_pad

    pictures = read_records(coco_file(tmp_path, 1))
    settings = InputConfig(size=96, interpolation="area")
    one = PictureSamples(pictures, settings)[0, 0]
    expected = resize_and_pad(scene(0)[0], settings)
    torch.testing.assert_close(one["pixels"], expected.pixels[0])
    assert one["input_hw"] == expected.input_hw


def test_sa1b(tmp_path):
    tmp_path = tmp_path / "sa_000000"
    tmp_path.mkdir()
    _, objects = scene(5)
    mask = Mask.of(objects[0][1])
    annotation = {"id": 7, "segmentation": mask.rle, "bbox": list(mask.bbox_xywh), "area": mask.area}
    image = {"image_id": 5, "file_name": "sa_5.jpg", "height": 48, "width": 64}
    (tmp_path / "sa_5.json").write_text(json.dumps({"image": image, "annotations": [annotation]}))
    for folder in (tmp_path, tmp_path.parent):  # as published: sa_000000/, sa_000001/, …
        (record,) = read_sa1b(folder)
        assert record.path == tmp_path / "sa_5.jpg"
    assert np.array_equal(decode_mask(record.objects[0], 48, 64), objects[0][1])
    assert record.objects[0].name == ""


@pytest.mark.parametrize("name", ["0.png", "images/0.png"])
def test_pictures_are_found_beside_their_file(tmp_path, name):
    """COCO names the file alone, V3Det and Objects365 the folders too."""
    path = coco_file(tmp_path, 1)
    raw = json.loads(path.read_text())
    raw["images"][0]["file_name"] = name
    path.write_text(json.dumps(raw))
    (record,) = read_records(path)
    assert record.path == tmp_path / "images" / "0.png"


def test_lvis_is_federated(tmp_path):
    raw = {
        "images": [
            {
                "id": 1,
                "coco_url": "http://images.cocodataset.org/train2017/000000000001.jpg",
                "height": 8,
                "width": 8,
                "neg_category_ids": [2],
                "not_exhaustive_category_ids": [1],
            }
        ],
        "annotations": [],
        "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "dog"}],
    }
    (tmp_path / "lvis.json").write_text(json.dumps(raw))
    (record,) = read_records(tmp_path / "lvis.json")
    assert record.path == tmp_path / "train2017" / "000000000001.jpg"
    assert (record.absent, record.partial) == ({"dog"}, {"cup"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["annotations"][0].update(bbox=[1]), r"annotations\[0\].*bbox"),
        (lambda d: d["annotations"][1].update(category_id=9), r"annotations\[1\].*category_id"),
        (lambda d: d.pop("images"), "images: expected"),
        (lambda d: d["images"][0].pop("width"), r"images\[0\].*width"),
    ],
)
def test_broken_files_name_the_field(tmp_path, change, message):
    path = coco_file(tmp_path, 1)
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))
    with pytest.raises(FormatError, match=message):
        read_records(path)


def federated_file(folder):
    """Three scenes whose file says, as LVIS does, what was looked for."""
    path = coco_file(folder, 3)
    raw = json.loads(path.read_text())
    raw["categories"] += [{"id": i, "name": f"extra {i}"} for i in range(4, 24)]
    for image in raw["images"]:
        image.update({"neg_category_ids": [4, 5], "not_exhaustive_category_ids": [2]})
    raw["annotations"] = [a for a in raw["annotations"] if a["image_id"] or a["category_id"] != 3]
    path.write_text(json.dumps(raw))
    return path


def test_federated_lists_reach_the_samples(tmp_path):
    """Absent and completely annotated names count against an object; those annotated in part never do."""
    pictures = read_records(federated_file(tmp_path))
    assert all(p.federated for p in pictures)
    assert pictures[0].absent == {"extra 4", "extra 5"}
    assert pictures[0].partial == {"dog"}
    classes = CLASSES | {f"extra {i}": i - 1 for i in range(4, 24)}
    few = PromptSamples(pictures, classes, SETTINGS, PromptArgs(), seed=3, federated=1)
    assert few[0, 0]["allowed"].tolist() == [0, 3, 4]  # picture 0 has no cup: it may be there, unannotated
    assert few[0, 1]["allowed"].tolist() == [0, 2, 3, 4]
    more = PromptSamples(pictures, classes, SETTINGS, PromptArgs(), seed=3, federated=10)
    drawn = [more[epoch, 1]["allowed"].tolist() for epoch in range(20)]
    assert all(len(d) == 10 and {0, 2, 3, 4} <= set(d) and 1 not in d for d in drawn)
    assert len({tuple(d) for d in drawn}) > 5
    assert drawn[3] == more[3, 1]["allowed"].tolist()
    every = PromptSamples(pictures, classes, SETTINGS, PromptArgs(), seed=3, federated=100)[0, 0]["allowed"]
    assert every.tolist() == [i for i in range(23) if i != 1]
    assert not len(PromptSamples(pictures, classes, SETTINGS, PromptArgs(), seed=3)[0, 0]["allowed"])


def test_pictures_without_lists_are_not_federated(tmp_path):
    pictures = read_records(coco_file(tmp_path, 1))
    data = PromptSamples(pictures, CLASSES, SETTINGS, PromptArgs(), seed=3, federated=2)
    assert not len(data[0, 0]["allowed"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "expected an object, got list"),
        ("{", "cannot be read"),
        ('{"image": {"image_id": 1, "height": 4, "width": 4, "file_name": "a.jpg"}}', "KeyError 'annotations'"),
    ],
)
def test_a_broken_sa1b_file_is_named(tmp_path, text, words):
    (tmp_path / "sa_1.json").write_text(text)
    with pytest.raises(FormatError, match=r"sa_1\.json: ") as caught:
        read_sa1b(tmp_path)
    assert words in str(caught.value)
