"""The documents' examples run, and the command line's document names every verb and option that exists."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import ovsam_core
from ovsam_core.cli import VERBS, build_parser

DOCS = Path(ovsam_core.__file__).parents[1] / "docs"


def test_the_librarys_examples_run_in_order(capsys):
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "api.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 6
    space: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/api.md", "exec"), space)
    assert "point 9999, 0 lies outside the picture of 160 x 120 pixels" in capsys.readouterr().out
    assert len(space["answers"]) == 8


def test_the_command_lines_examples_parse():
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    commands = re.findall(r"^ovsam (.*)$", text, re.MULTILINE)
    assert {line.split()[0] for line in commands} == set(VERBS)
    parser = build_parser()
    for line in commands:
        words = [a or b for a, b in re.findall(r'"([^"]*)"|(\S+)', line)]
        assert parser.parse_args(words).verb == words[0]


def test_every_option_that_the_document_names_exists():
    parser = build_parser()
    known: set[str] = set()
    waiting = [parser]
    while waiting:
        for action in waiting.pop()._actions:
            known |= set(action.option_strings)
            if isinstance(action, argparse._SubParsersAction):
                waiting += action.choices.values()
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", (DOCS / "cli.md").read_text(encoding="utf-8")))
    assert named <= known
