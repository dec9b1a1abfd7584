"""Between projects and annotation files: import, export, and what either could not carry over."""

from ovsam_core.exchange.exporting import ExportOptions, export_coco, project_to_coco
from ovsam_core.exchange.importing import ImportOptions, import_coco, import_dataset

__all__ = ["ExportOptions", "ImportOptions", "export_coco", "import_coco", "import_dataset", "project_to_coco"]
