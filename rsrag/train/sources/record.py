"""What every layout gives: records of pictures with their texts, and what was left out and why."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rsrag.train.prompts import normal
from rsrag.train.sources.columns import first_equal, numbers
from rsrag.train.sources.records import Record, Records, RecordsBuilder

__all__ = ["PICTURES", "Gather", "Listing", "Problem", "Record", "clean", "of_split", "plain_word"]

PICTURES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp")
"""Endings of picture files, lower case."""

_LONGEST = 2000
_BAD = re.compile("[\ud800-\udfff\ufffd]")
_BLANK = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something left out, with its reason.

    Attributes:
        source: name of the set.
        key: picture, row, member or file.
        what: ``"picture"``, ``"caption"`` (the picture may still be used), ``"row"`` or ``"file"`` (a shard).
        reason: in words.
    """

    source: str
    key: str
    what: str
    reason: str


@dataclass
class Listing:
    """What a set holds.

    Attributes:
        records: pictures in a fixed order.
        problems: what was left out.
    """

    records: Records
    problems: list[Problem] = field(default_factory=list)


def _strings(value: Any) -> Iterable[Any]:
    """Captions inside a value: a text, a list of texts, or sentences in the layout of RSICD (``{"raw": ...}``)."""
    if isinstance(value, Mapping):
        value = value.get("raw", value.get("caption"))
    if isinstance(value, list | tuple):
        for one in value:
            yield from _strings(one)
    elif value is not None:
        yield value


def clean(values: Any) -> tuple[tuple[str, ...], int]:
    """Captions fit for training.

    White space and control characters become single spaces, texts longer than 2,000 characters are cut, texts without a
    letter or digit are dropped, and of texts that are equal up to case and punctuation the first is kept.

    Args:
        values: text, bytes, list of these, or sentences in the layout of RSICD.

    Returns:
        The captions, and how many could not be decoded (no text, invalid UTF-8, lone surrogates).
    """
    kept: dict[str, str] = {}
    bad = 0
    for value in _strings(values):
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if not isinstance(value, str) or _BAD.search(value):
            bad += 1
            continue
        text = _BLANK.sub(" ", value).strip()[:_LONGEST]
        if key := normal(text):
            kept.setdefault(key, text)
    return tuple(kept.values()), bad


class Gather:
    """Builds a listing from rows, several of which may tell about one picture: their captions are united."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._rows = RecordsBuilder(source)
        self._hashes = array("q")
        self.problems: list[Problem] = []

    def problem(self, key: str, what: str, reason: str) -> None:
        """Note something left out; ``key`` may hold anything."""
        shown = _BAD.sub("?", _BLANK.sub(" ", key))[:200]
        self.problems.append(Problem(self._source, shown, what, reason))

    def add(
        self,
        key: str,
        read: Callable[[], bytes],
        *,
        label: Any = None,
        captions: Any = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a row about the picture ``key``; its texts are cleaned, what cannot be decoded is noted.

        Args:
            key: name of the picture in its set.
            read: gives its bytes; a :class:`rsrag.train.sources.places.Place` takes no object a picture.
            label: its class.
            captions: anything that :func:`clean` takes.
            meta: further facts, as JSON can hold them.
        """
        texts, bad = clean(captions)
        self.problems += [Problem(self._source, key, "caption", "cannot be decoded")] * bad
        self._rows.add(key, read, plain_word(label), texts, dict(meta or {}))
        self._hashes.append(hash(key))

    def listing(self) -> Listing:
        """Everything added, in the order of first mention."""
        rows = self._rows.records()
        later = self._later(rows)
        if not later:
            return Listing(rows, self.problems)
        again = {row for numbers in later.values() for row in numbers}
        united = RecordsBuilder(self._source)
        for row, first in enumerate(rows):
            if row in again:
                continue
            captions, label, meta = first.captions, first.label, first.meta
            for other in (rows[number] for number in later.get(row, ())):
                captions = clean([*captions, *other.captions])[0]
                label, meta = label or other.label, {**other.meta, **meta}
            united.add(first.key, first.read, label, captions, meta)
        return Listing(united.records(), self.problems)

    def _later(self, rows: Records) -> dict[int, list[int]]:
        """For the first row of every picture that has several, the others in their order."""
        first = first_equal([numbers(self._hashes)])
        counts = np.bincount(first, minlength=len(first))
        found: dict[int, list[int]] = {}
        seen: dict[str, int] = {}
        for row in np.flatnonzero(counts[first] > 1).tolist():  # equal hashes, hardly ever of unequal names
            earliest = seen.setdefault(rows.keys[row], row)
            if earliest != row:
                found.setdefault(earliest, []).append(row)
        return found


def of_split(row: Mapping[str, Any], split: str) -> bool:
    """Whether a row belongs to a split; one that names none belongs to all."""
    return row.get("split") in (None, "", split)


def plain_word(value: Any) -> str:
    """A label or tag value as one clean line of text; an empty string for anything else than text or a number."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    if isinstance(value, float) and not math.isfinite(value):  # how tables write that there is none
        return ""
    return _BLANK.sub(" ", _BAD.sub("", str(value))).strip()[:200]
