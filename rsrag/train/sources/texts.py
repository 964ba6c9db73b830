"""Every sentence that a picture can be paired with: class prompts and captions, grouped by what they say."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rsrag.train.prompts import gist, merge_groups, sentences
from rsrag.train.sources.columns import Lazy, Numbers, Rows, first_equal, narrow, numbers
from rsrag.train.sources.items import Item


class Sentences(Lazy[str]):
    """Prompts, then captions, which stay where they are: in the records of their pictures.

    Args:
        prompts: texts of the prompts.
        items: the pictures.
        owners: [C], which picture has a caption.
        places: [C], which of its captions it is.
    """

    def __init__(self, prompts: list[str], items: Sequence[Item], owners: Numbers, places: Numbers) -> None:
        self._prompts, self._items, self._owners, self._places = prompts, items, owners, places

    def __len__(self) -> int:
        return len(self._prompts) + len(self._owners)

    def at(self, row: int) -> str:
        number = row - len(self._prompts)
        return self._prompts[row] if number < 0 else self._items[self._owners[number]].captions[self._places[number]]


class OfItems(Lazy[list[int]]):
    """Texts of every picture: its captions and the prompts of its classes, of which one stands for the other.

    Args:
        captions: of every picture, perhaps none.
        kinds: [N], which classes a picture has.
        prompts: of all classes of a kind, perhaps none.
        told: whether captions come first, or prompts.
    """

    def __init__(self, captions: Rows, kinds: Numbers, prompts: list[list[int]], *, told: bool) -> None:
        self._captions, self._kinds, self._prompts, self._told = captions, kinds, prompts, told

    def __len__(self) -> int:
        return len(self._kinds)

    def at(self, row: int) -> list[int]:
        own = self._captions.at(row)
        if own and self._told:
            return own
        return list(self._prompts[self._kinds[row]]) or own


@dataclass
class Texts:
    """Every sentence a picture can be paired with.

    Attributes:
        sentences: all texts; vectors are made once, in this order.
        groups: int64 [T]; texts of one group say the same and are never negatives of each other.
        captions: for every item, indices of its captions (of its prompts when it has none).
        prompts: for every item, indices of the prompts of its classes (of its captions when it has no class).
        classes: class keys ``source/class`` in the order of ``labels``.
        of_class: for every class, indices of its prompts.
        labels: int64 [N], class of every item, -1 for none.
    """

    sentences: Sequence[str]
    groups: npt.NDArray[np.int64]
    captions: Sequence[list[int]]
    prompts: Sequence[list[int]]
    classes: list[str]
    of_class: list[list[int]]
    labels: npt.NDArray[np.int64]


def _mark(text: str) -> bytes:
    """16 bytes that stand for a text: no two texts are ever met that share them."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _words(marks: bytearray) -> list[Numbers]:
    """Marks behind each other as two columns, uint64 [N] each."""
    return list(np.frombuffer(marks, np.uint64).reshape(-1, 2).T)


class _Prompts:
    """Prompts of all classes, equal texts of a group once."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.groups: list[int] = []
        self._table: dict[tuple[str, int], int] = {}

    def add(self, text: str, group: int) -> int:
        """Number of a text of a group."""
        index = self._table.setdefault((text, group), len(self.texts))
        if index == len(self.texts):
            self.texts.append(text)
            self.groups.append(group)
        return index


def build_texts(
    items: Sequence[Item], names: dict[str, list[str]], templates: Mapping[str, Sequence[str]] | None = None
) -> Texts:
    """Collect captions and class prompts of the items and number their groups.

    Prompts of a class, and of classes that share a name, are one group. Captions that say the same
    (:func:`rsrag.train.prompts.gist`) are one group, that of a class when a prompt of it says the same.

    Args:
        items: in their order.
        names: for every class key, its names.
        templates: for every set, its template bank; the default one for sets not in it.
    """
    group_of = merge_groups(names)
    prompts = _Prompts()
    of_class: dict[str, list[int]] = {}
    for key, options in names.items():
        bank = (templates or {}).get(key.split("/", 1)[0])
        filled = sentences(options, bank) if bank else sentences(options)
        of_class[key] = [prompts.add(text, group_of[key]) for text in filled]
    keys = list(of_class)
    rows = {key: number for number, key in enumerate(keys)}
    labels = np.full(len(items), -1, dtype=np.int64)
    kinds: dict[tuple[str, ...], int] = {}
    kind, ends = array("i"), array("q", [0])
    marks, said = bytearray(), bytearray()
    for text in prompts.texts:
        marks += _mark(text)
        said += _mark(gist(text))
    for number, item in enumerate(items):
        labels[number] = rows.get(item.label, -1)
        kind.append(kinds.setdefault(item.labels, len(kinds)))
        captions = item.captions
        for text in captions:
            marks += _mark(text)
            said += _mark(gist(text))
        ends.append(ends[-1] + len(captions))
    owners, groups, values = _number(prompts.groups, _words(marks), _words(said), len(set(group_of.values())))
    del marks, said
    starts = numbers(ends)
    owner = np.searchsorted(starts, owners, side="right") - 1
    own = Rows(narrow(starts), values)
    of_kind = [[index for key in classes for index in of_class[key]] for classes in kinds]
    numbered = numbers(kind)
    return Texts(
        Sentences(prompts.texts, items, narrow(owner), narrow(owners - starts[owner])),
        groups,
        OfItems(own, numbered, of_kind, told=True),
        OfItems(own, numbered, of_kind, told=False),
        keys,
        list(of_class.values()),
        labels,
    )


def _number(
    prompts: list[int], texts: list[Numbers], said: list[Numbers], unused: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Numbers]:
    """Number the captions of all pictures, behind the prompts, and what they say.

    Args:
        prompts: groups of the P prompts, no two of which are equal in text and group.
        texts: marks of the texts of prompts, then of captions, [P + C] each.
        said: marks of what they say.
        unused: the first group that no class has.

    Returns:
        int64 [U], captions that are no prompts and have none equal before them; int64 [P + U], groups of prompts and
        of these; and the text of every caption, [C].
    """
    count = len(prompts)
    first = first_equal(said)
    new = first == np.arange(len(first))
    new[:count] = False
    groups = np.empty(len(first), dtype=np.int64)
    groups[:count] = prompts
    groups[new] = unused + np.arange(int(new.sum()))
    groups[count:] = groups[first[count:]]
    first = first_equal([*texts, groups])
    new = first == np.arange(len(first))
    index = narrow(np.cumsum(new) - 1)
    return np.flatnonzero(new[count:]), groups[new], index[first[count:]]
