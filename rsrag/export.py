"""Tiles, scenes, places and hits for a GIS: GeoJSON (RFC 7946), GeoPackage and GeoParquet 1.1.

Written in batches, so that memory grows with the scenes of the archive, not with its tiles and places, into a file
beside the target that takes its place when it is complete. Coordinates are WGS84 longitude, latitude (EPSG:4326,
OGC:CRS84).
"""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import shapely

from rsrag import geo
from rsrag._version import __version__
from rsrag.collections import FACTS
from rsrag.errors import MissingExtra, UsageError
from rsrag.replacing import replacing
from rsrag.types import BBox, Fact, Footprint, Hit, Place, Scene, Tile, TimeSpan

if TYPE_CHECKING:
    from rsrag.catalog import Catalog

BATCH = 1000

# Column types: text, whole number, number, time; "json" is an object in GeoJSON and its text elsewhere.
_TIMES = {"start": "time", "end": "time"}
_TILE = {
    "scene": "text", "source": "text", "collection": "text", "title": "text", "sensor": "text", **_TIMES,
    "gsd_m": "number", "scale": "number", "col": "int", "row": "int", "width": "int", "height": "int",
    "group": "text", "digest": "text", **{name: "number" for name in FACTS}, "facts": "json",
}  # fmt: skip
_SCENE = {
    "source": "text", "collection": "text", "title": "text", "sensor": "text", **_TIMES, "width": "int",
    "height": "int", "gsd_m": "number", "crs": "text", "bands": "text", "stretch": "text", "licence": "text",
    "digest": "text",
}  # fmt: skip
_PLACE = {
    "name": "text", "kind": "text", "country": "text", "aliases": "text", "lon": "number", "lat": "number",
    "source": "text", "licence": "text", "facts": "json",
}  # fmt: skip
_HIT = {
    "rank": "int", "score": "number", "kind": "text", "title": "text", "text": "text", "place": "text",
    "source": "text", "sensor": "text", **_TIMES, "scores": "json", "facts": "json",
}  # fmt: skip
COLUMNS: Mapping[str, Mapping[str, str]] = {"tiles": _TILE, "scenes": _SCENE, "places": _PLACE, "hits": _HIT}


@dataclass(frozen=True, slots=True)
class Feature:
    """One row: id, geometry in degrees (None: no position), values by column, and the vector if it was asked for."""

    id: str
    geometry: Any
    box: BBox | None
    values: Mapping[str, Any]
    vector: np.ndarray[Any, Any] | None = field(default=None, compare=False)


class Writer(Protocol):
    """Takes features in batches."""

    def write(self, features: Sequence[Feature]) -> None:
        """Write one batch."""

    def close(self) -> None:
        """Complete the file."""


def export(
    catalog: Catalog,
    path: str | Path,
    *,
    what: str = "tiles",
    hits: Sequence[Hit] | None = None,
    vectors: bool = False,
    model: str | None = None,
) -> int:
    """Write features to a file; its ending decides the format: ``.geojson``, ``.gpkg`` or ``.parquet``.

    Args:
        catalog: where tiles, scenes and places are read from.
        path: file to write; an existing one is replaced once the new one is complete.
        what: "tiles", "scenes" or "places".
        hits: search results to write instead.
        vectors: tiles' vectors as lists of float32, in GeoParquet only.
        model: fingerprint of the model behind the vectors, kept in the file's metadata.

    Returns:
        Number of features written.

    Raises:
        UsageError: unknown ending or subject, vectors in another format, a file that cannot be written.
        MissingExtra: GeoParquet without pyarrow.
    """
    path = Path(path)
    subject = "hits" if hits is not None else what
    if subject not in COLUMNS or (subject == "hits" and hits is None):
        raise UsageError(f"cannot export {what!r}", hint="one of tiles, scenes, places")
    ending = path.suffix.lower()
    if ending not in _WRITERS:
        raise UsageError(f"cannot write {path.name!r}", hint=f"the ending must be one of {', '.join(_WRITERS)}")
    if vectors and (subject != "tiles" or _WRITERS[ending] is not _Parquet):
        raise UsageError("vectors are written for tiles, to GeoParquet", hint="use --what tiles and a .parquet file")
    count = 0
    with replacing(path) as partial:
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        writer = _WRITERS[ending](partial, subject, vectors=vectors, model=model)
        try:
            for batch in _batches(_features(catalog, subject, hits, vectors=vectors)):
                writer.write(batch)
                count += len(batch)
        finally:
            writer.close()
    return count


def _batches(features: Iterable[Feature]) -> Iterator[list[Feature]]:
    source = iter(features)
    while batch := list(islice(source, BATCH)):
        yield batch


# --- features -------------------------------------------------------------------------------------------------------


