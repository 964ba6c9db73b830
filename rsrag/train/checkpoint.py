"""Checkpoints that continue a run to the same result, written in one rename."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rsrag.errors import BadModelFile, UsageError

NAME = "checkpoint.pt"


def save(run_dir: Path, state: dict[str, Any]) -> None:
    """Write the state (tensors, numbers and strings only) so that a reader sees the old file or the new one.

    Raises:
        UsageError: it cannot be written; the old file stays.
    """
    target = run_dir / NAME
    partial = target.with_suffix(".part")
    try:
        with partial.open("wb") as handle:
            torch.save(state, handle)
            handle.flush()
            os.fsync(handle.fileno())
        partial.replace(target)
    except (OSError, RuntimeError) as error:  # torch turns some of the former into the latter
        partial.unlink(missing_ok=True)
        hint = "the last one written is still there: make room and start again to go on from it"
        raise UsageError(f"cannot write the checkpoint {target}: {error}", hint=hint) from error


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
        hint = "the file is damaged: begin anew (--fresh), or put a copy of it in its place"
        raise BadModelFile(f"cannot read the checkpoint {path}: {exc}", hint=hint) from exc
    return state


def moving(network: nn.Module) -> dict[str, Tensor]:
    """What training changes: trained weights and all buffers, by name, not copied."""
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    return {name: tensor for name, tensor in network.state_dict().items() if name not in frozen}


def frozen_digest(network: nn.Module) -> str:
    """sha256 over names and values of the frozen weights; empty when there are none."""
    digest, count = hashlib.sha256(), 0
    for name, parameter in sorted(network.named_parameters()):
        if not parameter.requires_grad:
            digest.update(name.encode())
            digest.update(parameter.detach().cpu().contiguous().numpy().data)
            count += 1
    return digest.hexdigest() if count else ""


def load_moving(network: nn.Module, found: dict[str, Tensor], where: str) -> None:
    """Put saved weights in place.

    Raises:
        BadModelFile: they are not those of this network.
    """
    wanted = moving(network)
    wrong = sorted(set(wanted) ^ set(found)) or [k for k, v in wanted.items() if v.shape != found[k].shape]
    if wrong:
        raise BadModelFile(f"{where} does not fit the network: {', '.join(wrong[:5])}")
    network.load_state_dict(found, strict=False)


class Average:
    """Exponential moving average of what training changes.

    The decay warms up as ``min(decay, (1 + t) / (10 + t))`` so that early averages are usable.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self._live = moving(network)
        self.state = {key: value.detach().clone() for key, value in self._live.items()}

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def update(self, step: int) -> None:
        """Move towards the network's present weights; ``step`` counts from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for key, value in self._live.items():
            if value.dtype.is_floating_point:
                self.state[key].lerp_(value, 1 - decay)
            else:
                self.state[key].copy_(value)

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue from a saved average."""
        for key, value in state.items():
            self.state[key].copy_(value)

    @contextmanager
    @torch.no_grad()  # type: ignore[untyped-decorator]
    def in_place(self) -> Iterator[None]:
        """Within it, the network has the averaged weights."""
        kept = {key: value.clone() for key, value in self._live.items()}
        try:
            for key, value in self._live.items():
                value.copy_(self.state[key])
            yield
        finally:
            for key, value in self._live.items():
                value.copy_(kept[key])
