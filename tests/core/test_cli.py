"""Every verb of the command line, in this process, on the random model and files of the test's own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import get_args

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from ovsam_core import cli
from ovsam_core.cli import doctor, main
from ovsam_core.cli.common import FORMATS
from ovsam_core.embedding_cache import EmbeddingCache
from ovsam_core.exchange import Format
from ovsam_core.models import models_folder
from ovsam_core.models.catalogue import PublishedFile
from tests.core.test_checkpoint import files, source  # noqa: F401 - fixtures
from tests.core.test_models_registry import CONTENT, SHA, server  # noqa: F401 - a fixture

SILENT = {"OVSAM_MIRROR": "http://127.0.0.1:9", "no_proxy": "127.0.0.1"}


@pytest.fixture
def picture(tmp_path):
    random = np.random.default_rng(3)
    pixels = random.integers(0, 255, (60, 90, 3), dtype=np.uint8)
    pixels[10:40, 20:60] = (220, 30, 30)
    path = tmp_path / "bild ä.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def names(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("cat\ndog\nred bird\n", encoding="utf-8")
    return path


def run(*argv):
    return main([str(a) for a in argv])


def test_predict_writes_json_overlay_and_text(picture, names, tmp_path, capsys):
    out, drawn = tmp_path / "a.json", tmp_path / "a.png"
    arguments = ("--model", "tiny", "--vocabulary", names, "--json", out, "--overlay", drawn, "--top-k", 2)
    assert run("predict", picture, "--point", "40,25", "--point", "5,5,0", "--box", "20,10,60,40", *arguments) == 0
    document = json.loads(out.read_text())
    assert document.keys() == {"image", "model", "objects", "timing_ms"}
    assert document["image"] == str(picture)
    assert document["model"] == "tiny"
    (found,) = document["objects"]
    assert found.keys() == {"segmentation", "bbox", "area", "predicted_iou", "labels"}
    rle = {**found["segmentation"], "counts": found["segmentation"]["counts"].encode()}
    assert rle["size"] == [60, 90]
    assert coco_mask.area(rle) == found["area"]
    assert coco_mask.toBbox(rle).tolist() == found["bbox"]
    assert len(found["labels"]) == 2
    assert {"load", "encode", "decode", "names"} <= document["timing_ms"].keys()
    printed = capsys.readouterr()
    assert "random weights" in printed.err
    assert all(label["name"] in printed.out for label in found["labels"])
    with Image.open(drawn) as shown:
        assert shown.size == (90, 60)
        assert (np.asarray(shown) != np.asarray(Image.open(picture))).any()


def test_predict_prints_only_json_when_asked(picture, names, capsys):
    assert run("predict", picture, "--point", "40,25", "--model", "tiny", "--vocabulary", names, "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["objects"][0]["labels"][0]["name"] in ("cat", "dog", "red bird")


def test_predict_keeps_the_embedding(picture, names):
    arguments = ("predict", picture, "--point", "40,25", "--model", "tiny", "--vocabulary", names)
    assert run(*arguments, "--no-cache") == 0
    assert EmbeddingCache().usage().files == 0
    assert run(*arguments) == 0
    assert EmbeddingCache().usage().files == 1


def test_without_the_starter_a_random_model_stands_in_and_says_so(picture, names, capsys, monkeypatch):
    monkeypatch.setattr("ovsam_core.assets._PLACES", ())
    assert run("predict", picture, "--point", "40,25", "--vocabulary", names) == 0
    err = capsys.readouterr().err
    assert "starter: no such model" in err
    assert "random weights" in err
    assert run("predict", picture, "--point", "40,25", "--vocabulary", names, "--model", "starter") == 1


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["nonsense"],
        ["predict"],
        ["predict", "x.png"],
        ["predict", "x.png", "--point", "1"],
        ["predict", "x.png", "--point", "1,2,3"],
        ["predict", "x.png", "--point", "a,b"],
        ["predict", "x.png", "--box", "1,2,3"],
        ["predict", "x.png", "--box", "5,5,1,1"],
        ["predict", "x.png", "--point", "1,2", "--top-k", "0"],
        ["everything", "x.png", "--grid", "4", "--box", "1,2,3,4"],
        ["convert", "a", "b", "--to", "word"],
        ["precompute", "x", "--quota", "-1"],
        ["models"],
        ["vocab", "search", "coco"],
    ],
)
def test_wrong_usage_is_status_2(argv, capsys):
    assert main(argv) == 2
    assert "usage: ovsam" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["predict", "nothing.png", "--point", "1,2"], "nothing.png: no such file"),
        (["predict", "PICTURE", "--point", "1,2", "--model", "none-such"], "none-such: no such model"),
        (["predict", "PICTURE", "--point", "1,2", "--vocabulary", "none-such"], "none-such"),
        (["predict", "PICTURE", "--point", "500,2", "--model", "tiny"], "outside the picture"),
        (["predict", "PICTURE", "--point", "1,2", "--model", "tiny", "--json", "no/such/folder.json"], "no/such"),
        (["precompute", "no-folder", "--model", "tiny"], "no such folder"),
        (["convert", "nothing.json", "b.json", "--to", "coco"], "no such file"),
        (["validate", "nothing.json"], "no such file"),
        (["models", "show", "nothing"], "no such model"),
        (["models", "download", "nothing.pth"], "not a published file"),
        (["models", "import", "nothing.pth"], "no such file"),
        (["models", "import", "sam_vit_h_4b8939.pth"], "not downloaded yet"),
        (["vocab", "show", "nothing"], "nothing"),
    ],
)
def test_failures_are_status_1_and_one_line(argv, message, picture, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names.txt").write_text("cat\n")
    argv = [str(picture) if a == "PICTURE" else a for a in argv]
    assert main([*argv, *(["--vocabulary", "names.txt"] if "tiny" in argv and argv[0] == "predict" else [])]) == 1
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_interruption_is_status_130(monkeypatch, capsys):
    def interrupt(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.import_module("ovsam_core.cli.vocab"), "run", interrupt)
    assert main(["vocab", "list"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_an_interrupted_process_ends_with_130():
    code = (
        # A process started in the background may have inherited that SIGINT is ignored.
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from ovsam_core import cli; import ovsam_core.cli.vocab as v;"
        "v.run = lambda args: os.kill(os.getpid(), signal.SIGINT); sys.exit(cli.main(['vocab', 'list']))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert done.returncode == 130


def test_everything_answers_boxes(picture, names, tmp_path, capsys):
    out, drawn = tmp_path / "a.json", tmp_path / "a.png"
    boxes = ("--box", "20,10,60,40", "--box", "0,0,90,60")
    arguments = ("--model", "tiny", "--vocabulary", names, "--json", out, "--overlay", drawn)
    assert run("everything", picture, *boxes, *arguments) == 0
    document = json.loads(out.read_text())
    assert len(document["objects"]) == 2
    assert document["timing_ms"].keys() == {"encode", "everything"}
    assert drawn.exists()
    assert "2 objects" in capsys.readouterr().out


def test_everything_on_a_grid(picture, names, capsys):
    assert run("everything", picture, "--grid", 3, "--model", "tiny", "--vocabulary", names, "--json", "-") == 0
    assert isinstance(json.loads(capsys.readouterr().out)["objects"], list)


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "photos" / "below"
    inside.mkdir(parents=True)
    for i in range(4):
        Image.new("RGB", (40, 30), (60 * i, 0, 0)).save(inside / f"{i}.png")
    (inside / "notes.txt").write_text("no picture")
    return tmp_path / "photos"


def test_precompute_tells_the_size_first_and_resumes(folder, capsys):
    assert run("precompute", folder, "--model", "tiny") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("4 pictures x 55.8 kB = 223.2 kB; 0 are encoded already;")
    assert lines[-1] == "4 encoded"
    kept = EmbeddingCache().usage()
    assert kept.files == 4
    next((EmbeddingCache().folder).rglob("*.safetensors")).unlink()
    assert run("precompute", folder, "--model", "tiny") == 0
    assert "3 are encoded already" in (out := capsys.readouterr().out)
    assert out.splitlines()[-1] == "1 encoded"
    assert EmbeddingCache().usage() == kept


def test_precompute_stops_at_the_quota_and_pushes_nothing_out(folder, capsys):
    assert run("precompute", folder, "--model", "tiny", "--quota", "0.00013") == 1
    assert "stopped at the quota after 2 of 4" in capsys.readouterr().err
    assert EmbeddingCache().usage().files == 2


def test_precompute_goes_on_after_a_bad_picture(folder, capsys):
    (folder / "bad.jpg").write_bytes(b"not a picture")
    assert run("precompute", folder, "--model", "tiny") == 1
    printed = capsys.readouterr()
    assert "bad.jpg" in printed.err
    assert "4 encoded, 1 left out" in printed.out


def test_the_announced_size_is_the_real_one(folder):
    from ovsam_core.predictor import load_predictor

    predictor = load_predictor("tiny", "cpu")
    embedding = predictor.set_image(np.zeros((30, 40, 3), np.uint8))
    assert predictor.embedding_nbytes == embedding.nbytes


def test_models_list_and_show(capsys):
    (models_folder() / "broken").mkdir(parents=True)
    (models_folder() / "broken" / "config.json").write_text("{")
    assert run("models", "list") == 0
    out = capsys.readouterr().out
    assert "non-commercial" in out
    assert "PROBLEM" in out
    assert run("models", "list", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert {"installed", "published"} == document.keys()
    assert sum(file["non_commercial"] for file in document["published"]) == 3
    assert run("models", "show", "sam2clip_vith_rn50x16.pth") == 0
    out = capsys.readouterr().out
    assert "S-Lab" in out
    assert "huggingface.co/HarborYuan" in out


def test_models_round_trip(tmp_path, capsys):
    from ovsam_core.checkpoint import save_model
    from ovsam_core.config import named_config
    from ovsam_core.modeling.build import build_model

    place = models_folder() / "mine"
    save_model(build_model(named_config("tiny"), seed=3), place)
    assert run("models", "show", "mine") == 0
    assert "128 x 128" in capsys.readouterr().out
    assert run("models", "verify", "mine") == 0
    assert "weights match" in capsys.readouterr().out
    data = bytearray((place / "model.safetensors").read_bytes())
    data[-3] ^= 1
    (place / "model.safetensors").write_bytes(data)
    assert run("models", "verify", "mine") == 1
    assert "hash" in capsys.readouterr().err
    assert (place / "model.safetensors").exists()


def test_download_shows_the_licence_and_wants_it_accepted(server, monkeypatch, capsys):  # noqa: F811
    file = PublishedFile("w.pth", "x", "S-Lab License 1.0", "hf:a/b/w.pth", non_commercial=True, sha256=SHA)
    monkeypatch.setattr("ovsam_core.models.catalogue.CATALOGUE", (file,))
    monkeypatch.setattr("ovsam_core.models.CATALOGUE", (file,))
    assert run("models", "download", "w.pth") == 1
    printed = capsys.readouterr()
    assert "S-Lab License 1.0" in printed.out
    assert "--accept-licence" in printed.err
    assert not server.requests
    assert run("models", "download", "w.pth", "--accept-licence") == 0
    assert (models_folder() / "downloads" / "w.pth").read_bytes() == CONTENT
    assert run("models", "verify", "w.pth") == 0
    assert "as published" in capsys.readouterr().out
    assert run("models", "list") == 0
    assert "downloaded" in capsys.readouterr().out


def test_import_assembles_the_published_layouts(tmp_path, capsys, monkeypatch, source, files):  # noqa: F811
    assert run("models", "import", *files.values(), "--config", "toy", "--name", "assembled") == 0
    assert "--model assembled" in capsys.readouterr().out
    assert run("models", "verify", "assembled") == 0
    rest = [path for name, path in files.items() if name != "sam2clip"]
    assert run("models", "import", *rest, "--config", "toy", "--name", "partial") == 1
    assert "missing" in capsys.readouterr().err
    assert not (models_folder() / "partial").exists()


def test_import_takes_a_model_directory(tmp_path, capsys):
    from ovsam_core.checkpoint import save_model
    from ovsam_core.config import named_config
    from ovsam_core.modeling.build import build_model

    made = tmp_path / "runs" / "finetuned"
    save_model(build_model(named_config("tiny"), seed=3), made)
    assert run("models", "import", made) == 0
    assert run("models", "import", made, "--name", "birds") == 0
    assert {p.name for p in models_folder().iterdir()} == {"finetuned", "birds"}
    assert run("models", "verify", "birds") == 0
    capsys.readouterr()
    for name in ("birds", "starter", "../x"):
        assert run("models", "import", made, "--name", name) == 1
    (made / "model.safetensors").write_bytes(b"broken")
    assert run("models", "import", made, "--name", "broken") == 1
    assert not (models_folder() / "broken").exists()


def test_import_refuses_what_is_there_and_what_it_cannot_tell(tmp_path, capsys):
    part = tmp_path / "weights.pth"
    part.write_bytes(b"x")
    assert run("models", "import", part) == 1
    assert "--config" in capsys.readouterr().err
    (models_folder() / "taken").mkdir(parents=True)
    assert run("models", "import", part, "--config", "tiny", "--name", "taken") == 1
    assert "there already" in capsys.readouterr().err


def test_vocab_actions(names, capsys):
    assert run("vocab", "list", "--json") == 0
    rows = {row["id"]: row["names"] for row in json.loads(capsys.readouterr().out)}
    assert rows["coco"] == 80
    assert rows["lvis"] == 1203
    assert run("vocab", "show", names) == 0
    assert "red bird" in capsys.readouterr().out
    assert run("vocab", "show", "coco", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["entries"]) == 80
    assert run("vocab", "search", "coco", "traffic") == 0
    assert "traffic light" in capsys.readouterr().out
    assert run("vocab", "search", "coco", "trafic ligt") == 0
    assert "traffic light" in capsys.readouterr().out
    assert run("vocab", "search", "coco", "qqqqzzzz") == 1
    assert run("vocab", "encode", names, "--model", "tiny") == 0
    assert "3 names, 3 phrases, 32 dimensions" in capsys.readouterr().out


@pytest.fixture
def coco_file(tmp_path, picture):
    document = {
        "images": [{"id": 1, "file_name": picture.name, "width": 90, "height": 60}],
        "categories": [{"id": 7, "name": "box"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 7,
                "segmentation": [[20, 10, 60, 10, 60, 40, 20, 40]],
                "bbox": [20, 10, 40, 30],
                "area": 1200,
                "iscrowd": 0,
            }
        ],
    }
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(document))
    return path


def test_validate_tells_every_problem(coco_file, tmp_path, capsys):
    assert run("validate", coco_file, "--images", tmp_path) == 0
    capsys.readouterr()
    document = json.loads(coco_file.read_text())
    document["annotations"][0]["category_id"] = 99
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps(document))
    assert run("validate", bad, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["valid"] is False
    assert "category_id" in {problem["field"] for problem in found["problems"]}
    assert run("validate", bad) == 1
    assert "category_id" in capsys.readouterr().out


@pytest.mark.parametrize("name", FORMATS)
def test_convert_there_and_back(coco_file, tmp_path, capsys, name):
    out = tmp_path / {"coco": "as coco.json", "lvis": "as lvis.json", "project": "p.ovsam"}.get(name, f"{name} folder")
    assert run("convert", coco_file, out, "--to", name) == 0
    back = tmp_path / "back.json"
    if name in ("yolo", "voc", "labelme"):  # they look for the pictures beside the labels
        for place in (out, out / "images"):
            place.mkdir(exist_ok=True)
            shutil.copy(coco_file.parent / "bild ä.png", place)
    assert run("validate", out) == 0
    assert run("convert", out, back, "--to", "coco", "--polygons") == 0
    (annotation,) = json.loads(back.read_text())["annotations"]
    assert annotation["area"] == pytest.approx(1200, abs=1)
    assert annotation["bbox"] == [20, 10, 40, 30]
    assert "0 errors" in capsys.readouterr().out


def test_convert_knows_every_format():
    assert get_args(Format) == FORMATS


def test_convert_keeps_what_it_leaves_out(coco_file, tmp_path, capsys):
    document = json.loads(coco_file.read_text())
    document["annotations"].append({**document["annotations"][0], "id": 2, "image_id": 9})
    coco_file.write_text(json.dumps(document))
    out = tmp_path / "out.json"
    assert run("convert", coco_file, out, "--to", "coco", "--strict") == 1
    assert not out.exists()
    assert run("convert", coco_file, out, "--to", "coco") == 1
    assert "image_id" in capsys.readouterr().err
    assert len(json.loads(out.read_text())["annotations"]) == 1
    assert json.loads((tmp_path / "out.rejected.json").read_text())[0]["item"]["image_id"] == 9
    assert run("convert", coco_file, coco_file, "--to", "coco") == 1


def test_doctor_reports_every_part(capsys):
    status = run("doctor", "--json")
    found = json.loads(capsys.readouterr().out)
    parts = {finding["part"] for finding in found}
    assert {"python", "torch", "qt", "cache", "names"} <= parts
    assert status == (1 if any(f["status"] == "problem" for f in found) else 0)
    assert all(f["advice"] for f in found if f["status"] != "ok")
    assert {f["status"] for f in found if f["part"] in ("cache", "names")} <= {"ok", "warning"}


def test_doctor_says_what_to_do(monkeypatch, tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("OVSAM_CACHE", str(blocked / "cache"))
    monkeypatch.setattr("ovsam_core.assets._PLACES", ())
    monkeypatch.setattr(doctor, "_QT_CHECK", "raise ImportError('libEGL.so.1: cannot open shared object file')")
    assert run("doctor") == 1
    out = capsys.readouterr().out
    assert "set OVSAM_CACHE" in out
    assert "apt install libegl1" in out
    assert "the bundled starter is missing" in out


@pytest.mark.parametrize(
    ("stderr", "word"),
    [("qt.qpa.plugin: xcb", "libxcb"), ("No module named 'PySide6'", "pip install PySide6"), ("boom", "reinstall")],
)
def test_doctor_knows_qt_failures(stderr, word):
    assert word in doctor._qt_advice(stderr)
