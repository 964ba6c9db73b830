"""Tiles into the archive: measured in any thread, embedded in batches across scenes, indexed and then committed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard

import cv2
import numpy as np
import numpy.typing as npt

from rsrag.catalog import Catalog, TileRow
from rsrag.collections import TILES, tile_point
from rsrag.indexes.base import VectorIndex
from rsrag.ingest.digest import make_id
from rsrag.ingest.enrich import blank_reason, perceptual_hash, pixel_digest, tile_facts, tile_footprint
from rsrag.ingest.groups import Grouper
from rsrag.ingest.summary import Tally
from rsrag.ingest.windows import TilePixels, TileWindow
from rsrag.layout import Layout, layout
from rsrag.models.base import ImageEncoder, Vectors
from rsrag.types import Band, Fact, Footprint, Scene, Tile

BATCH = 32
"""Tiles embedded together, of one scene or of many; a GPU may ask for more."""
_FIRST = 8
"""Tiles of the first batch, so that the encoder begins while reading begins."""
_WRITE = 64
"""Tiles indexed and committed together: what a crash can cost, and what is left to do after the last batch."""
_SECONDS = 20.0
"""However few they are, tiles that are embedded wait no longer than about this."""
_SENT = 2
"""Batches with the encoder: one that it works on and the next, so that it never waits for the stores."""
_JPEG_QUALITY = 88


class PreparingEncoder(ImageEncoder, Protocol):
    """An image encoder whose preprocessing can be done elsewhere, ahead of the batch.

    Attributes:
        batch_size: pictures that it likes to get at once; 0 for no wish.
    """

    batch_size: int

    def prepare(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """A picture at the input size, uint8 of shape [S, S, 3]."""

    def encode_prepared(self, batch: npt.NDArray[np.uint8]) -> Vectors:
        """Unit vectors of pictures that ``prepare`` made, uint8 of shape [N, S, S, 3]."""


def prepares(encoder: ImageEncoder) -> TypeGuard[PreparingEncoder]:
    """Whether an encoder lets its preprocessing be done elsewhere."""
    return callable(getattr(encoder, "encode_prepared", None))


class Waiting(Protocol):
    """Whoever a tile belongs to: ``waiting`` counts its tiles that are not committed."""

    waiting: int


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredTile:
    """Everything about a tile but its vector and group.

    ``seen`` is what the encoder gets: the picture, uint8 of shape [height, width, 3], prepared where it can be.
    """

    id: str
    scene: Scene
    tile: TileWindow
    seen: npt.NDArray[np.uint8]
    jpeg: bytes
    phash: int
    digest: str
    layout: Layout
    footprint: Footprint | None
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class TileMeasurer:
    """Turns tiles as read into tiles ready for the encoder. Used by several threads."""

    encoder: ImageEncoder

    def tile_id(self, scene: Scene, tile: TileWindow) -> str:
        """Id of a tile: of the scene's content, the window, the scale and the encoder."""
        return make_id("tile", scene.id, *tile.window, tile.scale, self.encoder.fingerprint)

    def measure(
        self, pixels: TilePixels, scene: Scene, bands: Sequence[Band], units: Sequence[str]
    ) -> MeasuredTile | None:
        """The tile of a scene; None for one that shows nothing."""
        if blank_reason(pixels) is not None:
            return None
        picture, footprint = pixels.picture, tile_footprint(scene, pixels.tile.window)
        encoder = self.encoder
        return MeasuredTile(
            self.tile_id(scene, pixels.tile),
            scene,
            pixels.tile,
            encoder.prepare(picture) if prepares(encoder) else picture,
            _jpeg(picture),
            perceptual_hash(picture),
            pixel_digest(picture),
            layout(picture, pixels.mask),
            footprint,
            tile_facts(pixels, bands, units, footprint),
        )


class TileWriter:
    """Embeds and writes tiles. Index first, then the catalogue: what the catalogue knows is certainly indexed.

    The encoder works in a thread of its own. Tiles are grouped and written in the order they came.

    Args:
        catalog: where tiles are committed.
        index: where their vectors go.
        encoder: of pictures.
        grouper: finds near-duplicates.
        tally: of what was written.
        begin: called before tiles are written; sees to it that their scenes are in the catalogue.
    """

    def __init__(
        self,
        catalog: Catalog,
        index: VectorIndex,
        encoder: ImageEncoder,
        grouper: Grouper,
        tally: Tally,
        begin: Callable[[], None],
    ) -> None:
        self._catalog, self._index, self._encoder = catalog, index, encoder
        self._grouper, self._tally, self._begin = grouper, tally, begin
        self._fresh: list[tuple[Waiting, MeasuredTile]] = []
        self._sent: deque[tuple[list[tuple[Waiting, MeasuredTile]], Future[Vectors]]] = deque()
        self._rows: list[tuple[Waiting, Scene, TileRow]] = []
        self._worker = ThreadPoolExecutor(1, "rsrag-encoder")
        self._committed = time.monotonic()
        self._size, self._first = 0, True

    def close(self) -> None:
        """Drop what is not committed, and end the encoder's thread."""
        self._worker.shutdown(wait=True, cancel_futures=True)

    def add(self, owner: Waiting, tile: MeasuredTile) -> None:
        """Take a tile; it is written with others, at the latest by :meth:`flush`."""
        owner.waiting += 1
        self._fresh.append((owner, tile))
        if len(self._fresh) >= (_FIRST if self._first else self._size or BATCH):
            self._first = False
            self._send()

    def flush(self) -> None:
        """Write everything that was taken."""
        if self._fresh:
            self._send()
        while self._sent:
            self._receive()
        self._commit()

    def _send(self) -> None:
        batch, self._fresh = self._fresh, []
        self._sent.append((batch, self._worker.submit(self._embed, [tile.seen for _, tile in batch])))
        while len(self._sent) > _SENT:
            self._receive()

    def _embed(self, seen: Sequence[npt.NDArray[np.uint8]]) -> Vectors:
        encoder = self._encoder
        if not prepares(encoder):
            return encoder.encode_images(seen)
        self._size = max(BATCH, encoder.batch_size)
        return encoder.encode_prepared(np.stack(seen))

    def _receive(self) -> None:
        batch, coming = self._sent.popleft()
        groups = self._grouper.groups_of([(tile.id, tile.phash, tile.digest) for _, tile in batch])
        for (owner, tile), vector, group in zip(batch, coming.result(), groups, strict=True):
            self._rows.append((owner, tile.scene, self._row(tile, vector, group)))
        if len(self._rows) >= _WRITE or time.monotonic() - self._committed > _SECONDS:
            self._commit()

    def _row(self, measured: MeasuredTile, vector: Any, group: str) -> TileRow:
        tile = Tile(
            measured.id,
            measured.scene.id,
            measured.tile.window,
            float(measured.tile.scale),
            measured.digest,
            measured.phash,
            measured.footprint,
            measured.facts,
            group,
        )
        return TileRow(tile, vector, self._encoder.fingerprint, measured.jpeg, measured.layout)

    def _commit(self) -> None:
        rows, self._rows = self._rows, []
        self._committed = time.monotonic()
        if not rows:
            return
        self._begin()
        self._index.upsert(TILES, [tile_point(row.tile, scene, row.vector) for _, scene, row in rows])
        self._catalog.save_tiles_of_scenes([row for _, _, row in rows])
        self._grouper.committed()
        self._tally.tiles += len(rows)
        for owner, _, _ in rows:
            owner.waiting -= 1


def _jpeg(picture: Any) -> bytes:
    blue_first = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    return bytes(np.asarray(encoded).tobytes())
