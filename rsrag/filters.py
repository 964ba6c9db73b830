"""What users write to limit a search: boxes, geometries, ranges of facts, positions."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from rsrag import geo
from rsrag.errors import BadFootprint, BadGeometry, UsageError
from rsrag.types import BBox, Footprint, Position

MAX_VERTICES = 10_000
_MAX_BYTES = 16 * 2**20
_WKT = re.compile(r"\s*(?:SRID=(\d+);\s*)?(?:MULTI)?POLYGON\b", re.IGNORECASE)
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_COMPARISON = re.compile(rf"\s*([A-Za-z_][\w.]*)\s*(>=|<=|==|=|>|<)\s*({_NUMBER})\s*")
_RANGE = re.compile(rf"\s*([A-Za-z_][\w.]*)\s*(?:=|==|:|\s)\s*({_NUMBER})?\s*\.\.\s*({_NUMBER})?\s*")
_POSITION = re.compile(rf"\s*\(?\s*({_NUMBER})\s*(?:,|\s)\s*({_NUMBER})\s*\)?\s*")

Range = tuple[float | None, float | None]


def parse_bbox(text: str | Iterable[float]) -> BBox:
    """A bounding box from four numbers, or from one text with blanks or commas between them.

    Raises:
        BadGeometry: not four finite numbers on Earth in the order west south east north, or without area.
    """
    if isinstance(text, str):
        try:
            numbers = [float(piece) for piece in text.replace(",", " ").split()]
        except ValueError as error:
            hint = "west south east north, in degrees"
            raise BadGeometry(f"{text!r} is not a bounding box", hint=hint) from error
    else:
        numbers = list(text)
    box = geo.check_bbox(numbers)
    if box.west == box.east or box.south == box.north:
        raise BadGeometry(f"bounding box {' '.join(f'{v:g}' for v in box)} has no area")
    return box


def parse_intersects(text: str) -> Footprint:
    """A filter geometry: a file of GeoJSON or WKT, or GeoJSON or WKT itself. Polygons, in longitude and latitude.

    An open ring is closed. A feature collection is the union of its polygons.

    Raises:
        BadGeometry: unreadable, another type or CRS, crossing itself, off Earth, or more than 10,000 vertices.
    """
    import shapely

    stripped = text.strip()
    if not stripped.startswith("{") and not _WKT.match(stripped):
        stripped = _read(stripped)
    parts = _from_wkt(stripped) if _WKT.match(stripped) else _from_geojson(stripped)
    vertices = sum(int(shapely.get_num_coordinates(part)) for part in parts)
    if vertices > MAX_VERTICES:
        hint = f"simplify it to at most {MAX_VERTICES:,}"
        raise BadGeometry(f"the geometry has {vertices:,} vertices", hint=hint)
    for part in parts:
        _check_part(part)
    try:
        return geo.footprint_from_shape(shapely.union_all(parts))
    except BadFootprint as error:
        raise BadGeometry(f"the geometry cannot be used: {error.message}") from error


def _read(name: str) -> str:
    try:
        path = Path(name).expanduser()
        if not path.is_file():
            hint = "give a file, GeoJSON or WKT, with polygons"
            raise BadGeometry(f"{name[:80]!r} is neither a file nor a geometry with an area", hint=hint)
        if path.stat().st_size > _MAX_BYTES:
            raise BadGeometry(f"{path} is larger than {_MAX_BYTES // 2**20} MiB", hint="simplify the geometry")
        return path.read_text(encoding="utf-8-sig").strip()
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a home directory nobody has
        raise BadGeometry(f"cannot read {name[:80]!r} as a geometry: {error}") from error


def _from_wkt(text: str) -> list[Any]:
    import shapely

    match = _WKT.match(text)
    if match and match.group(1) not in (None, "4326"):
        raise BadGeometry(f"the geometry is in EPSG:{match.group(1)}", hint="give longitude and latitude (EPSG:4326)")
    try:
        shape = shapely.from_wkt(text[text.find(";") + 1 :], on_invalid="fix")
    except (shapely.errors.ShapelyError, TypeError, ValueError) as error:
        raise BadGeometry(f"unreadable WKT: {error}") from error
    if shape is None or shape.is_empty:
        raise BadGeometry("the geometry is empty or unreadable")
    return list(shapely.get_parts(shapely.force_2d(shape)))


def _from_geojson(text: str) -> list[Any]:
    import shapely

    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadGeometry(f"unreadable GeoJSON: {error}", hint="give a file, GeoJSON or WKT") from error
    crs = value.get("crs") if isinstance(value, dict) else None
    if crs and not re.search(r"CRS84|4326", json.dumps(crs)):
        raise BadGeometry("the geometry is not in longitude and latitude", hint="reproject it to EPSG:4326")
    parts: list[Any] = []
    for geometry in _geometries(value):
        kind, coordinates = geometry.get("type"), geometry.get("coordinates") or []
        if kind not in ("Polygon", "MultiPolygon"):
            raise BadGeometry(f"a filter needs a Polygon or MultiPolygon, not {str(kind)[:40]!r}")
        try:
            for rings in [coordinates] if kind == "Polygon" else coordinates:
                lines = [[(float(p[0]), float(p[1])) for p in ring] for ring in rings]
                parts.append(shapely.Polygon(lines[0], lines[1:]))
        except (TypeError, ValueError, IndexError, KeyError, shapely.errors.ShapelyError) as error:
            raise BadGeometry(f"unreadable {kind} coordinates: {error}") from error
    if not parts:
        raise BadGeometry("the geometry is empty")
    return parts


def _geometries(value: Any) -> list[Mapping[str, Any]]:
    if not isinstance(value, Mapping):
        raise BadGeometry("GeoJSON must be an object")
    if value.get("type") == "FeatureCollection":
        features = value.get("features")
        if not isinstance(features, list):
            return []
        return [g for feature in features if not _is_placeless(feature) for g in _geometries(feature)]
    if value.get("type") == "Feature":
        return _geometries(value.get("geometry"))
    return [value]


def _is_placeless(feature: Any) -> bool:
    """Whether a feature has no geometry, which GeoJSON allows."""
    return isinstance(feature, Mapping) and feature.get("type") == "Feature" and feature.get("geometry") is None


def _check_part(part: Any) -> None:
    import shapely

    xy = shapely.get_coordinates(part)
    if not len(xy) or not all(math.isfinite(v) for v in (*xy.min(0), *xy.max(0))):
        raise BadGeometry("the geometry has coordinates that are not finite")
    (west, south), (east, north) = xy.min(0), xy.max(0)
    if south < -90 or north > 90 or west < -360 or east > 360:
        swapped = south >= -180 and north <= 180 and west >= -90 and east <= 90
        hint = "longitude and latitude look swapped" if swapped else "the order is longitude, latitude, in degrees"
        raise BadGeometry(f"the geometry reaches {west:g} {south:g} {east:g} {north:g}: not on Earth", hint=hint)
    if not part.is_valid:
        raise BadGeometry(f"the geometry is not valid: {shapely.is_valid_reason(part)}")
    if part.area == 0:
        raise BadGeometry("the geometry has no area")


def parse_facts(expressions: Iterable[str], known: Collection[str] | None = None) -> dict[str, Range]:
    """Ranges of facts from expressions: ``ndvi_mean>0.5``, ``area_km2<=4``, ``ndwi_mean=0.2..0.4``.

    Several expressions about one fact must all hold. Both ends of a range belong to it; ``>`` and ``<`` exclude their
    number.

    Args:
        expressions: what the user wrote.
        known: names that can be filtered; any name when None.

    Returns:
        Name → (least, most), either may be None.

    Raises:
        UsageError: unreadable, unknown name, or a range nothing lies in.
    """
    found: dict[str, Range] = {}
    for expression in expressions:
        name, (low, high) = _parse_fact(expression)
        if known is not None and name not in known:
            raise UsageError(f"tiles cannot be filtered by {name!r}", hint=f"one of {', '.join(sorted(known))}")
        old_low, old_high = found.get(name, (None, None))
        low = old_low if low is None else low if old_low is None else max(low, old_low)
        high = old_high if high is None else high if old_high is None else min(high, old_high)
        if low is not None and high is not None and low > high:
            raise UsageError(f"no value of {name!r} is at least {low:g} and at most {high:g}")
        found[name] = (low, high)
    return found


def _parse_fact(expression: str) -> tuple[str, Range]:
    if match := _RANGE.fullmatch(expression):
        name, low, high = match.groups()
        if low is not None or high is not None:
            return name, (_finite(low, expression), _finite(high, expression))
    if match := _COMPARISON.fullmatch(expression):
        name, operator, number = match.groups()
        value = _finite(number, expression) or 0.0
        return name, {
            ">=": (value, None),
            "<=": (None, value),
            ">": (math.nextafter(value, math.inf), None),
            "<": (None, math.nextafter(value, -math.inf)),
        }.get(operator, (value, value))
    hint = "write ndvi_mean>0.5, ndvi_mean<=0.2 or ndvi_mean=0.2..0.4"
    raise UsageError(f"{expression!r} is not a condition on a fact", hint=hint)


def _finite(number: str | None, expression: str) -> float | None:
    if number is None:
        return None
    value = float(number)
    if not math.isfinite(value):
        raise UsageError(f"{expression!r} holds a number that is too large")
    return value


def parse_where(text: str) -> str | Position:
    """A position as ``longitude,latitude``, or else the name of a place.

    Raises:
        BadGeometry: two numbers that are not on Earth, with a hint when they look swapped.
        UsageError: nothing but blanks.
    """
    if match := _POSITION.fullmatch(text):
        return geo.check_position(float(match.group(1)), float(match.group(2)))
    name = " ".join(text.split())
    if not name:
        raise UsageError("an empty place name", hint="give a name or longitude,latitude")
    return name


def parse_columns(text: str | None) -> dict[str, str]:
    """Names of columns from ``role=column,...``.

    Raises:
        UsageError: a piece without "=" or a role given twice.
    """
    columns: dict[str, str] = {}
    for piece in (text or "").split(","):
        role, equals, column = (part.strip() for part in piece.partition("="))
        if not piece.strip():
            continue
        if not (role and equals and column) or role in columns:
            raise UsageError(f"{piece.strip()!r} does not name a column", hint="write name=site,lon=x,lat=y")
        columns[role] = column
    return columns
