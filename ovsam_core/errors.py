"""The exceptions this package raises at its borders; each message names the file and the field it is about."""

__all__ = [
    "AssetError",
    "CancelledError",
    "CheckpointError",
    "DownloadError",
    "EmbeddingError",
    "FormatError",
    "ModelError",
    "OvsamError",
    "PictureError",
    "PromptError",
    "StoreError",
    "VocabularyError",
]


class OvsamError(Exception):
    """Base of every error a user can cause or meet; the command line prints it without a traceback."""


class PictureError(OvsamError):
    """A picture cannot be read, has vanished, or exceeds the pixel limit."""


class PromptError(OvsamError, ValueError):
    """A prompt has the wrong shape, is empty or lies outside the picture."""


class VocabularyError(OvsamError):
    """A vocabulary cannot be found, read or combined."""


class ModelError(OvsamError):
    """A model cannot be found, built or run."""


class CheckpointError(ModelError):
    """A weight file is damaged, of another architecture, or would need to run code."""


class AssetError(OvsamError):
    """A file that ships with the program is missing or does not have the hash it should have."""


class FormatError(OvsamError):
    """An annotation file breaks its format."""


class StoreError(OvsamError):
    """A project file is damaged, locked, or of another version."""


class DownloadError(ModelError):
    """A file could not be fetched, or is not what was published; what arrived is kept."""


class EmbeddingError(OvsamError):
    """A saved embedding is missing, damaged or of another model, or cannot be written."""


class CancelledError(OvsamError):
    """The caller asked to stop; what was finished until then is kept."""
