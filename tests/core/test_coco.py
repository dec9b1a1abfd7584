"""COCO and LVIS files: what is read, what is refused, what is written."""

from __future__ import annotations

import copy
import json
import os
import stat

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from pycocotools.coco import COCO

from ovsam_core.errors import FormatError
from ovsam_core.formats.coco import (
    AnnotationRecord,
    CategoryRecord,
    CocoDataset,
    ImageRecord,
    coco_document,
    parse_coco,
    read_coco,
    write_bytes_atomically,
    write_coco,
)
from ovsam_core.formats.lvis import read_lvis, write_lvis
from ovsam_core.formats.report import Findings, Problem, Report
from ovsam_core.masks import Mask

SQUARE = [2.0, 2.0, 6.0, 2.0, 6.0, 5.0, 2.0, 5.0]
BLOB = Mask.from_window(np.ones((3, 4), np.bool_), 1, 2, 8, 10)


def a_document(**changes):
    document = {
        "info": {"year": 2026, "unknown": [1]},
        "licenses": [{"id": 1}],
        "images": [
            {"id": 7, "file_name": "a.png", "width": 10, "height": 8, "license": 1},
            {"id": 3, "file_name": "sub/b.png", "width": 10, "height": 8},
        ],
        "annotations": [
            {
                "id": 12,
                "image_id": 7,
                "category_id": 5,
                "iscrowd": 0,
                "area": 12.5,
                "bbox": [2, 2, 4, 3.5],
                "segmentation": [SQUARE],
            },
            {
                "id": 11,
                "image_id": 3,
                "category_id": 5,
                "iscrowd": 1,
                "area": 12,
                "bbox": [1, 2, 4, 3],
                "segmentation": {"size": [8, 10], "counts": BLOB.runs().tolist()},
            },
            {"id": 40, "image_id": 3, "category_id": 9, "segmentation": BLOB.rle, "score": 0.5, "attributes": {"x": 1}},
            {"id": 41, "image_id": 3, "category_id": 9, "bbox": [0, 0, 3, 2]},
        ],
        "categories": [{"id": 9, "name": "dog", "supercategory": "animal"}, {"id": 5, "name": "cat"}],
        "own section": {"kept": True},
    }
    return document | changes


def saved(path, document):
    path.write_bytes(orjson.dumps(document))
    return path


def parse(document):
    return parse_coco(document, Findings("f.json"))


# ---- reading


def test_everything_in_a_file_is_read_and_kept(tmp_path):
    dataset, report = read_coco(saved(tmp_path / "a.json", a_document()))
    assert report.ok
    assert report.counts == {"images": 2, "annotations": 4, "categories": 2}
    assert [i.id for i in dataset.images] == [3, 7]
    assert dataset.images[1] == ImageRecord(7, "a.png", 10, 8, {"license": 1})
    assert dataset.categories == (CategoryRecord(5, "cat"), CategoryRecord(9, "dog", {"supercategory": "animal"}))
    crowd, polygon, rle, box = dataset.annotations
    assert (crowd.id, crowd.iscrowd, crowd.segmentation) == (11, True, BLOB)
    assert (polygon.segmentation, polygon.bbox_xywh, polygon.area) == ((tuple(SQUARE),), (2, 2, 4, 3.5), 12.5)
    assert (rle.segmentation, rle.bbox_xywh, rle.extra) == (BLOB, None, {"score": 0.5, "attributes": {"x": 1}})
    image = dataset.images[0]
    assert polygon.mask(dataset.images[1]).area == 12
    assert rle.mask(image) == BLOB
    assert box.mask(image) == Mask.from_box((0, 0, 3, 2), 8, 10)
    assert dataset.extra == {
        "info": {"year": 2026, "unknown": [1]},
        "licenses": [{"id": 1}],
        "own section": {"kept": True},
    }
    assert {i: [a.id for a in g] for i, g in dataset.by_image().items()} == {3: [11, 40, 41], 7: [12]}
    assert dataset.path_of(image) == tmp_path / "sub/b.png"
    assert dataset.restricted({7}).annotations == (polygon,)


