"""Where a query says it lies, and which places of the archive are there."""

from __future__ import annotations

from dataclasses import replace

from rsrag import geo, locate
from rsrag.catalog import Catalog
from rsrag.collections import PASSAGES
from rsrag.indexes.base import VectorIndex
from rsrag.ingest.positions import positions
from rsrag.questions import asks_about, understand
from rsrag.stored.relations import relation
from rsrag.types import Filters, Location, Place, Query
from rsrag.words import terms


class PlaceFinder:
    """Looks places up by name and by position."""

    def __init__(self, catalog: Catalog, index: VectorIndex) -> None:
        self._catalog = catalog
        self._index = index

    def known(self, query: Query, warnings: list[str]) -> Location | None:
        """The location that a query states, carries with its image, or has in its text (46.5°N 7.9°E).

        A place that the question names overrules where the query or its image says it lies. What is unclear about it,
        and such a conflict, is added to the warnings.
        """
        location = self._given(query, warnings)
        place = self._named_elsewhere(query, location)
        if place is None:
            return location
        other = (
            "the image's own place was not looked for" if location is None else "it lies elsewhere than the query says"
        )
        warnings.append(f"the question names {_label(place)}: answered about it; {other}")
        return _of_place(place)

    def _given(self, query: Query, warnings: list[str]) -> Location | None:
        if isinstance(query.where, tuple):
            return locate.stated(*geo.check_position(*query.where))
        if query.where:
            places = self._catalog.places_by_name(query.where) or self._like(query.where)
            if not places:
                warnings.append(f"no place named {query.where!r} in the archive: searched everywhere")
                return None
            if len(places) > 1:
                warnings.append(f"{len(places)} places fit {query.where!r}: took {_label(places[0])}")
            return _of_place(places[0])
        if query.image is not None and query.image.footprint is not None:
            return locate.given(query.image.footprint)
        written = positions(query.text) if query.text and query.image is None else []
        return locate.stated(*written[0]) if len(written) == 1 else None

    def _named_elsewhere(self, query: Query, location: Location | None) -> Place | None:
        """The place that a question asks about by name, where it lies elsewhere than the query or its image.

        A question that points at the picture ("this lake") is about the picture, whatever else it names; so is one for
        a value of it, where the picture does not say where it lies. What is named must be the only such place, and the
        question not one of how two things stand to each other.
        """
        if not query.text or (location is None and query.image is None):
            return None
        related = relation(query.text)
        if related is not None and related.second:
            return None
        asked = understand(query.text)
        if (
            asked.about_image
            or (location is None and asked.variables)
            or (location is not None and not _movable(query))
        ):
            return None
        about = [name for name in asked.names if asks_about(query.text, name)]
        found = {place.id: place for name in about for place in self._called(name)}
        fits = location is not None and any(_fits(location, place) for place in found.values())
        return next(iter(found.values())) if len(found) == 1 and not fits else None

    def _called(self, name: str) -> list[Place]:
        """The places of exactly a name, or, for one of several words, those whose names hold them all."""
        exact = self._catalog.places_by_name(name)
        return exact or (self._like(name) if len(terms(name)) > 1 else [])

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
        places = {p.id: p for p in self._catalog.places_near(location.lon, location.lat, _reach(location))}
        if location.footprint is not None:
            places |= {p.id: p for p in self._catalog.places_in(location.footprint.bbox)}
        scored = [
            (p, locate.closeness(location, p.lon, p.lat, p.extent))
            for p in places.values()
            if not filters.kinds or p.kind in filters.kinds
        ]
        scored.sort(key=lambda item: (-item[1], item[0].id))
        return {p.id: (p, value) for p, value in scored}


def _movable(query: Query) -> bool:
    """Whether a location was said beside the question; a position in its text is what it names itself."""
    return query.where is not None or query.image is not None


def _fits(location: Location, place: Place) -> bool:
    """Whether a place is at a location or near it, or one of them holds the other."""
    here, there = (location.lon, location.lat), (place.lon, place.lat)
    if place.extent is not None and geo.holds(place.extent, here):
        return True
    if location.footprint is not None and geo.holds(location.footprint, there):
        return True
    return geo.distance_km(here, there) <= _reach(location)


def _reach(location: Location) -> float:
    """How far from a location, in kilometres, places count as near it."""
    return max(3 * location.error_km, 25.0)


def _of_place(place: Place) -> Location:
    location = locate.stated(place.lon, place.lat)
    return replace(location, footprint=place.extent) if place.extent else location


def _label(place: Place) -> str:
    return f"{place.name} ({place.country or f'{place.lat:.2f}, {place.lon:.2f}'})"
