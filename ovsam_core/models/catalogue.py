"""The weight files that others publish: where, how large, under which licence, and how they are recognised."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass

from ovsam_core.errors import DownloadError

__all__ = ["CATALOGUE", "S_LAB", "PublishedFile", "published"]

S_LAB = "S-Lab License 1.0 (non-commercial use only)"
_HUB = "https://huggingface.co"
_OVSAM = "hf:HarborYuan/ovsam_models"


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One downloadable file.

    Attributes:
        name: file name, also the name on the command line.
        about: one line for people.
        licence: name of the licence of the weights.
        non_commercial: whether the licence forbids commercial use, so that it must be accepted before the download.
        source: "hf:OWNER/REPOSITORY/FILE" on Hugging Face, otherwise a URL.
        size: exact bytes, or None where it is only known from the server.
        tensor_bytes: bytes of the tensors alone; a smaller file cannot be whole. 0 where unknown.
        sha256: 64 hex digits, or None where the server tells them.
    """

    name: str
    about: str
    licence: str
    source: str
    non_commercial: bool = False
    size: int | None = None
    tensor_bytes: int = 0
    sha256: str | None = None

    @property
    def about_bytes(self) -> int:
        """Bytes to expect, exact or nearly so; 0 where unknown."""
        return self.size or self.tensor_bytes

    def url(self) -> str:
        """Return the address, after the mirrors that the environment names.

        `OVSAM_MIRROR` is a folder that holds every file under its own name; `HF_ENDPOINT` replaces
        `https://huggingface.co` for the files that lie there.
        """
        mirror = os.environ.get("OVSAM_MIRROR", "").rstrip("/")
        if mirror:
            return f"{mirror}/{self.name}"
        if self.source.startswith("hf:"):
            endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or _HUB
            repository, _, file = self.source.removeprefix("hf:").rpartition("/")
            return f"{endpoint}/{repository}/resolve/main/{file}"
        return self.source


CATALOGUE: tuple[PublishedFile, ...] = (
    PublishedFile(
        "sam2clip_vith_rn50x16.pth",
        "Open-Vocabulary SAM: the SAM2CLIP neck for RN50x16",
        S_LAB,
        f"{_OVSAM}/sam2clip_vith_rn50x16.pth",
        non_commercial=True,
        tensor_bytes=536_350_592,
    ),
    PublishedFile(
        "clip2sam_coco_rn50x16.pth",
        "Open-Vocabulary SAM: FPN, head and mask decoder trained on COCO",
        S_LAB,
        f"{_OVSAM}/clip2sam_coco_rn50x16.pth",
        non_commercial=True,
        tensor_bytes=31_468_032,
    ),
    PublishedFile(
        "clip2sam_lvis_rn50x16.pth",
        "Open-Vocabulary SAM: FPN, head and mask decoder trained on LVIS",
        S_LAB,
        f"{_OVSAM}/clip2sam_lvis_rn50x16.pth",
        non_commercial=True,
        tensor_bytes=31_468_032,
    ),
    # As open_clip's own table has it. OpenAI's RN50x16.pt is a TorchScript archive, a program, and is not read.
    PublishedFile(
        "clip_rn50x16_openai.safetensors",
        "OpenAI CLIP RN50x16: the frozen image trunk and the text tower",
        "MIT",
        "hf:timm/resnet50x16_clip.openai/open_clip_model.safetensors",
    ),
    PublishedFile(
        "sam_vit_h_4b8939.pth",
        "Segment Anything ViT-H: only its prompt encoder is used",
        "Apache-2.0",
        "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth",
        size=2_564_550_879,
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
)


def published(name: str) -> PublishedFile:
    """Return a file of the catalogue.

    Raises:
        DownloadError: there is none of this name; the message offers the nearest.
    """
    for file in CATALOGUE:
        if file.name == name:
            return file
    names = [file.name for file in CATALOGUE]
    near = difflib.get_close_matches(name, names, n=2, cutoff=0.4) or names
    raise DownloadError(f"{name}: not a published file this program knows; there is {', '.join(near)}")
