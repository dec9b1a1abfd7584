"""The light feature pyramid that CLIP2SAM reads names from (paper section 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["FPN"]


class FPN(nn.Module):
    """1 x 1 laterals, nearest top-down sums, 3 x 3 outputs; no norm and no activation anywhere.

    Args:
        in_channels: channels of the maps, finest first.
        channels: channels of every output.
    """

    def __init__(self, *, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in in_channels)
        self.fpn_convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in in_channels)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return one (B, channels, h, w) map for each of the (B, C_i, h, w) maps, finest first."""
        merged = [conv(level) for conv, level in zip(self.lateral_convs, maps, strict=True)]
        for i in range(len(merged) - 1, 0, -1):
            merged[i - 1] = merged[i - 1] + functional.interpolate(merged[i], merged[i - 1].shape[-2:], mode="nearest")
        return [conv(level) for conv, level in zip(self.fpn_convs, merged, strict=True)]
