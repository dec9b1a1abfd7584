"""Choose how the starter mixes its branches, and fit its temperature, on COCO pictures its names were not learnt from.

The regions are the model's own masks from boxes and from single clicks: what it will name in use, not the annotators'
masks. A temperature fitted on boxes alone would be too sure of what one click found.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from ovsam_core.calibration import fit_temperature
from ovsam_core.config import ModelConfig
from ovsam_core.pictures import load_picture
from ovsam_core.predictor import load_predictor
from ovsam_core.prompts import Prompt
from training import starter_features as features
from training.metrics import centre_point
from training.minilm import MiniLM
from training.starter_names import JointSpace, NameSet, mean_embedding
from training.starter_sources import held_pictures, name_sets, open_sources
from training.starter_stages import load_joint

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from training.starter_features import LabelledRegion
    from training.starter_stages import NameArgs

__all__ = ["calibrate", "choose_shares", "mixed", "predicted_regions", "region_features"]

_SMALLEST = 32**2
_SHARES = (0.0, 0.5, 1.0)
_WEIGHTS = (0.0, 0.5, 2 / 3, 0.8, 1.0)


def calibrate(data: Path, folder: Path, model: Path, args: NameArgs) -> dict[str, Any]:
    """Choose shares and temperature on the held-out COCO pictures.

    Args:
        data: the data folder.
        folder: of the names; `joint-held.safetensors` was learnt without those pictures.
        model: a model directory with trained masks.
        args: how the names were learnt.

    Returns:
        Changes of the configuration.
    """
    sources = open_sources(data, held_share=args.held_share)
    apart = held_pictures(sources.objects).tolist()
    regions = [r for r, held in zip(sources.objects, apart, strict=True) if held and r.area >= _SMALLEST]
    space = load_joint(folder / "joint-held.safetensors", args.joint)
    names = name_sets(sources, MiniLM.from_package())["object"]
    found = [*predicted_regions(model, regions), *predicted_regions(model, regions, click=True)]
    config = model / "config.json"
    scales = ModelConfig.from_json(config.read_bytes(), str(config)).crop.scales
    table = region_features(features.load_trunk(), found, folder / "calibration", scales)
    return choose_shares(space, table, torch.tensor([region.label for region in found]), names)


def predicted_regions(model: Path, regions: Sequence[LabelledRegion], *, click: bool = False) -> list[LabelledRegion]:
    """Replace each region's mask and box by what a model makes of its box, or of one click at its mask's centre.

    An empty answer keeps the true ones.

    Args:
        model: a model directory.
        regions: with masks, grouped by picture.
        click: click instead of drawing the box.
    """
    predictor = load_predictor(model)
    found: list[LabelledRegion] = []
    for path, group in itertools.groupby(regions, key=lambda region: region.path):
        own = list(group)
        picture = load_picture(path)
        embedding = predictor.set_image(picture)
        prompts = [_click(region) if click else Prompt.of(box=region.box_xyxy) for region in own]
        for region, answer in zip(own, predictor.predict_batch(prompts, embedding=embedding), strict=True):
            if answer.empty:
                found.append(region)
                continue
            box = tuple(float(edge) for edge in answer.box_xyxy)
            found.append(replace(region, box_xyxy=box, mask=answer.mask))  # type: ignore[arg-type]
    return found


def _click(region: LabelledRegion) -> Prompt:
    assert region.mask is not None
    return Prompt.of([centre_point(region.mask.full())], [1])


def region_features(
    trunk: nn.Module, regions: Sequence[LabelledRegion], out: Path, scales: Sequence[float]
) -> dict[str, Tensor]:
    """Return (N, C) trunk features of regions: "box" and "mask" of the map, "whole" and "under" of each crop.

    Args:
        trunk: the frozen trunk.
        regions: with masks, grouped by picture.
        out: folder of the features, found again in the next run.
        scales: of the crops, `crop.scales`.
    """
    files = sorted({region.path for region in regions})
    maps = features.extract_maps(trunk, files, out / "map.npy")
    pooled = torch.from_numpy(
        features.pool_maps(trunk, maps, files, regions, features.View(1.0), out / "roi.npy")
    ).float()
    table = {"box": pooled[:, 0], "mask": pooled[:, 1]}
    for index, scale in enumerate(scales):
        view = features.View(scale)
        crop = torch.from_numpy(features.extract_crops(trunk, regions, view, out / f"crop-{scale:g}.npy")).float()
        table |= {f"whole{index}": crop[:, 0], f"under{index}": crop[:, 1]}
    return table


def mixed(space: JointSpace, table: dict[str, Tensor], region_share: float, crop_share: float, weight: float) -> Tensor:
    """Embed regions as the model does with these shares: (N, D), unit length.

    Args:
        space: the joint space.
        table: from `region_features`.
        region_share: `region.mask_share`.
        crop_share: `crop.mask_share`.
        weight: `crop.weight`.
    """
    with torch.no_grad():
        seen = {name: space.image(rows) for name, rows in table.items()}
    region = mean_embedding([seen["box"], seen["mask"]], [1 - region_share, region_share])
    crops = [
        mean_embedding([seen[f"whole{i}"], seen[f"under{i}"]], [1 - crop_share, crop_share])
        for i in range(sum(name.startswith("under") for name in table))
    ]
    return mean_embedding([region, mean_embedding(crops)], [1 - weight, weight])


def choose_shares(space: JointSpace, table: dict[str, Tensor], labels: Tensor, names: NameSet) -> dict[str, Any]:
    """Try every combination of shares, each with its own temperature, and return the settings of the likeliest.

    Args:
        space: learnt without the pictures of these regions.
        table: from `region_features`.
        labels: (N,) true classes.
        names: of those classes.

    Returns:
        Changes of the configuration: `region`, `crop` and `temperature`.
    """
    with torch.no_grad():
        texts = space.text(names.vectors)
    best, chosen = float("inf"), {}
    for region_share, crop_share, weight in itertools.product(_SHARES, _SHARES, _WEIGHTS):
        logits = space.log_scale.exp().item() * names.logits(
            mixed(space, table, region_share, crop_share, weight), texts
        )
        background = logits.new_zeros(len(logits))
        temperature = fit_temperature(logits, background, labels)
        loss = float(functional.cross_entropy(logits / temperature, labels))
        if loss < best:
            best = loss
            right = float((logits.argmax(1) == labels).float().mean())
            print(
                f"calibrate: region {region_share}, crop {crop_share}, weight {weight:.2f}: "
                f"loss {loss:.4f}, top-1 {right:.3f}, temperature {temperature:.3f}",
                flush=True,
            )
            chosen = {
                "region": {"mask_share": region_share},
                "crop": {"mask_share": crop_share, "weight": weight},
                "temperature": temperature,
            }
    return chosen
