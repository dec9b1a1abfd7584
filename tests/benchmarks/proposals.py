"""How much of a picture "Label everything" finds, and how much of what it proposes is there.

    python -m tests.benchmarks.proposals --data COCO.json --images DIR [--limit 20] [--model starter] [--no-zoom]

For every least quality: the share of objects (no crowds, at least 1,024 pixels) that some proposal meets with an IoU of
0.5 and 0.75, their mean best IoU, proposals a picture, and the share of proposals that meet an annotated object. Things
that nobody annotated count as wrong, so the last is a lower bound.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ovsam_core.formats.coco import read_coco
from ovsam_core.masks import iou_matrix
from ovsam_core.pictures import load_picture
from ovsam_core.predictor import load_predictor

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAST_AREA = 1024
_QUALITIES = (0.3, 0.4, 0.5, 0.6, 0.7)


def ious_of(
    model: str, data: Path, images: Path, limit: int, *, zoom: bool
) -> tuple[list[tuple[NDArray[np.float64], NDArray[np.float64]]], float]:
    """Return (objects, proposals) IoU and the proposals' predicted IoU of every picture, and seconds a picture."""
    predictor = load_predictor(model)
    dataset, _ = read_coco(data, strict=False)
    by_image = dataset.by_image()
    found = []
    seconds = 0.0
    chosen = [image for image in dataset.images if by_image[image.id]]
    for image in chosen[:: max(1, len(chosen) // limit)][:limit]:
        notes = (a for a in by_image[image.id] if not a.iscrowd)
        objects = [mask for mask in (a.mask(image) for a in notes) if mask.area >= _LEAST_AREA]
        if not objects:
            continue
        picture = load_picture(images / image.file_name)
        start = time.perf_counter()
        predictor.set_image(picture)
        proposals = predictor.everything(quality=_QUALITIES[0], picture=picture, zoom=None if zoom else False)
        seconds += time.perf_counter() - start
        ious = np.asarray(iou_matrix(objects, [p.mask for p in proposals]), np.float64)
        found.append((ious.reshape(len(objects), -1), np.array([p.best.predicted_iou for p in proposals])))
    return found, seconds / max(1, len(found))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--limit", type=int, default=20, help="pictures, spread evenly over the file")
    parser.add_argument("--no-zoom", dest="zoom", action="store_false", help="without the closer look")
    options = parser.parse_args()
    found, seconds = ious_of(options.model, options.data, options.images, options.limit, zoom=options.zoom)
    sys.stdout.write(f"{len(found)} pictures, {seconds:.1f} s each\n")
    sys.stdout.write("quality  recall@.5  @.75  mean best  proposals  met\n")
    for least in _QUALITIES:
        kept = [ious[:, scores >= least] for ious, scores in found]
        best = np.concatenate([ious.max(1, initial=0.0) for ious in kept])
        met = np.concatenate([ious.max(0) for ious in kept])
        sys.stdout.write(
            f"{least:7.1f}  {(best >= 0.5).mean():9.3f}  {(best >= 0.75).mean():.2f}  {best.mean():9.3f}  "
            f"{len(met) / len(kept):9.1f}  {(met >= 0.5).mean() if len(met) else 0:.2f}\n"
        )


if __name__ == "__main__":
    main()
