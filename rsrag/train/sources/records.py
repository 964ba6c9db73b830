"""The pictures of a set in columns: name, place, class, captions and further facts of each."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rsrag.train.sources.columns import Lazy, Numbers, Texts, TextsBuilder, check_ends, narrow, numbers
from rsrag.train.sources.places import Calls, Holder, Place


@dataclass(frozen=True, slots=True)
class Record:
    """One picture of a set, not yet read.

    Attributes:
        source: name of the set.
        key: name of the picture in its set; no two records of a listing share it.
        read: gives the bytes of the picture file; raises :class:`rsrag.errors.SourceError` when it cannot.
        label: class as the set writes it, or an empty string.
        captions: sentences, cleaned, equal ones once.
        meta: further facts of the layout: tags, time, place, licence.
    """

    source: str
    key: str
    read: Callable[[], bytes]
    label: str = ""
    captions: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Records(Lazy[Record]):
    """Records of one set.

    Attributes:
        source: name of the set.
        keys: names of the pictures in the set.
        names: what their holders call them; empty when it is the key.
        holders: what holds the pictures.
        holder: [N], number of the holder.
        places: int64 [N, 2], where in it.
        words: the classes.
        labels: [N], number of the class.
        texts: all captions.
        ends: [N + 1], where the captions of every picture begin in ``texts``, and their end.
        metas: further facts as JSON; empty when there are none.
    """

    source: str
    keys: Texts
    names: Texts
    holders: list[Holder]
    holder: Numbers
    places: Numbers
    words: list[str]
    labels: Numbers
    texts: Texts
    ends: Numbers
    metas: Texts

    def __post_init__(self) -> None:
        check_ends(self.ends, len(self.texts))
        lengths = {len(column) for column in (self.keys, self.names, self.holder, self.places, self.labels, self.metas)}
        wrong = self.places.shape != (len(self), 2) or lengths != {len(self)} or len(self.ends) != len(self) + 1
        for column, count in ((self.holder, len(self.holders)), (self.labels, len(self.words))):
            wrong = wrong or (len(self) > 0 and not 0 <= column.min() <= column.max() < count)
        if wrong or (self.places < 0).any():
            raise ValueError("columns of a set do not fit each other")

    def __len__(self) -> int:
        return len(self.keys)

    def place(self, row: int) -> Place:
        """Where a picture lies."""
        first, second = self.places[row].tolist()
        return Place(self.holders[int(self.holder[row])], self.names.at(row) or self.keys.at(row), first, second)

    def label(self, row: int) -> str:
        """Class of a picture."""
        return self.words[int(self.labels[row])]

    def captions(self, row: int) -> tuple[str, ...]:
        """Captions of a picture."""
        return tuple(self.texts.at(number) for number in range(int(self.ends[row]), int(self.ends[row + 1])))

    def at(self, row: int) -> Record:
        meta = self.metas.at(row)
        told = json.loads(meta) if meta else {}
        return Record(self.source, self.keys.at(row), self.place(row), self.label(row), self.captions(row), told)


class RecordsBuilder:
    """Collects the records of a set into columns."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._keys, self._names, self._texts, self._metas = (TextsBuilder() for _ in range(4))
        self._holders: list[Holder] = []
        self._numbers: dict[int, int] = {}
        self._words: dict[str, int] = {}
        self._holder, self._places, self._labels, self._ends = array("i"), array("q"), array("i"), array("q", [0])
        self._calls = Calls()

    def add(
        self, key: str, read: Callable[[], bytes], label: str, captions: Iterable[str], meta: Mapping[str, Any]
    ) -> None:
        """Add a record; what its bytes are read by is kept as an object only when it is no :class:`Place`."""
        place = read if isinstance(read, Place) else self._calls.add(read)
        number = self._numbers.setdefault(id(place.holder), len(self._holders))
        if number == len(self._holders):
            self._holders.append(place.holder)
        self._keys.append(key)
        self._names.append("" if place.name == key else place.name)
        self._holder.append(number)
        self._places.extend((place.first, place.second))
        self._labels.append(self._words.setdefault(label, len(self._words)))
        for text in captions:
            self._texts.append(text)
        self._ends.append(len(self._texts))
        self._metas.append(json.dumps(meta) if meta else "")

    def __len__(self) -> int:
        return len(self._keys)

    def records(self) -> Records:
        """All that was added; nothing can be added afterwards."""
        return Records(
            self._source,
            self._keys.texts(),
            self._names.texts(),
            self._holders,
            numbers(self._holder),
            numbers(self._places).reshape(-1, 2),
            list(self._words),
            numbers(self._labels),
            self._texts.texts(),
            narrow(numbers(self._ends)),
            self._metas.texts(),
        )


def in_columns(records: Iterable[Record]) -> Records:
    """Records of one set as columns."""
    if isinstance(records, Records):
        return records
    builder: RecordsBuilder | None = None
    for one in records:
        builder = builder or RecordsBuilder(one.source)
        builder.add(one.key, one.read, one.label, one.captions, one.meta)
    return (builder or RecordsBuilder("")).records()
