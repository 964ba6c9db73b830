"""Rows of a table as places, and what their columns say about them as texts and facts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import shapely

from rsrag import geo
from rsrag.errors import BadFootprint, BadGeometry, BadKnowledge, BadTimeSpan
from rsrag.ingest.countries import country_name
from rsrag.ingest.digest import make_id
from rsrag.ingest.positions import Axis, degrees
from rsrag.ingest.readers.columns import Columns, is_noise, name_and_unit, plain_name
from rsrag.ingest.readers.numerals import ungrouped
from rsrag.ingest.readers.tables import Row
from rsrag.ingest.readers.text import one_line, plain_value
from rsrag.times import parse_span
from rsrag.types import BBox, Fact, Footprint, Place, Position, TimeSpan
from rsrag.words import fold

LONG_TEXT = 160
"""A value of at least this many characters is text, whatever its column is called."""
MOST_FACTS = 60
"""Facts kept of one row."""
TOLD_FACTS = 14
"""Facts told in the sentence about a place."""

_MISSING = frozenset(("", "null", "none", "nan", "n/a", "\\n", "-", "--", "nil", "-99", "-999", "-9999", "-99.0"))
_NUMBER = re.compile(r"[-+]?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d{1,2})?")
_CODE = re.compile(r".*(^|_)(id|code|zip|phone|iso\w*|[a-z]+_a[23]|n3|icao|iata|number|ref|version)")
_ADJECTIVES = frozenset(
    ("cultural", "natural", "mixed", "historic", "historical", "protected", "urban", "rural", "industrial", "coastal",
     "military", "religious", "archaeological", "sacred", "private", "public", "marine", "geological", "agricultural")
)  # fmt: skip
_PICTURES = (".png", ".jpg", ".jpeg", ".jp2", ".tif", ".tiff")
_SAME_PLACE_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Described:
    """A place and what its row tells about it: free texts, the works they cite, a time, a picture."""

    place: Place
    texts: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    time: TimeSpan | None = None
    picture: str | None = None


def place_id(origin: str, key: str | None, name: str, position: Position) -> str:
    """The id of a place: the same for the same source, explicit id, name and position (to about 10 m).

    Args:
        origin: what identifies the source: its file name, so that a moved archive keeps its ids.
        key: the id that the source itself gives, if any.
        name: as in :class:`Place`.
        position: longitude, latitude.
    """
    lon, lat = (round(v, _SAME_PLACE_DIGITS) + 0.0 for v in position)
    return make_id("place", origin, key or "", name, lon, lat)


def describe(row: Row, columns: Columns, source: Path, licence: str | None) -> Described:
    """The place that a row is about.

    Args:
        row: one row, geometry in WGS84.
        columns: which column says what.
        source: the file.
        licence: of the whole source; a licence column overrides it.

    Raises:
        BadKnowledge: no name, no position, or one that is not on Earth.
    """
    if row.problem:
        raise BadKnowledge(row.problem)
    values = row.values
    name = _text(values, columns.name)
    if not name:
        raise BadKnowledge("no name" if columns.name else "no column holds a name")
    position, extent = _where(row, columns)
    given = {c: _text(values, c) for c in (columns.kind, columns.country, columns.licence) if c}
    key = _key(row, columns)
    sources = tuple(dict.fromkeys(s for c in columns.sources for s in _several(values.get(c), r"[;|\n]")))
    texts, rest = _texts(values, columns, name)
    picture = _picture(_text(values, columns.picture))
    aliases = _aliases(values, columns, name)
    facts = [Fact("id", key)] if key else []
    facts += [f for f in _facts(rest, ignored_long=texts) if f.value != name and f.value not in aliases]
    time = None
    if columns.time and (written := _text(values, columns.time)):
        try:
            time = parse_span(written)
        except BadTimeSpan:
            facts.append(Fact(plain_name(columns.time), written))
    place = Place(
        id=place_id(source.name, key, name, position),
        name=name,
        source=str(source),
        lon=position[0],
        lat=position[1],
        kind=given.get(columns.kind or "") or None,
        country=country_name(given.get(columns.country or "") or "") or None,
        aliases=aliases,
        extent=extent,
        facts=tuple(facts[:MOST_FACTS]),
        licence=given.get(columns.licence or "") or licence,
    )
    return Described(place, tuple(texts.values()), sources, time, picture)


def _missing(value: Any) -> bool:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return True
    return str(value).strip().lower() in _MISSING


def _text(values: Mapping[str, Any], column: str | None) -> str:
    value = values.get(column) if column else None
    if isinstance(value, (list, dict)) or _missing(value):
        return ""
    return one_line(str(value))


def _key(row: Row, columns: Columns) -> str | None:
    value = row.values.get(columns.id) if columns.id else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return row.id if _missing(value) else one_line(str(value), 100)


def _several(value: Any, separators: str) -> list[str]:
    """The parts of a list, or of a text with separators."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            value = value.strip().strip("[]")
    parts = value if isinstance(value, list) else [] if _missing(value) else re.split(separators, str(value))
    return [part for part in (one_line(str(p)) for p in parts if not _missing(p)) if part]


