"""What a start does not pay for, and what must work all the same afterwards."""

from __future__ import annotations

import subprocess
import sys

_CODE = """
import sys
from ovsam_core.lean_import import import_libraries
import_libraries()
import ovsam_core.predictor
from ovsam_core.assets import asset_path
from ovsam_core.checkpoint import load_model
load_model(asset_path("starter"))
assert not {"torch._dynamo", "sympy", "transformers"} & set(sys.modules), sorted(sys.modules)
import torch
from torchvision.ops import roi_align
assert roi_align(torch.ones(1, 1, 4, 4), torch.tensor([[0.0, 0, 0, 4, 4]]), 2).shape == (1, 1, 2, 2)
import torch._dynamo
assert torch._dynamo.__file__, "the real one comes when somebody asks for it"
"""


def test_loading_a_model_imports_no_compiler_and_no_transformers():
    done = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_library_imports_its_libraries_in_full():
    code = "import ovsam_core.predictor, timm.layers, torch._dynamo as real; assert real.__file__"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
