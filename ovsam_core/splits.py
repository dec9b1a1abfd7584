"""Splitting pictures into training and validation so that nothing related stands on both sides."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import xxhash
from PIL import Image, ImageOps, UnidentifiedImageError

from ovsam_core.errors import CancelledError, FormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from numpy.typing import NDArray

    from ovsam_core.formats.coco import CocoDataset

__all__ = [
    "Fingerprint",
    "Split",
    "SplitRule",
    "fingerprint",
    "group_names",
    "join_groups",
    "near_duplicates",
    "split_dataset",
    "split_groups",
    "split_pictures",
]

_HASH_BITS = 10  # of 64 that may differ in a candidate pair: re-encoding changes up to 6, neighbouring frames up to 10
_CORRELATION = 0.95  # of the 16 x 16 thumbnails of a confirmed pair; unrelated pictures rarely pass 0.8
_FLAT = 2.0  # grey levels of standard deviation below which a picture has no structure to compare
_BLOCK = 2048


@dataclass(frozen=True, slots=True)
class SplitRule:
    """How to split.

    Attributes:
        fraction: share of pictures for validation, above 0 and below 1.
        group: what must stay together: "folder", "none", "field:NAME" (a key of the COCO image or project picture) or
            "pattern:REGEX" on the file name, whose first group (or whole match) names the group.
        near_duplicates: also keep pictures together that look alike (each file is read once).
        seed: another seed gives another split.
    """

    fraction: float = 0.2
    group: str = "folder"
    near_duplicates: bool = True
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Split:
    """Positions of pictures on either side.

    Attributes:
        train: positions, ascending.
        val: positions, ascending.
        groups: number of groups.
        joined: number of pictures that look like an earlier one.
        unread: positions of pictures that could not be compared because they cannot be read.
        by_picture: all pictures fell into one group, so that every picture became a group of its own.
    """

    train: tuple[int, ...]
    val: tuple[int, ...]
    groups: int
    joined: int = 0
    unread: tuple[int, ...] = ()
    by_picture: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """What a picture looks like: a perceptual hash (64 bits) and a normalised 16 x 16 thumbnail (256,) float32."""

    bits: int
    thumbnail: NDArray[np.float32]


def fingerprint(path: str | Path) -> Fingerprint | None:
    """Look at a picture; None where it cannot be read or is too flat to be compared."""
    try:
        with Image.open(path) as image:
            image.draft("L", (128, 128))  # lets the JPEG decoder shrink while it decodes
            grey = ImageOps.exif_transpose(image).convert("L")
            small = np.asarray(grey.resize((32, 32), Image.Resampling.BOX), np.float64)
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError):
        return None
    thumbnail = small.reshape(16, 2, 16, 2).mean((1, 3)).reshape(-1)
    if thumbnail.std() < _FLAT:
        return None
    centred = thumbnail - thumbnail.mean()
    steps = np.arange(32)
    cosine = np.cos(np.pi / 32 * (steps[None] + 0.5) * np.arange(1, 9)[:, None])  # (8, 32): the lowest frequencies
    waves = cosine @ small @ cosine.T  # (8, 8)
    signs = (waves > np.median(waves)).reshape(-1)
    bits = int(np.packbits(signs).view(">u8")[0])
    return Fingerprint(bits, (centred / np.linalg.norm(centred)).astype(np.float32))


def near_duplicates(prints: Sequence[Fingerprint | None]) -> list[tuple[int, int]]:
    """Pairs of positions that look alike: hashes differ in few bits and the thumbnails correlate."""
    index = np.array([i for i, p in enumerate(prints) if p is not None], np.int64)
    known = [p for p in prints if p is not None]
    if len(known) < 2:
        return []
    bits = np.array([p.bits for p in known], np.uint64)
    thumbnails = np.stack([p.thumbnail for p in known])
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(known), _BLOCK):
        distance = np.bitwise_count(bits[start : start + _BLOCK, None] ^ bits[None, :])
        rows, columns = np.nonzero(distance <= _HASH_BITS)
        rows += start
        later = columns > rows
        rows, columns = rows[later], columns[later]
        alike = np.einsum("nd,nd->n", thumbnails[rows], thumbnails[columns]) >= _CORRELATION
        pairs += [(int(index[a]), int(index[b])) for a, b in zip(rows[alike], columns[alike], strict=True)]
    return pairs


def group_names(names: Sequence[str], group: str, fields: Sequence[object] = ()) -> list[str]:
    """Group of every picture by its file name (forward slashes) or field, as `SplitRule.group` says.

    Args:
        names: file names.
        group: the rule.
        fields: for "field:NAME", the value of each picture; None makes a picture a group of its own.

    Raises:
        FormatError: the rule is none, or its pattern does not compile.
    """
    kind, _, argument = group.partition(":")
    if kind == "none":
        return list(names)
    if kind == "folder":
        return [str(PurePosixPath(name).parent) for name in names]
    if kind == "field" and argument:
        return [name if value is None else f"field {value}" for name, value in zip(names, fields, strict=True)]
    if kind == "pattern" and argument:
        try:
            pattern = re.compile(argument)
        except re.error as error:
            raise FormatError(f"group: {argument!r} is not a regular expression ({error})") from error
        found = [pattern.search(name) for name in names]
        return [
            name if match is None else f"pattern {match[1] if pattern.groups else match[0]}"
            for name, match in zip(names, found, strict=True)
        ]
    raise FormatError(f"group: expected folder, none, field:NAME or pattern:REGEX, got {group!r}")


def join_groups(groups: Sequence[Hashable], pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Number the groups after joining those that a pair connects; the number is the position of the first member."""
    parent = list(range(len(groups)))

    def root(position: int) -> int:
        while parent[position] != position:
            parent[position] = parent[parent[position]]
            position = parent[position]
        return position

    first: dict[Hashable, int] = {}
    links = [(first.setdefault(group, position), position) for position, group in enumerate(groups)]
    for one, other in (*links, *pairs):
        a, b = sorted((root(one), root(other)))
        parent[b] = a
    return [root(position) for position in range(len(groups))]


