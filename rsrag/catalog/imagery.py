"""Scenes and tiles, their thumbnails, their vectors and layouts, and their near-duplicates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from sqlalchemy import ColumnElement, bindparam, func, or_, select, true, tuple_
from sqlalchemy.sql import Select

from rsrag.catalog.boxes import touches
from rsrag.catalog.codec import (
    PIECES,
    embedding_values,
    hash_pieces,
    look_values,
    scene_from,
    scene_values,
    source_values,
    tile_from,
    tile_values,
    vector_from,
)
from rsrag.catalog.database import chunks, delete_in, rows_in, table_of
from rsrag.catalog.journal import Journal
from rsrag.catalog.records import IMAGE_VECTOR, Layout, SourceRecord, TileRow, Vector
from rsrag.catalog.tables import (
    EmbeddingTable,
    LayoutTable,
    LookTable,
    OriginTable,
    SceneTable,
    SourceTable,
    ThumbnailTable,
    TileTable,
)
from rsrag.errors import CatalogError, UsageError
from rsrag.types import Filters, Scene, Tile, TimeSpan

_SCENES = table_of(SceneTable)
_TILES = table_of(TileTable)
_LOOKS = table_of(LookTable)
_THUMBNAILS = table_of(ThumbnailTable)
_LAYOUTS = table_of(LayoutTable)
_EMBEDDINGS = table_of(EmbeddingTable)
_ORIGINS = table_of(OriginTable)

# Asked for every source of an ingest: made once, because making a statement takes longer than running it.
_IDS_OF = select(_TILES.c.id).where(_TILES.c.scene_id == bindparam("scene_id"))

NEAR_DUPLICATE_BITS = PIECES - 1
"""Bits in which perceptual hashes of near-duplicates may differ; up to here no pair is missed."""


class Lookalikes:
    """Committed tiles that may look like some others.

    Attributes:
        equal: group of the first tile with a digest of pixels.
    """

    def __init__(self) -> None:
        self.equal: dict[str, str] = {}
        self._heads: dict[int, list[tuple[str, int]]] = {}

    def add(self, piece: int, tile_id: str, phash: int) -> None:
        """A tile that stands for its group, under a piece of its hash."""
        self._heads.setdefault(piece, []).append((tile_id, phash))

    def nearest(self, phash: int) -> tuple[int, str] | None:
        """Bits that differ, and id, of the nearest tile that stands for its group; the smallest id among equals."""
        pieces = hash_pieces(phash)
        near = (((h ^ phash).bit_count(), i) for piece in pieces for i, h in self._heads.get(piece, ()))
        return min(near, default=None)

    def group_of(self, phash: int, digest: str, distance: int) -> str | None:
        """Of the tile with these pixels, else the nearest one at most so many bits away."""
        near = self.nearest(phash)
        return self.equal.get(digest) or (near[1] if near is not None and near[0] <= distance else None)


class Imagery(Journal):
    """The part of the catalogue that holds images."""

    # --- writing ---

    def save_scene(self, scene: Scene, source_path: str) -> None:
        """Store or replace a scene that came from a source."""
        self.begin_scenes([], [(scene, source_path)])

    def begin_scenes(self, sources: Sequence[SourceRecord], scenes: Sequence[tuple[Scene, str]]) -> None:
        """Note that sources are being read, forget their former errors, and store their scenes: all, or none.

        Args:
            sources: as they are to be known until they are finished.
            scenes: each once, with the path of its source.
        """
        told = f"scene {scenes[0][0].id}" if len(scenes) == 1 else f"{len(scenes)} scenes"
        with self._writing(f"save {told}") as connection:
            self._forget_errors(connection, [source.path for source in sources])
            self._upsert(connection, SourceTable, list(map(source_values, sources)))
            digests = {path: scene.digest for scene, path in reversed(scenes)}  # of the first scene of each
            self._claim_all(connection, "scene", digests, [(path, scene.id) for scene, path in scenes])
            self._upsert(connection, SceneTable, [scene_values(scene) for scene, _ in scenes])

    def save_tiles(self, scene_id: str, rows: Sequence[TileRow]) -> None:
        """Store or replace tiles of a scene with vectors, thumbnails and layouts: all of them, or none.

        Raises:
            BadVector: a vector that the index would refuse.
            CatalogError: a tile of another scene, or the scene is unknown.
        """
        if strays := [row.tile.id for row in rows if row.tile.scene_id != scene_id]:
            raise CatalogError(f"tile {strays[0]} does not belong to scene {scene_id}")
        self.save_tiles_of_scenes(rows)

    def save_tiles_of_scenes(self, rows: Sequence[TileRow]) -> None:
        """Store or replace tiles of one scene or many, with vectors, thumbnails and layouts: all of them, or none.

        Raises:
            BadVector: a vector that the index would refuse.
            CatalogError: a scene is unknown.
        """
        tiles = [row.tile for row in rows]
        embeddings = [embedding_values(row.tile.id, IMAGE_VECTOR, row.vector, row.fingerprint) for row in rows]
        pictures = [{"tile_id": row.tile.id, "jpeg": row.thumbnail} for row in rows if row.thumbnail is not None]
        layouts = {row.tile.id: row.layout for row in rows if row.layout is not None}
        scenes = list(dict.fromkeys(tile.scene_id for tile in tiles))
        told = f"scene {scenes[0]}" if len(scenes) == 1 else f"{len(scenes)} scenes"
        with self._writing(f"save tiles of {told}") as connection:
            self._upsert(connection, TileTable, [tile_values(tile) for tile in tiles])
            delete_in(connection, _LOOKS.c.tile_id, [tile.id for tile in tiles])
            self._upsert(connection, LookTable, [look for tile in tiles for look in look_values(tile)])
            self._upsert(connection, EmbeddingTable, embeddings)
            self._upsert(connection, ThumbnailTable, pictures)
            self._upsert(connection, LayoutTable, _layout_values(layouts))

    def save_layouts(self, layouts: Mapping[str, Layout]) -> None:
        """Store or replace layouts, int8 of shape [288], by the ids of their tiles."""
        with self._writing("save layouts") as connection:
            self._upsert(connection, LayoutTable, _layout_values(layouts))

    # --- reading ---

    def scene(self, scene_id: str) -> Scene | None:
        """A scene by id."""
        return self._one("read a scene", select(_SCENES).where(_SCENES.c.id == scene_id), scene_from)

    def scenes_at(self, ids: Sequence[str]) -> dict[str, Scene]:
        """Scenes by id; unknown ones are left out."""
        with self._reading("read scenes") as connection:
            return {row["id"]: scene_from(row) for row in rows_in(connection, _SCENES.c.id, ids)}

    def scenes_from(self, path: str) -> list[Scene]:
        """The scenes that came from a source, ordered by id."""
        here = select(_ORIGINS.c.item_id).where(_ORIGINS.c.kind == "scene", _ORIGINS.c.source_path == path)
        return self._all(
            "read scenes", select(_SCENES).where(_SCENES.c.id.in_(here)).order_by(_SCENES.c.id), scene_from
        )

    def scenes(self, filters: Filters | None = None, limit: int | None = None) -> list[Scene]:
        """Scenes that pass every given filter, ordered by source.

        Footprints are compared exactly; a scene without footprint passes no place filter, and one of unknown time no
        time filter.

        Raises:
            UsageError: filters on facts or kinds, which scenes do not have.
        """
        filters = filters or Filters()
        if filters.facts or filters.kinds:
            raise UsageError(
                "scenes have no facts and no kinds", hint="facts filter tiles, kinds filter places; leave them out here"
            )
        from rsrag.areas import Areas

        found: list[Scene] = []
        areas = Areas(filters)
        with self._reading("read scenes") as connection:
            for row in connection.execute(_scene_statement(filters)).mappings():
                if limit is not None and len(found) >= limit:
                    break
                scene = scene_from(row)
                if areas.touch(scene.footprint):
                    found.append(scene)
        return found

    def tile(self, tile_id: str) -> Tile | None:
        """A tile by id."""
        return self._one("read a tile", select(_TILES).where(_TILES.c.id == tile_id), tile_from)

    def tiles(self, ids: Sequence[str]) -> dict[str, Tile]:
        """Tiles by id, in the order asked for; unknown ids are left out."""
        with self._reading("read tiles") as connection:
            found = {row["id"]: tile_from(row) for row in rows_in(connection, _TILES.c.id, ids)}
        return {key: found[key] for key in ids if key in found}

    def tiles_of(self, scene_id: str) -> list[Tile]:
        """The tiles of a scene, finest scale first, then by row and column."""
        return [tile for tiles in self.iter_tiles_of(scene_id) for tile in tiles]

    def iter_tiles_of(self, scene_id: str, batch: int = 512) -> Iterator[list[Tile]]:
        """The same in lists of at most ``batch``: a scene may have more tiles than fit into memory."""
        order = (_TILES.c.scale, _TILES.c.window_row, _TILES.c.window_col, _TILES.c.id)
        statement = select(_TILES).where(_TILES.c.scene_id == scene_id).order_by(*order)
        with self._reading("read tiles") as connection:
            for rows in connection.execute(statement, execution_options={"yield_per": batch}).mappings().partitions():
                yield [tile_from(row) for row in rows]

    def tile_ids_of(self, scene_id: str) -> set[str]:
        """The ids of the tiles of a scene."""
        with self._reading("list tiles") as connection:
            return set(connection.scalars(_IDS_OF, {"scene_id": scene_id}))

    def tile_ids(self) -> Iterator[str]:
        """The id of every tile."""
        return self._ids(TileTable)

    def thumbnail(self, tile_id: str) -> bytes | None:
        """The JPEG of a tile."""
        statement = select(_THUMBNAILS).where(_THUMBNAILS.c.tile_id == tile_id)
        return self._one("read a thumbnail", statement, lambda row: bytes(row["jpeg"]))

    def layouts(self, ids: Sequence[str]) -> dict[str, Layout]:
        """Layouts of tiles, int8 of shape [288], in the order asked for; tiles without one are left out."""
        with self._reading("read layouts") as connection:
            found = {row["tile_id"]: row["cells"] for row in rows_in(connection, _LAYOUTS.c.tile_id, ids)}
        return {key: np.frombuffer(found[key], np.int8) for key in ids if key in found}

    def tiles_without_layout(self) -> list[str]:
        """Ids of the tiles that have a thumbnail and no layout, as earlier versions left them."""
        known = select(_LAYOUTS.c.tile_id)
        statement = select(_THUMBNAILS.c.tile_id).where(_THUMBNAILS.c.tile_id.not_in(known))
        return self._all("list tiles", statement.order_by(_THUMBNAILS.c.tile_id), lambda row: str(row["tile_id"]))

    def resolve_tiles(self, ids: Sequence[str]) -> dict[str, tuple[Tile, Scene]]:
        """Tiles with their scenes, in the order asked for; unknown ids are left out."""
        with self._reading("read tiles") as connection:
            tiles = {row["id"]: tile_from(row) for row in rows_in(connection, _TILES.c.id, ids)}
            wanted = {tile.scene_id for tile in tiles.values()}
            scenes = {row["id"]: scene_from(row) for row in rows_in(connection, _SCENES.c.id, wanted)}
        return {key: (tiles[key], scenes[tiles[key].scene_id]) for key in ids if key in tiles}

    def iter_tile_vectors(
        self, batch: int = 512, *, scenes: Sequence[str] | None = None
    ) -> Iterator[list[tuple[Tile, Scene, Vector]]]:
        """Every tile with its scene and vector, in lists of at most ``batch``; tiles of a scene follow each other.

        Args:
            batch: most tiles of a list.
            scenes: ids of the scenes whose tiles are wanted; all by default.
        """
        if scenes is not None:
            for chunk in chunks(sorted(scenes)):
                yield from self._tile_vectors(batch, _TILES.c.scene_id.in_(chunk))
        else:
            yield from self._tile_vectors(batch, true())

    def _tile_vectors(
        self, batch: int, wanted_tiles: ColumnElement[bool]
    ) -> Iterator[list[tuple[Tile, Scene, Vector]]]:
        joined = (
            select(*_TILES.c, _EMBEDDINGS.c.vector)
            .join(_EMBEDDINGS, (_EMBEDDINGS.c.owner_id == _TILES.c.id) & (_EMBEDDINGS.c.name == IMAGE_VECTOR))
            .where(wanted_tiles)
            .order_by(_TILES.c.scene_id, _TILES.c.id)
            .limit(batch)
        )
        last = ("", "")
        while True:
            with self._reading("read vectors") as connection:
                after = tuple_(_TILES.c.scene_id, _TILES.c.id) > tuple_(*last)
                rows = connection.execute(joined.where(after)).mappings().all()
                wanted = {row["scene_id"] for row in rows}
                scenes = {row["id"]: scene_from(row) for row in rows_in(connection, _SCENES.c.id, wanted)}
            if not rows:
                return
            yield [(tile_from(row), scenes[row["scene_id"]], vector_from(row["vector"])) for row in rows]
            last = (rows[-1]["scene_id"], rows[-1]["id"])

    # --- near-duplicates ---

    def find_group(self, phash: int, digest: str, distance: int = NEAR_DUPLICATE_BITS) -> str | None:
        """The first tile that looks the same: equal pixels, or else the nearest perceptual hash.

        Only tiles that stand for their group are compared, so that groups do not grow into chains. A tile that is
        saved already finds itself.

        Args:
            phash: perceptual hash, 64 bits.
            digest: of the pixels.
            distance: most bits that may differ, 0 to 4.

        Raises:
            UsageError: a distance at which pairs would be missed.
        """
        if not 0 <= distance <= NEAR_DUPLICATE_BITS:
            raise UsageError(f"near-duplicate distance {distance} is not in 0..{NEAR_DUPLICATE_BITS}")
        return self.looks_like([(phash, digest)]).group_of(phash, digest, distance)

    def looks_like(self, looks: Sequence[tuple[int, str]]) -> Lookalikes:
        """What :meth:`find_group` compares, for many tiles at once: perceptual hash and digest of each."""
        found = Lookalikes()
        group = func.coalesce(_TILES.c.group_id, _TILES.c.id)
        pieces = sorted({piece for phash, _ in looks for piece in hash_pieces(phash)})
        with self._reading("look for near-duplicates") as connection:
            for chunk in chunks(dict.fromkeys(digest for _, digest in looks)):
                same = select(_TILES.c.digest, group).where(_TILES.c.digest.in_(chunk)).order_by(_TILES.c.id)
                for digest, tile_id in connection.execute(same):
                    found.equal.setdefault(digest, tile_id)
            for some in chunks(pieces):
                alike = select(_LOOKS.c.piece, _LOOKS.c.tile_id, _LOOKS.c.phash).where(_LOOKS.c.piece.in_(some))
                for piece, tile_id, phash in connection.execute(alike):
                    found.add(piece, tile_id, phash)
        return found


def _scene_statement(filters: Filters) -> Select[tuple[object, ...]]:
    """Scenes that pass the filters, apart from exact shapes."""
    statement = select(_SCENES).order_by(_SCENES.c.source, _SCENES.c.id)
    if filters.collections:
        statement = statement.where(_SCENES.c.collection.in_(filters.collections))
    if filters.sensors:
        statement = statement.where(_SCENES.c.sensor.in_(filters.sensors))
    if filters.scenes:
        statement = statement.where(_SCENES.c.id.in_(filters.scenes))
    if filters.bbox is not None:
        statement = statement.where(touches(_SCENES, filters.bbox))
    if filters.intersects is not None:
        statement = statement.where(touches(_SCENES, filters.intersects.bbox))
    if filters.when is not None:
        statement = _overlapping(statement, filters.when)
    return statement


def _overlapping(statement: Select[tuple[object, ...]], span: TimeSpan) -> Select[tuple[object, ...]]:
    statement = statement.where(_SCENES.c.timed)
    if span.end is not None:
        statement = statement.where(or_(_SCENES.c.time_start.is_(None), _SCENES.c.time_start <= span.end))
    if span.start is not None:
        statement = statement.where(or_(_SCENES.c.time_end.is_(None), _SCENES.c.time_end >= span.start))
    return statement


def _layout_values(layouts: Mapping[str, Layout]) -> list[dict[str, object]]:
    return [{"tile_id": key, "cells": cells.astype(np.int8).tobytes()} for key, cells in layouts.items()]
