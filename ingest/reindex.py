"""Rebuild the vector index from the catalogue, without reading an image or running a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rsrag.catalog import Catalog
from rsrag.collections import IMAGE, PASSAGES, TEXT, TILES, passage_point, specs, tile_point
from rsrag.errors import ModelMismatch
from rsrag.indexes.base import VectorIndex
from rsrag.layout import layout_of_image
from rsrag.models.base import Profile
from rsrag.progress import Progress, Silent
from rsrag.types import Scene

_AT_ONCE = 256
_PARENTS = {TILES: "scene", PASSAGES: "document"}
"""What a point's payload calls that which it is a part of."""


def reindex(
    catalog: Catalog, index: VectorIndex, profile: Profile, *, progress: Progress | None = None
) -> Mapping[str, int]:
    """Drop both collections and write them again from the stored vectors; returns points by collection.

    Tiles of earlier versions get a layout, from their thumbnails.

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
    _add_layouts(catalog, progress)
    return written


def _add_layouts(catalog: Catalog, progress: Progress) -> None:
    missing = catalog.tiles_without_layout()
    if not missing:
        return
    progress.start("layouts", len(missing), unit="tiles")
    for start in range(0, len(missing), _AT_ONCE):
        ids = missing[start : start + _AT_ONCE]
        made = {identity: layout_of_image(catalog.thumbnail(identity) or b"") for identity in ids}
        catalog.save_layouts({identity: cells for identity, cells in made.items() if cells is not None})
        progress.advance(len(ids))
    progress.finish()


def repair(catalog: Catalog, index: VectorIndex) -> None:
    """Bring the index in line with the catalogue where a crash came between the two.

    Points that the catalogue does not know are removed, and points that are missing are written from its vectors. When
    the counts agree nothing is compared. In an index that others write to as well, points of what an unfinished run
    reads are left alone: it indexes tiles and passages shortly before it commits them.
    """
    counts = catalog.counts()
    if index.count(TILES) != counts.get("tiles", 0):
        missing = _strays(index, TILES, set(catalog.tile_ids()), catalog.tiles, lambda: catalog.being_read("scene"))
        for tiles in catalog.iter_tile_vectors() if missing else ():
            points = [tile_point(tile, scene, vector) for tile, scene, vector in tiles if tile.id in missing]
            if points:
                index.upsert(TILES, points)
    if index.count(PASSAGES) != counts.get("passages", 0):
        known = set(catalog.passage_ids())
        missing = _strays(index, PASSAGES, known, catalog.passages, lambda: catalog.being_read("document"))
        for passages in catalog.iter_passage_vectors() if missing else ():
            points = [passage_point(*row) for row in passages if row[0].id in missing]
            if points:
                index.upsert(PASSAGES, points)


def _strays(
    index: VectorIndex,
    collection: str,
    known: set[str],
    look_up: Callable[[Sequence[str]], Mapping[str, object]],
    being_read: Callable[[], set[str]],
) -> set[str]:
    """Delete points that the catalogue does not know; return the ids of those that are missing.

    Another ingest may have written since ``known`` was listed, so strays are looked up again before they go.
    """
    held = set(index.ids(collection))
    strays = sorted(held - known)
    if strays and index.shared and (coming := being_read()):
        payloads = index.payloads(collection, strays)
        strays = [stray for stray in strays if payloads.get(stray, {}).get(_PARENTS[collection]) not in coming]
    arrived = look_up(strays) if strays else {}
    if gone := [stray for stray in strays if stray not in arrived]:
        index.delete(collection, gone)
    return known - held


def relabel(catalog: Catalog, index: VectorIndex, scenes: Sequence[Scene]) -> None:
    """Write the points of known tiles again where a scene is about to change in what they say of it.

    A file that was moved, renamed or copied has the same tiles, but may have another collection, time or sensor.

    Args:
        catalog: with the scenes as they were.
        index: to be brought in line with the scenes as they will be.
        scenes: as they will be, each once.
    """
    coming = {scene.id: scene for scene in scenes}
    stored = catalog.scenes_at(list(coming))
    changed = [key for key, scene in stored.items() if _said(scene) != _said(coming[key])]
    for tiles in catalog.iter_tile_vectors(scenes=changed) if changed else ():
        index.upsert(TILES, [tile_point(tile, coming[scene.id], vector) for tile, scene, vector in tiles])


def _said(scene: Scene) -> tuple[object, ...]:
    """What points of tiles say of their scene."""
    return scene.collection, scene.sensor, scene.time