def _features(catalog: Catalog, subject: str, hits: Sequence[Hit] | None, *, vectors: bool) -> Iterator[Feature]:
    if hits is not None:
        yield from (_hit(rank, hit) for rank, hit in enumerate(hits, start=1))
    elif subject == "places":
        for places in catalog.iter_places(BATCH):
            yield from map(_place, places)
    elif subject == "scenes":
        yield from map(_scene, catalog.scenes())
    elif vectors:
        for batch in catalog.iter_tile_vectors(BATCH):
            yield from (_tile(tile, scene, vector) for tile, scene, vector in batch)
    else:
        for scene in catalog.scenes():
            for tiles in catalog.iter_tiles_of(scene.id, BATCH):
                yield from (_tile(tile, scene) for tile in tiles)


def _tile(tile: Tile, scene: Scene, vector: np.ndarray[Any, Any] | None = None) -> Feature:
    facts = _facts(tile.facts)
    values = {
        "scene": scene.id,
        **{name: getattr(scene, name) for name in ("source", "collection", "title", "sensor")},
        **_span(scene.time),
        "gsd_m": scene.gsd_m * tile.scale if scene.gsd_m else None,
        "scale": tile.scale,
        **tile.window._asdict(),
        "group": tile.group,
        "digest": tile.digest,
        **{name: facts[name]["value"] for name in FACTS if name in facts and not isinstance(facts[name]["value"], str)},
        "facts": facts,
    }
    return Feature(tile.id, _polygon(tile.footprint), tile.footprint.bbox if tile.footprint else None, values, vector)


def _scene(scene: Scene) -> Feature:
    names = (
        "source",
        "collection",
        "title",
        "sensor",
        "width",
        "height",
        "gsd_m",
        "crs",
        "stretch",
        "licence",
        "digest",
    )
    bands = ", ".join(f"{band.index} {band.role or '?'}" for band in scene.bands)
    values = {**{name: getattr(scene, name) for name in names}, **_span(scene.time), "bands": bands}
    return Feature(scene.id, _polygon(scene.footprint), scene.footprint.bbox if scene.footprint else None, values)


def _place(place: Place) -> Feature:
    names = ("name", "kind", "country", "lon", "lat", "source", "licence")
    values = {name: getattr(place, name) for name in names}
    values |= {"aliases": "; ".join(place.aliases), "facts": _facts(place.facts)}
    geometry = _polygon(place.extent) or shapely.Point(place.lon, place.lat)
    return Feature(place.id, geometry, place.extent.bbox if place.extent else None, values)


def _hit(rank: int, hit: Hit) -> Feature:
    area = hit.match or hit.footprint
    source = hit.scene.source if hit.scene else hit.document.source if hit.document else None
    facts = [*(hit.tile.facts if hit.tile else ()), *(hit.passage.facts if hit.passage else ())]
    values = {
        "rank": rank,
        "score": hit.score,
        "kind": hit.kind,
        "title": hit.title,
        "text": hit.passage.text if hit.passage else None,
        "place": hit.place.name if hit.place else None,
        "source": source,
        "sensor": hit.scene.sensor if hit.scene else None,
        **_span(hit.scene.time if hit.scene else hit.passage.time if hit.passage else None),
        "scores": dict(hit.scores),
        "facts": _facts(facts),
    }
    point = _point(hit) if area is None else None
    return Feature(hit.id, _polygon(area) or point, area.bbox if area else None, values)


def _point(hit: Hit) -> Any:
    if hit.place is not None:
        return shapely.Point(hit.place.lon, hit.place.lat)
    if hit.passage is not None and hit.passage.lon is not None and hit.passage.lat is not None:
        return shapely.Point(hit.passage.lon, hit.passage.lat)
    return None


def _polygon(footprint: Footprint | None) -> Any:
    """The footprint with outer rings counter-clockwise, as RFC 7946 wants them."""
    return None if footprint is None else shapely.orient_polygons(geo.shape(footprint))


def _facts(facts: Iterable[Fact]) -> dict[str, dict[str, Any]]:
    return {fact.name: {"value": fact.value, "unit": fact.unit} for fact in facts}


def _span(span: TimeSpan | None) -> dict[str, datetime | None]:
    return {"start": span.start if span else None, "end": span.end if span else None}


