"""How fast the engine is, as ratios measured in one run: `python -m tests.benchmarks.engine --model M`.

Absolute times depend on the machine and on what else it does; variants therefore take turns, and each counts by its
best turn.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ovsam_core.assets import asset_path
from ovsam_core.config import named_config, named_configs
from ovsam_core.embedding import ImageEmbedding
from ovsam_core.embedding_cache import EmbeddingCache
from ovsam_core.modeling.build import build_model
from ovsam_core.models.registry import resolve
from ovsam_core.naming import embed_regions, name_regions
from ovsam_core.pictures import load_picture
from ovsam_core.predictor import ModelInfo, OvsamPredictor, load_predictor
from ovsam_core.prompts import Prompt
from ovsam_core.speed import Speed, prepare
from ovsam_core.text import EncodedVocabulary
from ovsam_core.vocabulary import Vocabulary, preset

if TYPE_CHECKING:
    from collections.abc import Callable

_clock = time.perf_counter
WAYS = {
    "plain": Speed(),
    "channels last": Speed(channels_last=True),
    "fused": Speed(fused=True),
    "channels last, fused": Speed(channels_last=True, fused=True),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="starter", help="installed model, or a named configuration (random weights)")
    parser.add_argument("--turns", type=int, default=3, help="turns each variant gets (default: 3)")
    parser.add_argument("--threads", type=int, help="PyTorch threads (default: its own choice)")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS), help="ways of encoding to compare")
    parser.add_argument(
        "--cpu-time", action="store_true", help="count processor time: steadier where other programs run beside"
    )
    parser.add_argument("--json", metavar="OUT", help="write the figures")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    global _clock  # noqa: PLW0603 - one script, one clock
    if args.cpu_time:
        _clock = time.process_time
    figures = {"clock": "processor" if args.cpu_time else "wall"}
    figures |= measure(args.model, args.turns, {name: WAYS[name] for name in args.ways})
    for key, value in figures.items():
        sys.stdout.write(f"{key:34} {value}\n")
    if args.json:
        Path(args.json).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def measure(model: str, turns: int, ways: dict[str, Speed]) -> dict[str, Any]:
    """Return all figures of a model."""
    config = named_config(model) if model in named_configs() and model != "starter" else None
    figures: dict[str, Any] = {"model": model, "torch": torch.__version__, "threads": torch.get_num_threads()}
    random = np.random.default_rng(0)
    if config is not None:
        network = build_model(config)
        figures |= encode_ways(network, config.input.size, turns, ways)
        best = min(ways, key=lambda name: figures[f"encode {name} ms"])
        prepare(network, torch.device("cpu"), ways[best])
        info = ModelInfo(model, "bench", "", "", config.input.size, config.embed_dim, (), "", random_weights=True)
        predictor = OvsamPredictor(network, info, device=torch.device("cpu"), speed=ways[best])
    else:
        from ovsam_core.checkpoint import load_model

        network = load_model(resolve(model))
        figures |= encode_ways(network, network.config.input.size, turns, ways)
        predictor = load_predictor(model, "cpu")
    rgb = random.integers(0, 255, (480, 640, 3), dtype=np.uint8)
    embedding = predictor.set_image(rgb)
    figures |= decoding(predictor, embedding, turns)
    figures |= ranking(predictor, embedding, turns)
    figures |= caching(predictor, rgb, embedding, turns)
    if config is None:
        figures |= clicking(predictor, turns)
    return figures


@torch.inference_mode()
def encode_ways(network: Any, side: int, turns: int, ways: dict[str, Speed]) -> dict[str, Any]:
    """Time the encoder plain and in every float32 way, in turns."""
    pixels = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(turns):
        for name, way in ways.items():  # one copy at a time: RN50x16 is 1.2 GB
            variant = network
            if way != Speed():
                variant = copy.deepcopy(network)
                prepare(variant, torch.device("cpu"), way)
            variant.encode(way.arrange(pixels))  # warm
            best[name] = min(best[name], timed(lambda v=variant, w=way: v.encode(w.arrange(pixels))))
            del variant
    figures: dict[str, Any] = {f"encode {name} ms": round(ms, 1) for name, ms in best.items()}
    fastest = min(best, key=lambda name: best[name])
    if "plain" in best:
        figures |= {"fastest way": fastest, "fastest / plain": round(best[fastest] / best["plain"], 3)}
    return figures


def decoding(predictor: OvsamPredictor, embedding: ImageEmbedding, turns: int) -> dict[str, Any]:
    """Time clicks on one picture: 1, 8 and 64 at once, masks at the picture's size, no names."""
    random = np.random.default_rng(1)
    h, w = embedding.size_hw
    prompts = [Prompt.of(points=random.random((1, 2)) * (w, h)) for _ in range(64)]
    predictor.predict_batch(prompts[:2], embedding=embedding)
    return {
        f"decode {n} prompts ms": round(
            best_of(turns, lambda n=n: predictor.predict_batch(prompts[:n], embedding=embedding)), 1
        )
        for n in (1, 8, 64)
    }


