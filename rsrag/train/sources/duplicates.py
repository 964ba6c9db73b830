"""Copies: equal files become one picture, near copies are found by their difference hash."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rsrag.train.sources.record import clean
from rsrag.train.sources.store import Item

NEAR_BITS = 3
"""Difference hashes this far apart or nearer belong to near copies."""
_BANDS = NEAR_BITS + 1
_BUCKET = 512
_FLAT = 8


def unite(items: Sequence[Item]) -> tuple[list[Item], list[tuple[Item, Item]]]:
    """Keep one item for every digest, with the captions and class keys of all.

    Args:
        items: of all sets, in order; the first of equal ones is kept and changed.

    Returns:
        The items kept, and ``(copy, kept)`` for every other.
    """
    first: dict[str, Item] = {}
    copies: list[tuple[Item, Item]] = []
    for item in items:
        kept = first.setdefault(item.sha256, item)
        if kept is item:
            continue
        copies.append((item, kept))
        kept.captions = list(clean([*kept.captions, *item.captions])[0])
        kept.label = kept.label or item.label
        kept.labels = tuple(dict.fromkeys([*kept.labels, *item.labels]))
        item.kept = None
    return list(first.values()), copies


def near_groups(hashes: Sequence[str]) -> npt.NDArray[np.int64]:
    """Number of the group of near copies of every picture.

    Two pictures are near when their hashes differ in at most three bits; groups are closed under that. Hashes with
    fewer than 8 or more than 56 bits set come from smooth pictures, which resemble each other without being copies:
    such pictures are in no group. Of more than 512 hashes that share 16 bits only equal ones are compared.

    Args:
        hashes: 16 hexadecimal digits each.

    Returns:
        int64 [N], -1 for a picture without near copies, else the position of the first of its group.
    """
    if not hashes:
        return np.empty(0, dtype=np.int64)
    values = np.array([int(h, 16) for h in hashes], dtype=np.uint64)
    unique, inverse = np.unique(values, return_inverse=True)
    parent = np.arange(len(unique))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = int(parent[node])
        return node

    bits = np.bitwise_count(unique)
    textured = np.flatnonzero((bits >= _FLAT) & (bits <= 64 - _FLAT))
    width = 64 // _BANDS
    for band in range(_BANDS):
        part = (unique[textured] >> np.uint64(band * width)) & np.uint64(2**width - 1)
        order = np.argsort(part, kind="stable")
        for bucket in np.split(textured[order], np.flatnonzero(np.diff(part[order])) + 1):
            if not 1 < len(bucket) <= _BUCKET:
                continue
            apart = np.bitwise_count(unique[bucket][:, None] ^ unique[bucket][None, :])
            for a, b in zip(*np.nonzero(np.triu(apart <= NEAR_BITS, 1)), strict=True):
                parent[root(int(bucket[b]))] = root(int(bucket[a]))
    roots = np.array([root(node) for node in range(len(unique))])[inverse]
    smooth = np.ones(len(unique), dtype=bool)
    smooth[textured] = False
    _, place, counts = np.unique(roots, return_inverse=True, return_counts=True)
    earliest = np.full(len(counts), len(hashes), dtype=np.int64)
    np.minimum.at(earliest, place, np.arange(len(hashes)))
    return np.where((counts[place] > 1) & ~smooth[inverse], earliest[place], -1)
