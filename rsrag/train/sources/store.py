"""Pictures read once, hashed, and kept within a budget of memory."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from rsrag.errors import SourceError
from rsrag.train.sources.pictures import MAX_PIXELS, Pixels, decode, dhash
from rsrag.train.sources.record import Problem, Record

Tier = Literal["decoded", "encoded", "on demand"]
_AHEAD = 16
_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(eq=False)
class Item:
    """One picture that was read and found good.

    Attributes:
        record: where it came from, with its texts.
        sha256: hexadecimal digest of the file's bytes.
        dhash: 64-bit difference hash of the picture, hexadecimal.
        label: class key ``source/class`` in its own set, else that of the first equal file with one, or empty.
        captions: sentences, equal ones once.
        labels: all its class keys: more than one when equal files lie in several sets.
        max_pixels: limit when it is decoded again.
        kept: its pixels or encoded bytes, or None: read when needed.
    """

    record: Record
    sha256: str
    dhash: str
    label: str
    captions: list[str]
    labels: tuple[str, ...] = ()
    max_pixels: int = MAX_PIXELS
    kept: Pixels | bytes | None = None

    @property
    def source(self) -> str:
        """Name of its set."""
        return self.record.source

    @property
    def file(self) -> str:
        """Its name inside the set."""
        return self.record.key

    @property
    def pixels(self) -> Pixels:
        """uint8 [H, W, 3] RGB, decoded when it is not kept that way.

        Raises:
            SourceError: the file is gone, or is not the one that was read before.
        """
        if isinstance(self.kept, np.ndarray):
            return self.kept
        data = self.kept
        if data is None:
            data = self.record.read()
            if hashlib.sha256(data).hexdigest() != self.sha256:
                raise SourceError(f"{self.source}/{self.file} has changed since the run began")
        return decode(data, f"{self.source}/{self.file}", self.max_pixels)

    def held_out(self, share: float) -> bool:
        """Whether the hash puts this picture aside."""
        return int(self.sha256[:8], 16) / 2**32 < share


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

    Attributes:
        tier: how pictures are kept.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._items: list[Item] = []
        self._bytes: list[bytes] = []
        self._decoded = self._encoded = 0
        self.tier: Tier = "decoded"

    def read(self, records: list[Record], max_pixels: int, workers: int) -> tuple[list[Item], list[Problem]]:
        """Read, hash and decode every record once.

        Args:
            records: of one set.
            max_pixels: larger pictures are left out.
            workers: threads.

        Returns:
            Items in the order of the records, and what was left out.
        """

        def one(record: Record) -> tuple[Item, Pixels, bytes] | Problem:
            try:
                data = record.read()
                pixels = decode(data, f"{record.source}/{record.key}", max_pixels)
            except SourceError as exc:
                return Problem(record.source, record.key, "picture", exc.message)
            label = f"{record.source}/{record.label}" if record.label else ""
            labels = (label,) if label else ()
            digest = hashlib.sha256(data).hexdigest()
            item = Item(record, digest, dhash(pixels), label, list(record.captions), labels, max_pixels)
            return item, pixels, data

        items: list[Item] = []
        problems: list[Problem] = []
        for found in in_order(one, records, workers):
            if isinstance(found, Problem):
                problems.append(found)
            else:
                items.append(found[0])
                self._keep(*found)
        return items, problems

    def _keep(self, item: Item, pixels: Pixels, data: bytes) -> None:
        """Keep a picture in the present tier, falling to the next one when the budget is spent."""
        self._items.append(item)
        self._encoded += len(data)
        self._decoded += pixels.nbytes
        if self.tier == "decoded" and self._decoded + self._encoded > self._budget:
            self.tier = "encoded"
            for old, encoded in zip(self._items, self._bytes, strict=False):
                old.kept = encoded
            self._bytes.clear()
        if self.tier == "encoded" and self._encoded > self._budget:
            self.tier = "on demand"
            for old in self._items:
                old.kept = None
        if self.tier == "decoded":
            item.kept = pixels
            self._bytes.append(data)
        elif self.tier == "encoded":
            item.kept = data

    def finish(self) -> None:
        """Let go of what was only needed to change the tier."""
        self._items.clear()
        self._bytes.clear()
