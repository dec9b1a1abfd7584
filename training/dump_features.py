"""Run the teacher SAM over pictures once and keep its features, one half-precision file a picture.

    python -m training.dump_features --data sa1b/ --out features/ --sam_type vit_h --sam sam_vit_h_4b8939.pth

Resumable: what is there is passed over. Several processes (`torchrun`, `accelerate launch`) share the pictures.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003  option types are read at run time
from typing import Any

import torch
from safetensors.torch import save_file

from ovsam_core.errors import PictureError
from ovsam_core.pictures import load_picture, picture_key
from ovsam_core.preprocess import resize_and_pad
from training.args import ConfigError, command, differences, to_yaml
from training.bad_pictures import BadPictures
from training.checkpoints import DiskFullError, is_full
from training.loop import make_accelerator
from training.options import LoopArgs
from training.progress import clock
from training.sam import build_sam
from training.teacher import TeacherArgs, feature_file, list_pictures, manifest_of, teacher_input

__all__ = ["DumpArgs", "dump", "main"]


@dataclass
class DumpArgs:
    """Dump the teacher's features.

    Attributes:
        data: COCO file, SA-1B folder, or any folder of pictures.
        out: folder of the features.
        images: folder of the pictures, for a COCO file.
        limit: at most this many pictures; 0 takes all.
        teacher: which SAM.
        device: auto takes a GPU where there is one.
        precision: "bf16" runs the encoder under autocast.
        max_bad: share of unreadable pictures that stops the run.
    """

    data: Path
    out: Path
    images: Path | None = None
    limit: int = 0
    teacher: TeacherArgs = field(default_factory=TeacherArgs)
    device: str = "auto"
    precision: str = "no"
    max_bad: float = 0.01


def dump(args: DumpArgs) -> dict[str, Any]:
    """Run the stage; returns counts and rates.

    Raises:
        ConfigError: the folder holds features of another teacher.
        TooManyBadPicturesError: more pictures than allowed cannot be read.
        DiskFullError: no room; everything written so far is whole.
    """
    accelerator = make_accelerator(LoopArgs(device="cpu" if args.device == "cpu" else "auto"))
    rank, world, device = accelerator.process_index, accelerator.num_processes, accelerator.device
    sam = build_sam(args.teacher.sam_type, args.teacher.sam, seed=args.teacher.seed)
    manifest = manifest_of(args.teacher, sam)
    pictures = list_pictures(args.data, args.images)
    pictures = pictures[: args.limit] if args.limit else pictures
    if accelerator.is_main_process:
        print(to_yaml(args), end="")
        _check_manifest(args.out, manifest)
    accelerator.wait_for_everyone()
    settings = teacher_input(sam, args.teacher.interpolation)
    encoder = sam.image_encoder.to(device)
    mine = pictures[rank::world]
    bad = BadPictures(len(mine), args.max_bad)
    made = there = written = 0
    began = time.perf_counter()
    for number, record in enumerate(mine):
        try:
            target = feature_file(args.out, picture_key(record.path))
            if target.exists():
                there += 1
                continue
            picture = load_picture(record.path)
        except PictureError as error:
            bad.add([(str(record.path), str(error))])
            continue
        pixels = resize_and_pad(picture.rgb, settings).pixels.to(device)
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bf16"):
            features = encoder(pixels)[0]
        written += _write(target, features)
        made += 1
        if made % 50 == 0 and accelerator.is_main_process:
            rate = made / (time.perf_counter() - began)
            left = clock((len(mine) - number - 1) / rate)
            print(f"{number + 1}/{len(mine)} pictures, {rate:.2f}/s · {left} left", flush=True)
    seconds = time.perf_counter() - began
    report = {"made": made, "there": there, "bytes": written, "seconds": seconds, "unreadable": bad.found}
    (args.out / f"report_{rank}.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    print(f"{made} pictures in {seconds:.1f} s, {written / max(1, made) / 1e3:.1f} kB each; {there} were there")
    return report


def _check_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    path = folder / "manifest.json"
    if path.exists():
        changed = differences(json.loads(path.read_text(encoding="utf-8")), manifest)
        if changed:
            raise ConfigError(f"{path}: the folder holds features of another teacher: {'; '.join(changed)}")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _write(target: Path, features: torch.Tensor) -> int:
    """Write one file whole or not at all; returns its size in bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".part")
    try:
        save_file({"features": features.half().cpu().contiguous()}, partial)
        partial.replace(target)
    except Exception as error:
        partial.unlink(missing_ok=True)
        if is_full(error):
            raise DiskFullError(f"{target}: the disk is full; the files written so far are whole") from error
        raise
    return target.stat().st_size


def main(args: DumpArgs) -> None:
    """Run the stage."""
    dump(args)


if __name__ == "__main__":
    sys.exit(command(DumpArgs, main, program="python -m training.dump_features"))
