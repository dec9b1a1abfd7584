"""What the loop trains: a model part, its frozen companions and its loss, in one module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from training.options import OptimArgs

__all__ = ["Task", "freeze", "parameter_groups", "train_only"]

_Network = TypeVar("_Network", bound=nn.Module)
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)  # noqa: SLF001  the common base of all of them


class Task(nn.Module, ABC):
    """One training task.

    A subclass puts its trained parts and frozen companions in attributes, freezes the latter with `freeze`, and says
    how a batch becomes loss terms. Frozen modules stay in eval mode whatever the loop does.

    Attributes:
        may_skip: True if a step may leave trained parameters without gradient (mixed sources of data).
    """

    may_skip: bool = False

    def totals(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return this batch's share of every loss normaliser, from the data alone.

        The loop sums them over gradient accumulation and over processes and hands the sums to `forward`, so that
        any division of a batch gives the same gradient. The default is the number of pictures.
        """
        return {"pictures": torch.tensor(float(len(batch["ids"])))}

    @abstractmethod
    def forward(self, batch: Mapping[str, Any], totals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weighted loss terms (scalars); each is this batch's sum divided by its normaliser in `totals`.

        Args:
            batch: what the collate function made, on the task's device; `ids` names the pictures and `seeds` holds
                one integer per picture, drawn from (seed, epoch, sample index), for every random choice.
            totals: the normalisers of the whole step.
        """

    def architecture(self) -> dict[str, Any]:
        """Return what must agree for a checkpoint to be resumed; nested plain values."""
        return {"parameters": sorted(f"{n} {tuple(p.shape)}" for n, p in self.named_parameters() if p.requires_grad)}

    def trained_state(self) -> dict[str, Tensor]:
        """Return trained parameters and the buffers of modules that are not frozen."""
        own: set[str] = set()
        for prefix, module in self.named_modules():
            if not getattr(module, "is_frozen", False):
                parts = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
                own.update(f"{prefix}.{name}" if prefix else name for name, _ in parts)
        return {name: value.detach() for name, value in self.state_dict().items() if name in own}

    def train(self, mode: bool = True) -> Task:
        """Switch mode, leaving every frozen module in eval."""
        super().train(mode)
        for module in self.modules():
            if getattr(module, "is_frozen", False):
                module.training = False
        return self


def freeze(module: nn.Module) -> nn.Module:
    """Stop gradients of `module`, put it in eval for good, and return it."""
    for part in module.modules():
        part.is_frozen = True  # type: ignore[assignment]
    module.requires_grad_(requires_grad=False)
    module.eval()
    return module


def train_only(network: _Network, parts: Sequence[str], frozen: Sequence[str] = ()) -> _Network:
    """Freeze all of `network` but the named submodules, and of those again what `frozen` names.

    Args:
        network: changed in place and returned.
        parts: dotted names; those the network does not have (or has as None) are passed over.
        frozen: dotted names inside them.
    """
    freeze(network)
    for names, learns in ((parts, True), (frozen, False)):
        for name in names:
            found = _submodule(network, name)
            if found is None:
                continue
            for module in found.modules():
                module.is_frozen = not learns  # type: ignore[assignment]
            found.requires_grad_(requires_grad=learns)
    return network


def _submodule(network: nn.Module, name: str) -> nn.Module | None:
    found: Any = network
    for part in name.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, nn.Module) else None


def parameter_groups(task: nn.Module, args: OptimArgs) -> list[dict[str, Any]]:
    """Group trained parameters by weight decay and learning-rate scale; norms decay only if the options say so.

    Args:
        task: the module whose trainable parameters are grouped, in `named_parameters` order.
        args: `lr_scale` maps a prefix of parameter names to a factor; the longest match wins.
    """
    norms = {
        f"{name}.{part}" if name else part
        for name, module in task.named_modules()
        if isinstance(module, _NORMS) or type(module).__name__.startswith("LayerNorm")
        for part, _ in module.named_parameters(recurse=False)
    }
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in task.named_parameters():
        if not parameter.requires_grad:
            continue
        decay = args.weight_decay if args.norm_decay or name not in norms else 0.0
        matches = [prefix for prefix in args.lr_scale if name.startswith(prefix)]
        scale = args.lr_scale[max(matches, key=len)] if matches else 1.0
        group = groups.setdefault((decay, scale), {"params": [], "weight_decay": decay, "scale": scale})
        group["params"].append(parameter)
    return list(groups.values())
