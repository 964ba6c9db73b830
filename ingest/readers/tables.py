"""Tables of places as rows of one form: CSV, GeoJSON and GeoPackage, each with its geometry brought to WGS84."""

from __future__ import annotations

import csv
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
import shapely.geometry
from pyproj.exceptions import CRSError, ProjError

from rsrag.errors import SourceTooLarge, UnreadableSource, UnsupportedSource
from rsrag.ingest.guard import SourceType
from rsrag.ingest.readers.numerals import comma_columns, with_point
from rsrag.ingest.readers.text import MAX_VALUE, Decoded, decode, one_line, read_bytes, title_of

_LOG = logging.getLogger("rsrag.ingest")
MAX_ROWS = 2_000_000
_BATCH = 10_000
_SNIFFED = 25
_LOOKED_AT = 1000
"""Rows that tell how a table writes its numbers."""
_DELIMITERS = ",;\t|"
_BROKEN = (
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    OverflowError,
    RecursionError,
    shapely.errors.ShapelyError,
)
_WGS84_NAMES = ("CRS84", "EPSG::4326", "EPSG:4326", "WGS84")


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One row of a table.

    Attributes:
        number: line of the file for CSV, position among the features otherwise; counted from one.
        values: column → value as the format gives it (text for CSV).
        geometry: shapely geometry in longitude, latitude; None where the row has none.
        id: the feature's own id, if the format has such a thing.
        box: the feature's ``bbox`` member.
        problem: why the row cannot be used, found while reading it.
    """

    number: int
    values: Mapping[str, Any]
    geometry: Any = None
    id: str | None = None
    box: tuple[float, ...] | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table with its rows still to be read, once."""

    format: str
    title: str
    columns: Sequence[str]
    rows: Iterator[Row]
    properties: Mapping[str, str] = field(default_factory=dict)


def read_tables(path: Path, kind: SourceType) -> list[Table]:
    """The tables of a file: one, or one for each layer of a GeoPackage.

    Args:
        path: a file that passed the guard.
        kind: CSV, GEOJSON or GEOPACKAGE, as sniffed.

    Raises:
        UnreadableSource: damaged, empty, or not of the type that its name says.
        UnsupportedSource: a valid file without places (a STAC item, a bare geometry, TopoJSON).
        SourceTooLarge: more bytes or rows than the limits.
    """
    if kind is SourceType.GEOPACKAGE:
        return _geopackage(path)
    decoded = decode(read_bytes(path), path.name)
    title = title_of(path)
    if kind is SourceType.CSV:
        return [_csv(path, title, decoded)]
    return [_geojson(path, title, decoded)]


def _notes(decoded: Decoded) -> dict[str, str]:
    return {"encoding": decoded.encoding} | ({"decoding": decoded.note} if decoded.note else {})


# CSV


def sniff_delimiter(text: str) -> str:
    """The delimiter of a CSV text: the one that splits most of its first rows into the same number of fields.

    Comma, semicolon, tab and bar are tried; a comma is the answer for a table of one column.
    """
    best, best_score = ",", (0.0, 0)
    for delimiter in _DELIMITERS:
        widths: list[int] = []
        try:
            for record in csv.reader(io.StringIO(text[:200_000], newline=""), delimiter=delimiter):
                widths += [len(record)] if record else []
                if len(widths) >= _SNIFFED:
                    break
        except csv.Error:
            continue
        if not widths or widths[0] < 2:
            continue
        score = (sum(w == widths[0] for w in widths) / len(widths), widths[0])
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _csv(path: Path, title: str, decoded: Decoded) -> Table:
    csv.field_size_limit(max(csv.field_size_limit(), MAX_VALUE))
    text = decoded.text.lstrip("\ufeff")
    delimiter = sniff_delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = next((record for record in reader if any(map(str.strip, record))), None)
    except csv.Error as error:
        raise UnreadableSource(f"{path.name}: not a CSV table: {error}") from error
    if header is None:
        raise UnreadableSource(f"{path.name}: a CSV table without a header")
    columns: list[str] = []
    for n, cell in enumerate(header, start=1):
        name = cell.strip() or f"column {n}"
        columns.append(f"{name} ({n})" if name in columns else name)
    properties = {"delimiter": delimiter} | _notes(decoded)
    commas = frozenset() if delimiter == "," else comma_columns(_sample(text, delimiter), len(columns))
    return Table("csv", title, columns, _csv_rows(reader, columns, commas), properties)


