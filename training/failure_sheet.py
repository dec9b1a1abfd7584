"""Put a model's worst answers on one sheet: what its card shows beside the figures.

python -m training.failure_sheet --model starter --data assets/samples/samples.json --out docs/starter/failures.jpg

The answer's outline is red, the truth's green; above the boxes' cases stand those of one click at the mask's centre.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from ovsam_core.formats.coco import read_coco
from ovsam_core.vocabulary import Vocabulary
from training.args import ConfigError, command
from training.cases import draw_case
from training.evaluate import EvaluateArgs
from training.measuring import measure
from training.records import read_records

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.measuring import Measured
    from training.records import PictureRecord

__all__ = ["SheetArgs", "main", "worst_cases"]

_PROMPTS: tuple[Literal["box", "centre"], ...] = ("centre", "box")


@dataclass
class SheetArgs:
    """Put a model's worst answers on one sheet.

    Attributes:
        data: COCO JSON whose pictures may be shown: it tells their licences.
        out: JPEG of the sheet.
        model: id of a model, or its directory.
        images: folder of the pictures; default `images` beside the data.
        vocabulary: names to choose from.
        licences: COCO licence ids whose pictures may be shown with their attribution.
        each: cases for each kind of prompt.
        columns: of the sheet.
        tile: side of a case, pixels.
        min_area: objects below this annotation area are left out.
        quality: of the JPEG.
    """

    data: Path
    out: Path
    model: str = "starter"
    images: Path | None = None
    vocabulary: str = "coco"
    licences: tuple[int, ...] = (4, 5, 7)
    each: int = 5
    columns: int = 5
    tile: int = 230
    min_area: float = 1024.0
    quality: int = 80


def worst_cases(objects: list[Measured], count: int) -> list[Measured]:
    """Return the objects with the lowest IoU, at most one of a picture as long as there are enough pictures."""
    order = sorted((one for one in objects if one.mask is not None), key=lambda one: one.iou)
    first = list({one.picture: one for one in reversed(order)}.values())
    first.sort(key=lambda one: one.iou)
    kept = {id(one) for one in first}
    return [*first, *(one for one in order if id(one) not in kept)][:count]


def main(args: SheetArgs) -> None:
    """Measure, draw, and print whose pictures are shown.

    Raises:
        ConfigError: no picture has a licence that allows it.
    """
    from training.build_system import build_system  # noqa: PLC0415  loads torch

    allowed = _allowed(args)
    pictures = [p for p in read_records(args.data, args.images) if p.path.name in allowed]
    if not pictures:
        raise ConfigError(f"{args.data}: no picture with licence {', '.join(map(str, args.licences))}")
    vocabulary = Vocabulary.load(args.vocabulary)
    system = build_system(EvaluateArgs(data=args.data, json=args.out, model=args.model), vocabulary)
    tiles, shown = [], {}
    for prompt in _PROMPTS:
        run = measure(system, pictures, vocabulary, prompt=prompt, min_area=args.min_area, keep_masks=sys.maxsize)
        for one in worst_cases(run.objects, args.each):
            record: PictureRecord = pictures[one.picture]
            tiles.append(_tile(draw_case(one, record), args.tile))
            shown[record.path.name] = allowed[record.path.name]
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % args.columns)
    rows = [np.hstack(tiles[i : i + args.columns]) for i in range(0, len(tiles), args.columns)]
    sheet = cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, args.quality])
    if not done:
        raise ConfigError(f"{args.out}: the sheet could not be written as JPEG")
    args.out.write_bytes(data.tobytes())
    print(f"{args.out}: {len(data) // 1000} kB")
    for name, owner in sorted(shown.items()):
        print(f"{name}: {owner}")


def _allowed(args: SheetArgs) -> dict[str, str]:
    """Return file name → attribution of the pictures that may be shown."""
    found = {}
    for image in read_coco(args.data)[0].images:
        licence = image.extra.get("license")
        if licence in args.licences:
            owner = f"flickr.com/photo.gne?id={image.extra.get('flickr_photo_id', '?')}"
            found[PurePath(image.file_name).name] = f"{owner}, COCO licence {licence}"
    return found


def _tile(case: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Fit a case into a white square, a pixel of air round it."""
    scale = (side - 4) / max(case.shape[:2])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(case, None, fx=scale, fy=scale, interpolation=how)
    tile = np.full((side, side, 3), 255, np.uint8)
    tile[2 : 2 + small.shape[0], 2 : 2 + small.shape[1]] = small[: side - 2, : side - 2]
    return tile


if __name__ == "__main__":
    sys.exit(command(SheetArgs, main, program="python -m training.failure_sheet"))
