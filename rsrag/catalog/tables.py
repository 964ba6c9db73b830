"""The tables, typed. Rows become the dataclasses of :mod:`rsrag.types` in :mod:`rsrag.catalog.codec`.

Changing anything here needs a migration in :mod:`rsrag.migrations`; a test compares the two.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Double,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    Text,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from rsrag.catalog.columns import UInt64, UtcTime

JsonOrNull = JSON(none_as_null=True)


class Base(DeclarativeBase):
    """Common types and constraint names."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - read by SQLAlchemy at class creation
        str: Text(),
        float: Double(),
        datetime: UtcTime(),
        bytes: LargeBinary(),
    }


class Boxed:
    """Bounding box in degrees; ``east`` is above 180 where the box crosses the antimeridian, so that west ≤ east."""

    west: Mapped[float | None]
    south: Mapped[float | None]
    east: Mapped[float | None]
    north: Mapped[float | None]


class Timed:
    """A time span. ``timed`` tells "known, but open at both ends" from "unknown"."""

    timed: Mapped[bool]
    time_start: Mapped[datetime | None]
    time_end: Mapped[datetime | None]


class SourceTable(Base):
    """What was ingested, and whether a rerun may skip it."""

    __tablename__ = "sources"
    path: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str]
    kind: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    mtime_ns: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str]
    run_id: Mapped[str | None] = mapped_column(ForeignKey("runs.id"))
    options: Mapped[Any] = mapped_column(JsonOrNull, nullable=True)


class OriginTable(Base):
    """Which sources a scene, document or place came from: the same content may lie at several paths."""

    __tablename__ = "origins"
    __table_args__ = (Index(None, "source_path"),)
    kind: Mapped[str] = mapped_column(primary_key=True)
    item_id: Mapped[str] = mapped_column(primary_key=True)
    source_path: Mapped[str] = mapped_column(ForeignKey("sources.path", ondelete="CASCADE"), primary_key=True)


