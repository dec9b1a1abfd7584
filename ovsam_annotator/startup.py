"""What happens before the window's libraries are imported: the command line, the settings, and the model's process.

That process needs seconds to come up, so it is started first of all. Nothing here imports Qt, numpy or torch.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovsam_annotator.inference.child import ChildSettings
from ovsam_annotator.inference.process import ProcessEngine
from ovsam_annotator.model.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovsam_annotator.inference.segmenter import Engine

__all__ = ["Start", "prepare"]


@dataclass(frozen=True, slots=True)
class Start:
    """What the program begins with.

    Attributes:
        paths: what to open; empty for the start page.
        sample: open the sample project.
        settings: the person's settings.
        model: id of the model to load.
        engine: does the model's work; its process is on its way.
    """

    paths: tuple[str, ...]
    sample: bool
    settings: Settings
    model: str
    engine: Engine


def prepare(arguments: Sequence[str] | None = None) -> Start:
    """Read the command line and the settings, and start the model's process.

    Args:
        arguments: of the command line; `sys.argv` by default.

    Raises:
        SystemExit: help was asked for, or the arguments make no sense.
    """
    parser = argparse.ArgumentParser(prog="ovsam-annotator", description="Click on pictures: masks with names.")
    parser.add_argument("path", nargs="*", help="a project, a folder, pictures, or a COCO JSON file")
    parser.add_argument("--model", help="model to use (default: the one used last, at first the bundled starter)")
    parser.add_argument("--fake", action="store_true", help="demo without a model: made-up masks and names")
    parser.add_argument("--sample", action="store_true", help="open the sample project")
    options = parser.parse_args(arguments)
    settings = load_settings()
    if options.fake:
        from ovsam_annotator.inference.fake import FAKE_MODEL, FakeEngine  # noqa: PLC0415 - imports numpy

        return Start(tuple(options.path), options.sample, settings, FAKE_MODEL, FakeEngine())
    model = options.model or settings.model
    engine = ProcessEngine(ChildSettings(model))
    engine.warm()
    return Start(tuple(options.path), options.sample, settings, model, engine)
