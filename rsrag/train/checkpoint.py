"""Checkpoints that continue a run to the same result, written in one rename."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from rsrag.errors import BadModelFile

NAME = "checkpoint.pt"


def save(run_dir: Path, state: dict[str, Any]) -> None:
    """Write the state (tensors, numbers and strings only) so that a reader sees the old file or the new one."""
    target = run_dir / NAME
    partial = target.with_suffix(".part")
    torch.save(state, partial)
    with partial.open("rb") as handle:
        os.fsync(handle.fileno())
    partial.replace(target)


def load(run_dir: Path) -> dict[str, Any] | None:
    """The last state of a run, or None when there is none.

    Raises:
        BadModelFile: the file is damaged or holds more than tensors and plain values.
    """
    path = run_dir / NAME
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as exc:
        raise BadModelFile(f"cannot read the checkpoint {path}: {exc}") from exc
    return state


class Average:
    """Exponential moving average of all floating-point weights and buffers of a network.

    The decay warms up as ``min(decay, (1 + t) / (10 + t))`` so that early averages are usable.
    """

    def __init__(self, network: torch.nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {key: value.detach().clone() for key, value in network.state_dict().items()}

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def update(self, network: torch.nn.Module, step: int) -> None:
        """Move towards the network's present weights; ``step`` counts from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for key, value in network.state_dict().items():
            if value.dtype.is_floating_point:
                self.state[key].lerp_(value, 1 - decay)
            else:
                self.state[key].copy_(value)
