"""Evaluation's figures on hand-made masks and lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from training import metrics

masks = hnp.arrays(np.bool_, (12, 15))


def test_iou():
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert metrics.mask_iou(a, b) == 1.0
    a[:2], b[1:3] = True, True
    assert metrics.mask_iou(a, b) == pytest.approx(4 / 12)


def test_mean_has_a_standard_error():
    result = metrics.mean([0.0, 1.0, 1.0, 0.0])
    assert result == {"mean": 0.5, "se": pytest.approx(np.std([0, 1, 1, 0], ddof=1) / 2), "n": 4}
    assert metrics.mean([]) == {"mean": None, "se": None, "n": 0}


def test_centre_is_the_deepest_pixel_and_the_border_is_an_edge():
    mask = np.zeros((20, 30), bool)
    mask[5:12, 10:17] = True
    assert metrics.centre_point(mask) == (13.5, 8.5)
    whole = np.ones((21, 21), bool)
    assert metrics.centre_point(whole) == (10.5, 10.5)


def test_next_click_goes_to_the_larger_error():
    truth, predicted = np.zeros((30, 30), bool), np.zeros((30, 30), bool)
    truth[2:9, 2:9] = True
    predicted[15:26, 15:26] = True
    assert metrics.next_click(truth, predicted) == (20.5, 20.5, 0)
    predicted[:] = False
    assert metrics.next_click(truth, predicted) == (5.5, 5.5, 1)
    x, y, label = metrics.next_click(truth, predicted, [(5.5, 5.5)])
    assert (x, y) != (5.5, 5.5)
    assert label == 1
    assert metrics.next_click(truth, truth) is None


@given(masks, masks)
def test_next_click_always_lies_on_an_error_of_its_kind(truth, predicted):
    click = metrics.next_click(truth, predicted)
    if click is None:
        assert np.array_equal(truth, predicted)
    else:
        x, y, label = int(click[0]), int(click[1]), click[2]
        assert (truth[y, x], predicted[y, x]) == ((True, False) if label else (False, True))


def test_clicks_to_reach():
    result = metrics.clicks_to_reach([[0.5, 0.85, 0.9, 0.9], [0.9, 0.9, 0.9, 0.9], [0.1, 0.2, 0.3, 0.4]], 0.8)
    assert result["mean"] == pytest.approx((2 + 1 + 4) / 3)
    assert result["reached"] == pytest.approx(2 / 3)


def test_accuracy_by_class_and_place():
    assert metrics.accuracy([0, 3, 0, 9])["mean"] == 0.5
    assert metrics.accuracy([0, 3, 0, 9], 5)["mean"] == 0.75
    assert metrics.class_mean([0, 0, 0, 1], ["a", "a", "a", "b"])["mean"] == 0.5


def test_calibration_error_of_ten_bins_of_equal_mass():
    """Twenty objects, two in a bin: each pair's confidence against its share of right answers, by hand."""
    confidence = [0.05 * (i + 1) for i in range(20)]
    correct = [i % 2 == 0 for i in range(20)]  # one of each pair is right
    by_hand = np.mean([abs((confidence[i] + confidence[i + 1]) / 2 - 0.5) for i in range(0, 20, 2)])
    assert metrics.calibration_error(confidence[::-1], correct[::-1]) == pytest.approx(by_hand)
    found = metrics.calibration_error_with_se(confidence, correct)
    assert (found["mean"], found["n"]) == (pytest.approx(by_hand), 20)
    assert 0 < found["se"] < 0.2
    assert metrics.calibration_error([], []) is None


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_calibration_error_lies_between_0_and_1(pairs):
    assert 0 <= metrics.calibration_error(*zip(*pairs, strict=True)) <= 1


def test_sizes_are_cocos():
    assert [metrics.size_of(a) for a in (1023, 1024, 9215, 9216)] == ["small", "medium", "medium", "large"]


def test_bootstrap_agrees_with_the_formula():
    values = np.random.default_rng(0).normal(size=400)
    found = metrics.bootstrap_error(lambda chosen: float(values[chosen].mean()), 400, rounds=400)
    assert found == pytest.approx(values.std(ddof=1) / 20, rel=0.15)
    assert metrics.bootstrap_error(lambda chosen: 0.0, 1) is None
    assert metrics.class_mean([], []) == {"mean": None, "se": None, "n": 0}


def test_class_mean_counts_rare_classes_fully():
    found = metrics.class_mean([0] * 90 + [1] * 10, ["common"] * 90 + ["rare"] * 10)
    assert found["mean"] == 0.5
    assert found["se"] == 0.0  # each class answers always alike, however it is drawn
    mixed = metrics.class_mean([0, 1] * 50, ["a"] * 50 + ["b"] * 50)
    assert mixed["se"] == pytest.approx(0.05, rel=0.25)
