"""Near-duplicates: which earlier tile looks the same, tiles that are not yet committed included."""

from __future__ import annotations

from rsrag.catalog import Catalog

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

    def group_of(self, tile_id: str, phash: int, digest: str) -> str:
        """Id of the first tile that looks the same; the tile's own id when it is the first."""
        group = self._by_digest.get(digest) or self._equal(phash, digest) or self._nearest(phash, digest) or tile_id
        self._by_digest[digest] = group
        if group == tile_id:
            self._heads[tile_id] = phash
        return group

    def committed(self) -> None:
        """Everything seen so far is in the catalogue."""
        self._by_digest.clear()
        self._heads.clear()

    def _equal(self, phash: int, digest: str) -> str | None:
        """The group of a committed tile with the same pixels, else the head with the very same hash."""
        return self._catalog.find_group(phash, digest, 0)

    def _nearest(self, phash: int, digest: str) -> str | None:
        """The nearest head, committed or not, of a tile whose pixels are new."""
        near = [((other ^ phash).bit_count(), head) for head, other in self._heads.items()]
        found = self._catalog.find_group(phash, digest, NEAR_BITS)
        head = self._catalog.tile(found) if found is not None else None
        if head is not None:
            near.append(((head.phash ^ phash).bit_count(), head.id))
        bits, group = min(near, default=(NEAR_BITS + 1, ""))
        return group if bits <= NEAR_BITS else None
