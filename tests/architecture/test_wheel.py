"""The wheel: built, installed in an environment of its own, and used from another folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import ovsam_core

ROOT = Path(ovsam_core.__file__).parents[1]


def call(*command, env=None, **options):
    # A PYTHONPATH would put the checkout before the installed wheel.
    env = {name: value for name, value in (env or os.environ).items() if name != "PYTHONPATH"}
    done = subprocess.run([str(c) for c in command], check=False, capture_output=True, text=True, env=env, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT)
    (path,) = out.glob("*.whl")
    return path


def test_the_wheel_holds_the_packages_and_the_assets(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for name in (
        "ovsam_core/__init__.py",
        "ovsam_core/configs/tiny.json",
        "ovsam_core/assets/vocabularies/coco.tsv",
        "ovsam_annotator/__main__.py",
        "training/__init__.py",
    ):
        assert name in names
    assert not any(name.startswith(("tests/", "docs/", "assets/")) or "__pycache__" in name for name in names)


def test_an_installed_wheel_predicts_from_another_folder(wheel, tmp_path):
    place = tmp_path / "environment"
    venv.EnvBuilder(with_pip=False).create(place)
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    site = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
    # The dependencies of this environment, without its own copy of the program.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    call(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "-q", wheel)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    program = site / "ovsam_core" / "__init__.py"
    assert call(python, "-c", "import ovsam_core; print(ovsam_core.__file__)", cwd=elsewhere).stdout.strip() == str(
        program
    )
    picture = next((program.parent / "assets" / "samples" / "images").glob("*.jpg"))
    script = python.with_name("ovsam.exe" if os.name == "nt" else "ovsam")
    done = call(
        script, "predict", picture, "--point", "100,100", "--model", "tiny", "--vocabulary", "coco",
        "--json", "answer.json", "--overlay", "answer.png", cwd=elsewhere, env={**os.environ, "PYTHONSAFEPATH": "1"},
    )  # fmt: skip
    document = json.loads((elsewhere / "answer.json").read_text())
    assert len(document["objects"][0]["labels"]) == 9
    assert (elsewhere / "answer.png").stat().st_size > 10_000
    assert document["objects"][0]["labels"][0]["name"] in done.stdout
