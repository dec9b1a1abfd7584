"""Collect every visible text of the window into a Qt Linguist file, keeping what is translated there already.

    python -m docs.translations ovsam_de.ts
    pyside6-linguist ovsam_de.ts              translate; or any editor for .ts files
    pyside6-lrelease ovsam_de.ts -qm assets/translations/ovsam_de.qm

Qt's own `pyside6-lupdate` reads the same calls but not the table of commands, whose texts are plain data.
"""

from __future__ import annotations

import argparse
import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as Xml  # the files are our own or a translator's, never from the network

from ovsam_annotator.views.commands import COMMANDS, MENUS

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SOURCES", "Text", "collect", "main", "texts_of", "write"]

SOURCES = Path(__file__).parents[1] / "ovsam_annotator"
Text = tuple[str, str, bool]  # context, source text, has a number


def collect(folder: Path = SOURCES) -> list[Text]:
    """Every translatable text below a folder, and the commands; each once, by context."""
    found = {text for path in sorted(folder.rglob("*.py")) for text in texts_of(path.read_text("utf-8"))}
    found |= {("Command", command.text, False) for command in COMMANDS}
    found |= {("Menu", menu, False) for menu in MENUS}
    return sorted(found)


def texts_of(source: str) -> Iterator[Text]:
    """Texts in `self.tr("…")`, whose context is the class, and in `QCoreApplication.translate("context", "…")`."""
    tree = ast.parse(source)
    for top in tree.body:
        for node in ast.walk(top):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            words = [a.value if isinstance(a, ast.Constant) and isinstance(a.value, str) else None for a in node.args]
            if node.func.attr == "tr" and words and words[0] is not None and isinstance(top, ast.ClassDef):
                yield top.name, words[0], len(words) == 3
            elif node.func.attr == "translate" and len(words) >= 2 and words[0] is not None and words[1] is not None:
                yield words[0], words[1], len(words) == 4


def write(texts: list[Text], path: Path) -> tuple[int, int]:
    """Write a .ts file; translations that it holds already stay.

    Returns:
        Number of texts, and of those that are translated.
    """
    old: dict[tuple[str | None, str | None], Xml.Element] = {}
    language = path.stem.partition("_")[2]
    if path.exists():
        root = Xml.parse(path).getroot()  # noqa: S314 - see the import
        language = root.get("language", language)
        for context in root.iter("context"):
            for message in context.iter("message"):
                kept = message.find("translation")
                if kept is not None and "".join(kept.itertext()).strip():
                    old[context.findtext("name"), message.findtext("source")] = kept
    root = Xml.Element("TS", version="2.1", language=language, sourcelanguage="en")
    parts: dict[str, Xml.Element] = {}
    for context, text, numbered in texts:
        if context not in parts:
            parts[context] = Xml.SubElement(root, "context")
            Xml.SubElement(parts[context], "name").text = context
        message = Xml.SubElement(parts[context], "message", {"numerus": "yes"} if numbered else {})
        Xml.SubElement(message, "source").text = text
        known = old.get((context, text))
        if known is not None:
            message.append(known)
        else:
            empty = Xml.SubElement(message, "translation", type="unfinished")
            if numbered:
                Xml.SubElement(empty, "numerusform")
    Xml.indent(root)
    body = Xml.tostring(root, encoding="unicode")
    path.write_text(f'<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE TS>\n{body}\n', "utf-8")
    return len(texts), sum((context, text) in old for context, text, _ in texts)


def main() -> None:
    """Write or renew the file that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="ovsam_LANGUAGE.ts, new or to be renewed")
    path = parser.parse_args().path
    count, done = write(collect(), path)
    sys.stdout.write(f"{path}: {count} texts, {done} translated\n")


if __name__ == "__main__":
    main()
