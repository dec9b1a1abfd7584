"""How fast training pictures are loaded, and what the annotations cost in memory: what keeps a GPU from waiting.

    python -m tests.benchmarks.loading --data COCO.json --images DIR [--size 1024] [--pictures 200] [--json OUT]

One process makes CLIP2SAM samples as a loading process does (picture, flip, scale, crop, masks, forty prompts); the
time is processor time, on one thread. The share of time a GPU would wait follows from it and the number of processes.
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch

from ovsam_core.config import InputConfig
from training.data import PromptArgs, PromptSamples, collate
from training.records import names_of, read_records
from training.train_clip2sam import class_rows, training_vocabulary


@dataclass(frozen=True)
class Loading:
    """What was measured.

    Attributes:
        pictures: of the file that teach something.
        objects: their objects.
        per_second: samples a second of processor time.
        read_seconds: reading the file.
        block_bytes: annotations in the block that all loading processes share.
        megabytes: pixels, masks and prompts that one sample hands over.
    """

    pictures: int
    objects: int
    per_second: float
    read_seconds: float
    block_bytes: int
    megabytes: float


def measure(data: Path, images: Path | None, size: int, count: int) -> Loading:
    """Load `count` samples, evenly spread over the file."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    began = time.process_time()
    pictures = read_records(data, images)
    read = time.process_time() - began
    rows = class_rows(training_vocabulary("data", names_of(pictures)), names_of(pictures))
    samples = PromptSamples(pictures, rows, InputConfig(size), PromptArgs(), seed=0)
    keys = [(i // len(samples), i * len(samples) // count % len(samples)) for i in range(count)]
    collate([samples[keys[0]]])  # imports and caches
    sent = 0
    began = time.process_time()
    for key in keys:
        batch = collate([samples[key]])
        tensors = [t for v in batch.values() for t in (v if isinstance(v, list) else [v]) if torch.is_tensor(t)]
        sent += sum(t.numel() * t.element_size() for t in tensors)
    seconds = time.process_time() - began
    objects = sum(len(p.objects) for p in samples.pictures)
    return Loading(
        len(samples), objects, count / seconds, read, len(pickle.dumps(samples.pictures)), sent / count / 1e6
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.loading", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    found = measure(args.data, args.images, args.size, args.pictures)
    sys.stdout.write(f"{found.pictures} pictures, {found.objects} objects; read in {found.read_seconds:.2f} s\n")
    sys.stdout.write(f"{found.per_second:.1f} samples a second and processor core, {found.megabytes:.1f} MB each\n")
    sys.stdout.write(
        f"annotations: {found.block_bytes / found.pictures:.0f} bytes a picture, once for all loading processes\n"
    )
    if args.json:
        args.json.write_text(json.dumps(vars(found), indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
