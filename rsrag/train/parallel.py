"""One process, or several that train together under ``accelerate launch`` or ``torchrun``."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from rsrag.errors import ConfigError, MissingExtra


class Parallel:
    """Where this process trains, and what it exchanges with the others.

    A single process needs no accelerate. Several are recognised by ``WORLD_SIZE``, which launchers set.

    Attributes:
        rank: number of this process.
        world: how many there are.
        device: torch device of this process.
        main: whether this process writes files.

    Raises:
        MissingExtra: several processes, and accelerate is not installed.
    """

    def __init__(self) -> None:
        self._accelerator: Any = None
        self.rank, self.world = 0, 1
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            self._join()
        self.main = self.rank == 0

    def _join(self) -> None:
        try:
            from accelerate import Accelerator
            from accelerate.utils import DistributedDataParallelKwargs
        except ImportError as error:
            raise MissingExtra("training on several devices", extra="train", package=error.name) from error
        options = DistributedDataParallelKwargs(find_unused_parameters=True)
        self._accelerator = Accelerator(
            mixed_precision="no", cpu=not torch.cuda.is_available(), kwargs_handlers=[options]
        )
        self.rank, self.world = self._accelerator.process_index, self._accelerator.num_processes
        self.device = self._accelerator.device

    def check(self, batch: int) -> None:
        """Refuse a batch that devices cannot share evenly.

        Raises:
            ConfigError: it is no multiple of their number.
        """
        if batch % self.world:
            raise ConfigError(f"optim.batch = {batch} cannot be shared by {self.world} devices evenly")

    def prepare(self, network: nn.Module, optimiser: Any) -> tuple[nn.Module, Any]:
        """The network and the optimiser as they are to be called."""
        if self._accelerator is None:
            return network, optimiser
        prepared: tuple[nn.Module, Any] = self._accelerator.prepare(network, optimiser)
        return prepared

    def alone(self, network: nn.Module) -> AbstractContextManager[object]:
        """Context in which gradients are not exchanged."""
        if self._accelerator is None:
            return nullcontext()
        context: AbstractContextManager[object] = self._accelerator.no_sync(network)
        return context

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self._accelerator is None:
            return flag
        return bool(self._accelerator.reduce(torch.tensor(float(flag), device=self.device), "sum") > 0)

    def mean(self, values: list[float]) -> list[float]:
        """Element-wise means over processes."""
        if self._accelerator is None:
            return values
        total = self._accelerator.reduce(torch.tensor(values, dtype=torch.float64, device=self.device), "mean")
        return [float(value) for value in total]

    def wait(self) -> None:
        """Until all processes are here."""
        if self._accelerator is not None:
            self._accelerator.wait_for_everyone()