def _aliases(values: Mapping[str, Any], columns: Columns, name: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for column in columns.aliases:
        value = values.get(column)
        separators = r"[;|]" if isinstance(value, str) and re.search(r"[;|]", value) else r","
        found.update(dict.fromkeys(_several(value, separators)))
    return tuple(a for a in found if a != name)[:50]


# Where


def _where(row: Row, columns: Columns) -> tuple[Position, Footprint | None]:
    geometry = row.geometry
    if geometry is None and columns.wkt and not _missing(row.values.get(columns.wkt)):
        geometry = _from_wkt(str(row.values[columns.wkt]))
    if geometry is None:
        position, extent = _from_columns(row.values, columns), None
    else:
        position, extent = _from_geometry(geometry)
    if extent is None and row.box is not None:
        try:
            extent = geo.footprint_from_bbox(BBox(*map(float, row.box)))
        except (BadGeometry, BadFootprint, OverflowError) as error:
            raise BadKnowledge(f"bbox: {error}") from error
    return position, extent


def _from_wkt(text: str) -> Any:
    try:
        return shapely.force_2d(shapely.from_wkt(text.removeprefix("SRID=4326;")))
    except (ValueError, TypeError, shapely.errors.ShapelyError) as error:
        raise BadKnowledge(f"geometry is not readable as WKT: {error}") from error


def _from_columns(values: Mapping[str, Any], columns: Columns) -> Position:
    found: list[float] = []
    axes: tuple[tuple[str | None, Axis], ...] = ((columns.lon, "lon"), (columns.lat, "lat"))
    for column, axis in axes:
        value = values.get(column) if column else None
        if column is None or _missing(value) or isinstance(value, bool):
            raise BadKnowledge("no position: neither a geometry nor latitude and longitude")
        try:
            found.append(degrees(str(value), axis))
        except ValueError as error:
            raise BadKnowledge(f"column {column!r}: {error}") from error
    return on_earth(found[0], found[1])


def on_earth(lon: float, lat: float) -> Position:
    """The position, checked.

    Raises:
        BadKnowledge: not on Earth, with a hint when longitude and latitude look swapped. Nothing is swapped back.
    """
    if math.isfinite(lon) and math.isfinite(lat) and abs(lat) <= 90 and abs(lon) <= 180:
        return lon, lat
    swapped = 90 < abs(lat) <= 180 and abs(lon) <= 90
    hint = "looks like swapped longitude/latitude" if swapped else None
    raise BadKnowledge(f"latitude {lat:g}, longitude {lon:g} is not on Earth", hint=hint)


def _from_geometry(geometry: Any) -> tuple[Position, Footprint | None]:
    if geometry.is_empty:
        raise BadKnowledge("empty geometry")
    if geometry.geom_type == "Point":
        return on_earth(geometry.x, geometry.y), None
    if geometry.geom_type not in ("Polygon", "MultiPolygon", "LineString", "MultiLineString", "MultiPoint"):
        raise BadKnowledge(f"a {geometry.geom_type} is not the shape of a place")
    west, south, east, north = geometry.bounds
    if not all(map(math.isfinite, geometry.bounds)):
        raise BadKnowledge("geometry with coordinates that are not finite")
    if max(abs(south), abs(north)) > 90 or max(abs(west), abs(east)) > 360:
        on_earth(west if abs(west) > abs(east) else east, south if abs(south) > abs(north) else north)
    if geometry.geom_type.endswith("Polygon"):
        extent = geo.footprint_from_shape(geometry)
        return inside(extent), extent
    if geometry.geom_type == "MultiPoint":
        middle = min(geometry.geoms, key=geometry.centroid.distance)
    else:
        longest = max(getattr(geometry, "geoms", [geometry]), key=lambda part: part.length)
        middle = longest.interpolate(0.5, normalized=True)
    box = None
    if east - west < 180 and east > west and north > south and max(abs(west), abs(east)) <= 180:
        box = geo.footprint_from_bbox(BBox(west, south, east, north))
    return on_earth(geo.wrap(middle.x), middle.y), box


def inside(extent: Footprint) -> Position:
    """A position within a footprint: its centre, or, where that lies outside, a point inside its largest part."""
    centre = geo.centre(extent)
    if geo.holds(extent, centre):
        return round(centre[0], 6), round(centre[1], 6)
    shape = geo.shape(extent)
    point = max(getattr(shape, "geoms", [shape]), key=lambda part: part.area).representative_point()
    return round(point.x, 6), round(point.y, 6)


# What


def _texts(values: Mapping[str, Any], columns: Columns, name: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Free texts by column, and the values that are left for facts."""
    texts: dict[str, str] = {}
    rest: dict[str, Any] = {}
    used = columns.used
    for column, value in values.items():
        if column in columns.text:
            parts = value if isinstance(value, list) else [value]
            text = "\n\n".join(plain_value(str(p)) for p in parts if not isinstance(p, dict) and not _missing(p))
            text = _without_title(text, name)
            if text and text not in texts.values():
                texts[column] = text
        elif column not in used:
            rest[column] = value
            if isinstance(value, str) and len(value) >= LONG_TEXT and value.count(" ") >= LONG_TEXT // 12:
                texts[column] = plain_value(value)
    return texts, rest


def _without_title(text: str, name: str) -> str:
    """The text without a first paragraph that only repeats the name."""
    first, _, more = text.partition("\n")
    return more.strip() if fold(first).strip(" .:") == fold(name) else text


def _facts(values: Mapping[str, Any], ignored_long: Iterable[str]) -> list[Fact]:
    facts: list[Fact] = []
    skipped = frozenset(ignored_long)
    for column, value in values.items():
        name, unit = name_and_unit(column)
        if column in skipped or not name or is_noise(plain_name(column)):
            continue
        fact = fact_of(name, unit, value)
        if fact is not None:
            facts.append(fact)
    return facts


def fact_of(name: str, unit: str, value: Any) -> Fact | None:
    """A scalar value as a fact: numbers as numbers unless they are codes; None where there is no value."""
    if isinstance(value, (list, dict)) or _missing(value):
        return None
    if isinstance(value, bool):
        return Fact(name, "yes" if value else "no")
    if _CODE.fullmatch(name):
        return Fact(name, one_line(str(int(value) if isinstance(value, float) and value.is_integer() else value)))
    if isinstance(value, (int, float)) and abs(value) < 1e300:
        return Fact(name, float(value), unit)
    text = one_line(str(value))
    if _NUMBER.fullmatch(text):
        return Fact(name, float(text), unit)
    number = ungrouped(str(value).strip())
    if number is not None:
        return Fact(name, number, unit)
    return Fact(name, text) if text else None


def _picture(written: str) -> str | None:
    """A picture's path as written, relative to the table; whoever opens it checks where it leads."""
    return written if "://" not in written and written.lower().endswith(_PICTURES) else None


# The sentence


def tell(place: Place) -> str:
    """One sentence with everything a table says about a place, so that it can be found and cited.

    "Goroka Airport is an airport in Papua New Guinea at 6.0817°S, 145.392°E; city: Goroka; altitude: 5,282 ft."
    """
    kind = one_line(place.kind or "", 80)
    words = [place.name, "is", _a(kind) if kind else "a place"]
    if place.country and fold(place.country) != fold(place.name):
        words += ["in", place.country]
    words += ["at", f"{_degrees(place.lat, 'N', 'S')}, {_degrees(place.lon, 'E', 'W')}"]
    told = [f"{f.name.replace('_', ' ')}: {show_value(f)}" for f in place.facts if f.name != "id"][:TOLD_FACTS]
    also = [f"also known as {', '.join(place.aliases[:6])}"] if place.aliases else []
    return "; ".join([" ".join(words), *also, *told]) + "."


def _a(kind: str) -> str:
    word = kind if any(c.isupper() for c in kind[1:]) else kind[:1].lower() + kind[1:]
    if word.lower() in _ADJECTIVES:
        word += " site"
    return f"{'an' if word[:1].lower() in 'aeiou' else 'a'} {word}"


def _degrees(value: float, positive: str, negative: str) -> str:
    return f"{abs(value):.4f}".rstrip("0").rstrip(".") + "°" + (positive if value >= 0 else negative)


def show_value(fact: Fact) -> str:
    """A fact's value with its unit, for people: "1,230 ft", "45 %", "1981"."""
    if isinstance(fact.value, str):
        return fact.value
    # Years and other bare whole numbers of four digits are not grouped.
    bare = fact.unit == "1" and abs(fact.value) < 10_000 and fact.value == int(fact.value)
    number = f"{fact.value:.0f}" if bare else format(fact.value, ",.10g")
    return number if fact.unit == "1" else f"{number} {fact.unit.replace('km2', 'km²').replace('m2', 'm²')}"
