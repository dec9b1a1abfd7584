"""Look at this machine and say what to do about each problem."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from ovsam_core.cli.common import add_json, size_text, write_json
from ovsam_core.errors import OvsamError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Finding", "add_arguments", "examine", "run"]

_QT_SECONDS = 30
_LOW_DISK = 2e9
_LOW_MEMORY = 4e9

# Qt must not be imported by the engine itself: the check runs in a process of its own.
_QT_CHECK = """
import sys
from PySide6 import QtCore, QtWidgets
app = QtWidgets.QApplication([])
print(QtCore.qVersion(), app.platformName())
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        part: what was looked at.
        status: "ok", "warning" (it works, but) or "problem".
        detail: what was found.
        advice: what to do; "" where all is well.
    """

    part: str
    status: Literal["ok", "warning", "problem"]
    detail: str
    advice: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    add_json(parser, optional_value=True)


def run(args: argparse.Namespace) -> int:
    """Print all findings; the exit status is 1 where there is a problem."""
    findings = examine()
    if args.json:
        write_json([asdict(finding) for finding in findings], args.json)
    if args.json != "-":
        marks = {"ok": "ok     ", "warning": "warning", "problem": "PROBLEM"}
        for finding in findings:
            print(f"{marks[finding.status]}  {finding.part:10} {finding.detail}")
            if finding.advice:
                print(f"{'':20} -> {finding.advice}")
    return 1 if any(finding.status == "problem" for finding in findings) else 0


def examine() -> list[Finding]:
    """Look at everything; a check that fails is a finding, never an exception."""
    checks: tuple[tuple[str, Callable[[], list[Finding]]], ...] = (
        ("python", _python),
        ("torch", _torch),
        ("qt", _qt),
        ("cache", _cache),
        ("models", _models),
        ("names", _vocabularies),
    )
    found: list[Finding] = []
    for part, check in checks:
        try:
            found += check()
        except Exception as error:  # whatever is broken is what this command is for
            advice = "reinstall the program: pip install --force-reinstall ovsam-annotator"
            found.append(Finding(part, "problem", f"{type(error).__name__}: {error}", advice))
    return found


def _python() -> list[Finding]:
    import psutil

    memory = psutil.virtual_memory()
    text = f"{platform.python_version()} on {platform.platform(terse=True)}, {os.cpu_count()} processors, "
    text += f"{size_text(memory.available)} of {size_text(memory.total)} memory free"
    if memory.available < _LOW_MEMORY:
        advice = "close other programs; the bundled model is content with 2 GB, RN50x16 needs about 4"
        return [Finding("python", "warning", text, advice)]
    return [Finding("python", "ok", text)]


def _torch() -> list[Finding]:
    import torch

    text = f"{torch.__version__}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    if torch.cuda.is_available():
        name, (_, total) = torch.cuda.get_device_name(), torch.cuda.mem_get_info()
        return [Finding("torch", "ok", f"{text}, GPU {name} with {size_text(total)}")]
    if torch.version.cuda:
        advice = "install the NVIDIA driver, or ignore this: the bundled model is made for the processor"
        return [Finding("torch", "warning", f"{text}, built for CUDA {torch.version.cuda} but sees no GPU", advice)]
    return [Finding("torch", "ok", f"{text}, no GPU")]


def _qt() -> list[Finding]:
    environment = dict(os.environ)
    shown = bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")) or sys.platform in (
        "win32",
        "darwin",
    )
    if not shown:
        environment.setdefault("QT_QPA_PLATFORM", "offscreen")
    try:
        answer = subprocess.run(  # noqa: S603 - our own interpreter and our own text
            [sys.executable, "-c", _QT_CHECK],
            capture_output=True,
            text=True,
            timeout=_QT_SECONDS,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [
            Finding("qt", "problem", f"no answer within {_QT_SECONDS} s", "check that the desktop session is alive")
        ]
    if answer.returncode == 0:
        text = f"Qt {answer.stdout.strip()}"
        if not shown:
            advice = "set DISPLAY or WAYLAND_DISPLAY to open windows; the command line works without"
            return [Finding("qt", "warning", f"{text}, no screen", advice)]
        return [Finding("qt", "ok", text)]
    lines = answer.stderr.strip().splitlines() or [f"exit status {answer.returncode}"]
    return [Finding("qt", "problem", lines[-1], _qt_advice(answer.stderr))]


def _qt_advice(stderr: str) -> str:
    if "libEGL" in stderr or "libGL" in stderr:
        return "install the graphics libraries: apt install libegl1 libgl1"
    if "xcb" in stderr:
        return "install the X11 libraries: apt install libxcb-cursor0 libxkbcommon-x11-0"
    if "No module named" in stderr:
        return "install Qt: pip install PySide6-Essentials"
    return "reinstall Qt: pip install --force-reinstall PySide6-Essentials"


def _cache() -> list[Finding]:
    import psutil

    from ovsam_core.embedding_cache import EmbeddingCache, cache_folder

    folder = cache_folder()
    problem = _unwritable(folder)
    if problem:
        return [Finding("cache", "problem", problem, "set OVSAM_CACHE to a folder that you can write to")]
    usage = EmbeddingCache().usage()
    free = psutil.disk_usage(str(folder)).free
    text = f"{folder}: {usage.files} embeddings, {size_text(usage.nbytes)} of {size_text(usage.quota)}"
    text += f", {size_text(free)} free on the disk"
    if free < _LOW_DISK:
        return [Finding("cache", "warning", text, "free some space, or set OVSAM_CACHE to another disk")]
    return [Finding("cache", "ok", text)]


def _unwritable(folder: Path) -> str:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".doctor-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return f"{folder}: {error.strerror or error}"
    return ""


def _models() -> list[Finding]:
    from ovsam_core.checkpoint import load_model
    from ovsam_core.models import installed
    from ovsam_core.models.registry import STARTER

    found = []
    models = installed()
    if not any(model.id == STARTER for model in models):
        advice = "reinstall the program; until then commands run a random model, or give --model"
        found.append(Finding("model", "problem", "the bundled starter is missing", advice))
    for model in models:
        text = f"{model.id}: {size_text(model.nbytes)}, {model.licence or 'licence not stated'}"
        if model.problem:
            found.append(Finding("model", "problem", model.problem, "import or install the model again"))
            continue
        try:
            if model.id == STARTER:
                load_model(model.path, verify=True)
                text += ", weights match their hashes"
            found.append(Finding("model", "ok", text))
        except OvsamError as error:
            found.append(Finding("model", "problem", str(error), "install or import the model again"))
    return found


def _vocabularies() -> list[Finding]:
    from ovsam_core.vocabulary import PRESETS, preset

    return [Finding("names", "ok", ", ".join(f"{name} {len(preset(name))}" for name in PRESETS))]
