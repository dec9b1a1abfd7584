import torch

from ovsam_core.crumbs import without_crumbs
from ovsam_core.modeling.prompt_encoder import PromptTensors


def prompt(xy, label=1):
    return PromptTensors(
        coords=torch.tensor([[xy]], dtype=torch.float32), labels=torch.tensor([[label]], dtype=torch.int8)
    )


def mask_with_parts():
    logits = torch.full((1, 1, 32, 32), -3.0)
    logits[0, 0, 2:12, 2:12] = 4.0  # 100 cells
    logits[0, 0, 20:23, 20:23] = 5.0  # 9 cells
    logits[0, 0, 28, 28] = 2.0  # 1 cell
    return logits


def test_small_islands_go_and_large_parts_stay():
    logits = mask_with_parts()
    cleaned = without_crumbs(logits, prompt((20, 20)), 4, 0.05)
    assert (cleaned > 0).sum() == 109
    assert cleaned[0, 0, 28, 28] < 0
    torch.testing.assert_close(cleaned[0, 0, :28], logits[0, 0, :28])
    assert logits[0, 0, 28, 28] == 2  # the argument is left alone
    assert (without_crumbs(logits, prompt((20, 20)), 4, 0.2) > 0).sum() == 100


def test_a_clicked_island_stays_and_a_negative_click_protects_nothing():
    logits = mask_with_parts()
    assert (without_crumbs(logits, prompt((28 * 4 + 2, 28 * 4 + 2)), 4, 0.2) > 0).sum() == 101
    assert (without_crumbs(logits, prompt((28 * 4 + 2, 28 * 4 + 2), label=0), 4, 0.2) > 0).sum() == 100


def test_nothing_to_do():
    logits = mask_with_parts()
    assert without_crumbs(logits, prompt((0, 0)), 4, 0.0) is logits
    empty = torch.full((1, 2, 8, 8), -1.0)
    torch.testing.assert_close(without_crumbs(empty, prompt((0, 0)), 4, 0.5), empty)
