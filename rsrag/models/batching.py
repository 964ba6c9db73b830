"""How many pictures go through a tower at once: as memory allows, halved when it does not; the next batch is prepared
while one is computed."""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from rsrag.errors import ModelError
from rsrag.models.towers import Batch, Features, Tower

T = TypeVar("T")
_log = logging.getLogger("rsrag.models")
MOST_CPU = 32
"""A processor gains nothing from more: its caches are full long before."""
MOST_GPU = 256
SMALL = 8
"""So few pictures go at once without a look at memory."""
_SHARE = 0.5
"""Of the free memory that a batch may take: other models and the archive want some too."""
_TRIAL = 2
_PROC = Path("/proc")
_TRIES = 3
"""Times that some work is measured whose peak reads 0."""
_CGROUP = Path("/sys/fs/cgroup")
_OUT = ("out of memory", "can't allocate memory", "not enough memory", "failed to allocate memory", "bad_alloc")


class Feeder:
    """Feeds pictures to a tower in batches that fit into memory.

    Args:
        tower: what computes.
        side: side of its input in pixels.
    """

    def __init__(self, tower: Tower, side: int) -> None:
        self.tower = tower
        self._side = side
        self._most: int | None = None
        self._deciding = threading.Lock()

    @property
    def batch_size(self) -> int:
        """Pictures a batch, from one trial against the memory that is free; smaller after memory ran out."""
        with self._deciding:
            if self._most is None:
                self._most = self._tried()
            return self._most

    def features(self, pictures: Iterable[npt.NDArray[np.uint8]], count: int) -> Iterator[Features]:
        """Features of pictures at the input size, a batch at a time, in order.

        Args:
            pictures: uint8 of shape [S, S, 3]; taken by another thread where there is more than one batch.
            count: how many they are.

        Raises:
            ModelError: not even one picture fits into memory.
        """
        size = count if count <= SMALL and self._most is None else self.batch_size
        batches: Iterator[tuple[Batch, Any]] = (
            (batch, self.tower.stage(batch)) for batch in _stacked(pictures, max(1, size))
        )
        waiting: list[Any] | None = None
        for batch, staged in ahead(batches) if count > size else batches:
            started = self._start(batch, staged)
            if waiting is not None:
                yield self._results(waiting)
            waiting = started
        if waiting is not None:
            yield self._results(waiting)

    def _start(self, batch: Batch, staged: Any) -> list[Any]:
        try:
            return [self.tower.launch(staged)]
        except Exception as error:  # every runtime has its own way to say it
            if not out_of_memory(error):
                raise
            if len(batch) == 1:
                hint = "close other programs, or choose a smaller model"
                raise ModelError(f"memory ran out over one picture of {self._side} pixels", hint=hint) from error
        # Outside the handler: what the failed call holds is free by now.
        half = len(batch) // 2
        self._most = min(self._most or half, half)
        _log.warning("memory ran out over %d pictures, going on with %d at once", len(batch), self._most)
        return [part for piece in (batch[:half], batch[half:]) for part in self._start(piece, self.tower.stage(piece))]

    def _results(self, parts: list[Any]) -> Features:
        found = [self.tower.collect(part) for part in parts]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _tried(self) -> int:
        most = MOST_CPU if self.tower.device == "cpu" else MOST_GPU
        trial = np.zeros((_TRIAL, self._side, self._side, 3), dtype=np.uint8)

        def once() -> None:
            self.tower.collect(self.tower.launch(self.tower.stage(trial)))

        try:
            needed, free = peak_bytes(self.tower.device, once), free_bytes(self.tower.device)
        except Exception as error:
            if not out_of_memory(error):
                raise
            return 1
        if not needed or free is None:
            return most
        fits = int(free * _SHARE / (needed / _TRIAL))
        _log.info("a picture takes %.1f MB, %.0f MB are free", needed / _TRIAL / 1e6, free / 1e6)
        return max(1, min(most, fits))


def _stacked(pictures: Iterable[npt.NDArray[np.uint8]], size: int) -> Iterator[Batch]:
    iterator = iter(pictures)
    while chunk := list(islice(iterator, size)):
        yield np.stack(chunk)


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The items, each made by another thread while the one before is used."""
    end = object()
    with ThreadPoolExecutor(1, "rsrag-ahead") as maker:
        coming = maker.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = maker.submit(next, items, end)
            yield item  # type: ignore[misc]


def out_of_memory(error: Exception) -> bool:
    """Whether a runtime gave up for want of memory."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in _OUT)


# --- memory ---------------------------------------------------------------------------------------------------------


def free_bytes(device: str) -> int | None:
    """Memory that can still be had, None where nothing tells: of the GPU, or of machine and container."""
    if device != "cpu":
        import torch

        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    machine = _status(_PROC / "meminfo", "MemAvailable")
    limit, used = _number(_CGROUP / "memory.max"), _number(_CGROUP / "memory.current")
    room = [n for n in (machine, limit - used if limit is not None and used is not None else None) if n is not None]
    return max(0, min(room)) if room else None


def peak_bytes(device: str, work: Callable[[], None]) -> int | None:
    """Memory that some work takes at its peak beyond what was taken before; None where nothing tells."""
    if device != "cpu":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device) - before)
    found = None
    for _ in range(_TRIES):
        found = _peak_here(work)
        if found != 0:
            break
    return found


def _peak_here(work: Callable[[], None]) -> int | None:
    """The peak of this process; 0 too where more was given back meanwhile, by other threads, than the work took."""
    gc.collect()  # what is garbage now must not be given back while the work is measured
    with contextlib.suppress(OSError):
        (_PROC / "self" / "clear_refs").write_text("5", encoding="ascii")  # sets the peak back to what is taken now
    start = _status(_PROC / "self" / "status", "VmHWM")
    work()
    top = _status(_PROC / "self" / "status", "VmHWM")
    return None if start is None or top is None else max(0, top - start)


def _status(path: Path, name: str) -> int | None:
    """A figure in kB of a file like /proc/meminfo, in bytes."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":")), None)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
