"""The whole model on `tiny`: shapes, independence of pictures and prompts, frozen parts, variants of the name head."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ovsam_core.config import HeadConfig, NeckConfig, RegionConfig, TextConfig, named_config
from ovsam_core.errors import ModelError
from ovsam_core.modeling.build import build_model
from ovsam_core.modeling.prompt_encoder import PromptTensors

TINY = named_config("tiny")
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def model():
    return build_model(TINY)


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(3, 3, 128, 128, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def features(model, pixels):
    with torch.inference_mode():
        return model.encode(pixels[:1])


BOXES = torch.tensor([[0.0, 0, 128, 128], [10, 20, 60, 90], [100, 100, 101, 101], [3, 4, 120, 12]])


def clicks(xy: torch.Tensor) -> PromptTensors:
    return PromptTensors(xy, torch.ones(xy.shape[:2], dtype=torch.int8))


def test_encode_returns_every_map(features):
    assert {name: tuple(tensor.shape) for name, tensor in features.items()} == {
        "neck": (1, 32, 8, 8),
        "trunk": (1, 256, 4, 4),
        "fpn0": (1, 16, 32, 32),
        "fpn1": (1, 16, 16, 16),
        "fpn2": (1, 16, 8, 8),
        "fpn3": (1, 16, 4, 4),
    }


@pytest.mark.parametrize("size", [64, 96, 160])
def test_other_input_sizes_work(model, size):
    with torch.inference_mode():
        features = model.encode(torch.randn(1, 3, size, size))
        decoded = model.decode(features, clicks(torch.tensor([[[20.0, 30.0]]])))
    assert features["neck"].shape[-1] == size // 16
    assert decoded.logits.shape[-2:] == (size // 4, size // 4)
    assert decoded.logits.isfinite().all()


def test_pictures_of_a_batch_do_not_mix(model, pixels):
    with torch.inference_mode():
        together = model.encode(pixels)
        for i in range(len(pixels)):
            alone = model.encode(pixels[i : i + 1])
            for name, tensor in alone.items():
                torch.testing.assert_close(together[name][i : i + 1], tensor, **CLOSE)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 128), st.floats(0, 128)), min_size=1, max_size=5), st.randoms(use_true_random=False)
)
def test_prompts_are_independent_of_company_and_order(model, features, points, random):
    xy = torch.tensor(points, dtype=torch.float32)[:, None]
    order = list(range(len(xy)))
    random.shuffle(order)
    with torch.inference_mode():
        together = model.decode(features, clicks(xy))
        shuffled = model.decode(features, clicks(xy[order]))
        alone = [model.decode(features, clicks(xy[i : i + 1])) for i in range(len(xy))]
    torch.testing.assert_close(together.logits, torch.cat([d.logits for d in alone]), **CLOSE)
    torch.testing.assert_close(together.iou, torch.cat([d.iou for d in alone]), **CLOSE)
    torch.testing.assert_close(shuffled.logits, together.logits[order], **CLOSE)


@pytest.mark.parametrize("branch", ["region_head", "region_clip"])
def test_regions_are_independent_of_company_order_and_batch(model, pixels, branch):
    with torch.inference_mode():
        embed = getattr(model, branch)
        three = model.encode(pixels)
        one = {name: tensor[1:2] for name, tensor in three.items()}
        together = embed(one, BOXES)
        torch.testing.assert_close(together.norm(dim=1), torch.ones(4), **CLOSE)
        torch.testing.assert_close(embed(one, BOXES.flip(0)), together.flip(0), **CLOSE)
        torch.testing.assert_close(torch.cat([embed(one, box[None]) for box in BOXES]), together, **CLOSE)
        rows = torch.tensor([1, 0, 1, 2])
        mixed = embed(three, BOXES, index=rows)
        torch.testing.assert_close(mixed[[0, 2]], together[[0, 2]], **CLOSE)
        assert embed(one, BOXES[:0]).shape == (0, 32)


def test_the_whole_picture_as_a_region_is_the_picture(model):
    crop = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        last = model.backbone.maps(crop)[-1]
        region = model.backbone.regions(last, torch.tensor([[0.0, 0, 64, 64]]).expand(2, 4), index=torch.arange(2))
        torch.testing.assert_close(region, model.crop_clip(crop), **CLOSE)
        expected = torch.nn.functional.normalize(model.backbone.visual(crop), dim=1)
        torch.testing.assert_close(model.crop_clip(crop), expected, **CLOSE)
        assert model.crop_clip(torch.randn(1, 3, 96, 96)).shape == (1, 32)


def test_frozen_weights_never_move(pixels):
    model = build_model(TINY).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimiser = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=0.1, weight_decay=0.1)
    features = model.encode(pixels)
    one = {name: tensor[:1] for name, tensor in features.items()}
    decoded = model.decode(one, clicks(torch.tensor([[[20.0, 30.0]]])))
    loss = decoded.logits.square().mean() + decoded.iou.mean() + model.region_head(features, BOXES)[:, 0].sum()
    loss.backward()
    optimiser.step()
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert not {name for name in moved if name.startswith(("backbone.", "text."))}
    for learnt in ("neck.blocks.0.attn.qkv.weight", "fpn.fpn_convs.0.weight", "head.roi_conv.weight"):
        assert learnt in moved
    assert any(name.startswith("mask_decoder.") for name in moved)
    assert not model.backbone.visual.training
    assert not model.text.training
    assert model.neck.training


@pytest.fixture(scope="module")
def official_form():
    config = replace(TINY, decoder=replace(TINY.decoder, form="official"))
    return config, build_model(config)


def test_in_the_released_form_the_label_token_has_no_effect(official_form, features):
    _, model = official_form
    tokens = torch.randn(4, 32)
    assert torch.equal(model.region_head(features, BOXES), model.region_head(features, BOXES, label_tokens=tokens))


def test_the_label_token_classifies_where_the_configuration_says_so(official_form, features):
    config, _ = official_form
    model = build_model(replace(config, head=replace(config.head, label_token_classifies=True)))
    a, b = (model.region_head(features, BOXES, label_tokens=torch.randn(4, 32)) for _ in range(2))
    assert not torch.allclose(a, b)
    with pytest.raises(ModelError, match="needs label_tokens"):
        model.region_head(features, BOXES)


def test_the_variants_of_the_name_head(official_form, pixels):
    config, _ = official_form
    parts, found = {}, {}
    for variant in ("token", "token_clip", "fpn"):
        head = HeadConfig(variant, roi=4, channels=16, label_token_classifies=variant != "fpn")
        model = build_model(replace(config, head=head))
        with torch.inference_mode():
            features = model.encode(pixels[:1])
            decoded = model.decode(features, clicks(torch.tensor([[[20.0, 30.0]], [[90.0, 80.0]]])))
            masks = torch.ones(2, 32, 32)
            found[variant] = model.region_head(features, BOXES[:2], masks, decoded.label_tokens)
        parts[variant] = {name.split(".")[1] for name in model.state_dict() if name.startswith("head.")}
        assert ("fpn0" in features) == (variant == "fpn")
    assert parts == {
        "token": {"label_mlp"},
        "token_clip": {"label_mlp", "clip_mlp"},
        "fpn": {"label_mlp", "roi_conv"},
    }
    assert not torch.allclose(found["token"], found["token_clip"])


def test_mask_pooling_reads_the_mask(official_form, pixels):
    config, _ = official_form
    model = build_model(replace(config, head=HeadConfig("token_clip", label_token_classifies=True)))
    with torch.inference_mode():
        features = model.encode(pixels[:1])
        tokens = torch.randn(1, 32)
        left, right, none = (torch.full((1, 32, 32), -1.0) for _ in range(3))
        left[..., :16], right[..., 16:] = 1, 1
        embedded = [model.region_head(features, BOXES[:1], mask, tokens) for mask in (left, right, none)]
        alone = torch.nn.functional.normalize(model.head.label_mlp(tokens), dim=1)
    assert not torch.allclose(embedded[0], embedded[1])
    torch.testing.assert_close(embedded[2], alone, **CLOSE)  # no cell: the token alone
    with pytest.raises(ModelError, match="needs masks"), torch.inference_mode():
        model.region_head(features, BOXES[:1], None, tokens)


def test_a_model_without_learnt_names_says_so(features):
    model = build_model(replace(TINY, head=HeadConfig("none")))
    assert model.fpn is None
    with pytest.raises(ModelError, match="names come from region_clip"):
        model.region_head(features, BOXES)


def test_the_single_scale_neck_reads_the_stride_16_map_alone(pixels):
    model = build_model(replace(TINY, neck=replace(TINY.neck, kind="single")))
    with torch.inference_mode():
        maps = model.backbone.maps(pixels[:1])
        before = model.neck(maps)
        others = [torch.zeros_like(level) if i != 2 else level for i, level in enumerate(maps)]
        assert torch.equal(model.neck(others), before)
        assert before.shape == (1, 32, 8, 8)


def test_positions_of_another_grid_are_resampled():
    """A neck stored for the paper's 64 x 64 grid keeps its tensors at a smaller input."""
    config = replace(TINY, neck=NeckConfig(width=32, depth=2, heads=2, window=4, grid=16, position="learnt"))
    model = build_model(config)
    assert model.neck.pos_embed.shape == (1, 16, 16, 32)
    assert model.neck.pos_embed.requires_grad
    assert model.encode(torch.randn(1, 3, 128, 128))["neck"].shape == (1, 32, 8, 8)


