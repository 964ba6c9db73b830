"""What a record of JSON lines, or the front matter of a document, says about itself."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rsrag.errors import BadKnowledge, UsageError
from rsrag.ingest.positions import degrees
from rsrag.ingest.readers.columns import name_and_unit
from rsrag.ingest.readers.places import fact_of, on_earth
from rsrag.ingest.readers.text import one_line
from rsrag.times import parse_span
from rsrag.types import Fact, Position, TimeSpan

KEYS: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "passage_id"),
    "text": ("text", "passage", "description", "summary"),
    "place_id": ("place_id",),
    "name": ("place", "name", "place_name"),
    "lat": ("lat", "latitude"),
    "lon": ("lon", "lng", "long", "longitude"),
    "title": ("title", "heading"),
    "time": ("date", "datetime", "time"),
    "kind": ("kind", "type"),
    "country": ("country",),
    "aliases": ("aliases",),
    "sources": ("sources", "source", "url"),
    "licence": ("licence", "license"),
    "facts": ("facts",),
}
"""What a record or the front matter of a document may say, and by which keys."""


class Fields:
    """What a record or a document says about itself, by role.

    Args:
        values: key → value as read.
        given: role → key, or several, instead of the usual ones.

    Raises:
        UsageError: ``given`` names an unknown role.
    """

    def __init__(self, values: Mapping[str, Any], given: Mapping[str, str | Sequence[str]] | None = None) -> None:
        self.values = values
        self._keys: dict[str, tuple[str, ...]] = dict(KEYS)
        for role, keys in (given or {}).items():
            if role not in KEYS:
                raise UsageError(f"unknown role {role!r}", hint="roles: " + ", ".join(KEYS))
            self._keys[role] = (keys,) if isinstance(keys, str) else tuple(keys)

    def raw(self, role: str) -> Any:
        """The first value given for a role, as it is; None if there is none."""
        return next((self.values[k] for k in self._keys.get(role, ()) if self.values.get(k) not in (None, "")), None)

    def text(self, role: str) -> str | None:
        """The value of a role as one short line."""
        value = self.raw(role)
        return one_line(str(value)) or None if isinstance(value, (str, int, float)) else None

    def many(self, role: str) -> tuple[str, ...]:
        """The values of a role: a list, or a text with semicolons or bars."""
        value = self.raw(role)
        parts = value if isinstance(value, list) else re.split(r"[;|\n]", value) if isinstance(value, str) else []
        return tuple(p for p in (one_line(str(part)) for part in parts) if p)

    def position(self) -> Position | None:
        """Longitude and latitude; None if neither is given.

        Raises:
            BadKnowledge: only one, unreadable, or not on Earth.
        """
        lat, lon = self.raw("lat"), self.raw("lon")
        if lat is None and lon is None:
            return None
        if lat is None or lon is None:
            raise BadKnowledge("latitude without longitude" if lon is None else "longitude without latitude")
        try:
            return on_earth(degrees(str(lon), "lon"), degrees(str(lat), "lat"))
        except ValueError as error:
            raise BadKnowledge(str(error)) from error

    def time(self) -> TimeSpan | None:
        """The time it is about.

        Raises:
            BadTimeSpan: not readable.
        """
        written = self.text("time")
        return parse_span(written) if written else None

    def facts(self) -> tuple[Fact, ...]:
        """The facts given, and every other scalar value."""
        used = {k for keys in self._keys.values() for k in keys}
        given = self.raw("facts")
        rest = {k: v for k, v in self.values.items() if k not in used and len(str(v)) <= 200}
        facts: list[Fact | None] = []
        for entry in given if isinstance(given, list) else []:
            if isinstance(entry, dict) and isinstance(entry.get("name"), str):
                facts.append(fact_of(entry["name"], str(entry.get("unit") or "1"), entry.get("value")))
        for key, value in (*(given.items() if isinstance(given, dict) else ()), *rest.items()):
            facts.append(fact_of(*name_and_unit(str(key)), value))
        return tuple(f for f in facts if f is not None and f.name)
