"""What the catalogue takes and gives beside the dataclasses of :mod:`rsrag.types`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import numpy as np
import numpy.typing as npt

from rsrag.types import Json, Passage, Tile

Vector = npt.NDArray[np.float32]
Layout = npt.NDArray[np.int8]
SourceStatus = Literal["done", "partial", "failed"]

IMAGE_VECTOR = "image"
"""Name of the vector of a tile, and of a passage whose place has a picture."""
TEXT_VECTOR = "text"
"""Name of the vector of a passage's text."""


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A file or address that was ingested: tells a rerun what it may skip.

    Attributes:
        path: absolute path or URI; the key.
        digest: of the content.
        kind: what the reader made of it ("scene", "places", "document", ...).
        size: bytes.
        mtime_ns: modification time, nanoseconds since 1970.
        status: "done" when everything from it is in the catalogue; "partial" while it is being written and after an
            interruption; "failed" when nothing usable was found.
        run_id: the run that wrote it.
        options: whatever decides what was made of it (scales, encoder); any JSON value. Tuples come back as lists.
    """

    path: str
    digest: str
    kind: str
    size: int = 0
    mtime_ns: int = 0
    status: SourceStatus = "done"
    run_id: str | None = None
    options: Json = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One command that wrote to the catalogue. ``status`` is "running" until it is finished."""

    id: str
    command: str
    argv: tuple[str, ...]
    started: datetime
    finished: datetime | None
    status: str
    done: int
    skipped: int
    failed: int


@dataclass(frozen=True, slots=True)
class RemovedIds:
    """What left the catalogue and must leave the index too.

    Attributes:
        tiles: ids of tiles.
        passages: ids of passages.
        places: ids of places, which the index does not hold.
        heirs: sources that hold a copy of what the leaving one described last, to be read again: of two copies the one
            that was read last says what collection, date and title their content has.
    """

    tiles: tuple[str, ...] = ()
    passages: tuple[str, ...] = ()
    places: tuple[str, ...] = field(default=(), compare=False)
    heirs: tuple[str, ...] = field(default=(), compare=False)

    def __bool__(self) -> bool:
        return bool(self.tiles or self.passages)


@dataclass(frozen=True, slots=True, eq=False)
class TileRow:
    """A tile with what its pixels became.

    Attributes:
        tile: the tile.
        vector: its embedding, float32 of shape [dim].
        fingerprint: of the model that made the vector.
        thumbnail: a small JPEG, for reports.
        layout: how its edges lie, int8 of shape [288] (:func:`rsrag.layout.layout`).
    """

    tile: Tile
    vector: Vector
    fingerprint: str
    thumbnail: bytes | None = None
    layout: Layout | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PassageRow:
    """A passage with its embeddings.

    Attributes:
        passage: the passage.
        vector: embedding of its text, float32 of shape [dim]; None when there is nothing to embed.
        fingerprint: of the model that made ``vector``.
        image_vector: embedding of its picture, float32 of shape [dim].
        image_fingerprint: of the model that made ``image_vector``; None when ``fingerprint`` covers both.
    """

    passage: Passage
    vector: Vector | None
    fingerprint: str
    image_vector: Vector | None = None
    image_fingerprint: str | None = None

    def vectors(self) -> Iterator[tuple[str, Vector, str]]:
        """Name, vector and fingerprint of each embedding there is."""
        if self.vector is not None:
            yield TEXT_VECTOR, self.vector, self.fingerprint
        if self.image_vector is not None:
            yield IMAGE_VECTOR, self.image_vector, self.image_fingerprint or self.fingerprint
