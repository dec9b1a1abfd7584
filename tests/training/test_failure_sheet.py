"""The sheet of worst answers shows the worst, and only pictures that may be shown."""

import json

import cv2
import numpy as np

from tests.training.builders import coco_file
from tests.training.test_evaluate import Oracle
from training import build_system, failure_sheet
from training.args import command
from training.failure_sheet import SheetArgs, worst_cases
from training.measuring import Measured


def licensed(folder, licences):
    path = coco_file(folder, len(licences))
    data = json.loads(path.read_text())
    for image, licence in zip(data["images"], licences, strict=True):
        image |= {"license": licence, "flickr_photo_id": f"9{image['id']}"}
    path.write_text(json.dumps(data))
    return path


def run(folder, path, monkeypatch):
    monkeypatch.setattr(build_system, "build_system", lambda *_: Oracle())
    given = ["--data", str(path), "--out", str(folder / "sheet.jpg"), "--each", "3", "--tile", "80", "--min_area", "0"]
    return command(SheetArgs, failure_sheet.main, program="sheet", argv=[*given, "--columns", "4"])


def test_only_pictures_under_free_licences_are_shown(tmp_path, monkeypatch, capsys):
    assert run(tmp_path, licensed(tmp_path, (1, 4, 3, 5)), monkeypatch) == 0
    out = capsys.readouterr().out
    assert "flickr.com/photo.gne?id=91, COCO licence 4" in out
    assert "flickr.com/photo.gne?id=93, COCO licence 5" in out
    assert "id=90" not in out
    assert "id=92" not in out
    sheet = cv2.imread(str(tmp_path / "sheet.jpg"))
    assert sheet.shape == (160, 320, 3)  # six cases in rows of four
    assert sheet[100:, 170:].min() > 240  # the last two places stay white


def test_without_a_free_picture_there_is_no_sheet(tmp_path, monkeypatch, capsys):
    assert run(tmp_path, licensed(tmp_path, (1, 3)), monkeypatch) == 1
    assert "no picture with licence 4, 5, 7" in capsys.readouterr().err
    assert not (tmp_path / "sheet.jpg").exists()


def test_the_worst_come_first_and_one_picture_does_not_fill_the_sheet():
    mask = np.ones((2, 2), bool)
    cases = [(0, 0.1), (0, 0.2), (1, 0.5), (2, 0.4), (2, 0.9)]
    objects = [Measured(picture, None, [iou], mask=mask) for picture, iou in cases]
    assert [one.iou for one in worst_cases(objects, 3)] == [0.1, 0.4, 0.5]
    assert [one.iou for one in worst_cases(objects, 5)] == [0.1, 0.4, 0.5, 0.2, 0.9]
