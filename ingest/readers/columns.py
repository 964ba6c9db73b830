"""Which column of a table says what, and which unit a column's name gives its numbers.

Columns are matched by name, ignoring case, accents and punctuation: "Site Name", "site_name" and "siteName" are the
same. For every role the first name of its list that the table has is taken; of text, alias and source columns all are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rsrag.errors import UsageError
from rsrag.words import fold

ROLES: Mapping[str, tuple[str, ...]] = {
    "name": (
        "name", "name_en", "english_name", "place", "place_name", "placename", "site", "site_name", "title", "label",
        "landmark", "feature_name", "toponym", "geoname", "official_name", "stadium", "station", "station_name",
        "airport", "port", "port_name", "lake", "lake_name", "river", "mountain", "peak", "volcano", "volcano_name",
        "island", "park", "museum", "building", "city", "town", "village",
    ),
    "lat": (
        "lat", "latitude", "lat_dd", "latitude_deg", "latitude_dd", "lat_wgs84", "decimal_latitude", "decimallatitude",
        "lat_y", "latitude_y", "y", "y_coord", "ycoord", "coord_y",
    ),
    "lon": (
        "lon", "lng", "long", "longitude", "lon_dd", "longitude_deg", "longitude_dd", "lon_wgs84", "long_wgs84",
        "decimal_longitude", "decimallongitude", "lon_x", "long_x", "longitude_x", "x", "x_coord", "xcoord", "coord_x",
    ),
    "wkt": ("wkt", "geometry_wkt", "geom_wkt", "wkt_geom", "wkt_geometry", "geometry", "geom", "the_geom", "shape"),
    "kind": (
        "kind", "type", "place_type", "site_type", "category", "class", "feature_class", "featurecla", "feature_type",
        "fclass", "primary_volcano_type",
    ),
    "country": (
        "country", "country_name", "nation", "country_en", "admin", "sovereignt", "adm0name", "country_code", "iso_a3",
        "iso3", "iso_a2", "iso2", "cc",
    ),
    "id": (
        "id", "uid", "uuid", "place_id", "site_id", "identifier", "id_number", "unique_number", "osm_id", "geonameid",
    ),
    "time": ("date", "datetime", "when"),
    "licence": ("licence", "license", "rights"),
    "picture": ("picture", "image", "photo", "thumbnail", "image_file", "picture_file"),
    "aliases": (
        "aliases", "alias", "alt_name", "alt_names", "altname", "name_alt", "namealt", "alternate_name",
        "alternate_names", "alternatenames", "other_name", "other_names", "also_known_as", "aka", "synonyms",
        "local_name", "name_local", "name_long", "formal_en", "short_name", "old_name",
    ),
    "text": (
        "summary", "short_description", "description", "long_description", "desc", "text", "abstract", "about",
        "details", "body", "content", "extract", "history", "justification", "geology", "geography", "notes", "note",
        "comment", "comments", "remark", "remarks",
    ),
    "sources": (
        "source", "sources", "reference", "references", "citation", "citations", "bibliography", "url", "link",
        "source_url",
    ),
}  # fmt: skip
"""Role → column names by which it is found, best first."""

_MANY = ("aliases", "text", "sources")
_NOISE = re.compile(
    r"(ogc_)?fid|gid|objectid(_\d+)?|(scale|label|nat|pop_)rank|natscale|natlscale|(min|max)_(zoom|label)|mapcolor\d+|"
    r"(name|long|abbrev|shape)_len(g|gth)?|shape_area|st_(area|length).*|tiny|homepart|featurecla|lat_y|long_x|changed|"
    r"postal|wikidataid|ne_id|level|funkyname|name_(sort|ciawf)|.*_(dif|eh)|note_adm0|(note_)?brk(_.*)?"
)
"""Columns that steer map drawing or bookkeeping and say nothing about the place."""

_UNITS: Mapping[str, str] = {
    "ft": "ft", "feet": "ft", "foot": "ft", "m": "m", "metre": "m", "metres": "m", "meter": "m", "meters": "m",
    "km": "km", "kilometres": "km", "kilometers": "km", "mi": "mi", "miles": "mi", "cm": "cm", "mm": "mm",
    "km2": "km2", "sqkm": "km2", "sq_km": "km2", "km_2": "km2", "m2": "m2", "sqm": "m2", "sq_m": "m2", "ha": "ha",
    "hectare": "ha", "hectares": "ha", "acres": "acres", "sqmi": "sq mi", "sq_mi": "sq mi", "mi2": "sq mi",
    "km3": "km3", "m3": "m3", "degc": "°C", "celsius": "°C", "deg_c": "°C", "pct": "%", "percent": "%", "kg": "kg",
    "t": "t", "tonnes": "t", "mw": "MW", "kw": "kW", "gw": "GW", "gwh": "GWh", "kmh": "km/h", "m_s": "m/s",
    "hpa": "hPa", "usd": "USD", "eur": "EUR",
    "people": "people", "persons": "people", "inhabitants": "people", "years": "years",
}  # fmt: skip
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_POWER = str.maketrans({"²": "2", "³": "3", "°": "deg", "%": " pct "})


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of one table by role, in the table's own spelling; None or empty where it has none."""

    name: str | None = None
    lat: str | None = None
    lon: str | None = None
    wkt: str | None = None
    kind: str | None = None
    country: str | None = None
    id: str | None = None
    time: str | None = None
    licence: str | None = None
    picture: str | None = None
    aliases: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def used(self) -> frozenset[str]:
        """Every column that has a role."""
        single = (self.name, self.lat, self.lon, self.wkt, self.kind, self.country, self.id, self.time, self.licence)
        return frozenset(c for c in (*single, self.picture, *self.aliases, *self.text, *self.sources) if c)

    def as_dict(self) -> dict[str, str | list[str]]:
        """The roles that were found, for the document's record."""
        found = {role: getattr(self, role) for role in ROLES}
        return {role: list(c) if isinstance(c, tuple) else c for role, c in found.items() if c}


