"""YOLO, VOC, labelme, mask pictures, and the door to all formats."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from ovsam_core.errors import FormatError, StoreError
from ovsam_core.exchange import convert, detect_format, read_any, validate_path, write_any
from ovsam_core.formats.coco import AnnotationRecord, CategoryRecord, CocoDataset, ImageRecord, parse_coco, write_coco
from ovsam_core.formats.labelme import labelme_document, read_labelme, write_labelme
from ovsam_core.formats.mask_png import instance_map, read_mask_png, write_mask_png
from ovsam_core.formats.report import Findings
from ovsam_core.formats.voc import read_voc, write_voc
from ovsam_core.formats.yolo import read_yolo, write_yolo
from ovsam_core.masks import Mask
from ovsam_core.store import Change, Project

steady = settings(deadline=None, max_examples=25)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def drawn(text):
    return Mask.of(np.array([[c == "#" for c in line] for line in text.split()]))


PLAIN = drawn("........ .####... .####... ........ ........ ........")
DONUT = drawn("........ ........ ...###.. ...#.#.. ...###.. ........")
PARTS = drawn("......## ........ ........ ........ #....... #.......")
SIZE = (8, 6)


def a_dataset(*masks, folder=None, crowd=False, boxes=()):
    annotations = [AnnotationRecord(n + 1, 1, 1 + n % 2, m, iscrowd=crowd) for n, m in enumerate(masks)]
    annotations += [AnnotationRecord(50 + n, 1, 1, None, box) for n, box in enumerate(boxes)]
    categories = (CategoryRecord(1, "cat"), CategoryRecord(2, "fire: truck 'n #1"))
    images = (ImageRecord(1, "a.png", *SIZE), ImageRecord(2, "sub/b é.png", *SIZE))
    return CocoDataset(images, tuple(annotations), categories, folder)


def with_pictures(folder):
    for name in ("a.png", "sub/b é.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE).save(folder / name)
    return folder


def masks_of(dataset):
    images = {image.id: image for image in dataset.images}
    names = {category.id: category.name for category in dataset.categories}
    return [(names[a.category_id], a.mask(images[a.image_id])) for a in dataset.annotations]


def notes(report):
    return [(p.where, p.field) for p in report.problems if p.field != "ids"]


# ---- YOLO


def test_yolo_comes_back(tmp_path):
    with_pictures(tmp_path / "images")
    dataset = a_dataset(PLAIN, drawn("######## ######## ........ ........ ........ ........"))
    report = write_yolo(dataset, tmp_path)
    assert notes(report) == []
    assert (tmp_path / "labels/sub/b é.txt").read_text() == ""
    again, report = read_yolo(tmp_path)
    assert report.ok
    assert masks_of(again) == masks_of(dataset)
    assert [(i.file_name, i.width, i.height) for i in again.images] == [("a.png", 8, 6), ("sub/b é.png", 8, 6)]


def test_yolo_says_what_it_cannot_hold(tmp_path):
    report = write_yolo(a_dataset(DONUT, PARTS), tmp_path)
    assert notes(report) == [("annotation 1", "segmentation"), ("annotation 2", "segmentation")]
    assert len((tmp_path / "labels/a.txt").read_text().splitlines()) == 3
    crowded = write_yolo(a_dataset(PLAIN, crowd=True), tmp_path)
    assert notes(crowded) == [("annotation 1", "iscrowd")]
    assert (tmp_path / "labels/a.txt").read_text() == ""


def test_yolo_boxes(tmp_path):
    with_pictures(tmp_path / "pics")
    write_yolo(a_dataset(boxes=[(1, 2, 4, 3)]), tmp_path / "y")
    again, _ = read_yolo(tmp_path / "y", images=tmp_path / "pics")
    (box,) = again.annotations
    assert box.segmentation is None
    assert box.bbox_xywh == pytest.approx((1, 2, 4, 3))


@pytest.mark.parametrize(
    ("line", "field", "message"),
    [
        ("cat 0.1 0.1", "", "expected a class number"),
        ("0 a b c d", "", "expected a class number"),
        ("9 0.5 0.5 0.5 0.5", "class", "9 is not among the names"),
        ("0 0.1 0.1 0.5 0.5 0.9", "", "at least three points"),
        ("0 0.1 0.1", "", "at least three points"),
        ("0 0.1 0.1 nan 0.2", "", "between 0 and 1"),
        ("0 15 3 2 2", "", "between 0 and 1"),
    ],
)
def test_bad_yolo_lines_are_named(tmp_path, line, field, message):
    with_pictures(tmp_path / "images")
    write_yolo(a_dataset(PLAIN), tmp_path)
    with (tmp_path / "labels/a.txt").open("a") as file:
        file.write(f"\n{line}\n")
    dataset, report = read_yolo(tmp_path, strict=False)
    (problem,) = report.errors
    assert (problem.where, problem.field) == ("a.txt line 3", field)
    assert message in problem.message
    assert report.rejected[0][1]["line"] == line
    assert len(dataset.annotations) == 1
    with pytest.raises(FormatError, match=r"a\.txt line 3"):
        read_yolo(tmp_path)


def test_yolo_folders_that_are_none(tmp_path):
    with pytest.raises(FormatError, match=r"data\.yaml: missing"):
        read_yolo(tmp_path)
    for text in ("names: 3", "- a", "names: {cat: 1}", "names: [a", "\x00"):
        (tmp_path / "data.yaml").write_text(text)
        with pytest.raises(FormatError, match=r"data\.yaml"):
            read_yolo(tmp_path)
    (tmp_path / "data.yaml").write_text("names: [cat, dog]")
    (tmp_path / "lost.txt").write_text("0 0.5 0.5 0.1 0.1")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
    Image.new("RGB", SIZE).save(tmp_path / "latin.png")
    dataset, report = read_yolo(tmp_path, strict=False)
    assert [c.name for c in dataset.categories] == ["cat", "dog"]
    assert [(p.where, p.severity) for p in report.problems] == [
        ("broken", "error"),
        ("latin.txt", "error"),
        ("lost.txt", "warning"),
    ]
    with pytest.raises(FormatError, match="no such folder"):
        read_yolo(tmp_path, images=tmp_path / "nowhere")


# ---- Pascal VOC


def test_voc_comes_back_with_holes_and_parts(tmp_path):
    dataset = a_dataset(PARTS, DONUT)
    report = write_voc(dataset, tmp_path)
    assert notes(report) == []
    again, report = read_voc(tmp_path)
    assert report.ok
    assert sorted(masks_of(again), key=str) == sorted(masks_of(dataset), key=str)
    root = ET.parse(tmp_path / "Annotations/a.xml").getroot()
    boxes = [[int(v.text) for v in o.find("bndbox")] for o in root.findall("object")]
    assert [4, 3, 6, 5] in boxes  # counted from 1, far edge included
    with Image.open(tmp_path / "SegmentationClass/a.png") as picture:
        assert picture.mode == "P"
        assert set(np.unique(np.asarray(picture))) == {0, 1, 2}
        assert picture.getpalette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]


def test_voc_notes_what_lies_under_others_and_crowds(tmp_path):
    report = write_voc(a_dataset(PLAIN, drawn("........ ..##.... ........ ........ ........ ........")), tmp_path)
    assert notes(report) == [("annotation 2", "segmentation")]
    again, _ = read_voc(tmp_path)
    assert sorted(m.area for _, m in masks_of(again)) == [2, 6]
    report = write_voc(a_dataset(PLAIN, crowd=True), tmp_path)
    assert notes(report) == [("annotation 1", "iscrowd")]
    with Image.open(tmp_path / "SegmentationObject/a.png") as picture:
        assert (np.asarray(picture) == 255).sum() == PLAIN.area


def test_voc_boxes_alone(tmp_path):
    write_voc(a_dataset(PLAIN, boxes=[(0, 4, 3, 2)]), tmp_path)
    again, _ = read_voc(tmp_path)
    masked, box = again.annotations
    assert masked.segmentation == PLAIN
    assert (box.segmentation, box.bbox_xywh) == (None, (0, 4, 3, 2))


def test_voc_numbers_no_more_than_it_can(tmp_path):
    dots = [Mask.from_box((n % 20, n // 20, 1, 1), 20, 20) for n in range(300)]
    dataset = CocoDataset(
        (ImageRecord(1, "a.png", 20, 20),),
        tuple(AnnotationRecord(n + 1, 1, n + 1, m) for n, m in enumerate(dots)),
        tuple(CategoryRecord(n + 1, f"c{n}") for n in range(300)),
    )
    report = write_voc(dataset, tmp_path)
    assert [(p.field, p.severity) for p in report.problems][:2] == [("categories", "note"), ("", "error")]
    assert len(read_voc(tmp_path)[0].annotations) == 254


VOC = "<annotation><filename>a.png</filename><size><width>8</width><height>6</height></size>{}</annotation>"
BOX = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox>"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", ""),
        ("<annotation>", ""),
        ('<!DOCTYPE x [<!ENTITY a "b">]><annotation/>', ""),
        ("<annotation/>", "size"),
        (VOC.replace("8", "wide").format(""), "size"),
        (VOC.format(f"<object>{BOX}</object>"), "name"),
        (VOC.format("<object><name>cat</name></object>"), "bndbox"),
        (VOC.format(f"<object><name>cat</name>{BOX.replace('<xmax>3', '<xmax>0')}</object>"), "bndbox"),
    ],
)
def test_bad_voc_files_are_named(tmp_path, text, field):
    (tmp_path / "a.xml").write_text(text)
    (tmp_path / "good.xml").write_text(VOC.format(f"<object><name>cat</name><difficult>1</difficult>{BOX}</object>"))
    dataset, report = read_voc(tmp_path, strict=False)
    assert [(p.where.split(" ")[0], p.field) for p in report.errors] == [("a.xml", field)]
    assert [a.extra for a in dataset.annotations] == [{"difficult": 1}]
    with pytest.raises(FormatError, match=r"a\.xml"):
        read_voc(tmp_path)


def test_voc_masks_that_do_not_fit_give_way_to_boxes(tmp_path):
    write_voc(a_dataset(PLAIN), tmp_path)
    for data in (None, b"no picture"):
        if data is None:
            Image.new("L", (3, 3)).save(tmp_path / "SegmentationObject/a.png")
        else:
            (tmp_path / "SegmentationObject/a.png").write_bytes(data)
        dataset, report = read_voc(tmp_path)
        assert [p.severity for p in report.problems] == ["warning"]
        assert dataset.annotations[0].bbox_xywh == (1, 1, 4, 2)


# ---- labelme


def test_labelme_comes_back_with_holes_parts_and_crowds(tmp_path):
    dataset = a_dataset(PLAIN, DONUT, PARTS)
    report = write_labelme(dataset, tmp_path)
    assert notes(report) == []
    again, report = read_labelme(tmp_path)
    assert report.ok
    assert masks_of(again) == masks_of(dataset)
    shapes = json.loads((tmp_path / "a.json").read_text())["shapes"]
    assert [(s["shape_type"], s["group_id"]) for s in shapes] == [
        ("polygon", None),
        ("mask", None),
        ("polygon", 3),
        ("polygon", 3),
    ]
    assert shapes[1]["points"] == [[3, 2], [5, 4]]  # labelme's far corner is inclusive
    write_labelme(a_dataset(PLAIN, crowd=True), tmp_path)
    assert read_labelme(tmp_path)[0].annotations[0].iscrowd


def a_shape(**changes):
    return {"label": "cat", "points": [[1, 1], [5, 1], [5, 4]], "shape_type": "polygon", "group_id": None} | changes


def a_labelme(*shapes, **changes):
    return {"imagePath": "a.png", "imageWidth": 8, "imageHeight": 6, "shapes": list(shapes)} | changes


def test_other_labelme_shapes(tmp_path):
    shapes = [
        a_shape(shape_type="rectangle", points=[[5, 4], [1, 1]]),
        a_shape(shape_type="circle", points=[[4, 3], [6, 3]]),
        a_shape(shape_type=None),
    ]
    (tmp_path / "a.json").write_bytes(orjson.dumps(a_labelme(*shapes)))
    dataset, report = read_labelme(tmp_path)
    assert report.ok
    rectangle, circle, polygon = (m for _, m in masks_of(dataset))
    assert rectangle == Mask.from_box((1, 1, 4, 3), 6, 8)
    assert circle.area == 12
    assert polygon == Mask.from_polygons([[1, 1, 5, 1, 5, 4]], 6, 8)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (3, "label"),
        (a_shape(label=" "), "label"),
        (a_shape(points="x"), "pairs"),
        (a_shape(points=[1, 2, 3]), "pairs"),
        (a_shape(points=[[1, 2], [3, None]]), "pairs"),
        (a_shape(points=[[1, 2], [3, 4]]), "three points"),
        (a_shape(shape_type="line"), "has no area"),
        (a_shape(shape_type="rectangle"), "has two"),
        (a_shape(shape_type="mask", points=[[0, 0], [1, 1]], mask=None), "embedded PNG"),
        (a_shape(shape_type="mask", points=[[0, 0], [1, 1]], mask="????"), "embedded PNG"),
    ],
)
def test_bad_labelme_shapes_are_named(tmp_path, shape, message):
    (tmp_path / "a.json").write_bytes(orjson.dumps(a_labelme(a_shape(), shape)))
    dataset, report = read_labelme(tmp_path, strict=False)
    (problem,) = report.errors
    assert problem.where == "a.json shapes[1]"
    assert message in problem.message
    assert report.rejected == (("shapes", shape),)
    assert len(dataset.annotations) == 1
    with pytest.raises(FormatError, match="shapes"):
        read_labelme(tmp_path)


@pytest.mark.parametrize(
    "data",
    [b"{", b"[]", b"\xff", orjson.dumps(a_labelme(imageWidth="8")), orjson.dumps(a_labelme(imagePath=""))],
)
def test_bad_labelme_files_are_named(tmp_path, data):
    (tmp_path / "a.json").write_bytes(data)
    dataset, report = read_labelme(tmp_path, strict=False)
    assert [p.where for p in report.errors] == ["a.json"]
    assert dataset.images == ()


def test_labelme_masks_larger_than_the_picture_and_shapes_outside(tmp_path):
    wide = labelme_document(
        ImageRecord(1, "a.png", 80, 60), [AnnotationRecord(1, 1, 1, DONUT.resized(60, 80))], {1: "cat"}
    )
    outside = a_shape(points=[[20, 20], [25, 20], [25, 24]])
    document = a_labelme(wide["shapes"][0], outside, imagePath="..\\pics\\a.png")
    (tmp_path / "a.json").write_bytes(orjson.dumps(document))
    dataset, report = read_labelme(tmp_path, strict=False)
    assert [(p.field, p.severity) for p in report.problems] == [
        ("imagePath", "warning"),
        ("", "error"),
        ("points", "warning"),
    ]
    assert dataset.images[0].file_name == "a.png"


# ---- mask pictures


def test_mask_pictures_come_back_with_ids(tmp_path):
    dataset = a_dataset(PARTS, DONUT)
    write_mask_png(dataset, tmp_path)
    again, report = read_mask_png(tmp_path)
    assert report.ok
    assert [(a.id, a.category_id, a.segmentation) for a in again.annotations] == [(1, 1, PARTS), (2, 2, DONUT)]
    assert (again.categories, again.images) == (dataset.categories, dataset.images)
    with Image.open(tmp_path / "sub/b é.png") as picture:
        assert picture.mode == "I;16"


def test_small_objects_lie_on_large_ones_and_what_is_hidden_is_told():
    image = ImageRecord(1, "a.png", *SIZE)
    top = drawn("........ .####... ........ ........ ........ ........")
    rest = drawn("........ ........ .####... ........ ........ ........")
    records = [AnnotationRecord(n, 1, 1, m) for n, m in enumerate((top, PLAIN, rest), start=1)]
    findings = Findings("f")
    canvas, shown = instance_map(image, records, findings)
    assert [a.id for a in shown] == [2, 1, 3]
    assert set(np.unique(canvas)) == {0, 2, 3}
    assert [(p.where, p.severity) for p in findings.problems][-1] == ("annotation 2", "warning")
    boxed = Findings("f")
    instance_map(image, [AnnotationRecord(1, 1, 1, None, (0, 0, 2, 2))], boxed)
    assert "filled box" in boxed.problems[0].message


def test_plain_mask_pictures_are_classes_by_value(tmp_path):
    values = np.zeros((6, 8), np.uint8)
    values[1:3, 1:4] = 7
    Image.fromarray(values).save(tmp_path / "a.png")
    Image.new("RGB", SIZE).save(tmp_path / "colour.png")
    (tmp_path / "broken.png").write_bytes(b"")
    dataset, report = read_mask_png(tmp_path, strict=False)
    assert masks_of(dataset) == [("class 7", Mask.of(values))]
    assert [p.where for p in report.errors] == ["broken.png", "colour.png"]
    with pytest.raises(FormatError, match=r"broken\.png"):
        read_mask_png(tmp_path)


def test_bad_tables_of_mask_pictures(tmp_path):
    write_mask_png(a_dataset(PLAIN, DONUT), tmp_path)
    table = json.loads((tmp_path / "masks.json").read_text())
    table["masks"]["a.png"]["objects"][0]["category_id"] = 9
    table["masks"]["a.png"]["objects"][1]["value"] = 77
    table["masks"]["none.png"] = table["masks"]["a.png"]
    (tmp_path / "masks.json").write_text(json.dumps(table))
    dataset, report = read_mask_png(tmp_path, strict=False)
    assert [(p.where, p.severity) for p in report.problems] == [
        ("a.png", "error"),
        ("a.png", "warning"),
        ("none.png", "error"),
    ]
    assert dataset.annotations == ()
    for text in ("{", "[]", '{"categories": [{}]}', '{"categories": [], "masks": []}'):
        (tmp_path / "masks.json").write_text(text)
        with pytest.raises(FormatError, match=r"masks\.json: damaged"):
            read_mask_png(tmp_path)


@pytest.mark.parametrize("write", [write_yolo, write_voc, write_labelme, write_mask_png])
def test_two_pictures_with_one_label_file_are_told(tmp_path, write):
    images = (ImageRecord(1, "a.png", *SIZE), ImageRecord(2, "a.jpg", *SIZE))
    dataset = CocoDataset(images, (AnnotationRecord(1, 1, 1, PLAIN),), (CategoryRecord(1, "cat"),))
    (problem,) = write(dataset, tmp_path).errors
    assert problem.where == "a.jpg"


# ---- the door


@steady
@given(
    st.lists(hnp.arrays(np.bool_, (6, 8)).filter(np.any), min_size=1, max_size=3),
    st.sampled_from(["labelme", "coco", "lvis", "project"]),
)
def test_formats_that_hold_everything_give_every_mask_back(tmp_path_factory, arrays, name):
    folder = tmp_path_factory.mktemp("any")
    masks = list({m.counts: m for m in map(Mask.of, arrays)}.values())
    target = folder / {"labelme": "out", "project": "p.ovsam"}.get(name, "out.json")
    dataset = a_dataset(*masks, folder=folder)
    write_any(dataset, target, name, polygons=True)
    again, report = read_any(target, format_name=name)
    assert not report.errors
    assert masks_of(again) == masks_of(dataset)


ENDINGS = {
    "coco": "c.json",
    "lvis": "l.json",
    "yolo": "y",
    "voc": "v",
    "labelme": "lm",
    "mask_png": "m",
    "project": "p.ovsam",
}


@pytest.mark.parametrize("name", ENDINGS)
def test_every_format_is_recognised_converted_and_validated(tmp_path, name):
    with_pictures(tmp_path)
    write_coco(a_dataset(PLAIN, PARTS), tmp_path / "a.json")
    shares = []
    target = tmp_path / "out" / ENDINGS[name]
    report = convert(tmp_path / "a.json", target, to=name, progress=shares.append)
    assert shares[-1] == 1.0
    assert not report.errors
    assert detect_format(target) == name
    back, _ = read_any(target, images=tmp_path)
    found = sorted(((n, m.area) for n, m in masks_of(back)), key=str)
    parts = [(n, part.area) for n, m in masks_of(a_dataset(PLAIN, PARTS)) for part in m.split()]
    whole = [(n, m.area) for n, m in masks_of(a_dataset(PLAIN, PARTS))]
    assert found == sorted(parts if name == "yolo" else whole, key=str)
    checked = validate_path(target, images=tmp_path)
    assert not checked.errors


def test_converting_keeps_what_it_leaves_out(tmp_path):
    with_pictures(tmp_path)
    dataset = a_dataset(PLAIN, folder=tmp_path)
    write_coco(dataset, tmp_path / "a.json")
    document = json.loads((tmp_path / "a.json").read_text())
    document["annotations"].append({"id": 9, "image_id": 99, "note": "lost?"})
    (tmp_path / "a.json").write_text(json.dumps(document))
    report = convert(tmp_path / "a.json", tmp_path / "b.json", to="coco")
    assert len(report.errors) == 1
    kept = json.loads((tmp_path / "b.rejected.json").read_text())
    assert kept == [{"section": "annotations", "item": {"id": 9, "image_id": 99, "note": "lost?"}}]
    with pytest.raises(FormatError, match="image_id"):
        convert(tmp_path / "a.json", tmp_path / "c.json", to="coco", strict=True)
    with pytest.raises(FormatError, match="the same"):
        convert(tmp_path / "a.json", tmp_path / "a.json", to="lvis")


def test_polygons_are_written_where_they_hold_the_mask(tmp_path):
    dataset = a_dataset(PLAIN, DONUT, boxes=[(0, 0, 2, 2)])
    report = write_any(dataset, tmp_path / "a.json", "coco", polygons=True)
    again, _ = read_any(tmp_path / "a.json")
    assert [type(a.segmentation).__name__ for a in again.annotations] == ["tuple", "Mask", "NoneType"]
    assert notes(report) == [("annotation 2", "segmentation")]
    write_any(again, tmp_path / "b.json", "coco")
    assert [a.segmentation for a in read_any(tmp_path / "b.json")[0].annotations] == [PLAIN, DONUT, None]


def test_what_is_no_format_is_told(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    for name, message in (("none", "no such file"), ("a.txt", "none of the formats"), ("empty", "none of the formats")):
        with pytest.raises(FormatError, match=message):
            detect_format(tmp_path / name)
    (tmp_path / "one.json").write_bytes(orjson.dumps(a_labelme(a_shape())))
    assert detect_format(tmp_path / "one.json") == "labelme"
    assert len(read_any(tmp_path / "one.json")[0].annotations) == 1


def test_validation_names_missing_pictures_of_every_format(tmp_path):
    write_coco(a_dataset(PLAIN), tmp_path / "a.json")
    write_labelme(a_dataset(PLAIN), tmp_path / "lm")
    for target in (tmp_path / "a.json", tmp_path / "lm"):
        report = validate_path(target)
        assert [p.severity for p in report.problems] == ["warning", "warning"]
        assert all("no such picture" in p.message for p in report.problems)


def test_validation_of_a_project(tmp_path, monkeypatch):
    with_pictures(tmp_path)
    write_any(a_dataset(PLAIN, folder=tmp_path), tmp_path / "p.ovsam", "project")
    assert validate_path(tmp_path / "p.ovsam").ok
    with Project.open(tmp_path / "p.ovsam") as project:
        row = project.objects(1)[0]
        import dataclasses

        project.apply(Change("Wrong size", put=(dataclasses.replace(row, mask=PLAIN.resized(9, 9)),)))
        project._connection.execute("PRAGMA foreign_keys=OFF")
        project._connection.execute("UPDATE object SET class='lost'")
    (tmp_path / "a.png").unlink()
    report = validate_path(tmp_path / "p.ovsam")
    assert report.counts == {"pictures": 2, "objects": 1, "classes": 2}
    texts = report.text()
    for words in ("refers to a class that is missing", "no such picture", "of 9 x 9 pixels, its picture of 8 x 6"):
        assert words in texts
    with pytest.raises(StoreError, match="exists already"):
        write_any(a_dataset(PLAIN, folder=tmp_path), tmp_path / "p.ovsam", "project")


def test_documents_that_are_no_files_parse_alike():
    dataset, _ = parse_coco({"images": [], "categories": [], "annotations": []}, Findings("memory"), folder=Path())
    assert dataset.folder == Path()
