"""Losses against hand-made figures, and their independence of how a batch is divided."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from training import losses


def test_class_loss_is_averaged_by_the_sum_of_class_weights():
    logits = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0, 3, 5, 5])
    weight = torch.tensor([1.0, 1, 1, 1, 1, 0.1])
    total = losses.class_weights(targets, 5).sum()
    assert total.item() == pytest.approx(2.2)
    expected = F.cross_entropy(logits, targets, weight=weight)
    torch.testing.assert_close(losses.classification_loss(logits, targets, total), expected)


def test_federated_classes_leave_the_softmax():
    logits = torch.tensor([[1.0, 5.0, 0.0]])
    allowed = torch.tensor([[False, False, True]])
    loss = losses.classification_loss(logits, torch.tensor([0]), torch.tensor(1.0), allowed=allowed)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)))


def test_halves_sum_to_the_whole():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(6, 20, 20, generator=generator)
    targets = (torch.rand(6, 20, 20, generator=generator) > 0.5).float()
    seeds = list(range(10, 16))
    total = torch.tensor(6.0)

    def loss(part):
        points = losses.uncertain_points(logits[part], seeds[part], count=64)
        x, t = losses.point_sample(logits[part], points), losses.point_sample(targets[part], points)
        return losses.point_bce(x, t, total) + losses.dice_loss(x, t, total)

    torch.testing.assert_close(loss(slice(0, 2)) + loss(slice(2, 6)), loss(slice(0, 6)))


def test_points_seek_the_boundary():
    logits = torch.linspace(-8, 8, 64).expand(1, 64, 64)  # zero in the middle
    points = losses.uncertain_points(logits, [3], count=400)
    near = (points[0, :, 0] - 0.5).abs() < 0.16
    assert points.shape == (1, 400, 2)
    assert near[:300].all()  # the important three quarters: the best third of the candidates
    assert not near[300:].all()


def test_point_sample_reads_pixel_centres():
    maps = torch.arange(12.0).view(1, 3, 4)
    points = torch.tensor([[[(2 + 0.5) / 4, (1 + 0.5) / 3]]])
    assert losses.point_sample(maps, points).item() == pytest.approx(6.0)


def test_dice():
    sure = torch.tensor([[100.0, 100.0, -100.0]])
    assert losses.dice_loss(sure, torch.tensor([[1.0, 1.0, 0.0]]), torch.tensor(1.0)).item() == pytest.approx(0.0)
    assert losses.dice_loss(sure, torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor(1.0)).item() == pytest.approx(3 / 4)
    valid = torch.tensor([[True, True, False]])
    assert losses.dice_loss(sure, torch.tensor([[1.0, 1.0, 1.0]]), valid=valid).item() == pytest.approx(0.0)


def test_box_weighting_makes_sizes_equal():
    logits = torch.zeros(2, 40, 40)
    targets = torch.zeros(2, 40, 40)
    targets[0, 4:8, 4:8] = 1
    targets[1, 2:38, 2:38] = 1
    boxes = torch.tensor([[4.0, 4, 8, 8], [2, 2, 38, 38]])
    each = losses.box_weighted_bce(logits, targets, boxes, outside=0.0)
    torch.testing.assert_close(each, torch.full((2,), math.log(2)))
    hidden = losses.box_weighted_bce(logits, targets, boxes, valid=torch.zeros(2, 40, 40, dtype=torch.bool))
    assert hidden.tolist() == [0, 0]


def test_iou_head_has_no_gradient_to_masks():
    logits = torch.randn(2, 3, 8, 8, requires_grad=True)
    predicted = torch.zeros(2, 3, requires_grad=True)
    targets = (torch.rand(2, 8, 8) > 0.5).float()
    losses.iou_head_loss(predicted, logits, targets, torch.tensor(2.0)).backward()
    assert logits.grad is None
    truth = losses.mask_iou(logits.detach(), targets[:, None].expand(2, 3, 8, 8))
    torch.testing.assert_close(predicted.grad, -2 * truth / 6)


def test_best_candidate_keeps_a_share_of_all():
    assert losses.best_candidate(torch.tensor([[1.0, 3.0]]), rest=0.1).item() == pytest.approx(0.9 + 0.2)


def test_distillation_is_mean_squared_error():
    a, b = torch.randn(3, 4, 5, 5), torch.randn(3, 4, 5, 5)
    torch.testing.assert_close(losses.distillation_loss(a, b, torch.tensor(3.0)), F.mse_loss(a, b))
