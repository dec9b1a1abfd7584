"""Frozen trunks of several families behind one interface."""

import open_clip
import pytest
import torch
from open_clip.model import CustomTextCLIP

from ovsam_core.config import ModelConfig, NeckConfig, RegionConfig
from ovsam_core.errors import ModelError
from ovsam_core.modeling.build import build_model
from ovsam_core.modeling.clip_backbone import make_backbone

TEXT = {"context_length": 8, "vocab_size": 600, "width": 16, "heads": 2, "layers": 1}
TIMM = ("tf_efficientnet_lite0", "convnext_atto", "fastvit_t8", "regnety_002", "resnet18")


def tower(name: str, proj: str = "linear"):
    vision = {"timm_model_name": name, "timm_pool": "avg", "timm_proj": proj, "image_size": 64}
    return CustomTextCLIP(32, vision, TEXT).visual.eval()


@pytest.fixture(scope="module", params=TIMM)
def visual(request):
    return tower(request.param)


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_a_timm_trunk_gives_four_maps_and_its_own_embedding(visual, pixels):
    backbone = make_backbone(visual, embed_dim=32, region=RegionConfig(pool="head", roi=3))
    maps = backbone.maps(pixels)
    assert [level.shape[1] for level in maps] == list(backbone.channels)
    assert [level.shape[-1] for level in maps] == [16, 8, 4, 2]
    with torch.no_grad():
        own = torch.nn.functional.normalize(visual(pixels), dim=1)
    torch.testing.assert_close(backbone.whole(pixels), own, rtol=1e-4, atol=1e-5)
    assert not any(p.requires_grad for p in backbone.parameters())


def test_a_full_mask_pools_what_the_whole_picture_pools(visual, pixels):
    backbone = make_backbone(visual, embed_dim=32, region=RegionConfig(pool="mask", roi=3))
    last = backbone.maps(pixels)[-1]
    boxes = torch.tensor([[0.0, 0, 64, 64]] * 2)
    pooled = backbone.regions(last, boxes, torch.ones(2, 16, 16), torch.arange(2))
    torch.testing.assert_close(pooled, backbone.whole(pixels), rtol=1e-3, atol=1e-4)


def test_a_mask_without_a_cell_is_pooled_by_its_box(visual, pixels):
    backbone = make_backbone(visual, embed_dim=32, region=RegionConfig(pool="mask", roi=3))
    last = backbone.maps(pixels[:1])[-1]
    box = torch.tensor([[5.0, 5, 20, 30]])
    empty = backbone.regions(last, box, torch.full((1, 16, 16), -1.0))
    torch.testing.assert_close(empty, backbone.regions(last, box))


def test_the_shares_of_box_and_mask(pixels):
    visual = tower("resnet18")
    boxes, masks = torch.tensor([[5.0, 5, 60, 60]]), torch.full((1, 16, 16), -1.0)
    masks[..., :8, :] = 1
    made = {
        share: make_backbone(visual, embed_dim=32, region=RegionConfig("head", 3, share)) for share in (0.0, 0.5, 1.0)
    }
    last = made[0.0].maps(pixels[:1])[-1]
    found = {share: backbone.regions(last, boxes, masks) for share, backbone in made.items()}
    only_mask = make_backbone(visual, embed_dim=32, region=RegionConfig("mask", 3)).regions(last, boxes, masks)
    torch.testing.assert_close(found[0.0], made[0.0].regions(last, boxes))
    torch.testing.assert_close(found[1.0], only_mask)
    half = torch.nn.functional.normalize((found[0.0] + found[1.0]) / 2, dim=1)
    torch.testing.assert_close(found[0.5], half)