def test_pictures_are_sought_beside_the_file_and_in_images(tmp_path):
    path = saved(tmp_path / "a.json", a_document())
    assert read_coco(path)[0].folder == tmp_path
    (tmp_path / "images").mkdir()
    Image.new("RGB", (10, 8)).save(tmp_path / "images/a.png")
    assert read_coco(path)[0].folder == tmp_path / "images"


def test_pictures_are_looked_at_when_their_folder_is_given(tmp_path):
    path = saved(tmp_path / "a.json", a_document())
    (tmp_path / "sub").mkdir()
    Image.new("RGB", (10, 9)).save(tmp_path / "sub/b.png")
    _, report = read_coco(path, images=tmp_path)
    assert [(p.where, p.field, p.severity) for p in report.problems] == [
        ("images id 7", "file_name", "warning"),
        ("images id 3", "width", "warning"),
    ]
    assert "10 x 8, the picture is 10 x 9" in report.problems[1].message
    (tmp_path / "a.png").write_bytes(b"no picture")
    _, report = read_coco(path, images=tmp_path)
    assert "not a picture" in report.problems[0].message


def test_a_mask_of_another_picture_is_refused():
    annotation = AnnotationRecord(1, 1, 1, BLOB)
    with pytest.raises(FormatError, match="size: 10 x 8, picture is 9 x 8"):
        annotation.mask(ImageRecord(1, "a.png", 9, 8))


def test_a_dataset_without_a_folder_says_so():
    with pytest.raises(FormatError, match=r"folder of a\.png"):
        CocoDataset().path_of(ImageRecord(1, "a.png", 1, 1))


def annotation(**changes):
    return {"id": 99, "image_id": 7, "category_id": 5, "segmentation": [SQUARE]} | changes


BAD_ANNOTATIONS = [
    (annotation(image_id=8), "image_id", "no sound image has id 8"),
    (annotation(image_id="7"), "image_id", "expected a whole number"),
    (annotation(category_id=77), "category_id", "no category has id 77"),
    ({k: v for k, v in annotation().items() if k != "category_id"}, "category_id", "got None"),
    (annotation(id=None), "id", "expected a whole number"),
    (annotation(id=12), "id", "12 is used before"),
    (annotation(iscrowd=2), "iscrowd", "expected 0 or 1"),
    (annotation(area="big"), "area", "expected a number"),
    (annotation(bbox=[1, 2, 3]), "bbox", "four numbers"),
    (annotation(bbox=[1, 2, 3, "4"]), "bbox", "four numbers"),
    (annotation(bbox=[1, 2, -3, 4]), "bbox", "must not be negative"),
    (annotation(segmentation=[[1, 1, 5, 5]]), "segmentation", "three points"),
    (annotation(segmentation=[[1, 1, 5, 5, None, 2]]), "segmentation", "list of numbers"),
    (annotation(segmentation=[[1, 1, 5, 1e12, 4, 2]]), "segmentation", "far outside"),
    (annotation(segmentation={"size": [9, 10], "counts": [90]}), "segmentation", "picture is 10 x 8"),
    (annotation(segmentation={"size": [8, 10], "counts": [79]}), "segmentation", "add up to 79"),
    (annotation(segmentation={"size": [8, 10], "counts": "\x00"}), "segmentation", "not a compressed"),
    (annotation(segmentation={"counts": "x"}), "segmentation", "size"),
    (annotation(segmentation="polygon"), "segmentation", "expected polygons or run lengths"),
    (annotation(segmentation=[]), "segmentation", "neither a mask nor a box"),
    ([1, 2], "", "expected an object"),
]


@pytest.mark.parametrize(("item", "field", "message"), BAD_ANNOTATIONS)
def test_an_unsound_annotation_is_reported_left_out_and_kept(tmp_path, item, field, message):
    document = a_document()
    document["annotations"].append(copy.deepcopy(item))
    path = saved(tmp_path / "a.json", document)
    dataset, report = read_coco(path, strict=False)
    (problem,) = report.errors
    assert problem.file == str(path)
    assert problem.where.startswith("annotations[4]")
    assert (problem.field, report.rejected) == (field, (("annotations", item),))
    assert message in problem.message
    assert len(dataset.annotations) == 4
    with pytest.raises(FormatError, match=r"a\.json: annotations\[4\]"):
        read_coco(path)


