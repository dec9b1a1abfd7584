"""`train_starter --stage all` and `starter_open` from end to end, at toy size, as their commands run them."""

from __future__ import annotations

import json
import zlib

import cv2
import numpy as np
import pytest
import torch

from ovsam_core.assets import asset_path
from ovsam_core.masks import Mask
from ovsam_core.pictures import load_picture
from ovsam_core.predictor import load_predictor
from ovsam_core.prompts import Prompt
from ovsam_core.vocabulary import Vocabulary
from ovsam_core.vocabulary.table import read_table
from training import checkpoints, mask_eval, starter_open, train_starter
from training.args import command
from training.minilm import MiniLM

HEIGHT, WIDTH, RADIUS = 96, 128, 22
TOY = [
    *("--threads", "1", "--steps", "1,1,1,1", "--batch_size", "2", "--judge.masks.samples", "3", "--judge.steps", "5"),
    *("--joint.steps", "20", "--joint.batch", "16", "--tower.steps", "2", "--tower.batch", "4"),
    *("--phrases", "40", "--layers", "1"),
]


def teacher(texts):
    """A direction of its own for every text, in place of a sentence encoder of 90 MB."""
    rows = [np.random.default_rng(zlib.crc32(text.encode())).normal(size=384) for text in texts]
    return torch.nn.functional.normalize(torch.tensor(np.array(rows), dtype=torch.float32), dim=1)


def pictures(folder, name, count, *, first=0, objects=2):
    """Write `name`.json and its pictures: coloured discs, each of another COCO class."""
    classes = [int(row["coco_id"]) for row in read_table(asset_path("vocabularies", "coco.tsv"))]
    chance = np.random.default_rng(first)
    images, notes = [], []
    for number in range(first, first + count):
        rgb = chance.integers(80, 120, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        for place in range(objects):
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            cv2.circle(mask, (34 + 60 * place, 46), RADIUS, 1, -1)
            label = 0 if objects == 1 else (7 * number + 3 * place) % len(classes)
            rgb[mask > 0] = chance.integers(0, 255, 3, dtype=np.uint8)
            shape = Mask.of(mask.astype(bool))
            note = {"id": len(notes) + 1, "image_id": number, "category_id": classes[label], "iscrowd": 0}
            notes.append({**note, "segmentation": shape.rle, "bbox": list(shape.bbox_xywh), "area": shape.area})
        (folder / "images").mkdir(exist_ok=True)
        cv2.imwrite(str(folder / "images" / f"{number}.png"), rgb)
        images.append({"id": number, "file_name": f"{number}.png", "height": HEIGHT, "width": WIDTH})
    data = {"images": images, "annotations": notes, "categories": [{"id": i, "name": str(i)} for i in classes]}
    (folder / f"{name}.json").write_text(json.dumps(data))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The data folder: four COCO files, one ImageNet picture, and Caltech classes."""
    folder = tmp_path_factory.mktemp("data")
    pictures(folder, "coco_train", 6)
    pictures(folder, "coco_val", 3, first=10)
    pictures(folder, "persons_train", 2, first=20, objects=1)
    pictures(folder, "bsds_train", 2, first=30)
    pictures(folder, "clothing_train", 2, first=40)
    chance = np.random.default_rng(0)
    rows = read_table(asset_path("vocabularies", "imagenet-1k.tsv"))
    files = [folder / "labels" / "imagenet_sample" / f"{rows[i]['wnid']}_thing.jpg" for i in (0, 500)]
    files += [folder / "labels" / "caltech101" / name / f"{i}.jpg" for name in ("ant", "lamp", "rhino") for i in (0, 1)]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), chance.integers(0, 255, (48, 64, 3), dtype=np.uint8))
    return folder


@pytest.fixture(scope="module")
def out(data, tmp_path_factory):
    """The output folder of `--stage all`."""
    folder = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MiniLM, "from_package", classmethod(lambda _: teacher))
        threads = torch.get_num_threads()
        given = ["--data", str(data), "--out", str(folder), *TOY]
        assert command(train_starter.StarterArgs, train_starter.main, argv=given, program="train_starter") == 0
        torch.set_num_threads(threads)
    return folder


def test_every_run_starts_where_the_one_before_ended(out):
    for name in ("masks-192", "masks-256", "masks-clicks", "masks-fresh"):
        assert checkpoints.latest(out / name).name == "step-00000001", name
    last = checkpoints.load(checkpoints.latest(out / "masks-fresh")).ema
    judged = checkpoints.load(checkpoints.latest(out / "masks")).ema
    assert last.keys() == judged.keys()
    head = "path.decoder.iou_prediction_head."
    assert {name for name in last if not torch.equal(last[name], judged[name])} <= {n for n in last if head in n}


def test_the_finished_model_answers_and_names(out, data):
    predictor = load_predictor(out / "model", device="cpu", dtype="float32")
    picture = load_picture(data / "images" / "10.png")
    predictor.set_image(picture)
    box = Prompt.of(box=(12, 24, 57, 69))
    (found,) = predictor.predict_batch([box], vocabulary=Vocabulary.load("coco"), top_k=3, picture=picture)
    assert len(found.labels) == 3
    assert found.mask.area > 0
    assert {path.stem for path in (out / "model" / "embeddings").iterdir()} == {"coco", "lvis", "imagenet-1k"}


def test_quick_figures_of_a_run(out, data, capsys):
    given = ["--run", str(out / "masks"), "--data", str(data / "coco_val.json"), "--limit", "2", "--clicks", "1"]
    assert command(mask_eval.QuickArgs, mask_eval.main, argv=given, program="mask_eval") == 0
    assert "n 2.000 box_whole" in capsys.readouterr().out


def test_open_names_are_measured(out, data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(MiniLM, "from_package", classmethod(lambda _: teacher))
    given = ["--data", str(data), "--names", str(out / "names"), "--out", str(tmp_path / "open.json")]
    given += ["--joint.steps", "20", "--joint.batch", "16"]
    assert command(starter_open.OpenArgs, starter_open.main, argv=given, program="starter_open") == 0
    figures = json.loads((tmp_path / "open.json").read_text())
    assert len(figures["held_coco"]) == 20
    assert "person" not in figures["held_coco"]
    assert figures["coco_val"]["seen"]["n"] + figures["coco_val"]["unseen"]["n"] == 6
    assert figures["caltech"]["unseen"]["n"] == 2 * len(figures["held_caltech"])
    assert "coco_val, chance: top1 0.013" in capsys.readouterr().out
