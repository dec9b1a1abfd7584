"""The teacher of the neck: SAM's image encoder, run live or read from dumped features; both give the same numbers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path  # noqa: TC003  option types are read at run time
from typing import TYPE_CHECKING, Any

import torch
import xxhash
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ovsam_core.config import InputConfig
from ovsam_core.errors import CheckpointError
from ovsam_core.pictures import DECODING_RULE, PICTURE_SUFFIXES
from training.args import ConfigError, differences
from training.records import PictureRecord, read_records
from training.sam import SamType, build_sam

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segment_anything.modeling import Sam

__all__ = ["DumpedTeacher", "LiveTeacher", "TeacherArgs", "list_pictures", "manifest_of", "teacher_input"]


@dataclass
class TeacherArgs:
    """Which SAM teaches.

    Attributes:
        sam_type: vit_b, vit_l, vit_h (the paper's), or toy, a small random one.
        sam: its published weights.
        interpolation: how pictures are resized; as the student's input.
        seed: of the random toy.
    """

    sam_type: SamType = "vit_h"
    sam: Path | None = None
    interpolation: str = "bilinear"
    seed: int = 0


def teacher_input(sam: Sam, interpolation: str) -> InputConfig:
    """Return SAM's own input settings: its size, its mean and standard deviation."""
    mean, std = (tuple(float(v) for v in t.flatten()) for t in (sam.pixel_mean, sam.pixel_std))
    return InputConfig(sam.image_encoder.img_size, mean, std, interpolation)  # type: ignore[arg-type]


def manifest_of(args: TeacherArgs, sam: Sam) -> dict[str, Any]:
    """Return what dumped features depend on: weights, input and decoding rule."""
    state = xxhash.xxh3_128()
    for name, tensor in sorted(sam.image_encoder.state_dict().items()):
        state.update(name.encode())
        state.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return {
        "teacher": args.sam_type,
        "weights": state.hexdigest(),
        "input": json.loads(json.dumps(asdict(teacher_input(sam, args.interpolation)))),
        "pictures": DECODING_RULE,
        "dtype": "float16",
    }


def list_pictures(path: Path, images: Path | None = None) -> list[PictureRecord]:
    """Return the pictures of a COCO file, or all in a folder and its folders.

    Annotations beside the pictures of a folder (SA-1B) are not read: a teacher needs none, and the masks of a hundred
    thousand pictures would fill the memory.
    """
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES)
        return [PictureRecord(str(p.relative_to(path)), p, 0, 0, ()) for p in files]
    return read_records(path, images)


class LiveTeacher(nn.Module):
    """Run SAM on the student's pixels.

    Args:
        args: which SAM.
        student: the student's input; the pictures arrive normalised for it.

    Raises:
        ConfigError: the two see pictures of different size or resized differently.
    """

    def __init__(self, args: TeacherArgs, student: InputConfig) -> None:
        super().__init__()
        sam = build_sam(args.sam_type, args.sam, seed=args.seed)
        own = teacher_input(sam, args.interpolation)
        _same_view(own, student)
        self.encoder = sam.image_encoder
        for name, values in (
            ("mean", own.mean),
            ("std", own.std),
            ("old_mean", student.mean),
            ("old_std", student.std),
        ):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    @torch.no_grad()
    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """Return (B, C, S/16, S/16) float32, rounded to half precision as dumped features are."""
        pixels = torch.zeros_like(batch["pixels"])
        for row, (height, width) in enumerate(batch["input_hw"]):
            shown = batch["pixels"][row, :, :height, :width].float()
            rgb = (shown * self.old_std + self.old_mean).round()  # back to whole grey levels, exactly
            pixels[row, :, :height, :width] = (rgb - self.mean) / self.std
        features: Tensor = self.encoder(pixels)
        return features.half().float()


class DumpedTeacher:
    """Read features that `training.dump_features` wrote, by the picture's content.

    Args:
        folder: the dump.
        student: the student's input.

    Raises:
        CheckpointError: the folder is no dump.
        ConfigError: it was made for another input.
    """

    def __init__(self, folder: Path, student: InputConfig) -> None:
        try:
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{folder}: manifest.json: not a dump of teacher features ({error})") from error
        settings = manifest["input"]
        own = InputConfig(settings["size"], tuple(settings["mean"]), tuple(settings["std"]), settings["interpolation"])
        _same_view(own, student)
        self.folder = folder

    def __call__(self, batch: Mapping[str, Any]) -> Tensor:
        """Return (B, C, S/16, S/16) float32 on the pixels' device."""
        found = [self._one(key, path) for key, path in zip(batch["key"], batch["path"], strict=True)]
        return torch.stack(found).float().to(batch["pixels"].device)

    def _one(self, key: str, path: str) -> Tensor:
        file = feature_file(self.folder, key)
        try:
            return load_file(file)["features"]
        except FileNotFoundError as error:
            raise CheckpointError(f"{file}: no dumped features of {path}; run training.dump_features on it") from error
        except (SafetensorError, KeyError) as error:
            raise CheckpointError(f"{file}: damaged features of {path} ({error}); delete it and dump again") from error


def feature_file(folder: Path, key: str) -> Path:
    """Return where a picture's features lie: 256 folders, because millions of files in one are slow."""
    return folder / key[:2] / f"{key}.safetensors"


def _same_view(teacher: InputConfig, student: InputConfig) -> None:
    found = differences(
        {"size": teacher.size, "interpolation": teacher.interpolation},
        {"size": student.size, "interpolation": student.interpolation},
    )
    if found:
        raise ConfigError(f"teacher and student see pictures differently: {'; '.join(found)} (teacher → student)")