BAD_IMAGES = [
    ({"id": 5, "width": 3, "height": 3}, "file_name", "expected a file name"),
    ({"id": 5, "file_name": " ", "width": 3, "height": 3}, "file_name", "expected a file name"),
    ({"id": 5, "file_name": "../x.png", "width": 3, "height": 3}, "file_name", "leads out"),
    ({"id": 5, "file_name": "a/../../x.png", "width": 3, "height": 3}, "file_name", "leads out"),
    ({"id": 5, "file_name": "/etc/x.png", "width": 3, "height": 3}, "file_name", "leads out"),
    ({"id": 5, "file_name": "C:\\x.png", "width": 3, "height": 3}, "file_name", "leads out"),
    ({"id": 5, "file_name": "..\\x.png", "width": 3, "height": 3}, "file_name", "leads out"),
    ({"id": 5, "file_name": "x.png", "width": 0, "height": 3}, "width", "positive"),
    ({"id": 5, "file_name": "x.png", "width": 3}, "height", "positive"),
    ({"id": 7, "file_name": "x.png", "width": 3, "height": 3}, "id", "7 is used before"),
    ({"id": True, "file_name": "x.png", "width": 3, "height": 3}, "id", "whole number"),
    ("x.png", "", "expected an object"),
]


@pytest.mark.parametrize(("item", "field", "message"), BAD_IMAGES)
def test_an_unsound_image_is_reported_with_its_annotations(item, field, message):
    document = a_document()
    document["images"].append(item)
    document["annotations"].append(annotation(image_id=5))
    dataset, report = parse(document)
    assert (report.errors[0].field, report.rejected[0]) == (field, ("images", item))
    assert message in report.errors[0].message
    assert [p.field for p in report.errors[1:]] == ["image_id"]
    assert len(dataset.images) == 2
    assert len(dataset.annotations) == 4


@pytest.mark.parametrize(
    ("item", "field"),
    [({"id": 1}, "name"), ({"id": 1, "name": 3}, "name"), ({"name": "x"}, "id"), ({"id": 5, "name": "x"}, "id")],
)
def test_an_unsound_category_is_reported(item, field):
    document = a_document()
    document["categories"].append(item)
    dataset, report = parse(document)
    assert [p.field for p in report.errors] == [field]
    assert len(dataset.categories) == 2


def test_one_bad_ring_does_not_cost_the_object():
    document = a_document()
    document["annotations"].append(annotation(segmentation=[SQUARE, [1, 1, 2, 2]]))
    dataset, report = parse(document)
    assert dataset.annotations[-1].segmentation == (tuple(SQUARE),)
    assert not report.errors
    assert not report.ok
    assert report.rejected[0][1]["segmentation"] == [SQUARE, [1, 1, 2, 2]]


def test_doubtful_things_are_kept_with_a_warning():
    document = a_document()
    document["images"].append({"id": 8.0, "file_name": "a.png", "width": 4, "height": 4})
    document["categories"].append({"id": 1, "name": "cat"})
    document["annotations"].append(annotation(bbox=[5, 5, 20, 20]))
    dataset, report = parse(document)
    assert [p.severity for p in report.problems] == ["warning"] * 3
    assert [p.field for p in report.problems] == ["file_name", "name", "bbox"]
    assert len(dataset.images) == 3
    assert dataset.images[-1].id == 8


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "a list"),
        ({}, "images"),
        ({"images": 3}, "images"),
        (5, "int"),
        ({"shapes": [], "imagePath": ""}, "shapes"),
    ],
)
def test_what_is_no_coco_file_is_told_apart(tmp_path, document, message):
    with pytest.raises(FormatError, match=message):
        read_coco(saved(tmp_path / "a.json", document), strict=False)


def test_missing_and_foreign_sections():
    dataset, report = parse({"images": [], "annotations": {"a": 1}})
    assert [(p.field, p.severity) for p in report.problems] == [("categories", "warning"), ("annotations", "error")]
    assert report.rejected == (("annotations", {"a": 1}),)
    assert dataset.annotations == ()


