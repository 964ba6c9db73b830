"""Places of a kind in a region, by the words of a question: "airports in Iceland"."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import shapely

from rsrag import geo
from rsrag.areas import Areas
from rsrag.catalog import Catalog
from rsrag.catalog.names import name_key
from rsrag.facts import label
from rsrag.stored.gazetteer import ARTICLE, CONTINENTS, continent, country_keys, is_country, keys_of_country, region_of
from rsrag.types import Filters, Place
from rsrag.words import STOPWORDS, stem, terms, tokens

MOST_PLACES = 200_000
"""Places of an archive up to which those of a kind are read for one answer: some twenty seconds at most."""


@dataclass(frozen=True, slots=True)
class Sort:
    """Places that a question speaks of.

    Attributes:
        places: of the kind, in the region and the filters' area, by name.
        known: whether there are any of the kind, wherever.
        how: what the region was told by, for people; empty without a region.
    """

    places: tuple[Place, ...]
    known: bool
    how: str = ""


def places_of(noun: str, where: str, filters: Filters, catalog: Catalog) -> Sort | None:
    """The places that a noun means; None where it means none, or the archive does not know the region.

    Args:
        noun: as the question has it: "airports".
        where: a region, in the question's words; empty for everywhere. What places of the kind name as their country,
            or as their city, province or other region, is one, too.
        filters: what the places are limited to.
        catalog: of the archive.
    """
    wanted = tuple(stem(w) for w in tokens(noun) if w not in STOPWORDS)
    if not wanted or catalog.counts()["places"] > MOST_PLACES:
        return None
    areas = Areas(filters)
    kinds = {kind for kind, source in catalog.place_sorts() if _is_of_kind(kind, source, wanted)}
    kinds = {kind for kind in kinds if kind in filters.kinds} if filters.kinds else kinds
    every = (p for batch in catalog.iter_places(kinds=kinds) for p in batch)
    known = [p for p in every if _is_of_kind(p.kind, p.source, wanted) and areas.hold(p.lon, p.lat, None)]
    region = _in_region(where, known, catalog) if where else _Region(lambda place: True)
    if region is None:
        return None
    places = sorted((p for p in known if region.holds(p)), key=lambda p: (p.name.casefold(), p.id))
    how = region.how
    if region.by_country and not all(map(country_keys, places)):
        how += ", or by position where none is stored"
    return Sort(tuple(places), bool(known), how)


def of_number(noun: str, count: int) -> str:
    """A noun of a question in the plural, or in the singular for one."""
    if count == 1:
        return f"{noun[:-3]}y" if noun.endswith("ies") else noun.removesuffix("s")
    if noun.endswith("s"):
        return noun
    return f"{noun[:-1]}ies" if re.search(r"[^aeiou]y$", noun) else f"{noun}s"


def _is_of_kind(named: str | None, source: str, wanted: tuple[str, ...]) -> bool:
    """Whether places of a kind and source are what a noun calls them.

    The last word must be that of its kind, the others anywhere in its kind or the name of its file ("lakes" are
    alkaline lakes, too). Kinds that are adjectives are sites ("natural sites"). A place without kind is what its file
    is called: a row of stadiums.csv is a stadium.
    """
    file = [t for part in source.rsplit("/", 1)[-1].split(".")[:1] for t in terms(part.replace("_", " "))]
    kind = terms(named) if named else file
    if not kind:
        return False
    heads = {kind[-1], stem("site")} if named and len(kind) == 1 and _is_adjective(named) else {kind[-1]}
    return wanted[-1] in heads and set(wanted[:-1]) <= {*kind, *file}


def _is_adjective(kind: str) -> bool:
    """Whether a kind is told as an adjective before "site" (:func:`rsrag.ingest.readers.places.tell`)."""
    return kind.lower() in ("cultural", "natural", "mixed")


@dataclass(frozen=True, slots=True)
class _Region:
    """Whether a place is in a region, what that is told by, and whether it is by countries where those are stored."""

    holds: Callable[[Place], bool]
    how: str = ""
    by_country: bool = False


def _in_region(where: str, known: Sequence[Place], catalog: Catalog) -> _Region | None:
    """A region by its name; None where the archive does not know it.

    A country is told by the country stored with a place, and for places without one by its outline, where that is
    stored; a continent by the countries of it, in the same way; any other region by its outline, or by what the places
    are stored with as their country or city.

    Args:
        where: as the question has it.
        known: what is counted: what they name as their country is a region ("England"), or else as their city.
        catalog: of the archive.
    """
    name = ARTICLE.sub("", where)
    same = catalog.places_by_name(name)
    at = _within_outlines(same)
    if keys := keys_of_country(name, same):
        return _Region(lambda p: bool(keys & mine) if (mine := country_keys(p)) else at(p), "by country", True)
    if countries := _countries_of_continent(name, catalog):
        members = frozenset().union(*(keys_of_country(p.name, [p]) for p in countries))
        inside = _within_outlines(countries)
        how = "by the continent stored of their country"
        return _Region(lambda p: bool(members & mine) if (mine := country_keys(p)) else inside(p), how, True)
    if any(p.extent is not None for p in same):
        return _Region(at, "by position within its stored outline")
    key = name_key(name)
    if any(key in country_keys(place) for place in known):
        return _Region(lambda p: key in country_keys(p), "by country")
    labels = {label(fact.name) for place in known if (fact := region_of(place, name))}
    return _Region(lambda p: region_of(p, name) is not None, f"by {' or '.join(sorted(labels))}") if labels else None


def _within_outlines(regions: Sequence[Place]) -> Callable[[Place], bool]:
    """Whether a place lies in the outline of one of some others."""
    outlines = [(region.id, geo.shape(region.extent)) for region in regions if region.extent is not None]
    shapely.prepare([shape for _, shape in outlines])

    def within(place: Place) -> bool:
        return any(place.id != i and shapely.intersects_xy(shape, place.lon, place.lat) for i, shape in outlines)

    return within


def _countries_of_continent(where: str, catalog: Catalog) -> list[Place]:
    """The countries that are stored with a continent; none where the name is none."""
    wanted = name_key(where)
    if wanted not in CONTINENTS:
        return []
    places = (place for batch in catalog.iter_places() for place in batch)
    return [p for p in places if (fact := continent(p)) and name_key(str(fact.value)) == wanted and is_country(p)]
