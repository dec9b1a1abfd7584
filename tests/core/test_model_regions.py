"""RoIAlign, pyramid levels, mask boxes, mask pooling, classification and fusion."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torchvision.ops import RoIAlign, masks_to_boxes

from ovsam_core.modeling.fusion import decides, frozen_branch_boxes, fuse
from ovsam_core.modeling.head import classify
from ovsam_core.modeling.roi import align, align_levels, mask_boxes, mask_mean, roi_levels

FINEST = 56


def boxes_strategy(side: int = 256):
    corner = st.floats(0, side - 2)
    length = st.floats(1, side)
    return st.lists(
        st.tuples(corner, corner, length, length).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])),
        min_size=1,
        max_size=6,
    ).map(lambda rows: torch.tensor(rows, dtype=torch.float32))


@settings(max_examples=25, deadline=None)
@given(boxes_strategy(), st.sampled_from([7, 12]), st.sampled_from([4, 8, 16, 32]))
def test_align_is_torchvisions(boxes, size, stride):
    level = torch.randn(2, 3, 256 // stride, 256 // stride, generator=torch.Generator().manual_seed(stride))
    reference = RoIAlign((size, size), 1 / stride, sampling_ratio=-1, aligned=True)
    expected = reference(level, [boxes[:0], boxes])
    torch.testing.assert_close(align(level, boxes, size, stride, torch.ones(len(boxes), dtype=torch.long)), expected)
    torch.testing.assert_close(align(level[1:], boxes, size, stride), expected)


@pytest.mark.parametrize(
    ("side", "level"), [(1, 0), (56, 0), (111.9, 0), (112, 1), (223.9, 1), (224, 2), (447.9, 2), (448, 3), (4000, 3)]
)
def test_the_level_follows_the_side(side, level):
    assert roi_levels(torch.tensor([[0.0, 0, side, side]]), FINEST).tolist() == [level]
    assert roi_levels(torch.tensor([[5.0, 5, 5 + side * 2, 5 + side / 2]]), FINEST).tolist() == [level]


def test_an_empty_box_reads_the_finest_level():
    assert roi_levels(torch.tensor([[5.0, 5, 5, 5], [9, 9, 3, 3]]), FINEST)[0] == 0


@settings(max_examples=15, deadline=None)
@given(boxes_strategy(1024))
def test_each_box_reads_its_own_level(boxes):
    pyramid = [torch.full((1, 2, 256 >> i, 256 >> i), float(i + 1)) for i in range(4)]
    inside = boxes.clamp(max=1024)
    got = align_levels(pyramid, inside, 3, FINEST)
    levels = roi_levels(inside, FINEST)
    expected = torch.stack([align(pyramid[n], box[None], 3, 4 << n)[0] for n, box in zip(levels, inside, strict=True)])
    torch.testing.assert_close(got, expected)


@settings(max_examples=40, deadline=None)
@given(arrays.arrays(np.bool_, (3, 9, 7)))
def test_mask_boxes_are_the_tight_boxes(masks):
    logits = torch.from_numpy(np.where(masks, 0.5, -0.5))
    fallback = torch.arange(12.0).reshape(3, 4)
    got = mask_boxes(logits, fallback, stride=4)
    for i, mask in enumerate(masks):
        if not mask.any():
            assert torch.equal(got[i], fallback[i])
            continue
        tight = masks_to_boxes(torch.from_numpy(mask)[None])[0]
        tight[2:] += 1  # torchvision's far edges are inclusive
        assert torch.equal(got[i], tight * 4)


def test_mask_mean_is_the_mean_of_the_covered_cells():
    level = torch.randn(2, 5, 4, 4)
    masks = torch.full((3, 4, 4), -1.0)
    masks[0, 1, 2] = masks[0, 3, 3] = 1
    masks[2] = 1
    mean, has_cell = mask_mean(level, masks, torch.tensor([1, 0, 0]))
    torch.testing.assert_close(mean[0], (level[1, :, 1, 2] + level[1, :, 3, 3]) / 2)
    assert torch.equal(mean[1], torch.zeros(5))
    torch.testing.assert_close(mean[2], level[0].mean((1, 2)))
    assert has_cell.tolist() == [True, False, True]
    first, _ = mask_mean(level[:1], masks)
    torch.testing.assert_close(first[2], mean[2])


def unit(*shape: int, seed: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(0, 4))
def test_a_synonym_never_lowers_its_class_and_touches_no_other(seed, synonyms, changed):
    regions, names = unit(3, 8, seed=seed), unit(5, synonyms, 8, seed=seed + 1)
    before = classify(regions, names, 100.0)
    more = torch.cat([names, names[:, :1]], dim=1)  # every class repeats one: the official padding
    torch.testing.assert_close(classify(regions, more, 100.0), before, rtol=0, atol=1e-3)  # sums in another order
    more[changed, -1] = unit(8, seed=seed + 2)
    after = classify(regions, more, 100.0)
    assert (after[:, changed] >= before[:, changed] - 1e-3).all()
    others = [k for k in range(6) if k != changed]
    torch.testing.assert_close(after[:, others], before[:, others], rtol=0, atol=1e-3)


def test_the_background_is_a_zero_embedding():
    logits = classify(unit(4, 8, seed=0), unit(3, 2, 8, seed=1), 100.0)
    assert logits.shape == (4, 4)
    assert torch.equal(logits[:, -1], torch.zeros(4))
    assert logits[:, :-1].abs().max() <= 100.001


LOGITS = arrays.arrays(np.float32, (2, 6), elements=st.floats(-100, 100, width=32)).map(torch.from_numpy)
SEEN = arrays.arrays(np.bool_, 6).map(torch.from_numpy)


@settings(max_examples=40, deadline=None)
@given(LOGITS, LOGITS, SEEN)
def test_no_share_is_the_head_alone_and_the_whole_share_clip_alone(head, clip, seen):
    torch.testing.assert_close(fuse(head, clip, seen, 0, 0), head.log_softmax(1))
    torch.testing.assert_close(fuse(head, clip, seen, 1, 1), clip.log_softmax(1))
    assert not decides(head, clip, seen, 0, 0)[head.log_softmax(1) > head.log_softmax(1).mean(1, keepdim=True)].any()


@settings(max_examples=40, deadline=None)
@given(LOGITS, LOGITS, SEEN, st.floats(0, 1), st.floats(0, 1))
def test_fusion_is_the_geometric_mean_by_class(head, clip, seen, alpha, beta):
    got = fuse(head, clip, seen, alpha, beta)
    q, c = head.double().softmax(1), clip.double().softmax(1)
    share = torch.where(seen, alpha, beta).double()
    expected = (q.clamp(min=1e-300) ** (1 - share) * c.clamp(min=1e-300) ** share).log()
    torch.testing.assert_close(got.double(), expected, rtol=1e-3, atol=1e-2)


@settings(max_examples=20, deadline=None)
@given(LOGITS, LOGITS, SEEN)
def test_a_tiny_mask_is_named_by_the_head(head, clip, seen):
    tiny = torch.tensor([True, False])
    got = fuse(head, clip, seen, 0.1, 0.9, tiny)
    torch.testing.assert_close(got[0], head.log_softmax(1)[0])
    torch.testing.assert_close(got[1], fuse(head, clip, seen, 0.1, 0.9)[1])


def test_the_deciding_branch():
    head, clip = torch.tensor([[9.0, 0, 0, 0]]), torch.tensor([[0.0, 9, 0, 0]])
    seen = torch.tensor([True, False, True, True])
    by_clip = decides(head, clip, seen, 0.1, 0.9)[0]
    assert not by_clip[0]
    assert by_clip[1]


def test_the_official_evaluations_slips_are_a_mode():
    regions, truth = torch.tensor([[1.0, 2, 3, 4]]), torch.tensor([[16.0, 32, 48, 64]])
    assert frozen_branch_boxes("corrected", regions=regions, truth=truth) is regions
    # The truth instead of the answer …
    assert torch.equal(frozen_branch_boxes("official", regions=regions, truth=truth), truth)
    # … and, for centre points, in pixels of the unscaled picture.
    slipped = frozen_branch_boxes("official", regions=regions, truth=truth, scale_xy=(1.6, 1.6))
    torch.testing.assert_close(slipped, truth / 1.6)
    with pytest.raises(ValueError, match="ground-truth"):
        frozen_branch_boxes("official", regions=regions)
