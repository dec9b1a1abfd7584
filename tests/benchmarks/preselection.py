"""How often the first name is right, by its score and by its lead over the second: what preselection rests on.

    python -m tests.benchmarks.preselection --data COCO.json --images DIR [--vocabulary coco] [--json OUT]

One click for each object, on its point farthest from the edge, as a person clicks; objects of at least 1,024 pixels, at
most three a picture, no crowds. A name is right where it is the category's, or one of its synonyms.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from ovsam_core.formats.coco import read_coco
from ovsam_core.pictures import load_picture
from ovsam_core.predictor import load_predictor
from ovsam_core.vocabulary import Vocabulary, normalise

_LEAST_AREA = 1024
_A_PICTURE = 3
_SCORES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.01)
_LEADS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.01)


class Click(NamedTuple):
    """What one click told.

    Attributes:
        score: of the first name.
        lead: of the first name over the second, as a share of its score.
        right: whether it is the object's name.
    """

    score: float
    lead: float
    right: bool


def clicks_of(model: str, data: Path, images: Path, names: str) -> list[Click]:
    """Click on every chosen object."""
    predictor = load_predictor(model)
    vocabulary = predictor.encode_vocabulary(Vocabulary.load(names))
    known = Vocabulary.load("coco")
    dataset, _ = read_coco(data, strict=False)
    classes = {category.id: category.name for category in dataset.categories}
    by_image = dataset.by_image()
    clicks = []
    for image in dataset.images:
        objects = [a for a in by_image[image.id] if not a.iscrowd and a.mask(image).area >= _LEAST_AREA]
        if not objects:
            continue
        picture = load_picture(images / image.file_name)
        embedding = predictor.set_image(picture)
        for annotation in random.Random(image.id).sample(objects, min(_A_PICTURE, len(objects))):
            mask = annotation.mask(image).full().astype(np.uint8)
            depth = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
            y, x = np.unravel_index(depth.argmax(), depth.shape)
            answer = predictor.predict(
                [[x + 0.5, y + 0.5]], vocabulary=vocabulary, embedding=embedding, picture=picture
            )
            first, second = answer.labels[:2]
            entry = known.find(classes[annotation.category_id])
            called = {normalise(name) for name in (entry.name, *entry.synonyms)} if entry else set()
            right = entry is not None and (first.entry_id == entry.id or normalise(first.name) in called)
            clicks.append(Click(first.score, (first.score - second.score) / max(first.score, 1e-9), right))
    return clicks


def table(clicks: list[Click], field: str, edges: tuple[float, ...]) -> list[dict[str, float]]:
    """Accuracy in bins, and of everything from each bin on."""
    rows = []
    for low, high in pairwise(edges):
        inside = [c.right for c in clicks if low <= getattr(c, field) < high]
        above = [c.right for c in clicks if getattr(c, field) >= low]
        rows.append(
            {
                "from": low,
                "n": len(inside),
                "right": round(float(np.mean(inside)), 3) if inside else float("nan"),
                "n_above": len(above),
                "right_above": round(float(np.mean(above)), 3) if above else float("nan"),
            }
        )
    return rows


def main() -> None:
    """Print the tables as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="starter")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--vocabulary", default="coco")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    clicks = clicks_of(options.model, options.data, options.images, options.vocabulary)
    report = {
        "n": len(clicks),
        "right": round(float(np.mean([c.right for c in clicks])), 3),
        "by_score": table(clicks, "score", _SCORES),
        "by_lead": table(clicks, "lead", _LEADS),
        "clicks": [[round(c.score, 4), round(c.lead, 4), int(c.right)] for c in clicks],
    }
    if options.json:
        options.json.write_text(json.dumps(report), "utf-8")
    del report["clicks"]
    sys.stdout.write(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
