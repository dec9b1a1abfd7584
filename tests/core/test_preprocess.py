"""Pictures to network input and coordinates back."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ovsam_core.config import InputConfig, named_config
from ovsam_core.errors import PictureError
from ovsam_core.preprocess import input_size_hw, normalise, resize_and_pad, to_input, to_original

SIDES = st.integers(1, 3000)


def picture(h: int, w: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (h, w, 3), np.uint8)


@given(SIDES, SIDES, st.sampled_from([64, 512, 1024]))
def test_the_longer_side_becomes_the_networks(h, w, side):
    new_h, new_w = input_size_hw((h, w), side)
    assert max(new_h, new_w) == side
    assert min(new_h, new_w) >= 1
    assert abs(min(new_h, new_w) - max(1, min(h, w) * side / max(h, w))) <= 0.5


def test_halves_are_rounded_up_as_the_official_code_does():
    assert input_size_hw((1, 2048), 1024) == (1, 1024)  # 0.5
    assert input_size_hw((5, 2048), 1024) == (3, 1024)  # 2.5: Python's round would say 2


@pytest.mark.parametrize(("h", "w"), [(48, 64), (64, 48), (300, 200), (7, 500), (64, 64)])
def test_the_picture_lies_top_left_and_the_rest_is_zero(h, w):
    settings = InputConfig(64)
    rgb = picture(h, w)
    pixels, scale_xy, (new_h, new_w) = resize_and_pad(rgb, settings)
    assert pixels.shape == (1, 3, 64, 64)
    assert pixels.dtype == torch.float32
    assert scale_xy == (new_w / w, new_h / h)
    resized = cv2.resize(rgb, (new_w, new_h), interpolation=cv2.INTER_LINEAR)
    expected = (resized.astype(np.float32) - settings.mean) / settings.std
    np.testing.assert_allclose(pixels[0, :, :new_h, :new_w].permute(1, 2, 0).numpy(), expected, atol=1e-5)
    assert not pixels[0, :, new_h:].any()
    assert not pixels[0, :, :, new_w:].any()


def test_area_shrinks_by_means_and_enlarges_bilinearly():
    area = InputConfig(32, interpolation="area")
    plain = replace(area, interpolation="bilinear")
    big, small = picture(64, 64), picture(16, 16)
    shrunk = resize_and_pad(big, area).pixels[0]
    means = big.reshape(32, 2, 32, 2, 3).mean((1, 3))
    np.testing.assert_allclose(shrunk.permute(1, 2, 0).numpy(), (means - area.mean) / area.std, atol=0.02)
    assert torch.equal(resize_and_pad(small, area).pixels, resize_and_pad(small, plain).pixels)


def test_a_model_configuration_is_taken_as_well():
    config = named_config("tiny")
    rgb = picture(20, 30)
    assert torch.equal(resize_and_pad(rgb, config).pixels, resize_and_pad(rgb, config.input).pixels)


@pytest.mark.parametrize(
    "bad",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
)
def test_what_is_no_picture_is_refused(bad):
    with pytest.raises(PictureError, match=r"expected \(H, W, 3\) uint8 with pixels, got"):
        resize_and_pad(bad, InputConfig(64))


@given(st.lists(st.floats(0, 1000, width=32), min_size=4, max_size=4), st.floats(0.1, 4), st.floats(0.1, 4))
def test_coordinates_come_back(box, sx, sy):
    xyxy = np.array([box], np.float32)
    there = to_input(xyxy, (sx, sy))
    np.testing.assert_allclose(there[0], xyxy[0] * [sx, sy, sx, sy], rtol=1e-5, atol=1e-30)
    np.testing.assert_allclose(to_original(there, (sx, sy)), xyxy, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(to_original(there[:, :2], (sx, sy)), xyxy[:, :2], rtol=1e-4, atol=1e-4)


def test_normalise_is_per_channel():
    rgb = np.full((1, 1, 1, 3), (10, 20, 30), np.uint8)
    assert normalise(rgb, (0, 10, 20), (1, 2, 5)).flatten().tolist() == [10, 5, 2]
