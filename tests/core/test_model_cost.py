"""Parameters and multiply-adds against the paper's tables and the shapes they follow from."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from segment_anything import build_sam_vit_h

from ovsam_core.config import named_config
from ovsam_core.modeling import cost as cost_module
from ovsam_core.modeling.build import build_model
from ovsam_core.modeling.cost import count_macs, main, measure, row

PROMPTS = 10


@pytest.fixture(scope="module")
def costs():
    names = ("ovsam-rn50", "ovsam-rn50x16-coco", "ovsam-rn50x64", "ovsam-convnext-large", "starter")
    return {name: measure(named_config(name)) for name in names}


@pytest.mark.parametrize(
    ("name", "total", "paper"),
    [
        ("ovsam-rn50", 164_844_300, 165e6),
        ("ovsam-rn50x16-coco", 304_046_908, 304e6),
        ("ovsam-rn50x64", 567_551_596, 568e6),
        ("ovsam-convnext-large", 321_005_932, 321e6),
    ],
)
def test_parameters_are_the_papers(costs, name, total, paper):
    assert costs[name].total_parameters == total
    assert round(total / 1e6) * 1e6 == paper


def test_parameters_by_part(costs):
    parts = costs["ovsam-rn50x16-coco"].parameters
    assert parts["backbone"] == 167_328_912  # body and attention pool
    assert parts["neck"] == 128_844_768
    assert parts["fpn"] == 3_835_904
    prompt_encoder, label_token, one_mask_decoder = 6_220, 256, 3_505_280
    assert parts["mask_decoder"] == prompt_encoder + label_token + one_mask_decoder
    label_mlp, roi_conv = 328_960, 196_608
    assert parts["head"] == label_mlp + roi_conv


PAPER_MACS = {
    "ovsam-rn50": 728e9,
    "ovsam-rn50x16-coco": 1_180e9,
    "ovsam-rn50x64": 2_098e9,
    "ovsam-convnext-large": 1_313e9,
}


@pytest.mark.parametrize(("name", "paper"), PAPER_MACS.items())
def test_multiply_adds_are_the_papers(costs, name, paper):
    assert costs[name].total_macs(PROMPTS) == pytest.approx(paper, rel=0.01)


def test_multiply_adds_by_part(costs):
    macs = costs["ovsam-rn50x16-coco"].macs
    known = {"body": 498.6e9, "neck": 554.1e9, "fpn": 63.4e9, "decoder": 1.780e9, "head": 0.028e9}
    assert {part: macs[part] for part in known} == pytest.approx(known, rel=0.015)


def test_the_single_scale_neck_of_the_ablation():
    config = named_config("ovsam-convnext-large")
    cost = measure(replace(config, neck=replace(config.neck, kind="single")))
    assert round(cost.total_parameters, -6) == 307e6
    assert cost.total_macs(PROMPTS) == pytest.approx(1_280e9, rel=0.01)


def test_the_baselines_of_the_paper(costs):
    """SAM-H alone, with CLIP on crops, and with CLIP's features: 3,001, 3,748 and 3,545 G; 641 and 808 M parameters."""
    with torch.device("meta"):
        sam = build_sam_vit_h().requires_grad_(False)
        pixels = torch.empty(1, 3, 1024, 1024)
        crop = torch.empty(1, 3, 384, 384)
        feature = torch.empty(1, 256, 64, 64)
        sparse, dense = torch.empty(PROMPTS, 2, 256), torch.empty(PROMPTS, 256, 64, 64)
    encoder = count_macs(lambda: sam.image_encoder(pixels))
    decoder = count_macs(
        lambda: sam.mask_decoder(
            image_embeddings=feature,
            image_pe=torch.empty(1, 256, 64, 64, device="meta"),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )
    )
    model = build_model(named_config("ovsam-rn50x16-coco"), device="meta")
    ours = costs["ovsam-rn50x16-coco"]
    sizes = [sum(p.numel() for p in part.parameters()) for part in (sam, model.backbone)]
    assert round(sizes[0], -6) == 641e6
    assert round(sum(sizes), -6) == 808e6
    assert encoder + decoder == pytest.approx(3_001e9, rel=0.01)
    crops = PROMPTS * count_macs(lambda: model.crop_clip(crop))
    assert encoder + decoder + crops == pytest.approx(3_748e9, rel=0.01)
    assert encoder + decoder + ours.macs["body"] + PROMPTS * ours.macs["frozen"] == pytest.approx(3_545e9, rel=0.01)


def test_the_embedding_is_what_encode_returns():
    config = named_config("tiny")
    features = build_model(config).encode(torch.zeros(1, 3, 128, 128))
    assert measure(config).embedding_bytes == sum(t.half().nbytes for t in features.values())


def test_the_starter_fits_a_laptop(costs):
    assert costs["starter"].total_parameters < 15e6
    assert costs["starter"].total_macs(PROMPTS) < 30e9


def test_the_table_has_a_row_for_each_name(capsys, monkeypatch):
    monkeypatch.setattr(cost_module, "named_configs", lambda: ("tiny",))
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| tiny | 128 | 0.335 | ")
    assert len({line.count("|") for line in lines}) == 1


def test_the_documents_table_is_the_measured_one(costs):
    lines = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8").splitlines()
    for name, cost in costs.items():
        assert row(name, cost) in lines
