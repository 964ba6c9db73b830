"""Rows of all devices in one matrix, with gradients: what makes every device's batch a negative for the others.

Convention: a loss computed on a device is ``devices * (its part of the total)``, so that the mean over devices, which
is what data-parallel training takes of gradients, is the loss of the joint batch and its gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def devices() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def everyone(rows: Tensor) -> Tensor:
    """The rows of all devices below each other, in the order of their ranks.

    The gradient that comes back is summed over devices and cut to one's own rows.

    Args:
        rows: [n, ...]; n may differ between devices.

    Returns:
        [sum of n, ...], the same on every device.
    """
    if devices() == 1:
        return rows
    joined: Tensor = _Everyone.apply(rows, _lengths(len(rows), rows.device))  # type: ignore[no-untyped-call]
    return joined


def offset(count: int, device: torch.device) -> int:
    """Position of this device's first row among the rows of all, when it has ``count``."""
    return 0 if devices() == 1 else sum(_lengths(count, device)[: distributed.get_rank()])


def _lengths(count: int, device: torch.device) -> list[int]:
    found = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(devices())]
    distributed.all_gather(found, torch.tensor([count], device=device))
    return [int(length) for length in found]


class _Everyone(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, rows: Tensor, lengths: list[int]) -> Tensor:
        ctx.lengths = lengths
        padded = rows.new_zeros((max(lengths), *rows.shape[1:]))
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in lengths]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        start = sum(ctx.lengths[: distributed.get_rank()])
        return total[start : start + ctx.lengths[distributed.get_rank()]], None