@torch.inference_mode()
def ranking(predictor: OvsamPredictor, embedding: ImageEmbedding, turns: int) -> dict[str, Any]:
    """Time names for one region out of 22,000 with synonyms; text rows are random, which costs the same."""
    vocabulary: Vocabulary = preset("all")
    counts = [len(entry.phrases) for entry in vocabulary]
    rows = np.random.default_rng(2).standard_normal((sum(counts), predictor.info.embed_dim)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    starts = np.cumsum([0, *counts[:-1]])
    encoded = EncodedVocabulary(vocabulary, rows.astype(np.float16), starts, "random")
    model = predictor._model
    features = predictor._features(embedding)
    side = predictor.info.input_size
    boxes = torch.tensor([[0.1, 0.1, 0.6, 0.5]]) * side
    low = side // 4
    mask = torch.full((1, low, low), -5.0)
    mask[:, low // 10 : low // 2, low // 10 : low * 6 // 10] = 5.0
    token = torch.zeros(1, model.config.decoder.width)
    regions = embed_regions(model, features, boxes, mask, token)
    name_regions(model, regions, encoded)
    return {
        "names": len(vocabulary),
        "phrases": len(rows),
        "region embedding ms": round(best_of(5 * turns, lambda: embed_regions(model, features, boxes, mask, token)), 2),
        "ranking ms": round(best_of(5 * turns, lambda: name_regions(model, regions, encoded)), 2),
    }


def clicking(predictor: OvsamPredictor, turns: int) -> dict[str, Any]:
    """Time what a person waits for: a picture's first click, and further clicks, with 1,203 names, zoom and crops.

    Clicks are spread over a real picture and over the same one enlarged to 11 megapixels: zoom runs for some of them.
    """
    random = np.random.default_rng(3)
    encoded = predictor.encode_vocabulary(preset("lvis"))
    small = load_picture(asset_path("samples", "images", "coco_000000126107.jpg")).rgb
    figures: dict[str, Any] = {}
    for name, rgb in (("0.3 MP", small), ("11 MP", np.ascontiguousarray(small.repeat(6, 0).repeat(6, 1)))):
        h, w = rgb.shape[:2]

        def click(rgb: Any = rgb, h: int = h, w: int = w, zoom: bool | None = None) -> None:
            spot = (random.random((1, 2)) * 0.8 + 0.1) * (w, h)
            predictor.predict(spot, vocabulary=encoded, picture=rgb, zoom=zoom)

        def first(rgb: Any = rgb, click: Any = click) -> None:
            predictor.set_image(rgb)
            click()

        first()
        figures[f"first reply {name} ms"] = round(float(np.median([timed(first) for _ in range(5 * turns)])), 1)
        for kind, zoom in (("further click", None), ("further click without zoom", False)):
            times = [timed(partial(click, zoom=zoom)) for _ in range(20 * turns)]
            for share in (50, 95):
                figures[f"{kind} {name} p{share} ms"] = round(float(np.percentile(times, share)), 1)
    return figures


def caching(predictor: OvsamPredictor, rgb: Any, embedding: ImageEmbedding, turns: int) -> dict[str, Any]:
    """Time reading an embedding from the disk against computing it."""
    with tempfile.TemporaryDirectory() as folder:
        cache = EmbeddingCache(Path(folder), ram_bytes=0)
        fields = ("size_hw", "input_hw", "scale_xy", "encoder_hash")
        named = ImageEmbedding(embedding.tensors, picture_key="p", **{f: getattr(embedding, f) for f in fields})
        cache.put(named)
        load = best_of(turns, lambda: cache.get(named.encoder_hash, "p"))
    encode = best_of(max(1, turns - 1), lambda: predictor.set_image(rgb))
    return {
        "embedding MB": round(embedding.nbytes / 1e6, 2),
        "cache load ms": round(load, 1),
        "encode ms": round(encode, 1),
        "cache load / encode": round(load / encode, 4),
    }


def best_of(turns: int, call: Callable[[], object]) -> float:
    """Return the least milliseconds of several calls."""
    return min(timed(call) for _ in range(turns))


def timed(call: Callable[[], object]) -> float:
    """Return the milliseconds of one call."""
    start = _clock()
    call()
    return (_clock() - start) * 1000


if __name__ == "__main__":
    main()
