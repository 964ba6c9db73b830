"""Where a query says it lies, and which places of the archive are there."""

from __future__ import annotations

from dataclasses import replace

from rsrag import geo, locate
from rsrag.catalog import Catalog
from rsrag.collections import PASSAGES
from rsrag.indexes.base import VectorIndex
from rsrag.ingest.positions import positions
from rsrag.types import Filters, Location, Place, Query
from rsrag.words import terms


class PlaceFinder:
    """Looks places up by name and by position."""

    def __init__(self, catalog: Catalog, index: VectorIndex) -> None:
        self._catalog = catalog
        self._index = index

    def known(self, query: Query, warnings: list[str]) -> Location | None:
        """The location that a query states, carries with its image, or has in its text (46.5°N 7.9°E).

        What is unclear about it is added to the warnings.
        """
        if isinstance(query.where, tuple):
            return locate.stated(*geo.check_position(*query.where))
        if query.where:
            places = self._catalog.places_by_name(query.where) or self._like(query.where)
            if not places:
                warnings.append(f"no place named {query.where!r} in the archive: searched everywhere")
                return None
            if len(places) > 1:
                warnings.append(f"{len(places)} places fit {query.where!r}: took {_label(places[0])}")
            place = places[0]
            location = locate.stated(place.lon, place.lat)
            return replace(location, footprint=place.extent) if place.extent else location
        if query.image is not None and query.image.footprint is not None:
            return locate.given(query.image.footprint)
        written = positions(query.text) if query.text and query.image is None else []
        return locate.stated(*written[0]) if len(written) == 1 else None

    def _like(self, name: str) -> list[Place]:
        """Places whose name holds every word of a name, found through their passages; shorter names first."""
        wanted = set(terms(name))
        found = [s.id for s in self._index.search_text(PASSAGES, name, 50)] if self._index.count(PASSAGES) else []
        places = {p.id: p for _, _, p in self._catalog.resolve_passages(found).values() if p is not None}
        like = [p for p in places.values() if wanted and wanted <= set(terms(p.name))]
        return sorted(like, key=lambda p: (len(p.name), p.name, p.id))

    def near(self, location: Location | None, filters: Filters) -> dict[str, tuple[Place, float]]:
        """Places near a location with their closeness, best first."""
        if location is None:
            return {}
        reach = max(3 * location.error_km, 25.0)
        places = {p.id: p for p in self._catalog.places_near(location.lon, location.lat, reach)}
        if location.footprint is not None:
            places |= {p.id: p for p in self._catalog.places_in(location.footprint.bbox)}
        scored = [
            (p, locate.closeness(location, p.lon, p.lat, p.extent))
            for p in places.values()
            if not filters.kinds or p.kind in filters.kinds
        ]
        scored.sort(key=lambda item: (-item[1], item[0].id))
        return {p.id: (p, value) for p, value in scored}


def _label(place: Place) -> str:
    return f"{place.name} ({place.country or f'{place.lat:.2f}, {place.lon:.2f}'})"
