"""How the learnt and the frozen branch agree on a name (the official `open_voc_inference`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, assert_never

import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Protocol", "decides", "frozen_branch_boxes", "fuse"]

Protocol = Literal["corrected", "official"]


def fuse(head: Tensor, clip: Tensor, seen: Tensor, alpha: float, beta: float, tiny: Tensor | None = None) -> Tensor:
    """Combine two branches by a geometric mean of their probabilities, weighted by class.

    A class with share s gets head^(1-s) x clip^s, where s is `alpha` for seen classes and `beta` for the others. 0 is
    the learnt branch alone, 1 the frozen one alone.

    Args:
        head: (N, K) logits of the learnt branch.
        clip: (N, K) logits of the frozen branch. A background column, where there is one, is in both and "seen".
        seen: (K,) bool, the classes that the head was trained on.
        alpha: share of the frozen branch for seen classes, 0 to 1.
        beta: share of the frozen branch for the others, 0 to 1.
        tiny: (N,) bool, regions whose mask has no cell on the stride-32 grid: the frozen branch has nothing to say, the
            shares are 0.

    Returns:
        (N, K) log-probabilities before normalisation over classes: their softmax is the answer. (With different shares
        the products do not sum to 1.)
    """
    share = torch.where(seen, alpha, beta).to(head.dtype)[None]  # (1, K)
    if tiny is not None:
        share = share * (~tiny)[:, None]  # (N, K)
    return (1 - share) * head.log_softmax(1) + share * clip.log_softmax(1)


def decides(head: Tensor, clip: Tensor, seen: Tensor, alpha: float, beta: float, tiny: Tensor | None = None) -> Tensor:
    """Return which branch put each class where it stands, (N, K) bool: True for the frozen one.

    It is the branch with the greater weighted lead over the mean of all classes; without a share it never decides.
    Arguments as in `fuse`.
    """
    share = torch.where(seen, alpha, beta).to(head.dtype)[None]
    if tiny is not None:
        share = share * (~tiny)[:, None]
    lead_head, lead_clip = (x.log_softmax(1) - x.log_softmax(1).mean(1, keepdim=True) for x in (head, clip))
    return (share >= 1) | ((share > 0) & (share * lead_clip > (1 - share) * lead_head))


def frozen_branch_boxes(
    protocol: Protocol, *, regions: Tensor, truth: Tensor | None = None, scale_xy: tuple[float, float] = (1.0, 1.0)
) -> Tensor:
    """Return the boxes that the frozen branch pools.

    "corrected" pools the region itself: the prompt's box, or the predicted mask's. "official" repeats the official
    evaluation's slips: with centre-point prompts the ground-truth box reaches the frozen branch, and in pixels of the
    unscaled picture, although the feature map lies on the scaled one.

    Args:
        protocol: which.
        regions: (N, 4) xyxy in pixels of the network input.
        truth: (N, 4) xyxy ground-truth boxes in pixels of the network input; needed by "official".
        scale_xy: input pixels per picture pixel; (1, 1) keeps the boxes where they are, as the official evaluation does
            with boxes that came with the prompts.
    """
    match protocol:
        case "corrected":
            return regions
        case "official":
            if truth is None:
                raise ValueError("protocol 'official' needs the ground-truth boxes")
            return truth / truth.new_tensor([*scale_xy, *scale_xy])
        case _:
            assert_never(protocol)
