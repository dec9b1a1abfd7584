"""The crop branch under masks: what lies round the object stops counting."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from ovsam_core.config import named_config
from ovsam_core.crop_branch import crop_embeddings
from ovsam_core.crops import crop_square
from ovsam_core.masks import Mask
from ovsam_core.modeling.build import build_model


@pytest.fixture(scope="module")
def starter():
    """The starter's architecture with random weights and small crops."""
    config = named_config("starter")
    return build_model(replace(config, crop=replace(config.crop, size=96, mask_share=1.0)))


def _mask(height: int, width: int, rows: slice, columns: slice) -> Mask:
    full = np.zeros((height, width), bool)
    full[rows, columns] = True
    return Mask.of(full)


def test_without_a_share_masks_change_nothing(starter):
    rgb = np.random.default_rng(0).integers(0, 255, (80, 100, 3), np.uint8)
    boxes = np.array([[10, 10, 60, 50]], np.float32)
    plain = build_model(replace(starter.config, crop=replace(starter.config.crop, mask_share=0.0)))
    mask = _mask(80, 100, slice(10, 50), slice(10, 30))
    assert torch.equal(crop_embeddings(plain, rgb, boxes), crop_embeddings(plain, rgb, boxes, masks=[mask]))


def test_a_mask_of_the_whole_crop_is_the_whole_crop(starter):
    pixels = torch.randn(2, 3, 96, 96)
    torch.testing.assert_close(
        starter.crop_clip(pixels, torch.ones(2, 96, 96)), starter.crop_clip(pixels), rtol=1e-4, atol=1e-5
    )


def test_an_empty_mask_falls_back_to_the_whole_crop(starter):
    pixels = torch.randn(1, 3, 96, 96)
    torch.testing.assert_close(starter.crop_clip(pixels, torch.zeros(1, 96, 96)), starter.crop_clip(pixels))


def test_masks_choose_what_is_embedded(starter):
    rgb = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    boxes = np.array([[0, 0, 96, 96]] * 2, np.float32)
    left, right = _mask(96, 96, slice(0, 96), slice(0, 40)), _mask(96, 96, slice(0, 96), slice(56, 96))
    both = crop_embeddings(starter, rgb, boxes, masks=[left, right], scales=(1.0,))
    alone = crop_embeddings(starter, rgb, boxes[:1], masks=[right], scales=(1.0,))
    torch.testing.assert_close(both[1:], alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(both[0], both[1], atol=1e-3)
    torch.testing.assert_close(both.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize("box", [(900, 700, 1500, 1200), (-300, -200, 400, 300), (1700, 1300, 2090, 1600)])
def test_a_large_square_is_cut_as_from_a_smaller_picture(box):
    y, x = np.mgrid[0:1600, 0:2090].astype(np.float32)
    large = np.stack([x / 2090, y / 1600, np.sin(x / 150) * np.cos(y / 130) / 2 + 0.5], 2)
    large = (large * 255).astype(np.uint8)
    small = cv2.resize(large, None, fx=1 / 2, fy=1 / 2, interpolation=cv2.INTER_AREA)
    for pixels, half in ((large, small), (large[..., 0], small[..., 0])):
        cut = crop_square(pixels, box, scale=1.4, size=64, fill=90)
        expected = crop_square(half, np.array(box) / 2, scale=1.4, size=64, fill=90)
        assert cut.shape == expected.shape
        difference = np.abs(cut.astype(int) - expected)
        assert difference.mean() < 2  # the picture's edge may lie half a pixel apart
        assert np.median(difference) <= 1
