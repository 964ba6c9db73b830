"""Pictures read once, hashed, and kept within a budget of memory."""

from __future__ import annotations

import hashlib
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal, TypeVar

import numpy as np

from rsrag.errors import SourceError
from rsrag.train.sources.columns import narrow, numbers
from rsrag.train.sources.items import Item, Items, Part, Table
from rsrag.train.sources.pictures import Pixels, decode, dhash
from rsrag.train.sources.record import Problem
from rsrag.train.sources.records import Record, in_columns

__all__ = ["Item", "Items", "Store", "Tier", "in_order"]

Tier = Literal["decoded", "encoded", "on demand"]
_AHEAD = 16
_T = TypeVar("_T")
_R = TypeVar("_R")


def in_order(work: Callable[[_T], _R], values: Iterable[_T], workers: int) -> Iterator[_R]:
    """Results of ``work`` in the order of ``values``, made ahead in threads, never more than a few at a time."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        waiting: deque[Future[_R]] = deque()
        for value in values:
            waiting.append(pool.submit(work, value))
            if len(waiting) > _AHEAD + workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class Store:
    """Reads records to items and decides how their pictures are kept.

    Pixels are kept as long as all of them, with the encoded bytes, fit the budget. When they no longer do, all pixels
    are dropped; when the bytes alone no longer fit, they are dropped too, and pictures are read again when they are
    needed. So the memory taken never exceeds the budget, however large the set, and one rule holds for all pictures.

    Args:
        budget: bytes that pictures may take.
        known: encoded bytes of pictures that need not be read, because they are known already.

    Attributes:
        tier: how pictures are kept.
        encoded: encoded bytes of all pictures so far.
    """

    def __init__(self, budget: int, known: int = 0) -> None:
        self._budget = budget
        self._kept: list[list[Pixels | bytes | None]] = []
        self._bytes: list[bytes] = []
        self._decoded, self.encoded = 0, known
        self.tier: Tier = "decoded" if known <= budget else "on demand"

    def read(self, records: Sequence[Record], max_pixels: int, workers: int) -> tuple[Items, list[Problem]]:
        """Read, hash and decode every record once.

        Args:
            records: of one set.
            max_pixels: larger pictures are left out.
            workers: threads.

        Returns:
            Items in the order of the records, and what was left out.
        """
        records = in_columns(records)

        def one(record: Record) -> tuple[Pixels, bytes, bytes, str] | Problem:
            try:
                data = record.read()
                pixels = decode(data, f"{record.source}/{record.key}", max_pixels)
            except SourceError as exc:
                return Problem(record.source, record.key, "picture", exc.message)
            return pixels, data, hashlib.sha256(data).digest(), dhash(pixels)

        rows, digests, dhashes = array("q"), bytearray(), array("Q")
        kept: list[Pixels | bytes | None] = []
        self._kept.append(kept)
        problems: list[Problem] = []
        for row, found in enumerate(in_order(one, records, workers)):
            if isinstance(found, Problem):
                problems.append(found)
                continue
            pixels, data, digest, likeness = found
            rows.append(row)
            digests += digest
            dhashes.append(int(likeness, 16))
            self._keep(kept, pixels, data)
        hashes = np.frombuffer(digests, np.uint8).reshape(-1, 32)
        part = Part(records, narrow(numbers(rows)), hashes, numbers(dhashes), max_pixels, kept)
        return Items(Table([part])), problems

    def _keep(self, kept: list[Pixels | bytes | None], pixels: Pixels, data: bytes) -> None:
        """Keep a picture in the present tier, falling to the next one when the budget is spent."""
        self.encoded += len(data)
        self._decoded += pixels.nbytes
        if self.tier == "decoded" and self._decoded + self.encoded > self._budget:
            self.tier = "encoded"
            waiting = iter(self._bytes)
            for old in self._kept:
                old[:] = [next(waiting) for _ in old]
            self._bytes.clear()
        if self.tier == "encoded" and self.encoded > self._budget:
            self.tier = "on demand"
            for old in self._kept:
                old.clear()
        if self.tier == "decoded":
            kept.append(pixels)
            self._bytes.append(data)
        elif self.tier == "encoded":
            kept.append(data)

    def finish(self) -> None:
        """Let go of what was only needed to change the tier."""
        self._kept.clear()
        self._bytes.clear()
