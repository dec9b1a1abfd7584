"""Finished objects: show, select, rename, delete, lock and hide them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from ovsam_annotator.controller import rows
from ovsam_annotator.model.document import Item

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from ovsam_annotator.controller.session import Session
    from ovsam_annotator.views import data
    from ovsam_annotator.views.protocols import CanvasView, ObjectPanelView
    from ovsam_core.store import ClassRow, ObjectRow

__all__ = ["ObjectsController"]


class ObjectsController(QObject):
    """Shows the document's objects on the canvas and in the panel, and carries out changes to them.

    Args:
        canvas: paints them.
        panel: lists them.

    Attributes:
        refine_asked: (uid) the user wants to refine an object with clicks.
        rename_asked: the selected objects want another name.
        hint_changed: text for the status line.
    """

    refine_asked = Signal(str)
    rename_asked = Signal()
    hint_changed = Signal(str)

    def __init__(self, *, canvas: CanvasView, panel: ObjectPanelView, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._canvas = canvas
        self._panel = panel
        self._session: Session | None = None
        self._rows: dict[str, data.ObjectRow] = {}
        canvas.object_clicked.connect(self.click)
        canvas.object_activated.connect(self.activate)
        panel.selection_changed.connect(self.select)
        panel.rename_asked.connect(self._rename_from_panel)
        panel.delete_asked.connect(self.delete)
        panel.refine_asked.connect(self.refine_asked)
        panel.lock_changed.connect(self.set_locked)
        panel.hidden_changed.connect(self.set_hidden)
        panel.attribute_changed.connect(self.set_attribute)

    def attach(self, session: Session | None) -> None:
        """Work on another project, or none."""
        self._session = session
        if session is not None:
            session.document_replaced.connect(self._show_all)
            session.items_changed.connect(self._show_some)
            session.selection_changed.connect(self._show_selection)
            session.classes_changed.connect(self._show_names)
        self._show_all()

    # ---- showing

    def _items(self) -> list[Item]:
        return list(self._session.document) if self._session and self._session.document else []

    def _show_all(self) -> None:
        session = self._session
        self._canvas.set_objects([rows.canvas_object(i, session.classes) for i in self._items()] if session else [])
        self._rows = {i.uid: rows.object_row(i, session.classes) for i in self._items()} if session else {}
        self._panel.set_rows(list(self._rows.values()))
        self._show_selection()

    def _show_names(self, classes: Collection[str]) -> None:
        """Classes changed: their objects are shown anew."""
        touched = [item.uid for item in self._items() if item.row.class_uid in classes]
        if touched:
            self._show_some(touched, ())

    def _show_some(self, put: Sequence[str], dropped: Sequence[str]) -> None:
        session = self._session
        if session is None or session.document is None:
            return
        found = [item for uid in put if (item := session.document.get(uid)) is not None]
        if dropped:
            self._canvas.remove_objects(dropped)
        if found:
            self._canvas.put_objects([rows.canvas_object(item, session.classes) for item in found])
        for uid in dropped:
            self._rows.pop(uid, None)
        self._rows |= {item.uid: rows.object_row(item, session.classes) for item in found}
        self._panel.set_rows(list(self._rows.values()))
        self._show_selection()

    def _show_selection(self) -> None:
        session = self._session
        chosen = session.document.selection if session and session.document else ()
        self._canvas.set_selection(chosen)
        self._panel.set_selection(chosen)

    # ---- selecting

    def click(self, x: float, y: float, extend: bool) -> None:
        """Select the smallest object under the cursor; again at the same place the next larger one."""
        document = self._session.document if self._session else None
        if document is None or self._session is None:
            return
        hits = [item.uid for item in document.under(x, y)]
        if not hits:
            if not extend:
                self._session.select(())
            return
        chosen = document.selection
        last = chosen[-1] if chosen else ""
        target = hits[(hits.index(last) + 1) % len(hits)] if last in hits and not extend else hits[0]
        if extend:
            self._session.select([u for u in chosen if u != target] if target in chosen else [*chosen, target])
        else:
            self._session.select([target])

    def activate(self, x: float, y: float) -> None:
        """Double click: refine the object under the cursor."""
        document = self._session.document if self._session else None
        hits = document.under(x, y) if document else []
        if hits:
            self.refine_asked.emit(hits[0].uid)

    def select(self, uids: Iterable[str]) -> None:
        """Select objects."""
        if self._session is not None:
            self._session.select(uids)

    def select_all(self) -> None:
        """Select every object of the picture."""
        self.select([item.uid for item in self._items() if not item.row.hidden])

    def step(self, by: int) -> None:
        """Select the next or previous object and bring it into view."""
        document = self._session.document if self._session else None
        uid = document.neighbour(by) if document else None
        if document is None or uid is None:
            return
        self.select([uid])
        item = document.get(uid)
        assert item is not None
        x1, y1, x2, y2 = item.shape.box_xyxy
        self._canvas.show_box((float(x1), float(y1), float(x2), float(y2)))

    # ---- rows

    def rename(self, named: ClassRow | None, extra: tuple[ClassRow, ...] = ()) -> None:
        """Give the selected objects a class, or take it from them."""
        items = self.editable()
        if items and self._session is not None:
            name = named.name if named else "no name"
            changed = [
                Item(replace(i.row, class_uid=named.uid if named else None, rank=None, score=None), i.shape)
                for i in items
            ]
            self._session.put_items(f"Rename to {name}", changed, extra=extra)

    def delete(self, uids: Iterable[str] | None = None) -> None:
        """Delete objects; the selected ones by default. Locked ones stay."""
        if self._session is None or self._session.document is None:
            return
        document = self._session.document
        items = [item for uid in (document.selection if uids is None else uids) if (item := document.get(uid))]
        gone = [item for item in items if not item.row.locked]
        if len(gone) < len(items):
            self.hint_changed.emit(self.tr("Locked objects stay; unlock them first"))
        if gone:
            name = self._session.classes.name(gone[0].row.class_uid) or "object"
            label = f"Delete {name}" if len(gone) == 1 else f"Delete {len(gone)} objects"
            self._session.put_items(label, (), drop=[item.uid for item in gone])

    def set_locked(self, uids: Sequence[str], locked: bool) -> None:
        """Lock or unlock objects."""
        self._change_rows("Lock" if locked else "Unlock", uids, lambda row: replace(row, locked=locked))

    def set_hidden(self, uids: Sequence[str], hidden: bool) -> None:
        """Hide or show objects."""
        self._change_rows("Hide" if hidden else "Show", uids, lambda row: replace(row, hidden=hidden))

    def toggle_lock(self) -> None:
        """Lock the selected objects, or unlock them where all are locked."""
        chosen = self._selected()
        self.set_locked([i.uid for i in chosen], not all(i.row.locked for i in chosen))

    def toggle_hidden(self) -> None:
        """Hide the selected objects, or show them where all are hidden."""
        chosen = self._selected()
        self.set_hidden([i.uid for i in chosen], not all(i.row.hidden for i in chosen))

    def set_attribute(self, uid: str, key: str, value: str) -> None:
        """Set one of an object's own fields; an empty value removes it."""

        def change(row: ObjectRow) -> ObjectRow:
            fields = {k: v for k, v in row.attributes.items() if k != key}
            return replace(row, attributes={**fields, key: value} if value else fields)

        self._change_rows(f"Set {key}", [uid], change)

    def _change_rows(self, label: str, uids: Sequence[str], change: Callable[[ObjectRow], ObjectRow]) -> None:
        document = self._session.document if self._session else None
        if document is None or self._session is None:
            return
        items = [item for uid in uids if (item := document.get(uid)) is not None]
        if items:
            suffix = "" if len(items) == 1 else f" {len(items)} objects"
            self._session.put_rows(f"{label}{suffix}", [change(item.row) for item in items])

    def _rename_from_panel(self, uids: Sequence[str]) -> None:
        self.select(uids)
        self.rename_asked.emit()

    def _selected(self) -> list[Item]:
        return self._session.document.selected() if self._session and self._session.document else []

    def editable(self) -> list[Item]:
        """The selected objects that are not locked; says so where there is none."""
        chosen = self._selected()
        free = [item for item in chosen if not item.row.locked]
        if not chosen:
            self.hint_changed.emit(self.tr("Select an object first (Ctrl+click)"))
        elif not free:
            self.hint_changed.emit(self.tr("The selected objects are locked"))
        return free
