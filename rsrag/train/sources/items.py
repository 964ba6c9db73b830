"""Pictures that were read and found good, in columns: sets behind each other, and copies united with the first one."""

from __future__ import annotations

import bisect
import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rsrag.errors import SourceError
from rsrag.train.sources.columns import Lazy, Numbers
from rsrag.train.sources.pictures import Pixels, decode
from rsrag.train.sources.record import clean
from rsrag.train.sources.records import Record, Records


@dataclass(eq=False)
class Part:
    """The good pictures of one set.

    Attributes:
        records: all of the set.
        rows: [N], which of them are good, ascending.
        digests: uint8 [N, 32], sha256 of every file.
        dhashes: uint64 [N], difference hash of every picture.
        max_pixels: limit when one is decoded again.
        kept: pixels or encoded bytes of every picture; empty when they are read when needed.
    """

    records: Records
    rows: Numbers
    digests: npt.NDArray[np.uint8]
    dhashes: npt.NDArray[np.uint64]
    max_pixels: int
    kept: list[Pixels | bytes | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        count, rows = len(self.rows), self.rows
        if self.digests.shape != (count, 32) or self.dhashes.shape != (count,):
            raise ValueError("columns of pictures do not fit each other")
        if count and (int(rows[-1]) >= len(self.records) or int(rows[0]) < 0 or (rows[1:] <= rows[:-1]).any()):
            raise ValueError("pictures do not fit the records of their set")


@dataclass(frozen=True)
class _Told:
    """What a picture with copies has of all of them."""

    captions: list[str]
    label: str
    labels: tuple[str, ...]


class Table:
    """The pictures of several sets behind each other; ``united`` holds what copies changed."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = list(parts)
        self.starts = [0, *itertools.accumulate(len(part.rows) for part in self.parts)]
        self.united: dict[int, _Told] = {}

    def find(self, row: int) -> tuple[Part, int]:
        """The part that a row lies in, and its number there."""
        number = bisect.bisect_right(self.starts, row) - 1
        return self.parts[number], row - self.starts[number]

    def record(self, row: int) -> tuple[Records, int]:
        """The records that a row lies in, and its number there."""
        part, number = self.find(row)
        return part.records, int(part.rows[number])


@dataclass(frozen=True, slots=True)
class Item:
    """One picture that was read and found good: a row of a table."""

    table: Table
    row: int

    @property
    def record(self) -> Record:
        """Where it came from, with its own texts."""
        records, number = self.table.record(self.row)
        return records.at(number)

    @property
    def source(self) -> str:
        """Name of its set."""
        return self.table.record(self.row)[0].source

    @property
    def file(self) -> str:
        """Its name inside the set."""
        records, number = self.table.record(self.row)
        return records.keys.at(number)

    @property
    def sha256(self) -> str:
        """Hexadecimal digest of the file's bytes."""
        part, number = self.table.find(self.row)
        digest: bytes = part.digests[number].tobytes()
        return digest.hex()

    @property
    def dhash(self) -> str:
        """64-bit difference hash of the picture, hexadecimal."""
        part, number = self.table.find(self.row)
        return f"{part.dhashes[number]:016x}"

    @property
    def label(self) -> str:
        """Class key ``source/class`` in its own set, else that of the first equal file with one, or empty."""
        if (told := self.table.united.get(self.row)) is not None:
            return told.label
        records, number = self.table.record(self.row)
        own = records.label(number)
        return f"{records.source}/{own}" if own else ""

    @property
    def labels(self) -> tuple[str, ...]:
        """All its class keys: more than one when equal files lie in several sets."""
        if (told := self.table.united.get(self.row)) is not None:
            return told.labels
        label = self.label
        return (label,) if label else ()

    @property
    def captions(self) -> list[str]:
        """Sentences, equal ones once."""
        if (told := self.table.united.get(self.row)) is not None:
            return list(told.captions)
        records, number = self.table.record(self.row)
        return list(records.captions(number))

    @property
    def kept(self) -> Pixels | bytes | None:
        """Its pixels or encoded bytes, or None: read when needed."""
        part, number = self.table.find(self.row)
        return part.kept[number] if part.kept else None

    @property
    def pixels(self) -> Pixels:
        """uint8 [H, W, 3] RGB, decoded when it is not kept that way.

        Raises:
            SourceError: the file is gone, or is not the one that was read before.
        """
        part, number = self.table.find(self.row)
        data = part.kept[number] if part.kept else None
        if isinstance(data, np.ndarray):
            return data
        if data is None:
            data = part.records.place(int(part.rows[number]))()
            if hashlib.sha256(data).digest() != part.digests[number].tobytes():
                raise SourceError(f"{self.source}/{self.file} has changed since the run began")
        return decode(data, f"{self.source}/{self.file}", part.max_pixels)


class Items(Lazy[Item]):
    """Some pictures of a table.

    Args:
        table: that they lie in.
        rows: int64 [N], which; all of them when None.
    """

    def __init__(self, table: Table, rows: npt.NDArray[np.int64] | None = None) -> None:
        self.table = table
        self.rows = np.arange(table.starts[-1], dtype=np.int64) if rows is None else rows

    @classmethod
    def of(cls, items: Sequence[Item]) -> Items:
        """Pictures of any tables as those of one new table."""
        if isinstance(items, Items):
            return items
        parts = []
        for item in items:
            part, at = item.table.find(item.row)
            own = slice(at, at + 1)
            more = part.rows[own], part.digests[own], part.dhashes[own], part.max_pixels, part.kept[own]
            parts.append(Part(part.records, *more))
        table = Table(parts)
        for row, item in enumerate(items):
            if (told := item.table.united.get(item.row)) is not None:
                table.united[row] = told
        return cls(table)

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, row: int) -> Item:
        return Item(self.table, int(self.rows[row]))

    def digests(self) -> npt.NDArray[np.uint8]:
        """uint8 [N, 32], sha256 of every file."""
        every = [part.digests for part in self.table.parts] or [np.empty((0, 32), dtype=np.uint8)]
        return np.concatenate(every)[self.rows]

    def dhashes(self) -> npt.NDArray[np.uint64]:
        """uint64 [N], difference hash of every picture."""
        every = [part.dhashes for part in self.table.parts] or [np.empty(0, dtype=np.uint64)]
        return np.concatenate(every)[self.rows]

    def of_source(self, name: str) -> npt.NDArray[np.int64]:
        """Positions of the pictures of a set, ascending."""
        parts = np.searchsorted(self.table.starts, self.rows, side="right") - 1
        wanted = np.array([part.records.source == name for part in self.table.parts], dtype=bool)
        return np.flatnonzero(wanted[parts]) if len(wanted) else np.empty(0, dtype=np.int64)

    def split(self, share: float) -> tuple[Items, Items]:
        """The pictures to learn from, and the share of them that their hashes put aside."""
        first = np.ascontiguousarray(self.digests()[:, :4]).view(">u4")[:, 0]
        aside = first / 2**32 < share
        return Items(self.table, self.rows[~aside]), Items(self.table, self.rows[aside])

    def unite(self, row: int, other: int) -> None:
        """Give the picture at position ``row`` the captions and classes of its copy at ``other``, and drop the copy's
        pixels."""
        kept, copy = self.at(row), self.at(other)
        captions = list(clean([*kept.captions, *copy.captions])[0])
        told = _Told(captions, kept.label or copy.label, tuple(dict.fromkeys([*kept.labels, *copy.labels])))
        if told != _Told(kept.captions, kept.label, kept.labels):
            self.table.united[kept.row] = told
        part, at = self.table.find(copy.row)
        if part.kept:
            part.kept[at] = None


class Copies(Lazy[tuple[Item, Item]]):
    """Files equal to one that was kept, and that one.

    Args:
        items: of both.
        copies: int64 [M], positions of the former.
        kept: int64 [M], positions of the latter.
    """

    def __init__(self, items: Items, copies: npt.NDArray[np.int64], kept: npt.NDArray[np.int64]) -> None:
        self._items, self._copies, self._kept = items, copies, kept

    def __len__(self) -> int:
        return len(self._copies)

    def at(self, row: int) -> tuple[Item, Item]:
        return self._items.at(int(self._copies[row])), self._items.at(int(self._kept[row]))