def test_the_starters_switches_build_and_run():
    config = named_config("starter")
    model = build_model(replace(config, input=replace(config.input, size=128)))
    with torch.inference_mode():
        features = model.encode(torch.randn(1, 3, 128, 128))
        decoded = model.decode(features, clicks(torch.tensor([[[20.0, 30.0]]])))
        regions = model.region_clip(features, BOXES, torch.randn(4, 32, 32))
    assert {"skip4", "skip8"} <= set(features)
    assert decoded.logits.shape == (1, config.decoder.candidates + 1, 32, 32)
    assert regions.shape == (4, config.embed_dim)


def test_the_same_seed_gives_the_same_weights_and_leaves_the_callers_random_state():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, two, other = build_model(TINY), build_model(TINY), build_model(TINY, seed=1)
    assert torch.equal(torch.rand(1), expected)
    weights = [model.state_dict()["neck.blocks.0.attn.qkv.weight"] for model in (one, two, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_text_is_embedded_at_any_length(model):
    tokens = model.tokenizer(["a photo of a cat", "dog"])
    assert tokens.shape == (2, 16)
    short = model.tokenizer(["cat", "dog"])
    cut = short[:, : int((short != 0).sum(1).max())]
    assert cut.shape[1] < 16
    torch.testing.assert_close(model.encode_text(cut), model.encode_text(short), **CLOSE)
    torch.testing.assert_close(model.encode_text(tokens).norm(dim=1), torch.ones(2), **CLOSE)
    theirs = torch.nn.functional.normalize(model.text(tokens), dim=1)
    torch.testing.assert_close(model.encode_text(tokens), theirs, **CLOSE)


def test_a_merge_list_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ModelError, match="vocab_size is 514, the merge list makes 524"):
        _ = build_model(replace(TINY, text=TextConfig(merges=10))).tokenizer
    with pytest.raises(ModelError, match="merges_file needs the model's directory"):
        _ = build_model(replace(TINY, text=TextConfig(merges_file="merges.txt.gz"))).tokenizer
    with pytest.raises(ModelError, match=r"merges.txt.gz: the merge list cannot be read"):
        _ = build_model(replace(TINY, text=TextConfig(merges_file="merges.txt.gz")), directory=tmp_path).tokenizer


def test_a_tower_that_open_clip_cannot_build_is_refused():
    vision = {**TINY.vision, "vision_cfg": {**TINY.vision["vision_cfg"], "widht": 3}}
    with pytest.raises(ModelError, match=r"open_clip cannot build it: .*widht"):
        build_model(replace(TINY, vision=vision))
    vit = {**TINY.vision, "vision_cfg": {"image_size": 64, "layers": 1, "width": 64, "patch_size": 32}}
    with pytest.raises(ModelError, match="VisionTransformer has no maps at strides 4, 8, 16, 32"):
        build_model(replace(TINY, vision=vit))
    with pytest.raises(ModelError, match="a CLIP ResNet pools by 'attention' or 'mask', got 'head'"):
        build_model(replace(TINY, region=RegionConfig(pool="head")))
    text = {**TINY.vision["text_cfg"], "pool_type": "last"}
    with pytest.raises(ModelError, match="pool at the end token"):
        build_model(replace(TINY, vision={**TINY.vision, "text_cfg": text}))


@pytest.mark.parametrize(
    ("part", "change"),
    [("vision_cfg", {"timm_model_name": "hf-hub:someone/model"}), ("text_cfg", {"hf_model_name": "someone/model"})],
)
def test_a_configuration_never_downloads(part, change):
    vision = {**TINY.vision, part: {**TINY.vision[part], **change}}
    with pytest.raises(ModelError, match="towers that would be downloaded are refused"):
        build_model(replace(TINY, vision=vision, region=RegionConfig(pool="mask")))


def test_pretrained_trunks_are_built_without_their_weights(monkeypatch):
    monkeypatch.setattr("timm.models._builder.load_pretrained", lambda *a, **k: pytest.fail("reached for weights"))
    config = named_config("starter")
    cfg = {**config.vision["vision_cfg"], "timm_model_pretrained": True}
    build_model(replace(config, vision={**config.vision, "vision_cfg": cfg}), device="meta")


def test_logit_scale_is_the_official_hundred(model):
    assert model.logit_scale == pytest.approx(100, rel=1e-4)
    assert np.isclose(np.log(model.logit_scale), TINY.logit_scale)