def test_crops_are_pooled_under_their_cover(pixels):
    backbone = make_backbone(tower("resnet18"), embed_dim=32, region=RegionConfig("head", 3))
    half = torch.zeros(2, 64, 64)
    half[:, :32] = 1
    whole = backbone.whole(pixels)
    torch.testing.assert_close(backbone.whole(pixels, torch.ones(2, 64, 64), 0.7), whole)
    torch.testing.assert_close(backbone.whole(pixels, torch.zeros(2, 64, 64), 0.7), whole)
    torch.testing.assert_close(backbone.whole(pixels, half, 0.0), whole)
    upper = backbone.pool(backbone.maps(pixels)[-1][:, :, :1])
    torch.testing.assert_close(backbone.whole(pixels, half, 1.0), upper)
    mixed = torch.nn.functional.normalize(0.25 * upper + 0.75 * whole, dim=1)
    torch.testing.assert_close(backbone.whole(pixels, half, 0.25), mixed)


@pytest.mark.parametrize(("size", "grid"), [(224, 7), (288, 9), (384, 12), (448, 14)])
def test_the_attention_pool_has_its_own_grid(size, grid):
    vision = {"image_size": size, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
    backbone = make_backbone(CustomTextCLIP(32, vision, TEXT).visual, embed_dim=32, region=RegionConfig())
    assert backbone.grid == grid
    assert backbone.channels == (32, 64, 128, 256)
    last = backbone.maps(torch.randn(1, 3, 128, 128))[-1]
    assert backbone.regions(last, torch.tensor([[0.0, 0, 64, 64]])).shape == (1, 32)


def test_a_clip_resnet_pools_the_attention_pools_values_under_a_mask():
    vision = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
    visual = CustomTextCLIP(32, vision, TEXT).visual
    backbone = make_backbone(visual, embed_dim=32, region=RegionConfig("mask"))
    by_box = make_backbone(visual, embed_dim=32, region=RegionConfig("attention"))
    last = backbone.maps(torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(2)))[-1]  # (1, 256, 4, 4)
    boxes = torch.tensor([[0.0, 0, 64, 64]] * 2)
    masks = torch.full((2, 4, 4), -1.0)
    masks[0, 1, 2] = masks[0, 3, 0] = 1.0  # the second has no cell
    found = backbone.regions(last, boxes, masks)
    values = visual.attnpool.c_proj(visual.attnpool.v_proj(last[0].flatten(1).T)).reshape(4, 4, 32)
    expected = torch.nn.functional.normalize((values[1, 2] + values[3, 0]) / 2, dim=0)
    torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[1:], by_box.regions(last, boxes, masks)[1:])


@pytest.mark.parametrize(
    ("name", "channels", "grid"),
    [
        ("RN50-quickgelu", (256, 512, 1024, 2048), 7),
        ("RN50x4-quickgelu", (320, 640, 1280, 2560), 9),
        ("RN50x16-quickgelu", (384, 768, 1536, 3072), 12),
        ("RN50x64-quickgelu", (512, 1024, 2048, 4096), 14),
        ("convnext_base_w_320", (128, 256, 512, 1024), None),
        ("convnext_large_d_320", (192, 384, 768, 1536), None),
    ],
)
def test_open_clips_towers(name, channels, grid):
    """Built for the paper's 1024 pixels, run at 512."""
    size = 512
    vision = {**open_clip.get_model_config(name), "text_cfg": TEXT}
    region = RegionConfig("mask" if grid is None else "attention")
    neck = NeckConfig(width=32, depth=1, heads=2, grid=64)
    config = ModelConfig(name, vision, neck=neck, region=region)
    model = build_model(config, device="meta")
    assert model.backbone.channels == channels
    if grid is not None:
        assert model.backbone.grid == grid
    features = model.encode(torch.empty(1, 3, size, size, device="meta"))
    assert features["neck"].shape == (1, 256, size // 16, size // 16)
    assert [features[f"fpn{i}"].shape[-1] for i in range(4)] == [size // 4, size // 8, size // 16, size // 32]
    assert features["trunk"].shape == (1, channels[-1], size // 32, size // 32)


def test_trunks_that_do_not_fit_are_refused():
    region = RegionConfig(pool="mask")
    with pytest.raises(ModelError, match="MobileNetV3 is no trunk this program knows"):
        make_backbone(tower("mobilenetv3_small_050"), embed_dim=32, region=region)
    with pytest.raises(ModelError, match="a convolutional tower is needed"):
        make_backbone(torch.nn.Identity(), embed_dim=32, region=region)