def test_a_truncated_file_gives_what_stands_before_the_cut(tmp_path):
    whole = orjson.dumps(a_document())
    place = whole.index(b'"id":40')
    path = tmp_path / "cut.json"
    path.write_bytes(whole[: place + 30])
    dataset, report = read_coco(path, strict=False)
    assert [a.id for a in dataset.annotations] == [11, 12]
    assert [c.name for c in dataset.categories] == ["category 5"]
    assert "2 images, 2 annotations" in report.errors[0].message
    assert "line 1 column" in report.errors[0].where
    with pytest.raises(FormatError, match="damaged JSON"):
        read_coco(path)


@pytest.mark.parametrize(
    ("data", "message"), [(b"", "is empty"), (b"\xff\xfe{", "not a JSON"), (b'{"images": [{"id"', "not a JSON")]
)
def test_files_without_anything_to_save(tmp_path, data, message):
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=message):
        read_coco(path, strict=False)
    with pytest.raises(FormatError, match="cannot be read"):
        read_coco(tmp_path / "none.json")


# ---- writing


def test_the_file_written_is_the_file_read(tmp_path):
    path = saved(tmp_path / "a.json", a_document())
    dataset, _ = read_coco(path)
    report = write_coco(dataset, tmp_path / "b.json")
    assert report.counts == {"images": 2, "annotations": 4, "categories": 2}
    again, _ = read_coco(tmp_path / "b.json")
    filled = {41: (6, (0, 0, 3, 2)), 40: (12, (1, 2, 4, 3))}  # what the file did not say follows from the mask or box
    for before, after in zip(dataset.annotations, again.annotations, strict=True):
        area, box = filled.get(before.id, (before.area, before.bbox_xywh))
        assert (after.area, after.bbox_xywh) == (area, box)
        assert (after.segmentation, after.extra, after.iscrowd) == (before.segmentation, before.extra, before.iscrowd)
    assert (again.images, again.categories, again.extra) == (dataset.images, dataset.categories, dataset.extra)


def test_equal_datasets_are_equal_bytes_in_any_order(tmp_path):
    dataset, _ = read_coco(saved(tmp_path / "a.json", a_document()))
    mixed = CocoDataset(
        dataset.images[::-1],
        dataset.annotations[::-1],
        dataset.categories[::-1],
        None,
        dict(reversed(dataset.extra.items())),
    )
    write_coco(dataset, tmp_path / "1.json")
    write_coco(mixed, tmp_path / "2.json")
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()


steady = settings(deadline=None, max_examples=40)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8).filter(str.strip)
masks = hnp.arrays(np.bool_, (6, 7)).filter(np.any).map(Mask.of)
extras = st.dictionaries(
    st.sampled_from(["x", "y z"]), st.integers(-(2**63), 2**63) | st.text(max_size=3) | st.none(), max_size=2
)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@steady
@given(st.lists(st.tuples(st.integers(1, 10**12), masks, st.booleans(), extras), unique_by=lambda t: t[0]), names)
def test_any_dataset_survives(objects, name):
    annotations = [
        AnnotationRecord(i, 2, 1, m, tuple(map(float, m.bbox_xywh)), float(m.area), crowd, extra)
        for i, m, crowd, extra in objects
    ]
    dataset = CocoDataset(
        (ImageRecord(2, "a.png", 7, 6),),
        tuple(sorted(annotations, key=lambda a: a.id)),
        (CategoryRecord(1, name),),
        None,
        {},
    )
    again, report = parse(orjson.loads(orjson.dumps(coco_document(dataset))))
    assert report.ok
    assert again == dataset


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools' decode with current numpy
def test_pycocotools_and_faster_coco_eval_load_it(tmp_path, capsys):
    from faster_coco_eval import COCO as FasterCOCO

    dataset, _ = read_coco(saved(tmp_path / "a.json", a_document()))
    write_coco(dataset, tmp_path / "b.json")
    for library in (COCO, FasterCOCO):
        loaded = library(str(tmp_path / "b.json"))
        assert sorted(loaded.getImgIds()) == [3, 7]
        assert [c["name"] for c in loaded.loadCats([5, 9])] == ["cat", "dog"]
        for record in dataset.annotations[:3]:
            (found,) = loaded.loadAnns([record.id])
            image = next(i for i in dataset.images if i.id == record.image_id)
            np.testing.assert_array_equal(loaded.annToMask(found).astype(bool), record.mask(image).full())


