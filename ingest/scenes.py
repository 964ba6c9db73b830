"""One open scene into the archive: tiles read, embedded, measured, indexed and written to the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rsrag.catalog import Catalog, TileRow
from rsrag.collections import TILES, tile_point
from rsrag.errors import UnreadableSource
from rsrag.indexes.base import VectorIndex
from rsrag.ingest.digest import make_id
from rsrag.ingest.enrich import blank_reason, perceptual_hash, pixel_digest, tile_facts, tile_footprint
from rsrag.ingest.groups import Grouper
from rsrag.ingest.readers.base import RasterSource
from rsrag.ingest.summary import Tally
from rsrag.ingest.windows import TileFailure, TilePixels, TilePlan, TileWindow, read_tiles
from rsrag.models.base import ImageEncoder
from rsrag.progress import Progress
from rsrag.types import ItemError, Scene, Tile

BATCH = 32
"""Tiles embedded together."""
_WRITE = 256
"""Tiles indexed and committed together: what a crash can cost."""
_JPEG_QUALITY = 88


@dataclass(frozen=True, slots=True)
class SceneWriter:
    """Writes scenes. Index first, then the catalogue: what the catalogue knows is certainly indexed."""

    catalog: Catalog
    index: VectorIndex
    encoder: ImageEncoder
    grouper: Grouper

    def tile_id(self, scene: Scene, tile: TileWindow) -> str:
        """Id of a tile: of the scene's content, the window, the scale and the encoder."""
        return make_id("tile", scene.id, *tile.window, tile.scale, self.encoder.fingerprint)

    def known(self, scene: Scene) -> set[str]:
        """Ids of the scene's tiles that an earlier run has finished."""
        return {tile.id for tile in self.catalog.tiles_of(scene.id)}

    def write(
        self, source: RasterSource, scene: Scene, path: Path, plan: TilePlan, tally: Tally, progress: Progress
    ) -> list[ItemError]:
        """Every tile of the plan that is not in the catalogue yet; returns the errors of single tiles."""
        self.catalog.save_scene(scene, str(path))
        known = self.known(scene)
        wanted: Any = (lambda tile: self.tile_id(scene, tile) not in known) if known else None
        already = sum(1 for tile in plan if self.tile_id(scene, tile) in known) if known else 0
        tally.tiles_known += already
        progress.advance(already)
        errors: list[ItemError] = []
        batch: list[TilePixels] = []
        rows: list[TileRow] = []
        blank = 0
        for item in read_tiles(source, plan, wanted):
            if isinstance(item, TileFailure):
                errors.append(ItemError(str(path), UnreadableSource.__name__, item.reason, item.tile.window))
                progress.advance()
            elif blank_reason(item) is not None:
                blank += 1
                progress.advance()
            else:
                batch.append(item)
                if len(batch) >= BATCH:
                    rows += self._embed(source, scene, batch)
                    progress.advance(len(batch))
                    batch.clear()
                if len(rows) >= _WRITE:
                    self._commit(scene, rows, tally)
        if batch:
            rows += self._embed(source, scene, batch)
            progress.advance(len(batch))
        self._commit(scene, rows, tally)
        tally.tiles_blank += blank
        tally.tiles_failed += len(errors)
        return errors

    def _embed(self, source: RasterSource, scene: Scene, batch: Sequence[TilePixels]) -> list[TileRow]:
        vectors = self.encoder.encode_images([pixels.picture for pixels in batch])
        return [self._row(source, scene, pixels, vector) for pixels, vector in zip(batch, vectors, strict=True)]

    def _row(self, source: RasterSource, scene: Scene, pixels: TilePixels, vector: Any) -> TileRow:
        footprint = tile_footprint(scene, pixels.tile.window)
        identity = self.tile_id(scene, pixels.tile)
        phash, digest = perceptual_hash(pixels.picture), pixel_digest(pixels.picture)
        tile = Tile(
            identity,
            scene.id,
            pixels.tile.window,
            float(pixels.tile.scale),
            digest,
            phash,
            footprint,
            tile_facts(pixels, source.bands, source.units, footprint),
            self.grouper.group_of(identity, phash, digest),
        )
        return TileRow(tile, vector, self.encoder.fingerprint, _jpeg(pixels.picture))

    def _commit(self, scene: Scene, rows: list[TileRow], tally: Tally) -> None:
        if not rows:
            return
        self.index.upsert(TILES, [tile_point(row.tile, scene, row.vector) for row in rows])
        self.catalog.save_tiles(scene.id, rows)
        self.grouper.committed()
        tally.tiles += len(rows)
        rows.clear()


def _jpeg(picture: Any) -> bytes:
    encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    return bytes(np.asarray(encoded).tobytes())
