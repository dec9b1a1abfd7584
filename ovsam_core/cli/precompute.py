"""Encode the pictures of a folder ahead of time, so that opening one costs nothing.

It prints how much space all embeddings take before it starts, goes on where an earlier run stopped, and stops at the
cache's quota instead of pushing out what is already there.

Example:
  ovsam precompute photos --quota 40
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ovsam_core.cli.common import add_model, predictor_of, say, size_text
from ovsam_core.errors import PictureError

if TYPE_CHECKING:
    import argparse

    from ovsam_core.embedding_cache import EmbeddingCache
    from ovsam_core.predictor import OvsamPredictor

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument("folder", metavar="FOLDER", help="pictures in it and below it")
    parser.add_argument(
        "--quota",
        metavar="GB",
        type=_gigabytes,
        help="gigabytes all embeddings may take (default: $OVSAM_CACHE_GB, or 20)",
    )
    add_model(parser)


def run(args: argparse.Namespace) -> int:
    """Encode what is not encoded yet."""
    from ovsam_core.embedding_cache import EmbeddingCache
    from ovsam_core.pictures import PICTURE_SUFFIXES, picture_key

    folder = Path(args.folder)
    if not folder.is_dir():
        raise PictureError(f"{folder}: no such folder")
    pictures = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file())
    if not pictures:
        raise PictureError(f"{folder}: no pictures in it")
    predictor = predictor_of(args)
    quota = {} if args.quota is None else {"disk_bytes": args.quota}
    cache = EmbeddingCache(ram_bytes=0, **quota)
    each = predictor.embedding_nbytes
    encoder = predictor.info.encoder_hash
    keys = {path: picture_key(path) for path in pictures}
    waiting = [path for path in pictures if not cache.path(encoder, keys[path]).exists()]
    usage = cache.usage()
    print(
        f"{len(pictures)} pictures x {size_text(each)} = {size_text(len(pictures) * each)}; "
        f"{len(pictures) - len(waiting)} are encoded already; {size_text(usage.free)} of {size_text(usage.quota)} free"
    )
    return _encode(predictor, cache, waiting)


def _encode(predictor: OvsamPredictor, cache: EmbeddingCache, waiting: list[Path]) -> int:
    from tqdm import tqdm

    from ovsam_core.pictures import load_picture

    done = failed = 0
    with tqdm(waiting, unit="picture", file=sys.stderr, disable=None) as shown:  # with the remaining time
        for path in shown:
            try:
                picture = load_picture(path)
            except PictureError as error:
                failed += 1
                shown.clear()
                say(f"left out: {error}")
                continue
            if not cache.put(predictor.set_image(picture), evict=False):
                shown.clear()
                say(f"stopped at the quota after {done} of {len(waiting)} pictures; allow more with --quota GB")
                return 1
            done += 1
    print(f"{done} encoded" + (f", {failed} left out" if failed else ""))
    return 1 if failed else 0


def _gigabytes(text: str) -> int:
    import argparse

    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of gigabytes")
    return int(value * 1e9)
