"""The judges of candidates: what they can tell apart, and what must not change their verdict."""

import pytest
import torch

from ovsam_core.modeling.judge import ContextIoU, Decoded, PooledIoU
from ovsam_core.modeling.prompt_encoder import PromptTensors

WIDTH, FINE, GRID = 16, 4, 8


def candidates(n=2, m=4, seed=0):
    """Tokens, maps and discs of growing size round the middle, as a decoder would give them."""
    chance = torch.Generator().manual_seed(seed)
    side = 4 * GRID
    y, x = torch.meshgrid(torch.arange(side) - side / 2 + 0.5, torch.arange(side) - side / 2 + 0.5, indexing="ij")
    radius = torch.arange(1, m + 1) * 3.0
    logits = (radius[:, None, None] - (x**2 + y**2).sqrt()).expand(n, m, side, side)
    return {
        "token": torch.randn(n, WIDTH, generator=chance),
        "masks": torch.randn(n, m, WIDTH, generator=chance),
        "embedding": torch.randn(1, WIDTH, GRID, GRID, generator=chance),
        "source": torch.randn(n, WIDTH, GRID, GRID, generator=chance),
        "pixels": torch.randn(n, FINE, side, side, generator=chance),
        "logits": logits.clone(),
    }


def clicks(n=2, **parts):
    return PromptTensors(torch.full((n, 1, 2), 8.0 * GRID), torch.ones(n, 1, dtype=torch.int8), **parts)


def judge():
    torch.manual_seed(0)
    return ContextIoU(WIDTH, FINE, hidden=32).eval()


def test_the_order_of_the_candidates_changes_their_order_alone():
    seen, order = candidates(), [2, 0, 3, 1]
    turned = seen | {name: seen[name][:, order] for name in ("masks", "logits")}
    torch.testing.assert_close(
        judge()(Decoded(**turned, prompts=clicks())), judge()(Decoded(**seen, prompts=clicks()))[:, order]
    )


def test_one_picture_for_all_prompts_is_the_same_picture_for_each():
    seen = candidates()
    each = seen | {"embedding": seen["embedding"].expand(2, -1, -1, -1).clone()}
    torch.testing.assert_close(judge()(Decoded(**each, prompts=clicks())), judge()(Decoded(**seen, prompts=clicks())))


@pytest.mark.parametrize(
    "other",
    [
        PromptTensors(torch.full((2, 1, 2), 8.0 * GRID), torch.zeros(2, 1, dtype=torch.int8)),
        clicks(boxes=torch.tensor([[40.0, 40, 90, 90]]).repeat(2, 1)),
        clicks(mask_logits=torch.ones(2, 1, 4 * GRID, 4 * GRID)),
    ],
    ids=["a negative click", "a box", "a previous mask"],
)
def test_the_prompt_counts(other):
    seen = candidates()
    assert (judge()(Decoded(**seen, prompts=other)) - judge()(Decoded(**seen, prompts=clicks()))).abs().max() > 1e-3


def test_what_surrounds_a_mask_counts():
    seen = candidates()
    inside = torch.nn.functional.avg_pool2d(seen["logits"][:, :1].sigmoid(), 4)
    changed = seen | {"source": seen["source"] + (inside < 0.01) * 3.0}  # far from the smallest disc only
    before, after = judge()(Decoded(**seen, prompts=clicks())), judge()(Decoded(**changed, prompts=clicks()))
    assert (after - before).abs().amax(0).min() > 1e-3


def test_only_the_judge_learns():
    seen = {name: tensor.requires_grad_() for name, tensor in candidates().items()}
    own = judge()
    own(Decoded(**seen, prompts=clicks())).sum().backward()
    assert all(tensor.grad is None for tensor in seen.values())
    assert all(p.grad is not None for p in own.parameters())


@pytest.mark.parametrize("empty", [-9.0, 9.0])
def test_empty_and_full_masks_have_a_finite_verdict(empty):
    seen = candidates()
    seen["logits"] = torch.full_like(seen["logits"], empty)
    found = Decoded(**seen, prompts=clicks(n=2, boxes=torch.zeros(2, 4)))
    for own in (judge(), PooledIoU(WIDTH, FINE)):
        assert own(found).isfinite().all()
