"""Small pictures with known objects, as COCO files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ovsam_core.masks import Mask

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("person", "dog", "cup")


def scene(index: int, *, height: int = 48, width: int = 64) -> tuple[np.ndarray, list[tuple[str, np.ndarray]]]:
    """A grey picture with three coloured shapes that do not overlap; colour tells the class."""
    rng = np.random.default_rng(index)
    rgb = rng.integers(90, 120, (height, width, 3), dtype=np.uint8)
    objects = []
    for place, name in enumerate(NAMES):
        mask = np.zeros((height, width), np.uint8)
        x, y = 10 + 20 * place + int(rng.integers(-2, 3)), int(rng.integers(12, height - 12))
        if place == 1:
            cv2.rectangle(mask, (x - 6, y - 5), (x + 6, y + 5), 1, -1)
        else:
            cv2.circle(mask, (x, y), 6 + place, 1, -1)
        rgb[mask > 0] = np.eye(3, dtype=np.uint8)[place] * 200 + 20
        objects.append((name, mask.astype(bool)))
    return rgb, objects


def coco_file(folder: Path, count: int = 4, *, first: int = 0, crowd: bool = False, names=NAMES) -> Path:
    """Write pictures and their COCO file; returns the file."""
    images, annotations = [], []
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for i in range(first, first + count):
        rgb, objects = scene(i)
        cv2.imwrite(str(folder / "images" / f"{i}.png"), rgb[..., ::-1])
        images.append({"id": i, "file_name": f"{i}.png", "height": rgb.shape[0], "width": rgb.shape[1]})
        for name, pixels in objects:
            mask = Mask.of(pixels)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": i,
                    "category_id": NAMES.index(name) + 1,
                    "segmentation": mask.rle,
                    "bbox": list(mask.bbox_xywh),
                    "area": mask.area,
                    "iscrowd": int(crowd and name == "dog"),
                }
            )
    path = folder / f"data_{first}.json"
    categories = [{"id": i + 1, "name": n} for i, n in enumerate(names)]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path
