"""Models on this machine and published weights: find, fetch, check and assemble them."""

from ovsam_core.models.catalogue import CATALOGUE, PublishedFile, published
from ovsam_core.models.download import download, verify
from ovsam_core.models.registry import Installed, adopt, installed, models_folder, resolve

__all__ = [
    "CATALOGUE",
    "Installed",
    "PublishedFile",
    "adopt",
    "download",
    "installed",
    "models_folder",
    "published",
    "resolve",
    "verify",
]
