"""JSON with its place of failure, and what can still be read of a file that was cut off."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import orjson

from ovsam_core.errors import FormatError

if TYPE_CHECKING:
    from ovsam_core.formats.report import Findings

__all__ = ["parse_json"]

_SECTIONS = ("images", "annotations", "categories")


def parse_json(data: bytes, findings: Findings) -> Any:
    """Parse a JSON file; of a damaged COCO file, keep the complete items that stand before the damage.

    A class that objects refer to and that was lost gets the name "category N".

    Raises:
        FormatError: empty, not text, or without a complete item.
    """
    if not data.strip():
        raise FormatError(f"{findings.file}: the file is empty")
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        reason = str(error).partition(": line")[0]
    document = _salvage(data)
    if not any(document.get(section) for section in _SECTIONS):
        raise FormatError(f"{findings.file}: {place}: not a JSON file ({reason})")
    found = ", ".join(f"{len(document[s])} {s}" for s in _SECTIONS if s in document)
    findings.error(place, "", f"damaged JSON ({reason}); complete before that: {found}")
    if "categories" not in document:
        ids = sorted({a["category_id"] for a in document.get("annotations", []) if type(a.get("category_id")) is int})
        document["categories"] = [{"id": number, "name": f"category {number}"} for number in ids]
        findings.warn("", "categories", f"lost with the damage; {len(ids)} classes were named by their ids")
    return document


def _salvage(data: bytes) -> dict[str, Any]:
    text = data.decode("utf-8", errors="replace")
    decoder = json.JSONDecoder()
    document: dict[str, Any] = {}
    for section in _SECTIONS:
        start = re.search(rf'"{section}"\s*:\s*\[', text)
        if start is None:
            continue
        items: list[Any] = []
        position = start.end()
        while (gap := re.compile(r"[\s,]*").match(text, position)) and text[gap.end() : gap.end() + 1] == "{":
            try:
                item, position = decoder.raw_decode(text, gap.end())
            except json.JSONDecodeError:
                break
            items.append(item)
        document[section] = items
    return document
