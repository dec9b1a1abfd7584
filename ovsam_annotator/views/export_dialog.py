"""What to write: format, which pictures, run lengths or polygons, validation split, where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from ovsam_annotator.views.data import ExportChoice

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ExportDialog"]

_FOLDER_FORMATS = frozenset({"yolo", "voc", "labelme", "mask_png"})


class ExportDialog(QDialog):
    """Starts with what was chosen last, and says how many pictures each choice takes."""

    def __init__(self, start: ExportChoice, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Export annotations"))
        counts = dict(start.counts)
        self._format = self._combo(
            self.tr("Format"),
            (
                ("coco", self.tr("COCO JSON")),
                ("lvis", self.tr("LVIS JSON")),
                ("yolo", self.tr("YOLO segmentation (folder)")),
                ("voc", self.tr("Pascal VOC (folder)")),
                ("labelme", self.tr("labelme JSON (folder)")),
                ("mask_png", self.tr("Mask PNG (folder)")),
            ),
            start.format,
        )
        self._scope = self._combo(
            self.tr("Pictures"),
            [
                (key, f"{text} ({counts[key]:,})" if key in counts else text)
                for key, text in (
                    ("approved", self.tr("Approved only")),
                    ("done", self.tr("Approved and done")),
                    ("all", self.tr("All that are not excluded")),
                )
            ],
            start.scope,
        )
        self._geometry = self._combo(
            self.tr("Masks as"),
            (("rle", self.tr("Run lengths (exact)")), ("polygons", self.tr("Polygons (approximate)"))),
            start.geometry,
        )
        self._unnamed = QCheckBox(self.tr("Objects without a name as well"))
        self._unnamed.setAccessibleName(self._unnamed.text())
        self._unnamed.setChecked(start.unnamed)
        self._validation = QSpinBox()
        self._validation.setAccessibleName(self.tr("Share of pictures for validation"))
        self._validation.setRange(0, 50)
        self._validation.setSuffix(" %")
        self._validation.setSpecialValueText(self.tr("no split"))
        self._validation.setToolTip(self.tr("Groups of similar pictures stay on one side."))
        self._validation.setValue(round(start.validation * 100))
        self._path = QLineEdit(start.path)
        self._path.setAccessibleName(self.tr("File or folder to write"))
        self._path.setMinimumWidth(self.fontMetrics().averageCharWidth() * 44)
        browse = QPushButton(self.tr("Browse…"))
        browse.setAccessibleName(self.tr("Choose where to write"))
        browse.clicked.connect(self._browse)
        where = QHBoxLayout()
        where.addWidget(self._path, 1)
        where.addWidget(browse)
        form = QFormLayout()
        form.addRow(self.tr("&Format"), self._format)
        form.addRow(self.tr("&Pictures"), self._scope)
        form.addRow(self.tr("&Masks as"), self._geometry)
        form.addRow(self.tr("&Validation"), self._validation)
        form.addRow("", self._unnamed)
        write_to = QLabel(self.tr("&Write to"))
        write_to.setBuddy(self._path)
        form.addRow(write_to, where)
        note = QLabel(self.tr("Pictures and the project file are not changed."))
        note.setObjectName("faint")
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        export = buttons.addButton(self.tr("Export"), QDialogButtonBox.ButtonRole.AcceptRole)
        export.setAccessibleName(self.tr("Export"))
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        self._path.textChanged.connect(lambda text: export.setEnabled(bool(text.strip())))
        export.setEnabled(bool(start.path.strip()))
        self._format.currentIndexChanged.connect(self._on_format)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(note)
        layout.addWidget(buttons)
        self._on_format()

    def choice(self) -> ExportChoice:
        """What was chosen."""
        return ExportChoice(
            path=self._path.text().strip(),
            format=str(self._format.currentData()),
            scope=str(self._scope.currentData()),
            geometry=cast("Literal['rle', 'polygons']", self._geometry.currentData()),
            unnamed=self._unnamed.isChecked(),
            validation=self._validation.value() / 100,
        )

    def _combo(self, name: str, choices: Sequence[tuple[str, str]], value: str) -> QComboBox:
        combo = QComboBox()
        combo.setAccessibleName(name)
        for key, text in choices:
            combo.addItem(text, key)
        combo.setCurrentIndex(max(0, combo.findData(value)))
        return combo

    def _on_format(self) -> None:
        self._geometry.setEnabled(self._format.currentData() in {"coco", "lvis"})

    def _browse(self) -> None:
        start = self._path.text()
        if self._format.currentData() in _FOLDER_FORMATS:
            path = QFileDialog.getExistingDirectory(self, self.tr("Export to folder"), start)
        else:
            path, _ = QFileDialog.getSaveFileName(self, self.tr("Export to file"), start, self.tr("JSON (*.json)"))
        if path:
            self._path.setText(path)