def finite(value: Any) -> Any:
    """JSON has no NaN: such numbers become null, at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value


def _json(value: Any) -> str:
    return json.dumps(finite(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


# --- formats --------------------------------------------------------------------------------------------------------


class _GeoJson:
    """A feature collection, one feature a line."""

    def __init__(self, path: Path, subject: str, *, vectors: bool, model: str | None) -> None:
        self._columns = COLUMNS[subject]
        self._file = path.open("w", encoding="utf-8")
        about = _json({"subject": subject, "written_by": f"rsrag {__version__}"})
        self._file.write(f'{{"type":"FeatureCollection","rsrag":{about},"features":[')
        self._between = "\n"

    def write(self, features: Sequence[Feature]) -> None:
        for feature in features:
            self._file.write(self._between + _json(self._feature(feature)))
            self._between = ",\n"

    def close(self) -> None:
        self._file.write("\n]}\n")
        self._file.close()

    def _feature(self, feature: Feature) -> dict[str, Any]:
        values = {name: feature.values.get(name) for name in self._columns}
        properties = {
            name: value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
            for name, value in values.items()
        }
        geometry = None if feature.geometry is None else shapely.geometry.mapping(feature.geometry)
        box = {"bbox": list(feature.box)} if feature.box is not None else {}
        return {"type": "Feature", "id": feature.id, **box, "geometry": geometry, "properties": properties}


class _GeoPackage:
    """One layer named after the subject, EPSG:4326."""

    def __init__(self, path: Path, subject: str, *, vectors: bool, model: str | None) -> None:
        self._path, self._subject, self._columns = path, subject, COLUMNS[subject]
        self._begun = False
        path.unlink(missing_ok=True)

    def write(self, features: Sequence[Feature]) -> None:
        import pyogrio.raw
        from pyogrio.errors import DataLayerError, DataSourceError, FeatureError

        shapes = [None if f.geometry is None else self._promoted(f.geometry) for f in features]
        columns: dict[str, Any] = {"id": np.array([f.id for f in features], dtype=object)}
        masks: list[Any] = [None]
        zones = {}
        for name, kind in self._columns.items():
            values = [f.values.get(name) for f in features]
            columns[name], mask = _column(values, kind)
            masks.append(mask)
            if kind == "time":
                zones[name] = np.full(len(features), 100)  # GDAL's way to say UTC
        try:
            pyogrio.raw.write(
                self._path,
                geometry=np.array(shapely.to_wkb(shapes), dtype=object),
                field_data=list(columns.values()),
                fields=np.array(list(columns), dtype=object),
                field_mask=masks,
                layer=self._subject,
                driver="GPKG",
                geometry_type="MultiPolygon" if self._subject in ("tiles", "scenes") else "Unknown",
                crs="EPSG:4326",
                append=self._begun,
                gdal_tz_offsets=zones,
            )
        except (DataLayerError, DataSourceError, FeatureError) as error:
            raise OSError(str(error).replace(str(self._path), self._path.name)) from error
        self._begun = True

    def close(self) -> None:
        if not self._begun:
            self.write([])

    def _promoted(self, shape: Any) -> Any:
        if self._subject in ("tiles", "scenes") and shape.geom_type == "Polygon":
            return shapely.MultiPolygon([shape])
        return shape


def _column(values: Sequence[Any], kind: str) -> tuple[Any, Any]:
    """Values as an array that GDAL can write, and where they are null."""
    mask = np.array([value is None for value in values], dtype=bool)
    if kind == "int":
        return np.array([0 if value is None else int(value) for value in values], dtype=np.int64), mask
    if kind == "number":
        return np.array([math.nan if value is None else float(value) for value in values], dtype=np.float64), mask
    if kind == "time":
        naive = [np.datetime64("NaT") if v is None else np.datetime64(v.replace(tzinfo=None), "ms") for v in values]
        return np.array(naive, dtype="datetime64[ms]"), None
    texts = [None if v is None else _json(v) if kind == "json" else str(v) for v in values]
    return np.array(texts, dtype=object), None


class _Parquet:
    """GeoParquet 1.1 with WKB, and vectors as lists of float32."""

    def __init__(self, path: Path, subject: str, *, vectors: bool, model: str | None) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise MissingExtra("GeoParquet", extra="parquet", package=error.name) from error
        from pyproj import CRS

        kinds = {"int": pa.int64(), "number": pa.float64(), "time": pa.timestamp("us", tz="UTC")}
        fields = [pa.field("id", pa.string(), nullable=False), pa.field("geometry", pa.binary())]
        fields += [pa.field(name, kinds.get(kind, pa.string())) for name, kind in COLUMNS[subject].items()]
        if vectors:
            fields.append(pa.field("vector", pa.list_(pa.float32())))
        geometry = {
            "encoding": "WKB",
            "geometry_types": ["Polygon", "MultiPolygon"] if subject in ("tiles", "scenes") else [],
            "crs": CRS.from_user_input("OGC:CRS84").to_json_dict(),
            "orientation": "counterclockwise",
        }
        meta = {
            "geo": {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": geometry}},
            "rsrag": {"version": __version__, "subject": subject, "model": model if vectors else None},
        }
        self._schema = pa.schema(fields, metadata={key: json.dumps(value) for key, value in meta.items()})
        self._columns, self._table = COLUMNS[subject], pa.Table
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")

    def write(self, features: Sequence[Feature]) -> None:
        columns: dict[str, list[Any]] = {
            "id": [f.id for f in features],
            "geometry": [None if f.geometry is None else shapely.to_wkb(f.geometry) for f in features],
        }
        for name, kind in self._columns.items():
            values = [f.values.get(name) for f in features]
            columns[name] = [None if v is None else _json(v) for v in values] if kind == "json" else values
        if "vector" in self._schema.names:
            columns["vector"] = [None if f.vector is None else f.vector.astype(np.float32) for f in features]
        self._writer.write_table(self._table.from_pydict(columns, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


_WRITERS: Mapping[str, Callable[..., Writer]] = {
    ".geojson": _GeoJson,
    ".json": _GeoJson,
    ".gpkg": _GeoPackage,
    ".parquet": _Parquet,
    ".geoparquet": _Parquet,
}
