"""Between projects and annotation files: import, export, convert, and what either could not carry over."""

from ovsam_core.exchange.converting import (
    Format,
    convert,
    detect_format,
    export_any,
    import_any,
    read_any,
    validate_path,
    write_any,
)
from ovsam_core.exchange.exporting import ExportOptions, export_coco, project_to_coco
from ovsam_core.exchange.importing import ImportOptions, import_coco, import_dataset

__all__ = [
    "ExportOptions",
    "Format",
    "ImportOptions",
    "convert",
    "detect_format",
    "export_any",
    "export_coco",
    "import_any",
    "import_coco",
    "import_dataset",
    "project_to_coco",
    "read_any",
    "validate_path",
    "write_any",
]
