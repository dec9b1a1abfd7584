"""Building a network whose weights are all read from a file afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Unfilled"]

_RANDOM = frozenset(
    {
        "kaiming_normal_",
        "kaiming_uniform_",
        "normal_",
        "trunc_normal_",
        "uniform_",
        "xavier_normal_",
        "xavier_uniform_",
    }
)


class Unfilled(TorchFunctionMode):
    """While it is active, random initial weights are left out: memory is reserved and stays untouched.

    The "meta" device is meant for this, but PyTorch imports its whole compiler for the first calculation on it, which
    takes longer than everything else that loading a model does.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Return the tensor of a random fill as it is; everything else happens."""
        del types
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in _RANDOM:
            return args[0] if args else kwargs["tensor"]  # as torch.nn.init hands it on
        return func(*args, **kwargs)
