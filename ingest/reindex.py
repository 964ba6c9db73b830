"""Rebuild the vector index from the catalogue, without reading a pixel or running a model."""

from __future__ import annotations

from collections.abc import Mapping

from rsrag.catalog import Catalog
from rsrag.collections import IMAGE, PASSAGES, TEXT, TILES, passage_point, specs, tile_point
from rsrag.errors import ModelMismatch
from rsrag.indexes.base import VectorIndex
from rsrag.models.base import Profile
from rsrag.progress import Progress, Silent


def reindex(
    catalog: Catalog, index: VectorIndex, profile: Profile, *, progress: Progress | None = None
) -> Mapping[str, int]:
    """Drop both collections and write them again from the stored vectors; returns points by collection.

    Raises:
        ModelMismatch: the stored vectors were made by other models than the profile's.
    """
    progress = progress or Silent()
    made_by = catalog.fingerprints()
    for vector, model in ((IMAGE, profile.image), (TEXT, profile.text)):
        foreign = made_by.get(vector, set()) - {model.fingerprint}
        if foreign:
            raise ModelMismatch(
                f"the stored {vector} vectors were made by {', '.join(sorted(foreign))}, not by {model.fingerprint}",
                hint="go back to the former profile, or ingest the sources into a new workspace",
            )
    counts = catalog.counts()
    written = {TILES: 0, PASSAGES: 0}
    for spec in specs(profile):
        index.drop(spec.name)
        index.ensure(spec)
    progress.start("reindex", counts.get("tiles", 0) + counts.get("passages", 0), unit="points")
    for tiles in catalog.iter_tile_vectors():
        index.upsert(TILES, [tile_point(tile, scene, vector) for tile, scene, vector in tiles])
        written[TILES] += len(tiles)
        progress.advance(len(tiles))
    for passages in catalog.iter_passage_vectors():
        points = [passage_point(passage, place, vectors) for passage, place, vectors in passages]
        index.upsert(PASSAGES, points)
        written[PASSAGES] += len(passages)
        progress.advance(len(passages))
    index.optimize()
    index.flush()
    progress.finish()
    return written


def repair(catalog: Catalog, index: VectorIndex) -> None:
    """Bring the index in line with the catalogue where a crash came between the two.

    Points that the catalogue does not know are removed, and points that are missing are written from its vectors. When
    the counts agree nothing is compared.
    """
    counts = catalog.counts()
    if index.count(TILES) != counts.get("tiles", 0):
        missing = _strays(index, TILES, set(catalog.tile_ids()))
        for tiles in catalog.iter_tile_vectors() if missing else ():
            points = [tile_point(tile, scene, vector) for tile, scene, vector in tiles if tile.id in missing]
            if points:
                index.upsert(TILES, points)
    if index.count(PASSAGES) != counts.get("passages", 0):
        missing = _strays(index, PASSAGES, set(catalog.passage_ids()))
        for passages in catalog.iter_passage_vectors() if missing else ():
            points = [passage_point(*row) for row in passages if row[0].id in missing]
            if points:
                index.upsert(PASSAGES, points)


def _strays(index: VectorIndex, collection: str, known: set[str]) -> set[str]:
    """Delete points that the catalogue does not know; return the ids of those that are missing."""
    held = set(index.ids(collection))
    if held - known:
        index.delete(collection, sorted(held - known))
    return known - held