@lru_cache(maxsize=4096)
def plain_name(column: str) -> str:
    """A column name in lower case ASCII-like words joined by underscores: "Site Name" is "site_name"."""
    spaced = _CAMEL.sub("_", column.translate(_POWER))
    return re.sub(r"[\W_]+", "_", fold(spaced)).strip("_")


def find_columns(available: Sequence[str], given: Mapping[str, str | Sequence[str]] | None = None) -> Columns:
    """The columns of a table by role: those given, the rest found by their names (:data:`ROLES`).

    Args:
        available: column names of the table.
        given: role → column name, or several for "aliases", "text" and "sources".

    Raises:
        UsageError: an unknown role, or a column that the table does not have.
    """
    roles: dict[str, str | tuple[str, ...]] = {}
    for role, wanted in (given or {}).items():
        names = (wanted,) if isinstance(wanted, str) else tuple(wanted)
        if role not in ROLES:
            raise UsageError(f"unknown column role {role!r}", hint="roles: " + ", ".join(ROLES))
        for name in names:
            if name not in available:
                have = ", ".join(map(str, available[:40]))
                raise UsageError(f"no column {name!r} for {role!r}", hint=f"the table has: {have}")
        roles[role] = names if role in _MANY else names[0]
    taken = {c for names in roles.values() for c in ((names,) if isinstance(names, str) else names)}
    by_name: dict[str, str] = {}
    for column in available:
        if column not in taken:
            by_name.setdefault(plain_name(column), column)
    for role, candidates in ROLES.items():
        if role in roles:
            continue
        found = [by_name[c] for c in candidates if c in by_name]
        if role in _MANY:
            roles[role] = tuple(c for c in found if c not in taken)
        elif found and found[0] not in taken:
            roles[role] = found[0]
            taken.add(found[0])
    return Columns(**roles)  # type: ignore[arg-type]


def is_noise(name: str) -> bool:
    """Whether a column (by its plain name) only steers drawing or bookkeeping."""
    return _NOISE.fullmatch(name) is not None


@lru_cache(maxsize=4096)
def name_and_unit(column: str) -> tuple[str, str]:
    """Fact name and unit that a column name stands for: "Elevation (ft)" is ("elevation", "ft"); "1" without a unit."""
    name = plain_name(column)
    for length in (2, 1):
        words = name.split("_")
        unit = _UNITS.get("_".join(words[-length:])) if len(words) > length else None
        if unit is not None:
            return "_".join(words[:-length]), unit
    return name, "1"
