import math

import pytest
import torch

from ovsam_core.calibration import calibrated_scores, expected_calibration_error, fit_temperature


def test_background_is_raised_by_log_k():
    for k in (20, 1203, 22000):
        noise = torch.zeros(1, k)
        assert calibrated_scores(noise, torch.zeros(1))[0, -1] == pytest.approx(0.5, abs=1e-4)


def test_rows_are_probabilities_and_constants_cancel():
    log_p, background = torch.randn(5, 30), torch.randn(5)
    scores = calibrated_scores(log_p, background, 2.0)
    torch.testing.assert_close(scores.sum(1), torch.ones(5))
    torch.testing.assert_close(calibrated_scores(log_p + 7, background + 7, 2.0), scores)


def test_temperature_is_recovered():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20000, 10, generator=generator) * 2
    background = torch.full((20000,), -math.log(10.0))
    true = calibrated_scores(logits, background, 1.7)
    target = torch.multinomial(true, 1, generator=generator)[:, 0]
    assert fit_temperature(logits, background, target) == pytest.approx(1.7, rel=0.06)


def test_ece_of_a_perfect_and_of_a_boastful_model():
    confidence = torch.linspace(0.05, 0.95, 1000)
    correct = torch.rand(1000, generator=torch.Generator().manual_seed(0)) < confidence
    assert expected_calibration_error(confidence, correct) < 0.06
    assert expected_calibration_error(torch.ones(10), torch.zeros(10, dtype=torch.bool)) == pytest.approx(1.0)
    assert math.isnan(expected_calibration_error(torch.zeros(0), torch.zeros(0, dtype=torch.bool)))
