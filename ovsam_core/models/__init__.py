"""Models on this machine and published weights: find, fetch, check and assemble them."""

from ovsam_core.models.catalogue import CATALOGUE, PublishedFile, published
from ovsam_core.models.download import download, verify
from ovsam_core.models.registry import Installed, installed, models_folder, resolve

__all__ = [
    "CATALOGUE",
    "Installed",
    "PublishedFile",
    "download",
    "installed",
    "models_folder",
    "published",
    "resolve",
    "verify",
]
