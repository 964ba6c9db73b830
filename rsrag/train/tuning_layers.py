"""The small parts that parameter-efficient tuning adds to a network, and how they become part of its weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class LowRank(nn.Module):  # type: ignore[misc]
    """A frozen weight plus ``alpha / rank * b @ a``, as a parametrization (LoRA, Hu et al. 2022).

    As a parametrization it reaches what has no layer of its own, such as the joint input projection of
    ``nn.MultiheadAttention``, and leaves the frozen weight alone: nothing is ever added to it or subtracted again.

    Args:
        shape: of the weight, [out, in, ...]; further dimensions (of convolutions) count as inputs.
        rank: of the added matrix.
        alpha: factor before division by the rank.
    """

    def __init__(self, shape: torch.Size, rank: int, alpha: float) -> None:
        super().__init__()
        self.factor = alpha / rank
        self.a = nn.Parameter(torch.empty(rank, math.prod(shape[1:])))
        self.b = nn.Parameter(torch.zeros(shape[0], rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            moved: Tensor = weight + self.factor * (self.b @ self.a).view_as(weight)
        return moved


def add_low_rank(module: nn.Module, name: str, rank: int, alpha: float) -> None:
    """Parametrize the tensor ``name`` of a module with :class:`LowRank`."""
    weight = getattr(module, name)
    addition = LowRank(weight.shape, rank, alpha).to(weight.device)
    parametrize.register_parametrization(module, name, addition)


def fold_low_rank(module: nn.Module) -> None:
    """Replace parametrized tensors of a module by their present values."""
    for name in list(getattr(module, "parametrizations", ())):
        parametrize.remove_parametrizations(module, name, leave_parametrized=True)


class Narrow(nn.Module):  # type: ignore[misc]
    """Weights of a narrow layer beside an MLP; begins as nothing."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(dim, width), nn.Linear(width, dim)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)


class WidenedMlp(nn.Sequential):  # type: ignore[misc]
    """An open_clip MLP (``c_fc``, ``gelu``, ``c_proj``) with a :class:`Narrow` one of the same activation beside it.

    Their sum is an MLP whose hidden layer is wider by the width of the narrow one, which is how :func:`fold_narrow`
    makes them one.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        beside = self.narrow.up(self.gelu(self.narrow.down(inputs)))
        total: Tensor = self.c_proj(self.gelu(self.c_fc(inputs))) + beside
        return total


def is_mlp(module: nn.Module) -> bool:
    """Whether a module is an MLP of open_clip's own transformer."""
    return type(module) is nn.Sequential and [name for name, _ in module.named_children()] == ["c_fc", "gelu", "c_proj"]


def add_narrow(mlp: Any, width: int) -> None:
    """Put a narrow layer beside an MLP for which :func:`is_mlp` holds."""
    narrow = Narrow(mlp.c_fc.in_features, width).to(mlp.c_fc.weight.device)
    mlp.__class__ = WidenedMlp
    mlp.narrow = narrow


@torch.no_grad()  # type: ignore[untyped-decorator]
def fold_narrow(mlp: Any) -> int:
    """Make an MLP and the narrow layer beside it one; returns the new width of its hidden layer."""
    narrow, first, second = mlp.narrow, mlp.c_fc, mlp.c_proj
    del mlp.narrow
    mlp.__class__ = nn.Sequential
    first.weight = nn.Parameter(torch.cat([first.weight, narrow.down.weight]))
    first.bias = nn.Parameter(torch.cat([first.bias, narrow.down.bias]))
    second.weight = nn.Parameter(torch.cat([second.weight, narrow.up.weight], dim=1))
    second.bias = nn.Parameter(second.bias + narrow.up.bias)
    first.out_features = second.in_features = len(first.weight)
    return len(first.weight)
