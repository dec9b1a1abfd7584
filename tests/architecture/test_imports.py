"""What a start must not cost, and what every package says it offers."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys

import pytest

import ovsam_core

HEAVY = {"PySide6", "cv2", "numpy", "open_clip", "timm", "torch", "torchvision"}


def loaded_after(code: str) -> set[str]:
    """Run code in a fresh interpreter and return the top-level packages it imported."""
    tail = "\nimport json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code + tail], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import ovsam_core",
        "import ovsam_core; dir(ovsam_core); ovsam_core.OvsamError",
        "from ovsam_core.cli import main; main(['--help'])",
        "from ovsam_core.cli import main; main(['predict', '--help'])",
        "from ovsam_core.cli import main; main(['predict'])",
        "import ovsam_core.models.registry, ovsam_core.models.catalogue",
    ],
)
def test_a_start_imports_nothing_heavy(code):
    assert not loaded_after(code) & HEAVY


@pytest.mark.parametrize(
    "code",
    [
        "from ovsam_core.cli import main; main(['models', 'list'])",
        "from ovsam_core.cli import main; main(['vocab', 'list'])",
        "import ovsam_core.formats.coco, ovsam_core.store, ovsam_core.pictures, ovsam_core.masks",
    ],
)
def test_light_commands_do_without_the_network(code):
    assert not loaded_after(code) & {"PySide6", "open_clip", "timm", "torch", "torchvision"}


def test_the_engine_does_without_qt():
    code = "from ovsam_core import load_predictor; load_predictor('tiny', 'cpu')"
    assert "PySide6" not in loaded_after(code)


def test_the_public_names_load_and_are_sorted():
    assert list(ovsam_core.__all__) == sorted(ovsam_core.__all__)
    assert set(ovsam_core.__all__) == set(ovsam_core._HOME)
    for name in ovsam_core.__all__:
        assert getattr(ovsam_core, name).__module__.startswith("ovsam_core.")
        assert name in dir(ovsam_core)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        ovsam_core.nothing_like_it  # noqa: B018


def engine_modules() -> list[str]:
    return [
        m.name for m in pkgutil.walk_packages(ovsam_core.__path__, "ovsam_core.") if not m.name.endswith("__main__")
    ]


@pytest.mark.parametrize("name", engine_modules())
def test_every_module_says_what_it_offers(name):
    module = importlib.import_module(name)
    assert module.__doc__
    offered = getattr(module, "__all__", None)
    if offered is None:  # a package that only holds modules
        assert hasattr(module, "__path__")
        return
    # Ruff's order: constants, classes, the rest, each by the alphabet.
    assert list(offered) == sorted(offered, key=lambda n: (0 if n.isupper() else 1 if n[0].isupper() else 2, n))
    assert all(hasattr(module, n) for n in offered)
