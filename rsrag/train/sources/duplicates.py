"""Copies: equal files become one picture, near copies are found by their difference hash."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rsrag.train.sources.columns import first_equal
from rsrag.train.sources.items import Copies, Item, Items

NEAR_BITS = 3
"""Difference hashes this far apart or nearer belong to near copies."""
_BANDS = NEAR_BITS + 1
_BUCKET = 512
_FLAT = 8


def unite(items: Sequence[Item]) -> tuple[Items, Copies]:
    """Keep one item for every digest, with the captions and class keys of all.

    Args:
        items: of all sets, in order; the first of equal ones is kept.

    Returns:
        The items kept, and ``(copy, kept)`` for every other.
    """
    every = Items.of(items)
    first = first_equal(list(every.digests().view(np.uint64).T))
    copies = np.flatnonzero(first != np.arange(len(first)))
    for copy in copies.tolist():
        every.unite(int(first[copy]), copy)
    kept = np.delete(every.rows, copies)
    return Items(every.table, kept), Copies(every, copies, first[copies])


def near_groups(hashes: Sequence[str] | npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Number of the group of near copies of every picture.

    Two pictures are near when their hashes differ in at most three bits; groups are closed under that. Hashes with
    fewer than 8 or more than 56 bits set come from smooth pictures, which resemble each other without being copies:
    such pictures are in no group. Of more than 512 hashes that share 16 bits only equal ones are compared.

    Args:
        hashes: 16 hexadecimal digits each, or uint64 [N].

    Returns:
        int64 [N], -1 for a picture without near copies, else the position of the first of its group.
    """
    if not len(hashes):
        return np.empty(0, dtype=np.int64)
    values = hashes if isinstance(hashes, np.ndarray) else np.array([int(h, 16) for h in hashes], dtype=np.uint64)
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
    while (parent[parent] != parent).any():
        parent = parent[parent]
    roots = parent[inverse]
    smooth = np.ones(len(unique), dtype=bool)
    smooth[textured] = False
    _, place, counts = np.unique(roots, return_inverse=True, return_counts=True)
    earliest = np.full(len(counts), len(hashes), dtype=np.int64)
    np.minimum.at(earliest, place, np.arange(len(hashes)))
    return np.where((counts[place] > 1) & ~smooth[inverse], earliest[place], -1)
