"""The temperature after teaching names: the same answers as the evaluator, other confidences."""

from __future__ import annotations

import math

import pytest
import torch

from ovsam_core.predictor import load_predictor
from ovsam_core.vocabulary import Vocabulary
from tests.training.builders import NAMES, coco_file
from training.measuring import measure
from training.recalibration import (
    NameScores,
    calibration_error,
    confidence,
    name_scores,
    ranks,
    refitted_temperature,
)
from training.records import read_records
from training.summary import summarise
from training.systems import OvsamSystem


def test_scores_are_the_evaluators(tmp_path):
    pictures = read_records(coco_file(tmp_path, 3))
    vocabulary = Vocabulary.of([*NAMES, "zebra", "kite"])
    predictor = load_predictor("tiny", device="cpu")
    scores = name_scores(predictor, pictures, vocabulary)
    report = summarise(measure(OvsamSystem(predictor, vocabulary), pictures, vocabulary))
    found = ranks(scores)
    assert sum(r == 0 for r in found) / len(found) == pytest.approx(report["top1"])
    assert calibration_error(scores, predictor.config.temperature) == pytest.approx(report["ece"], abs=1e-4)


def sure_but_wrong(count, share, seed=0):
    """Log scores that put nearly all on one of four names; a share of the answers is right."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 4, (count,), generator=generator)
    right = torch.rand(count, generator=generator) < share
    chosen = torch.where(right, target, (target + 1) % 4)
    log_p = torch.full((count, 4), -6.0)
    log_p[torch.arange(count), chosen] = 0.0
    return NameScores(log_p, torch.full((count,), -9.0), target)


def test_refitting_makes_confidence_true():
    scores, fresh = sure_but_wrong(400, 0.7), sure_but_wrong(400, 0.7, seed=1)
    new = refitted_temperature(scores, 1.0)
    assert new > 1.5
    assert confidence(scores, new).mean() == pytest.approx(0.7, abs=0.05)
    assert calibration_error(fresh, new) < 0.5 * calibration_error(fresh, 1.0)


def test_few_objects_move_it_little():
    few, many = sure_but_wrong(5, 0.6), sure_but_wrong(500, 0.6)
    assert abs(math.log(refitted_temperature(few, 1.0))) < 0.5 * abs(math.log(refitted_temperature(many, 1.0)))
    nothing = NameScores(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    assert refitted_temperature(nothing, 1.3) == 1.3