class SceneTable(Boxed, Timed, Base):
    """Source images."""

    __tablename__ = "scenes"
    __table_args__ = (
        Index(None, "collection"),
        Index(None, "time_start", "time_end"),
        Index(None, "south", "north", "west", "east"),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    source: Mapped[str]
    digest: Mapped[str]
    collection: Mapped[str]
    width: Mapped[int]
    height: Mapped[int]
    bands: Mapped[Any] = mapped_column(JSON)
    footprint: Mapped[Any] = mapped_column(JsonOrNull, nullable=True)
    crs: Mapped[str | None]
    transform: Mapped[Any] = mapped_column(JsonOrNull, nullable=True)
    gsd_m: Mapped[float | None]
    sensor: Mapped[str | None]
    title: Mapped[str | None]
    licence: Mapped[str | None]
    stretch: Mapped[str | None]
    properties: Mapped[Any] = mapped_column(JSON)


class TileTable(Boxed, Base):
    """Windows of scenes. Searched by place and time in the vector index, so their boxes have no index here."""

    __tablename__ = "tiles"
    __table_args__ = (
        Index(None, "scene_id", "id"),
        Index(None, "digest", "id"),
        Index(None, "group_id", sqlite_where=text("group_id <> id"), postgresql_where=text("group_id <> id")),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    scene_id: Mapped[str] = mapped_column(ForeignKey("scenes.id", ondelete="CASCADE"))
    window_col: Mapped[int]
    window_row: Mapped[int]
    window_width: Mapped[int]
    window_height: Mapped[int]
    scale: Mapped[float]
    digest: Mapped[str]
    phash: Mapped[int] = mapped_column(UInt64)
    footprint: Mapped[Any] = mapped_column(JsonOrNull, nullable=True)
    facts: Mapped[Any] = mapped_column(JSON)
    group_id: Mapped[str | None]


class LookTable(Base):
    """Pieces of the perceptual hashes of tiles that stand for a group, to find near-duplicates without a scan."""

    __tablename__ = "looks"
    __table_args__ = (Index(None, "tile_id"),)
    piece: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tile_id: Mapped[str] = mapped_column(ForeignKey("tiles.id", ondelete="CASCADE"), primary_key=True)
    phash: Mapped[int] = mapped_column(UInt64)


class ThumbnailTable(Base):
    """A small JPEG a tile."""

    __tablename__ = "thumbnails"
    tile_id: Mapped[str] = mapped_column(ForeignKey("tiles.id", ondelete="CASCADE"), primary_key=True)
    jpeg: Mapped[bytes]


class LayoutTable(Base):
    """How the edges of a tile lie (:func:`rsrag.layout.layout`): int8."""

    __tablename__ = "layouts"
    tile_id: Mapped[str] = mapped_column(ForeignKey("tiles.id", ondelete="CASCADE"), primary_key=True)
    cells: Mapped[bytes]


class EmbeddingTable(Base):
    """Vectors of tiles and passages: little-endian float32, ``dim`` of them."""

    __tablename__ = "embeddings"
    owner_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    dim: Mapped[int]
    vector: Mapped[bytes]


class PlaceTable(Boxed, Base):
    """Named things. The box is that of the extent, or the position itself."""

    __tablename__ = "places"
    __table_args__ = (Index(None, "south", "north", "west", "east"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    source: Mapped[str]
    lon: Mapped[float]
    lat: Mapped[float]
    kind: Mapped[str | None]
    country: Mapped[str | None]
    aliases: Mapped[Any] = mapped_column(JSON)
    extent: Mapped[Any] = mapped_column(JsonOrNull, nullable=True)
    facts: Mapped[Any] = mapped_column(JSON)
    licence: Mapped[str | None]


class PlaceNameTable(Base):
    """Names and aliases as search keys (:func:`rsrag.catalog.names.name_key`)."""

    __tablename__ = "place_names"
    __table_args__ = (Index(None, "place_id"),)
    key: Mapped[str] = mapped_column(primary_key=True)
    place_id: Mapped[str] = mapped_column(ForeignKey("places.id", ondelete="CASCADE"), primary_key=True)
    alias: Mapped[bool]


class DocumentTable(Base):
    """Sources of knowledge text."""

    __tablename__ = "documents"
    id: Mapped[str] = mapped_column(primary_key=True)
    source: Mapped[str]
    digest: Mapped[str]
    title: Mapped[str]
    licence: Mapped[str | None]
    properties: Mapped[Any] = mapped_column(JSON)


class PassageTable(Timed, Base):
    """Pieces of documents. The place may come from another source, which may leave and return: no foreign key."""

    __tablename__ = "passages"
    __table_args__ = (Index(None, "document_id", "ordinal"), Index(None, "place_id"))
    id: Mapped[str] = mapped_column(primary_key=True)
    document_id: Mapped[str] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"))
    ordinal: Mapped[int]
    text: Mapped[str]
    heading: Mapped[str | None]
    place_id: Mapped[str | None]
    lon: Mapped[float | None]
    lat: Mapped[float | None]
    facts: Mapped[Any] = mapped_column(JSON)
    picture: Mapped[str | None]
    sources: Mapped[Any] = mapped_column(JSON)


class RunTable(Base):
    """Commands that wrote to the catalogue."""

    __tablename__ = "runs"
    __table_args__ = (Index(None, "started"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    command: Mapped[str]
    argv: Mapped[Any] = mapped_column(JSON)
    started: Mapped[datetime]
    finished: Mapped[datetime | None]
    status: Mapped[str]
    done: Mapped[int]
    skipped: Mapped[int]
    failed: Mapped[int]


class ErrorTable(Base):
    """Items that could not be used."""

    __tablename__ = "errors"
    __table_args__ = (Index(None, "source"), Index(None, "run_id"))
    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[str | None] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    source: Mapped[str]
    code: Mapped[str]
    reason: Mapped[str]
    window: Mapped[Any] = mapped_column(JsonOrNull, nullable=True)
    at: Mapped[datetime]


class MetaTable(Base):
    """Values about the workspace, such as the fingerprint of its models."""

    __tablename__ = "meta"
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[Any] = mapped_column(JSON)