def _sample(text: str, delimiter: str) -> Iterator[list[str]]:
    """The first rows of a table."""
    reader = csv.reader(io.StringIO(text[:200_000], newline=""), delimiter=delimiter)
    with suppress(csv.Error):
        yield from islice(reader, 1, _LOOKED_AT)


def _csv_rows(reader: Any, columns: Sequence[str], commas: frozenset[int]) -> Iterator[Row]:
    count = 0
    while True:
        number = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(number, {}, problem=f"not readable as CSV: {error}")
            continue
        if not any(map(str.strip, record)):
            continue
        count += 1
        if count > MAX_ROWS:
            raise SourceTooLarge(f"more than {MAX_ROWS} rows", hint="split the table")
        problem = None
        if any(map(str.strip, record[len(columns) :])):
            problem = f"{len(record)} fields, but the header has {len(columns)}; is a value with a delimiter unquoted?"
        if commas:
            record = [with_point(cell) if n in commas else cell for n, cell in enumerate(record)]
        yield Row(number, dict(zip(columns, record, strict=False)), problem=problem)


# GeoJSON


def _geojson(path: Path, title: str, decoded: Decoded) -> Table:
    try:
        content = json.loads(decoded.text.lstrip("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise UnreadableSource(f"{path.name}: not valid JSON: {error}") from error
    kind = content.get("type") if isinstance(content, dict) else None
    features = content.get("features") if kind == "FeatureCollection" else [content]
    if kind not in ("FeatureCollection", "Feature") or not isinstance(features, list):
        found = f"type {kind!r}" if kind else "no type"
        raise UnsupportedSource(f"{path.name}: JSON with {found}, not a GeoJSON Feature or FeatureCollection")
    if any(isinstance(f, dict) and "stac_version" in f for f in (content, *features[:1])):
        raise UnsupportedSource(f"{path.name}: STAC items describe imagery, not places", hint="ingest it as a scene")
    if len(features) > MAX_ROWS:
        raise SourceTooLarge(f"{path.name}: more than {MAX_ROWS} features", hint="split the file")
    columns: dict[str, None] = {}
    for feature in features:
        if isinstance(feature, dict) and isinstance(feature.get("properties"), dict):
            columns.update(dict.fromkeys(feature["properties"]))
    transformer = _transformer(path.name, _declared_crs(content))
    own_title = one_line(content["name"]) if isinstance(content.get("name"), str) else None
    rows = (_feature(n, f, transformer) for n, f in enumerate(features, start=1))
    return Table("geojson", own_title or title, list(columns), rows, _notes(decoded))


def _declared_crs(content: Mapping[str, Any]) -> str | None:
    """The ``crs`` member of GeoJSON before RFC 7946, which several programs still write; None for WGS84."""
    crs = content.get("crs")
    properties = crs.get("properties") if isinstance(crs, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else None
    if not isinstance(name, str) or name.upper().endswith(_WGS84_NAMES):
        return None
    return name


def _feature(number: int, feature: Any, transformer: pyproj.Transformer | None) -> Row:
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        return Row(number, {}, problem="not a GeoJSON Feature")
    values = feature.get("properties")
    values = values if isinstance(values, dict) else {}
    id_ = feature.get("id")
    own_id = one_line(str(id_), 100) or None if isinstance(id_, (str, int)) and not isinstance(id_, bool) else None
    box = feature.get("bbox")
    four: tuple[float, ...] | None = None
    if isinstance(box, list) and len(box) in (4, 6) and all(isinstance(v, (int, float)) for v in box):
        four = tuple(box) if len(box) == 4 else (box[0], box[1], box[3], box[4])
    geometry, problem = None, None
    if feature.get("geometry") is not None:
        try:
            geometry = _to_wgs84(shapely.force_2d(shapely.geometry.shape(feature["geometry"])), transformer)
        except _BROKEN as error:
            problem = f"broken geometry: {error}"
    return Row(number, values, geometry, own_id, four, problem)


# GeoPackage


def _geopackage(path: Path) -> list[Table]:
    import pyogrio
    from pyogrio.errors import DataSourceError

    try:
        with _logged(path):
            layers = [str(name) for name, _ in pyogrio.list_layers(path)]
    except DataSourceError as error:
        raise UnreadableSource(f"{path.name}: damaged GeoPackage: {error}") from error
    tables = [_layer(path, layer) for layer in layers]
    if not tables:
        raise UnsupportedSource(f"{path.name}: a GeoPackage without layers of features")
    return tables


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """What GDAL warns of goes to the log, with the file's name."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        _LOG.warning("%s: %s", path.name, warning.message)


def _layer(path: Path, layer: str) -> Table:
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError

    try:
        with _logged(path):
            info = pyogrio.read_info(path, layer=layer)
    except (DataLayerError, DataSourceError) as error:
        raise UnreadableSource(f"{path.name}: layer {layer!r} cannot be read: {error}") from error
    transformer = _transformer(f"{path.name}: layer {layer!r}", info["crs"])
    properties = {"layer": layer, "crs": info["crs"] or "unknown"}
    columns = [str(c) for c in info["fields"]]
    return Table("geopackage", layer.replace("_", " "), columns, _layer_rows(path, layer, transformer), properties)


def _layer_rows(path: Path, layer: str, transformer: pyproj.Transformer | None) -> Iterator[Row]:
    import pyogrio.raw
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError

    start = 0
    while True:
        try:
            with _logged(path):
                meta, fids, blobs, data = pyogrio.raw.read(
                    path,
                    layer=layer,
                    skip_features=start,
                    max_features=_BATCH,
                    return_fids=True,
                    datetime_as_string=True,
                )
        except (DataLayerError, DataSourceError, FeatureError, FieldError) as error:
            raise UnreadableSource(f"{path.name}: layer {layer!r} breaks off after {start} rows: {error}") from error
        if fids is None or not len(fids):
            return
        columns = [str(c) for c in meta["fields"]]
        for n in range(len(fids)):
            values = {c: _scalar(column[n]) for c, column in zip(columns, data, strict=True)}
            geometry, problem = None, None
            blob = blobs[n] if blobs is not None else None
            if blob is not None:
                try:
                    geometry = _to_wgs84(shapely.force_2d(shapely.from_wkb(blob)), transformer)
                except (ValueError, shapely.errors.ShapelyError) as error:
                    problem = f"broken geometry: {error}"
            yield Row(start + n + 1, values, geometry, problem=problem)
        start += len(fids)
        if len(fids) < _BATCH:
            return
        if start >= MAX_ROWS:
            raise SourceTooLarge(f"{path.name}: more than {MAX_ROWS} rows", hint="split the file")


def _scalar(value: Any) -> Any:
    """A numpy scalar as its Python value; NaN is no value."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and np.isnan(value) else value


# Coordinates


def _transformer(where: str, crs: str | None) -> pyproj.Transformer | None:
    """A transformer to WGS84 in longitude, latitude order; None where nothing is to be done.

    Raises:
        UnreadableSource: a CRS that PROJ does not know.
    """
    if crs is None:
        return None
    try:
        source = pyproj.CRS.from_user_input(crs)
        if source.to_epsg() == 4326:
            return None
        return pyproj.Transformer.from_crs(source, "EPSG:4326", always_xy=True)
    except (CRSError, ProjError) as error:
        raise UnreadableSource(f"{where}: unknown coordinate reference system {crs[:60]!r}") from error


def _to_wgs84(geometry: Any, transformer: pyproj.Transformer | None) -> Any:
    if transformer is None:
        return geometry

    def transform(xy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.column_stack(transformer.transform(xy[:, 0], xy[:, 1]))

    return shapely.transform(geometry, transform)