def test_an_object_without_its_picture_is_not_written(tmp_path):
    with pytest.raises(FormatError, match="annotation 1: image_id: no image has id 2"):
        write_coco(CocoDataset((), (AnnotationRecord(1, 2, 3, BLOB),)), tmp_path / "a.json")
    assert not list(tmp_path.iterdir())


def test_values_json_cannot_say_are_named(tmp_path):
    with pytest.raises(FormatError, match="cannot be written as JSON"):
        write_coco(CocoDataset(extra={"info": {1, 2}}), tmp_path / "a.json")


def test_a_box_alone_is_written_without_a_mask():
    dataset, _ = parse(a_document())
    written = {a["id"]: a for a in coco_document(dataset)["annotations"]}
    assert "segmentation" not in written[41]
    assert json.loads(orjson.dumps(written[12]["segmentation"])) == [SQUARE]


def test_files_are_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "a.json"
    write_bytes_atomically(path, b"old")
    path.chmod(0o600)
    write_bytes_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FormatError, match=r"No space left.*as it was"):
        write_bytes_atomically(path, b"newer")
    assert path.read_bytes() == b"new"
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FormatError, match="cannot be written"):
        write_bytes_atomically(tmp_path / "file" / "a.json", b"x")


# ---- LVIS


def test_lvis_pictures_are_named_by_their_address(tmp_path):
    document = a_document(
        images=[{"id": 7, "coco_url": "http://x/train2017/000.jpg", "width": 10, "height": 8, "neg_category_ids": [9]}]
    )
    document["annotations"] = [annotation()]
    dataset, report = read_lvis(saved(tmp_path / "l.json", document))
    assert report.ok
    assert dataset.images[0].file_name == "train2017/000.jpg"
    assert dataset.images[0].extra["neg_category_ids"] == [9]


def test_lvis_fields_are_filled_and_crowds_noted(tmp_path):
    dataset, _ = parse(a_document())
    report = write_lvis(dataset, tmp_path / "l.json")
    document = json.loads((tmp_path / "l.json").read_text())
    assert [a["id"] for a in document["annotations"]] == [12, 40, 41]
    cat, dog = document["categories"]
    assert (cat["frequency"], cat["image_count"], cat["instance_count"]) == ("r", 1, 1)
    assert (dog["image_count"], dog["instance_count"], dog["supercategory"]) == (1, 2, "animal")
    assert document["images"][0]["not_exhaustive_category_ids"] == []
    assert [p.field for p in report.problems] == ["iscrowd", "synset", "synset"]
    assert report.ok


def test_lvis_keeps_what_it_says_of_itself(tmp_path):
    categories = [{"id": n, "name": f"n{n}", "synset": f"n{n}.n.01", "frequency": "f"} for n in (5, 9)]
    dataset, _ = parse(a_document(categories=categories))
    report = write_lvis(dataset.restricted({7}), tmp_path / "l.json")
    again, _ = read_lvis(tmp_path / "l.json")
    assert [c.extra["frequency"] for c in again.categories] == ["f", "f"]
    assert report.problems == ()


# ---- reports


def test_reports_add_up_and_read_well():
    findings = Findings("f")
    findings.note("", "ids", "none")
    findings.error("line 3", "x", "bad", item=("s", 1))
    report = findings.report({"images": 2}) + Report((Problem("g", "", "", "odd", "warning"),), {"images": 1})
    assert report.counts == {"images": 3}
    assert report.text().splitlines() == [
        "3 images",
        "error: f: line 3 x: bad",
        "warning: g: odd",
        "note: f: ids: none",
    ]
    assert report.text(limit=1).splitlines()[-1] == "… and 2 more"
    assert not report.ok
    assert Report().ok
    assert Report().text() == ""
    assert report.to_dict()["problems"][1]["field"] == "x"
    assert report.to_dict()["rejected"] == 1
