"""Projects and COCO files: what an import keeps, what an export leaves out, and splits that tear no group apart."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import orjson
import pytest
from PIL import Image

from ovsam_core.errors import CancelledError, FormatError
from ovsam_core.exchange import (
    ExportOptions,
    ImportOptions,
    export_any,
    export_coco,
    import_any,
    import_coco,
    project_to_coco,
    read_any,
)
from ovsam_core.formats.coco import read_coco
from ovsam_core.masks import Mask
from ovsam_core.results import Label
from ovsam_core.splits import (
    SplitRule,
    fingerprint,
    group_names,
    join_groups,
    near_duplicates,
    split_dataset,
    split_groups,
    split_pictures,
)
from ovsam_core.store import Change, ObjectRow, Project, add_class, new_uid, rename_class

SQUARE = [2.0, 2.0, 6.0, 2.0, 6.0, 5.0, 2.0, 5.0]
DONUT = Mask.of(
    np.array(
        [[c == "#" for c in line] for line in ("." * 10, ".###......", ".#.#......", ".###......", *["." * 10] * 4)]
    )
)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    from ovsam_core.store import schema

    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(schema, "SYNCHRONOUS", "OFF")


@pytest.fixture
def project(tmp_path):
    with Project.create(tmp_path / "p.ovsam") as opened:
        yield opened


def a_document():
    return {
        "info": {"year": 2026},
        "images": [
            {"id": 70, "file_name": "a.png", "width": 10, "height": 8, "license": 4},
            {"id": 30, "file_name": "sub/b.png", "width": 10, "height": 8},
            {"id": 31, "file_name": "c.png", "width": 10, "height": 8},
        ],
        "annotations": [
            {
                "id": 120,
                "image_id": 70,
                "category_id": 18,
                "iscrowd": 0,
                "area": 11.7,
                "bbox": [2.1, 2, 4, 3],
                "segmentation": [SQUARE],
                "track": 5,
            },
            {
                "id": 110,
                "image_id": 30,
                "category_id": 18,
                "iscrowd": 1,
                "area": 8,
                "bbox": [1, 1, 3, 3],
                "segmentation": {"size": [8, 10], "counts": DONUT.runs().tolist()},
            },
            {
                "id": 111,
                "image_id": 30,
                "category_id": 5,
                "iscrowd": 0,
                "area": 6,
                "bbox": [0, 0, 3, 2],
                "attributes": {"torn": True},
            },
        ],
        "categories": [{"id": 5, "name": "rust spot", "supercategory": "damage"}, {"id": 18, "name": "dog"}],
    }


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "data" / "labels.json"
    path.parent.mkdir()
    path.write_bytes(orjson.dumps(a_document()))
    for number, name in enumerate(("a.png", "sub/b.png", "c.png")):
        (path.parent / name).parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (8, 10, 3)).astype(np.uint8)
        Image.fromarray(noise).save(path.parent / name)
    return path


def written(path):
    return json.loads(path.read_text())


def by_id(document, section="annotations"):
    return {item["id"]: item for item in document[section]}


# ---- import


def test_an_import_keeps_ids_crowds_and_unknown_keys(project, file):
    report = import_coco(project, file)
    assert report.ok
    assert report.counts == {"pictures": 3, "objects": 3, "classes": 2, "already there": 0}
    assert [(row.path, row.export_id, row.state) for row in project.pictures()] == [
        ("data/sub/b.png", 30, "done"),
        ("data/c.png", 31, "unseen"),
        ("data/a.png", 70, "done"),
    ]
    objects = {row.export_id: row for row in project.iter_objects()}
    assert sorted(objects) == [110, 111, 120]
    assert (objects[110].crowd, objects[110].mask, objects[110].source) == (True, DONUT, "imported")
    assert objects[111].attributes == {"torn": True}
    assert objects[120].extra["coco"] == {"track": 5}
    classes = {row.name: row for row in project.classes()}
    assert (classes["dog"].export_id, classes["dog"].entry_id) == (18, "dog.n.01")  # COCO's own dog
    assert (classes["rust spot"].entry_id, classes["rust spot"].extra) == ("own:rust-spot", {"supercategory": "damage"})


def test_untouched_objects_are_exported_as_they_came(project, file, tmp_path):
    import_coco(project, file)
    options = ExportOptions(include="all", segmentation="polygons", provenance=False)
    report = export_coco(project, tmp_path / "out.json", options=options)
    before, after = a_document(), written(tmp_path / "out.json")
    assert after["info"] == before["info"]
    assert by_id(after, "categories") == by_id(before, "categories")
    assert by_id(after, "images") == by_id(before, "images")
    for number, item in by_id(after).items():
        expected = by_id(before)[number]
        if number == 110:  # holes: run lengths, in the compressed form
            expected = expected | {"segmentation": DONUT.rle}
        assert item == expected
    assert [(p.where, p.severity) for p in report.problems] == [("annotation 110", "note")]


def test_an_edited_mask_gives_up_the_box_area_and_polygons_it_came_with(project, file, tmp_path):
    import_coco(project, file)
    row = next(o for o in project.iter_objects() if o.export_id == 120)
    project.apply(Change("Edit", put=(replace(row, mask=DONUT),), picture=row.picture))
    export_coco(project, tmp_path / "out.json", options=ExportOptions(include="all"))
    item = by_id(written(tmp_path / "out.json"))[120]
    assert (item["area"], item["bbox"], item["segmentation"], item["track"]) == (8, [1, 1, 3, 3], DONUT.rle, 5)


def test_importing_twice_changes_nothing(project, file):
    import_coco(project, file)
    before = project.pictures(), list(project.iter_objects()), project.classes(), project.history()
    report = import_coco(project, file)
    assert report.counts == {"pictures": 0, "objects": 0, "classes": 0, "already there": 3}
    assert (project.pictures(), list(project.iter_objects()), project.classes(), project.history()) == before


def test_an_import_is_one_step(project, file):
    import_coco(project, file)
    assert project.undo().step.label == "Import 3 objects from labels.json"
    assert project.pictures() == []
    assert project.classes() == []
    project.redo()
    assert len(list(project.iter_objects())) == 3


def test_taken_ids_are_replaced_and_noted(project, file):
    project.add_pictures([f"{n}.png" for n in range(70)])
    kind = add_class(project, "own:x", "x")
    project.apply(Change("Number", put=(replace(kind, export_id=18),)))
    project.apply(Change("Accept", put=(ObjectRow(new_uid(), 1, DONUT, kind.uid, export_id=120),), picture=1))
    report = import_coco(project, file)
    assert {(p.where, p.field) for p in report.problems} == {
        ("category 18", "id"),
        ("images id 30", "id"),
        ("images id 31", "id"),
        ("images id 70", "id"),
        ("annotation 120", "id"),
    }
    assert report.ok
    ids = [row.export_id for row in project.iter_objects()]
    assert len(ids) == len(set(ids)) == 4
    assert min(ids) == 110


def test_an_import_meets_classes_and_pictures_the_project_has(project, file):
    dog = add_class(project, "dog.n.01", "Dog")
    (row,) = project.add_pictures([file.parent / "a.png"])
    project.note_facts([replace(row, w=10, h=9)])
    report = import_coco(project, file)
    (problem,) = report.errors
    assert problem.message.startswith("the file says 10 x 8, the project's picture is 10 x 9")
    assert {o.class_uid for o in project.iter_objects() if o.export_id == 110} == {dog.uid}
    assert [c.name for c in project.classes()] == ["Dog", "rust spot"]
    assert project.objects(row.id) == []


def test_bad_items_of_an_import_are_reported_and_the_rest_comes_in(project, file):
    document = a_document()
    document["annotations"].append({"id": 1, "image_id": 70, "category_id": 99})
    file.write_bytes(orjson.dumps(document))
    report = import_coco(project, file)
    assert [p.field for p in report.errors] == ["category_id"]
    assert len(report.rejected) == 1
    assert len(list(project.iter_objects())) == 3


def test_states_can_be_chosen_and_pictures_lie_elsewhere(project, file, tmp_path):
    options = ImportOptions(picture_state="needs_work", object_state="approved")
    import_coco(project, file, images=tmp_path / "elsewhere", options=options)
    assert {row.state for row in project.pictures()} == {"needs_work", "unseen"}
    assert {row.state for row in project.iter_objects()} == {"approved"}
    assert project.pictures()[0].path == "elsewhere/sub/b.png"


def test_import_and_export_can_be_stopped(project, file, tmp_path):
    with pytest.raises(CancelledError, match="unchanged"):
        import_coco(project, file, cancelled=lambda: True)
    assert project.pictures() == []
    shares = []
    import_coco(project, file, progress=shares.append)
    assert shares == pytest.approx([1 / 3, 2 / 3, 1])
    with pytest.raises(CancelledError, match="nothing was written"):
        export_coco(project, tmp_path / "out.json", cancelled=lambda: True)
    answers = iter([False, False, False, True])
    options = ExportOptions(include="all", split=SplitRule())
    with pytest.raises(CancelledError):
        export_coco(project, tmp_path / "out.json", options=options, cancelled=lambda: next(answers))
    assert not list(tmp_path.glob("out*"))


def test_lvis_classes_are_recognised(project, file):
    document = a_document()
    document["categories"] = [{"id": 1, "name": "aerosol can", "synset": "aerosol.n.02"}, {"id": 18, "name": "hound"}]
    document["annotations"] = []
    file.write_bytes(orjson.dumps(document))
    import_coco(project, file)
    assert [c.entry_id for c in project.classes()] == ["aerosol.n.02", "own:hound"]


# ---- export


def reviewed(project):
    """Four pictures: approved, done, in work with one approved object, excluded."""
    project.add_pictures([project.folder / f"{n}.png" for n in range(4)])
    rows = [replace(row, w=10, h=8) for row in project.pictures()]
    project.note_facts(rows)
    cat = add_class(project, "cat.n.01", "cat")
    for number in range(1, 5):
        things = [
            ObjectRow(new_uid(), number, DONUT, cat.uid, created=1.0),
            ObjectRow(
                new_uid(), number, Mask.from_box((number, 0, 2, 2), 8, 10), cat.uid, state="approved", created=2.0
            ),
            ObjectRow(new_uid(), number, DONUT, cat.uid, state="needs_work", created=3.0),
            ObjectRow(new_uid(), number, DONUT, None, created=4.0),
        ]
        project.apply(Change("Label", put=tuple(things), picture=number))
    for number, state in enumerate(("approved", "done", "in_work", "excluded"), start=1):
        project.set_picture_state([number], state)
    return cat


def left_out(report):
    return {p.message for p in report.problems if p.field == "left out"}


@pytest.mark.parametrize(
    ("include", "images", "objects"),
    [("reviewed", 3, 4), ("approved", 3, 4), ("done", 3, 5), ("all", 3, 9)],
)
def test_what_is_exported(project, tmp_path, include, images, objects):
    reviewed(project)
    report = export_coco(project, tmp_path / "out.json", options=ExportOptions(include=include))
    assert (report.counts["images"], report.counts["annotations"]) == (images, objects)
    assert "1 excluded pictures" in left_out(report)
    if include == "approved":
        assert left_out(report) == {
            "1 excluded pictures",
            "4 objects that are not approved",
            "1 objects without a name",
            "3 objects that need work",
        }


def test_without_anything_approved_done_is_exported(project, tmp_path):
    project.add_pictures(["0.png", "1.png"])
    cat = add_class(project, "cat.n.01", "cat")
    for number in (1, 2):
        project.apply(Change("Label", put=(ObjectRow(new_uid(), number, DONUT, cat.uid),), picture=number))
    project.set_picture_state([1], "done")
    report = export_coco(project, tmp_path / "out.json")
    assert (report.counts["images"], report.counts["annotations"]) == (1, 1)
    assert left_out(report) == {"1 objects that are not approved or done", "1 pictures that are not approved or done"}


def test_a_fresh_file_counts_from_one_and_equal_projects_give_equal_bytes(project, tmp_path):
    reviewed(project)
    export_coco(project, tmp_path / "1.json", options=ExportOptions(include="all", unnamed=True))
    export_coco(project, tmp_path / "2.json", options=ExportOptions(include="all", unnamed=True))
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()
    document = written(tmp_path / "1.json")
    assert sorted(by_id(document)) == list(range(1, 13))
    assert sorted(by_id(document, "images")) == [1, 2, 3]
    assert by_id(document, "categories")[2]["name"] == "unnamed"
    assert {(a["iscrowd"], a["area"]) for a in document["annotations"]} == {(0, 8), (0, 4)}


def test_provenance_comes_back(project, tmp_path):
    project.add_pictures(["a.png"])
    project.note_facts([replace(project.picture(1), w=10, h=8, key="k")])
    cat = add_class(project, "cat.n.01", "cat")
    row = ObjectRow(
        new_uid(),
        1,
        DONUT,
        cat.uid,
        source="prompt",
        state="approved",
        score=0.5,
        prompts=({"point": [1.5, 1.5], "label": 1},),
        model_id="starter",
        head_hash="abc",
        suggestions=(Label("cat.n.01", "cat", 0.5, "head"),),
        rank=0,
        created=5.0,
        seconds=2.5,
        locked=True,
    )
    project.apply(Change("Accept", put=(row,), picture=1))
    export_coco(project, tmp_path / "out.json")
    item = written(tmp_path / "out.json")["annotations"][0]
    assert item["ovsam"]["uid"] == row.uid
    assert "hidden" not in item["ovsam"]
    with Project.create(tmp_path / "again" / "q.ovsam") as second:
        import_coco(second, tmp_path / "out.json")
        (back,) = second.iter_objects()
        same = (
            "mask",
            "source",
            "state",
            "score",
            "prompts",
            "model_id",
            "head_hash",
            "suggestions",
            "rank",
            "created",
            "seconds",
            "locked",
        )
        assert {name: getattr(back, name) for name in same} == {name: getattr(row, name) for name in same}
        assert second.classes()[0].entry_id == "cat.n.01"
        assert second.classes()[0].colour == cat.colour
    export_coco(project, tmp_path / "bare.json", options=ExportOptions(provenance=False))
    assert b"ovsam" not in (tmp_path / "bare.json").read_bytes()


def test_foreign_private_keys_do_no_harm(project, file):
    document = a_document()
    odd = {
        "source": "magic",
        "state": 7,
        "score": "high",
        "prompts": {},
        "suggestions": [[1]],
        "rank": "x",
        "created": None,
    }
    document["annotations"][0]["ovsam"] = odd
    document["annotations"][1]["ovsam"] = "text"
    document["images"][0]["ovsam"] = {"state": "great", "group": 3}
    document["categories"][0]["ovsam"] = {"entry_id": "", "colour": 5}
    file.write_bytes(orjson.dumps(document))
    assert import_coco(project, file).ok
    assert {row.source for row in project.iter_objects()} == {"imported"}


def test_file_names_are_relative_to_the_common_folder_or_the_one_given(project, tmp_path):
    project.add_pictures([tmp_path / "x/1/a.png", tmp_path / "x/2/b.png"])
    project.note_facts(replace(row, w=4, h=4) for row in project.pictures())
    dataset, report = project_to_coco(project, options=ExportOptions(include="all"))
    assert [i.file_name for i in dataset.images] == ["1/a.png", "2/b.png"]
    assert str(tmp_path / "x") in report.problems[0].message
    dataset, _ = project_to_coco(project, options=ExportOptions(include="all", images_root=tmp_path))
    assert dataset.images[0].file_name == "x/1/a.png"
    with pytest.raises(FormatError, match="does not lie in"):
        project_to_coco(project, options=ExportOptions(include="all", images_root=tmp_path / "x/1"))


def test_pictures_nobody_opened_yet(project, tmp_path):
    Image.new("RGB", (6, 5)).save(tmp_path / "there.png")
    project.add_pictures(["there.png", "gone.png", "labelled.png"])
    cat = add_class(project, "cat.n.01", "cat")
    things = (ObjectRow(new_uid(), 3, DONUT, cat.uid), ObjectRow(new_uid(), 3, Mask.empty(8, 10), cat.uid))
    project.apply(
        Change("Label", put=(*things, ObjectRow(new_uid(), 3, DONUT.resized(4, 5), cat.uid, created=9e9)), picture=3)
    )
    dataset, report = project_to_coco(project, options=ExportOptions(include="all"))
    assert [(i.width, i.height) for i in dataset.images] == [(6, 5), (10, 8)]
    assert [p.where for p in report.errors] == ["picture 2", "annotation 3"]
    assert left_out(report) == {"1 objects with an empty mask"}


def test_an_export_of_nothing_is_an_empty_file(project, tmp_path):
    export_coco(project, tmp_path / "out.json")
    dataset, _ = read_coco(tmp_path / "out.json")
    assert (dataset.images, dataset.annotations) == ((), ())


def test_renamed_classes_keep_their_number(project, file, tmp_path):
    import_coco(project, file)
    rename_class(project, project.class_with(name="dog").uid, "hound")
    export_coco(project, tmp_path / "out.json", options=ExportOptions(include="all"))
    assert by_id(written(tmp_path / "out.json"), "categories")[18]["name"] == "hound"


def test_a_split_export_is_two_files_that_share_no_group(project, file, tmp_path):
    for n in range(8):
        folder = file.parent / f"scene{n // 2}"
        folder.mkdir(exist_ok=True)
        noise = np.random.default_rng(50 + n).integers(0, 256, (40, 40, 3)).astype(np.uint8)
        Image.fromarray(noise).save(folder / f"{n}.png")
        project.add_pictures([folder / f"{n}.png"])
    project.set_picture_state(range(1, 9), "done")
    shares = []
    options = ExportOptions(split=SplitRule(fraction=0.25))
    report = export_coco(project, tmp_path / "out.json", options=options, progress=shares.append)
    sides = [written(tmp_path / f"out_{name}.json") for name in ("train", "val")]
    folders = [{i["file_name"].split("/")[0] for i in side["images"]} for side in sides]
    assert not folders[0] & folders[1]
    assert [len(side["images"]) for side in sides] == [6, 2]
    assert (report.counts["train images"], report.counts["val images"]) == (6, 2)
    assert shares == sorted(shares)
    assert not (tmp_path / "out.json").exists()


def test_a_split_says_what_it_could_not_do(project, tmp_path):
    project.add_pictures(["0.png", "1.png", "2.png"])
    project.note_facts(replace(row, w=4, h=4) for row in project.pictures())
    project.set_picture_state([1, 2, 3], "done")
    report = export_coco(project, tmp_path / "out.json", options=ExportOptions(split=SplitRule()))
    texts = report.text()
    assert "all pictures are one group" in texts
    assert "3 pictures could not be read" in texts


# ---- splits


def test_groups_by_folder_field_and_pattern():
    files = ["a/1.png", "a/2.png", "b/cam7_1.png", "b/cam7_2.png", "c.png"]
    assert group_names(files, "folder") == ["a", "a", "b", "b", "."]
    assert group_names(files, "none") == files
    assert group_names(files, "pattern:cam(\\d+)")[2:4] == ["pattern 7"] * 2
    assert group_names(files, "pattern:^[ab]/")[0] == "pattern a/"
    assert group_names(files, "field:patient", [1, 1, None, 2, 2]) == [
        "field 1",
        "field 1",
        files[2],
        "field 2",
        "field 2",
    ]
    for rule in ("file", "field:", "pattern:(", "pattern:"):
        with pytest.raises(FormatError, match="group"):
            group_names(files, rule, [0] * 5)


def test_pairs_join_groups():
    assert join_groups(["a", "a", "b", "c", "d"], [(1, 3), (3, 4)]) == [0, 0, 2, 0, 0]


def test_a_split_is_near_the_fraction_and_independent_of_order():
    names = [f"{n:03}.png" for n in range(100)]
    side = split_groups(range(100), names, 0.2, seed=3)
    assert sum(side) == 20
    held = {name for name, val in zip(names, side, strict=True) if val}
    back = split_groups(range(100), names[::-1], 0.2, seed=3)
    assert {name for name, val in zip(names[::-1], back, strict=True) if val} == held
    assert split_groups(range(100), names, 0.2, seed=4) != side
    assert sum(split_groups([0, 0, 0, 0, 1, 1], list("abcdef"), 0.01)) == 2
    assert split_groups([0], ["a"], 0.5) == [False]
    for fraction in (0, 1, -3):
        with pytest.raises(FormatError, match="fraction"):
            split_groups([0], ["a"], fraction)


def photograph(seed, size=160):
    """Something smooth with structure, as photographs have."""
    rough = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(rough).resize((size, size), Image.Resampling.BICUBIC)


def test_near_duplicates_are_found_and_flat_or_other_pictures_are_not(tmp_path):
    photograph(1).save(tmp_path / "a.png")
    photograph(1).resize((90, 90)).save(tmp_path / "a.jpg", quality=40)
    photograph(2).save(tmp_path / "b.png")
    for name, grey in (("black.png", 3), ("white.png", 250)):
        Image.new("RGB", (50, 50), (grey,) * 3).save(tmp_path / name)
    (tmp_path / "broken.png").write_bytes(b"")
    files = [tmp_path / name for name in ("a.png", "a.jpg", "b.png", "black.png", "white.png", "broken.png")]
    prints = [fingerprint(file) for file in files]
    assert [p is None for p in prints] == [False, False, False, True, True, True]
    assert near_duplicates(prints) == [(0, 1)]
    assert near_duplicates(prints[:1]) == []
    shares = []
    split = split_pictures([f.name for f in files], files, SplitRule(0.4), progress=shares.append)
    assert (split.joined, split.unread, split.by_picture) == (1, (5,), True)
    assert {0, 1} <= set(split.train) or {0, 1} <= set(split.val)
    assert sorted(split.train + split.val) == list(range(6))
    assert shares[-1] == 1.0


def test_a_dataset_splits_by_a_field_of_its_images(file):
    document = a_document()
    for image, patient in zip(document["images"], (1, 1, 2), strict=True):
        image["patient"] = patient
    file.write_bytes(orjson.dumps(document))
    dataset, _ = read_coco(file)
    train, val, split = split_dataset(dataset, SplitRule(0.3, group="field:patient", near_duplicates=False))
    assert sorted(i.id for i in val.images) == [31]
    assert sorted(i.id for i in train.images) == [30, 70]
    assert split.groups == 2
    assert train.categories == val.categories == dataset.categories


@pytest.mark.parametrize("kind", ["lvis", "yolo", "voc", "labelme", "mask_png"])
def test_every_format_goes_out_and_comes_back(project, file, tmp_path, kind):
    for name, size in (("a.png", (10, 8)), ("sub/b.png", (10, 8)), ("c.png", (10, 8))):
        picture = file.parent / name
        picture.parent.mkdir(exist_ok=True)
        Image.new("RGB", size).save(picture)
    import_coco(project, file)
    target = tmp_path / ("out.json" if kind == "lvis" else "out")
    report = export_any(project, target, kind, options=ExportOptions(include="all"))
    assert report.counts
    back, _ = read_any(target, images=file.parent if kind == "yolo" else None, strict=False)
    truth, _ = project_to_coco(project, options=ExportOptions(include="all"))
    names = {category.id: category.name for category in truth.categories}
    shown = {names[a.category_id] for a in truth.annotations if not a.iscrowd}
    assert shown <= {category.name for category in back.categories}
    assert back.annotations
    with Project.create(file.parent / "again.ovsam") as other:
        import_any(other, target)
        assert other.pictures()


def test_a_split_of_a_folder_format_is_two_folders(project, file, tmp_path):
    for name in ("a.png", "sub/b.png", "c.png"):
        picture = file.parent / name
        picture.parent.mkdir(exist_ok=True)
        Image.new("RGB", (10, 8)).save(picture)
    import_coco(project, file)
    options = ExportOptions(include="all", split=SplitRule(0.5, near_duplicates=False))
    export_any(project, tmp_path / "out", "voc", options=options)
    assert (tmp_path / "out" / "train").is_dir()
    assert (tmp_path / "out" / "val").is_dir()
