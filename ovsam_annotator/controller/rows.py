"""From the project's rows to what the views show."""

from __future__ import annotations

import time
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication

from ovsam_annotator.model.class_book import rgb_of
from ovsam_annotator.views import data

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovsam_annotator.model.class_book import ClassBook
    from ovsam_annotator.model.document import Document, Item
    from ovsam_core.store.project import ObjectSummary
    from ovsam_core.store.records import ClassRow, ObjectRow, PictureRow, Step

__all__ = [
    "canvas_object",
    "class_row",
    "document_row",
    "history_rows",
    "hotkey_number",
    "hotkey_text",
    "object_row",
    "origin_of",
    "picture_row",
    "picture_rows",
    "state_text",
]


def state_text(state: str) -> str:
    """The views' word for a state of the store ("needs_work" → "needs work")."""
    return state.replace("_", " ")


def hotkey_text(number: int) -> str | None:
    """The store's text of a class hotkey 1 to 10; None for 0."""
    return f"Ctrl+{number % 10}" if 1 <= number <= 10 else None


def hotkey_number(text: str | None) -> int | None:
    """1 to 10 for the store's text of a hotkey; None without one."""
    last = (text or "")[-1:]
    return None if not last.isdigit() else int(last) or 10


def canvas_object(item: Item, classes: ClassBook) -> data.CanvasObject:
    """An object as the canvas shows it."""
    row = item.row
    return data.CanvasObject(
        row.uid, item.shape, classes.name(row.class_uid), classes.colour(row.class_uid), row.hidden, row.locked
    )


def origin_of(row: ObjectRow) -> str:
    """One line of provenance: who made the mask and where its name came from."""
    if row.source == "imported":
        return QCoreApplication.translate("Origin", "imported")
    if row.source == "drawn":
        return QCoreApplication.translate("Origin", "drawn by hand")
    if row.rank is None and row.class_uid:
        named = QCoreApplication.translate("Origin", "name typed by you")
    elif row.rank is None:
        named = QCoreApplication.translate("Origin", "no name yet")
    elif row.source == "prompt":
        named = QCoreApplication.translate("Origin", "name number {place}, accepted by you").format(place=row.rank + 1)
    else:
        named = QCoreApplication.translate("Origin", "name number {place}, by a batch").format(place=row.rank + 1)
    clicks = QCoreApplication.translate("Origin", ", clicks: {n}").format(n=len(row.prompts)) if row.prompts else ""
    return f"{row.model_id or QCoreApplication.translate('Origin', 'model')}: {named}{clicks}"


def object_row(item: Item, classes: ClassBook) -> data.ObjectRow:
    """An object as the objects panel shows it."""
    row = item.row
    return data.ObjectRow(
        uid=row.uid,
        name=classes.name(row.class_uid),
        colour=classes.colour(row.class_uid),
        area=item.shape.area,
        score=row.score,
        source=row.source,
        state=data.ObjectState(state_text(row.state)),
        locked=row.locked,
        hidden=row.hidden,
        origin=origin_of(row),
        attributes=tuple((str(k), str(v)) for k, v in row.attributes.items()),
    )


def class_row(row: ClassRow, count: int) -> data.ClassRow:
    """A class as the class manager shows it."""
    return data.ClassRow(row.uid, row.entry_id, row.name, rgb_of(row.colour), hotkey_number(row.hotkey), count)


def picture_row(
    picture: PictureRow,
    objects: Sequence[tuple[str | None, float | None]],
    names: Mapping[str, str],
    encode: data.EncodeState = data.EncodeState.NONE,
    *,
    missing: bool = False,
) -> data.PictureRow:
    """A picture as the list shows it.

    Args:
        picture: its row.
        objects: class uid and score of each of its objects.
        names: class names by uid.
        encode: how far the model is with it.
        missing: the file cannot be found.
    """
    scores = [score for _, score in objects if score is not None]
    classes = sorted({names[uid] for uid, _ in objects if uid and uid in names})
    return data.PictureRow(
        picture_id=picture.id,
        name=_short_name(picture.path),
        state=data.PictureState(state_text(picture.state)),
        objects=len(objects),
        encode=encode,
        classes=tuple(classes),
        lowest_score=min(scores, default=None),
        missing=missing,
    )


def picture_rows(
    pictures: Sequence[PictureRow], summaries: Sequence[ObjectSummary], classes: Sequence[ClassRow]
) -> list[data.PictureRow]:
    """All pictures as the list shows them; for the store's thread, since it may be about 100,000 of them."""
    names = {row.uid: row.name for row in classes}
    by_picture: dict[int, list[tuple[str | None, float | None]]] = {}
    for summary in summaries:
        by_picture.setdefault(summary.picture, []).append((summary.class_uid, summary.score))
    return [picture_row(picture, by_picture.get(picture.id, ()), names) for picture in pictures]


def document_row(
    document: Document, classes: ClassBook, encode: data.EncodeState, *, missing: bool = False
) -> data.PictureRow:
    """The open picture as the list shows it."""
    objects = [(item.row.class_uid, item.row.score) for item in document]
    return picture_row(document.picture, objects, {c.uid: c.name for c in classes}, encode, missing=missing)


def history_rows(steps: Sequence[Step]) -> list[data.HistoryRow]:
    """The journal as the history panel shows it, oldest first, with the state before everything on top."""
    rows = [data.HistoryRow(0, QCoreApplication.translate("History", "Opened"))]
    for step in reversed(steps):
        clock = time.strftime("%H:%M:%S", time.localtime(step.time))
        rows.append(data.HistoryRow(step.id, step.label, clock, step.undone))
    return rows


def _short_name(path: str) -> str:
    """Folder and name below the project's folder; the name alone for one outside."""
    pure = PurePosixPath(path)
    return pure.name if pure.is_absolute() or pure.parts[:1] == ("..",) else str(pure)