def split_groups(numbers: Sequence[int], names: Sequence[str], fraction: float, seed: int = 0) -> list[bool]:
    """Choose whole groups for validation, as near to the fraction as they allow; True marks validation.

    Groups are taken in the order of a hash of their first name, so that the split does not depend on the order of the
    pictures. With two groups or more, either side has one.

    Raises:
        FormatError: the fraction is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise FormatError(f"fraction: expected a number between 0 and 1, got {fraction}")
    members: dict[int, list[int]] = {}
    for position, number in enumerate(numbers):
        members.setdefault(number, []).append(position)
    order = sorted(members.values(), key=lambda m: xxhash.xxh3_64_intdigest(min(names[i] for i in m).encode(), seed))
    wanted = fraction * len(numbers)
    chosen: list[list[int]] = []
    taken = 0
    for group in order:
        gain = abs(wanted - taken) - abs(wanted - taken - len(group))
        if gain > 0 and len(chosen) < len(order) - 1:
            chosen.append(group)
            taken += len(group)
    if not chosen and len(order) > 1:
        chosen = [min(order, key=len)]
    side = [False] * len(numbers)
    for group in chosen:
        for position in group:
            side[position] = True
    return side


def split_pictures(
    names: Sequence[str],
    paths: Sequence[Path],
    rule: SplitRule,
    *,
    fields: Sequence[object] = (),
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Split:
    """Split pictures by a rule.

    Args:
        names: file names with forward slashes.
        paths: the files, looked at for near-duplicates.
        rule: how.
        fields: values of the rule's field.
        progress: told the finished share, 0 to 1.
        cancelled: asked between pictures.

    Raises:
        FormatError: the rule is none.
        CancelledError: `cancelled` said so.
    """
    groups = group_names(names, rule.group, fields)
    alone = len(names) > 1 and len(set(groups)) == 1
    if alone:
        groups = list(names)
    prints: list[Fingerprint | None] = []
    unread: list[int] = []
    if rule.near_duplicates:
        for position, path in enumerate(paths):
            if cancelled and cancelled():
                raise CancelledError("stopped before the pictures were compared; nothing was written")
            prints.append(fingerprint(path))
            if prints[-1] is None and not _readable(path):
                unread.append(position)
            if progress:
                progress((position + 1) / len(paths))
    pairs = near_duplicates(prints)
    numbers = join_groups(groups, pairs)
    side = split_groups(numbers, names, rule.fraction, rule.seed)
    return Split(
        tuple(i for i, held in enumerate(side) if not held),
        tuple(i for i, held in enumerate(side) if held),
        len(set(numbers)),
        len({b for _, b in pairs}),
        tuple(unread),
        alone,
    )


def split_dataset(dataset: CocoDataset, rule: SplitRule) -> tuple[CocoDataset, CocoDataset, Split]:
    """Split a COCO dataset; both sides keep all classes and all ids.

    Raises:
        FormatError: the rule is none.
    """
    field_name = rule.group.partition(":")[2]
    names = [image.file_name for image in dataset.images]
    folder = dataset.folder or Path()
    split = split_pictures(
        names, [folder / name for name in names], rule, fields=[image.extra.get(field_name) for image in dataset.images]
    )
    train, val = ({dataset.images[i].id for i in side} for side in (split.train, split.val))
    return dataset.restricted(train), dataset.restricted(val), split


def _readable(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError, ValueError):
        return False
    return True
