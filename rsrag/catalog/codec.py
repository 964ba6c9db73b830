"""Dataclasses to rows and back, without loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sqlalchemy import RowMapping

from rsrag.catalog.records import RunRecord, SourceRecord, Vector
from rsrag.errors import BadVector
from rsrag.types import (
    Band,
    BBox,
    Document,
    Fact,
    Footprint,
    ItemError,
    Json,
    Passage,
    Place,
    Scene,
    Tile,
    TimeSpan,
    Window,
)

Row = RowMapping
Values = dict[str, Any]

_PIECE_BITS = 13
PIECES = 5
"""Pieces of a perceptual hash: two hashes that differ in fewer bits than there are pieces share a piece."""


# --- parts ----------------------------------------------------------------------------------------------------------


def _box(box: BBox | None) -> Values:
    if box is None:
        return {"west": None, "south": None, "east": None, "north": None}
    east = box.east + 360.0 if box.crosses_antimeridian else box.east
    return {"west": box.west, "south": box.south, "east": east, "north": box.north}


def _footprint(footprint: Footprint | None) -> Json:
    """A GeoJSON geometry with its bounding box, as RFC 7946 writes one that crosses the antimeridian."""
    return None if footprint is None else {**footprint.to_geojson(), "bbox": list(footprint.bbox)}


def _footprint_from(geometry: Json) -> Footprint | None:
    if geometry is None:
        return None
    polygons = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
    return Footprint(
        tuple(tuple(tuple((lon, lat) for lon, lat in ring) for ring in polygon) for polygon in polygons),
        BBox(*geometry["bbox"]),
    )


def _span(span: TimeSpan | None) -> Values:
    if span is None:
        return {"timed": False, "time_start": None, "time_end": None}
    return {"timed": True, "time_start": span.start, "time_end": span.end}


def _span_from(row: Row) -> TimeSpan | None:
    return TimeSpan(row["time_start"], row["time_end"]) if row["timed"] else None


def _facts(facts: Sequence[Fact]) -> Json:
    return [[fact.name, fact.value, fact.unit] for fact in facts]


def _facts_from(value: Json) -> tuple[Fact, ...]:
    return tuple(Fact(*fact) for fact in value)


# --- imagery --------------------------------------------------------------------------------------------------------


def scene_values(scene: Scene) -> Values:
    """The row of a scene."""
    return {
        "id": scene.id,
        "source": scene.source,
        "digest": scene.digest,
        "collection": scene.collection,
        "width": scene.width,
        "height": scene.height,
        "bands": [[b.index, b.role, b.dtype, b.nodata, b.scale, b.offset, b.description] for b in scene.bands],
        "footprint": _footprint(scene.footprint),
        **_box(scene.footprint.bbox if scene.footprint else None),
        "crs": scene.crs,
        "transform": None if scene.transform is None else list(scene.transform),
        "gsd_m": scene.gsd_m,
        **_span(scene.time),
        "sensor": scene.sensor,
        "title": scene.title,
        "licence": scene.licence,
        "stretch": scene.stretch,
        "properties": dict(scene.properties),
    }


def scene_from(row: Row) -> Scene:
    """The scene of a row."""
    a_to_f = row["transform"]
    return Scene(
        id=row["id"],
        source=row["source"],
        digest=row["digest"],
        collection=row["collection"],
        width=row["width"],
        height=row["height"],
        bands=tuple(Band(*band) for band in row["bands"]),
        footprint=_footprint_from(row["footprint"]),
        crs=row["crs"],
        transform=None if a_to_f is None else tuple(a_to_f),
        gsd_m=row["gsd_m"],
        time=_span_from(row),
        sensor=row["sensor"],
        title=row["title"],
        licence=row["licence"],
        stretch=row["stretch"],
        properties=row["properties"],
    )


def tile_values(tile: Tile) -> Values:
    """The row of a tile."""
    return {
        "id": tile.id,
        "scene_id": tile.scene_id,
        "window_col": tile.window.col,
        "window_row": tile.window.row,
        "window_width": tile.window.width,
        "window_height": tile.window.height,
        "scale": tile.scale,
        "digest": tile.digest,
        "phash": tile.phash,
        "footprint": _footprint(tile.footprint),
        **_box(tile.footprint.bbox if tile.footprint else None),
        "facts": _facts(tile.facts),
        "group_id": tile.group,
    }


def tile_from(row: Row) -> Tile:
    """The tile of a row."""
    return Tile(
        id=row["id"],
        scene_id=row["scene_id"],
        window=Window(row["window_col"], row["window_row"], row["window_width"], row["window_height"]),
        scale=row["scale"],
        digest=row["digest"],
        phash=row["phash"],
        footprint=_footprint_from(row["footprint"]),
        facts=_facts_from(row["facts"]),
        group=row["group_id"],
    )


def hash_pieces(phash: int) -> list[int]:
    """The numbered pieces of a 64-bit hash, as keys that never coincide between positions."""
    mask = (1 << _PIECE_BITS) - 1
    return [(i << _PIECE_BITS) | ((phash >> (i * _PIECE_BITS)) & mask) for i in range(PIECES)]


def look_values(tile: Tile) -> Iterator[Values]:
    """The rows that let a tile be found by its looks: none for one that already belongs to another's group."""
    if tile.group in (None, tile.id):
        for piece in hash_pieces(tile.phash):
            yield {"piece": piece, "tile_id": tile.id, "phash": tile.phash}


