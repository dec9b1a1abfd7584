"""torchvision and open_clip without what they bring along unasked: three seconds of every start."""

from __future__ import annotations

import importlib
import sys
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["import_libraries"]


def import_libraries() -> None:
    """Import torch, torchvision and open_clip; does nothing the second time.

    For programs of our own, the command line and the annotator's model process, to call first. Importing the package as
    a library does not: another program may want to compile timm's towers or use open_clip's with transformers.

    torchvision imports the whole compiler of torch for one function that only matters to compiled deterministic
    kernels, timm for a mark on functions that must not be compiled, and open_clip imports transformers for towers that
    this package refuses. Nothing here is compiled: the two are kept out while the libraries are imported, and can be
    imported by whoever wants them afterwards.
    """
    importlib.import_module("torch")
    compiler, utils = ModuleType("torch._dynamo"), ModuleType("torch._dynamo.utils")
    vars(compiler)["disable"] = lambda function, *_, **__: function  # timm marks functions with it
    vars(utils)["is_compile_supported"] = lambda _: False
    with _standing_in({"torch._dynamo": compiler, "torch._dynamo.utils": utils, "transformers": None}):
        importlib.import_module("torchvision.ops")
        importlib.import_module("open_clip")


@contextmanager
def _standing_in(modules: Mapping[str, ModuleType | None]) -> Iterator[None]:
    """Let modules stand in for real ones that are not imported yet; None makes an import fail as if it were missing."""
    mine = {name: module for name, module in modules.items() if name not in sys.modules}
    sys.modules.update(mine)  # type: ignore[arg-type]  # None is how Python marks what must not be imported
    try:
        yield
    finally:
        for name, module in mine.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
