"""Near-duplicates: which earlier tile looks the same, tiles that are not yet committed included."""

from __future__ import annotations

from collections.abc import Sequence

from rsrag.catalog import Catalog
from rsrag.catalog.imagery import Lookalikes

NEAR_BITS = 4
"""Perceptual hashes that differ in no more bits belong to pictures that look the same."""


class Grouper:
    """Finds a tile's group by one rule, whatever is committed already: equal pixels, else the nearest perceptual hash
    among tiles that stand for their group, the smallest id among equals. An interrupted and an uninterrupted ingest
    thus form the same groups."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._by_digest: dict[str, str] = {}
        self._heads: dict[str, int] = {}

    def groups_of(self, tiles: Sequence[tuple[str, int, str]]) -> list[str]:
        """For each tile, id of the first one that looks the same; the tile's own id when it is the first.

        Args:
            tiles: id, perceptual hash and digest of the pixels of each. The catalogue is asked once for all of them.
        """
        committed = self._catalog.looks_like([(phash, digest) for _, phash, digest in tiles])
        groups = []
        for tile_id, phash, digest in tiles:
            # The very same hash counts as equal pixels do, so that it does not matter what is committed.
            group = self._by_digest.get(digest) or committed.group_of(phash, digest, 0)
            group = group or self._nearest(committed, phash) or tile_id
            self._by_digest[digest] = group
            if group == tile_id:
                self._heads[tile_id] = phash
            groups.append(group)
        return groups

    def committed(self) -> None:
        """Everything seen so far is in the catalogue."""
        self._by_digest.clear()
        self._heads.clear()

    def _nearest(self, committed: Lookalikes, phash: int) -> str | None:
        """The nearest head, committed or not, of a tile whose pixels are new."""
        near = [((other ^ phash).bit_count(), head) for head, other in self._heads.items()]
        if (found := committed.nearest(phash)) is not None:
            near.append(found)
        bits, group = min(near, default=(NEAR_BITS + 1, ""))
        return group if bits <= NEAR_BITS else None
