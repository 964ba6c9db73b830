"""Long lists held in a few arrays: texts as bytes with offsets, rows of numbers, and equal rows found by sorting.

A list of millions of Python objects takes some hundred bytes for each of their strings; here a text takes its bytes and
an offset. Elements are made when they are asked for. Arrays may be mapped from a file, which all processes then share.
"""

from __future__ import annotations

from abc import abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import starmap
from operator import eq
from typing import Any, SupportsIndex, TypeVar, overload

import numpy as np
import numpy.typing as npt

_T = TypeVar("_T")
Numbers = npt.NDArray[Any]
_ERRORS = "surrogatepass"  # names of files may hold bytes that are no UTF-8


class Lazy(Sequence[_T]):
    """A sequence whose elements are made when they are asked for; a slice is a list, and so is a sum."""

    @abstractmethod
    def at(self, row: int) -> _T:
        """Element number ``row``, counted from 0."""

    @overload
    def __getitem__(self, row: SupportsIndex) -> _T: ...
    @overload
    def __getitem__(self, row: slice) -> list[_T]: ...
    def __getitem__(self, row: SupportsIndex | slice) -> _T | list[_T]:
        if isinstance(row, slice):
            return [self.at(number) for number in range(*row.indices(len(self)))]
        return self.at(range(len(self))[row])

    def __iter__(self) -> Iterator[_T]:
        return map(self.at, range(len(self)))

    def __add__(self, other: Iterable[_T]) -> list[_T]:
        return [*self, *other]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(starmap(eq, zip(self, other, strict=True)))

    __hash__ = None  # type: ignore[assignment]


def narrow(values: Numbers) -> Numbers:
    """Numbers from 0 on in four bytes each where they fit, else in eight."""
    top = int(values.max()) if len(values) else 0
    return values.astype(np.uint32 if top < 2**32 else np.int64, copy=False)


class Texts(Lazy[str]):
    """Texts as UTF-8.

    Args:
        ends: [N + 1], where every text begins, and the end of the last one.
        data: uint8, the bytes of all.

    Raises:
        ValueError: the offsets are not those of ``data``.
    """

    def __init__(self, ends: Numbers, data: npt.NDArray[np.uint8]) -> None:
        check_ends(ends, len(data))
        self.ends, self.data = ends, data

    def __len__(self) -> int:
        return len(self.ends) - 1

    def at(self, row: int) -> str:
        return self.data[int(self.ends[row]) : int(self.ends[row + 1])].tobytes().decode("utf-8", _ERRORS)


class Rows(Lazy[list[int]]):
    """Rows of numbers of any length.

    Args:
        ends: [N + 1], where every row begins, and the end of the last one.
        values: of all rows.

    Raises:
        ValueError: the offsets are not those of ``values``.
    """

    def __init__(self, ends: Numbers, values: Numbers) -> None:
        check_ends(ends, len(values))
        self.ends, self.values = ends, values

    def __len__(self) -> int:
        return len(self.ends) - 1

    def at(self, row: int) -> list[int]:
        found: list[int] = self.values[int(self.ends[row]) : int(self.ends[row + 1])].tolist()
        return found


def check_ends(ends: Numbers, length: int) -> None:
    """Whether offsets go from 0 to ``length`` and never back.

    Raises:
        ValueError: they do not.
    """
    if ends.ndim != 1 or not len(ends) or int(ends[0]) or int(ends[-1]) != length or (ends[1:] < ends[:-1]).any():
        raise ValueError("offsets do not fit their values")


class TextsBuilder:
    """Collects texts without keeping them as objects."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._ends = array("q", [0])

    def append(self, text: str) -> None:
        """Add a text."""
        self._data += text.encode("utf-8", _ERRORS)
        self._ends.append(len(self._data))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def texts(self) -> Texts:
        """All that was added; nothing can be added afterwards."""
        return Texts(narrow(numbers(self._ends)), np.frombuffer(self._data, np.uint8))


def numbers(values: array[int]) -> Numbers:
    """A view of a standard array as one of numpy."""
    return np.frombuffer(values, dtype=np.dtype(values.typecode))


def first_equal(columns: Sequence[Numbers]) -> npt.NDArray[np.int64]:
    """Position of the first row equal to every row.

    Args:
        columns: [N] each, at least one.

    Returns:
        int64 [N].
    """
    count = len(columns[0])
    first = np.arange(count, dtype=np.int64)
    if not count:
        return first
    order = np.lexsort(tuple(columns))
    new = np.zeros(count, dtype=bool)
    new[0] = True
    for column in columns:
        ordered = column[order]
        new[1:] |= ordered[1:] != ordered[:-1]
    first[order] = order[new][np.cumsum(new) - 1]
    return first