# --- knowledge ------------------------------------------------------------------------------------------------------


def place_values(place: Place) -> Values:
    """The row of a place."""
    box = place.extent.bbox if place.extent else BBox(place.lon, place.lat, place.lon, place.lat)
    return {
        "id": place.id,
        "name": place.name,
        "source": place.source,
        "lon": place.lon,
        "lat": place.lat,
        "kind": place.kind,
        "country": place.country,
        "aliases": list(place.aliases),
        "extent": _footprint(place.extent),
        **_box(box),
        "facts": _facts(place.facts),
        "licence": place.licence,
    }


def place_from(row: Row) -> Place:
    """The place of a row."""
    return Place(
        id=row["id"],
        name=row["name"],
        source=row["source"],
        lon=row["lon"],
        lat=row["lat"],
        kind=row["kind"],
        country=row["country"],
        aliases=tuple(row["aliases"]),
        extent=_footprint_from(row["extent"]),
        facts=_facts_from(row["facts"]),
        licence=row["licence"],
    )


def document_values(document: Document) -> Values:
    """The row of a document."""
    return {
        "id": document.id,
        "source": document.source,
        "digest": document.digest,
        "title": document.title,
        "licence": document.licence,
        "properties": dict(document.properties),
    }


def document_from(row: Row) -> Document:
    """The document of a row."""
    return Document(
        row["id"], row["source"], row["digest"], row["title"], licence=row["licence"], properties=row["properties"]
    )


def passage_values(passage: Passage) -> Values:
    """The row of a passage."""
    return {
        "id": passage.id,
        "document_id": passage.document_id,
        "ordinal": passage.ordinal,
        "text": passage.text,
        "heading": passage.heading,
        "place_id": passage.place_id,
        "lon": passage.lon,
        "lat": passage.lat,
        **_span(passage.time),
        "facts": _facts(passage.facts),
        "picture": passage.picture,
        "sources": list(passage.sources),
    }


def passage_from(row: Row) -> Passage:
    """The passage of a row."""
    return Passage(
        id=row["id"],
        document_id=row["document_id"],
        ordinal=row["ordinal"],
        text=row["text"],
        heading=row["heading"],
        place_id=row["place_id"],
        lon=row["lon"],
        lat=row["lat"],
        time=_span_from(row),
        facts=_facts_from(row["facts"]),
        picture=row["picture"],
        sources=tuple(row["sources"]),
    )


# --- vectors and the journal ----------------------------------------------------------------------------------------


def embedding_values(owner_id: str, name: str, vector: Vector, fingerprint: str) -> Values:
    """The row of an embedding.

    Raises:
        BadVector: not one row of finite numbers, or all zero: the index would refuse it later, far from the cause.
    """
    data = np.asarray(vector, dtype="<f4")
    if data.ndim != 1 or not data.size or not np.isfinite(data).all() or not data.any():
        raise BadVector(
            f"{name} vector of {owner_id} has shape {data.shape} and cannot be stored",
            hint="a vector is one row of finite numbers, not all zero",
        )
    return {
        "owner_id": owner_id,
        "name": name,
        "fingerprint": fingerprint,
        "dim": data.size,
        "vector": data.tobytes(),
    }


def vector_from(data: bytes) -> Vector:
    """The vector of an embedding row: float32, owned by the caller."""
    return np.frombuffer(data, dtype="<f4").astype(np.float32)


def source_values(record: SourceRecord) -> Values:
    """The row of a source."""
    return {name: getattr(record, name) for name in SourceRecord.__slots__}


def source_from(row: Row) -> SourceRecord:
    """The source of a row."""
    return SourceRecord(**row)


def run_from(row: Row) -> RunRecord:
    """The run of a row."""
    return RunRecord(**{**row, "argv": tuple(row["argv"])})


def error_values(error: ItemError) -> Values:
    """The row of an error, without run and time."""
    window = None if error.window is None else list(error.window)
    return {"source": _written(error.source), "code": error.code, "reason": _written(error.reason), "window": window}


def _written(text: str) -> str:
    """A message as a database takes it: it may quote text that no database holds."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def error_from(row: Row) -> ItemError:
    """The error of a row."""
    window = row["window"]
    return ItemError(row["source"], row["code"], row["reason"], None if window is None else Window(*window))
