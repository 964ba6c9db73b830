"""Relations between places, decided from what is stored of them: country, position, outline and values with units.

What is not stored, or too near to tell, is left open.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import shapely

from rsrag import geo
from rsrag.catalog import Catalog
from rsrag.catalog.names import name_key
from rsrag.facts import distance_text, label
from rsrag.stored.gazetteer import (
    CONTINENTS,
    Named,
    continent,
    countries,
    country_keys,
    is_country,
    keys_of_country,
    named,
    region_of,
)
from rsrag.stored.relations import Measure, Relation
from rsrag.stored.values import Value, called, values_of
from rsrag.types import BBox, Footprint, Hit, Place

Told = tuple[str, tuple[tuple[Place, str], ...]]
"""A sentence, and the places it rests on, each with what is to be said of it besides its passage."""

_EDGE = 0.05
"""Share of a region's size within which of its border a stored outline decides nothing: outlines are simplified."""
_ALIKE = 0.02
"""Values that differ by less are too near to tell which is greater; outlines by more, :data:`_OUTLINES_ALIKE`."""
_OUTLINES_ALIKE = 0.1
_WHOLE = 0.9
_NAMED = 3


def decide(relation: Relation, catalog: Catalog, found: Sequence[Hit]) -> tuple[Told, ...]:
    """What the stored values say on a relation; nothing where they decide nothing.

    Args:
        relation: what is asked.
        catalog: of the archive.
        found: what retrieval found, for names that are only part of a place's.
    """
    first = named(catalog, relation.first, found)
    if relation.kind == "value":
        return _valued(relation.measure, first, catalog) if relation.measure is not None and first.exact else ()
    if relation.kind == "within":
        return _within(first, relation.second, catalog)
    second = named(catalog, relation.second, found)
    if not first.places or not second.places:
        return ()
    if relation.kind == "distance":
        return _distance(first, second)
    return _compared(relation, first, second)


# --- in a country, region or outline ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Region:
    name: str
    keys: frozenset[str]
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class _Verdict:
    """Whether a place is in a region (None: it is said, but not to be called yes or no), in words."""

    inside: bool | None
    text: str
    cited: tuple[tuple[Place, str], ...]


def _within(first: Named, where: str, catalog: Catalog) -> tuple[Told, ...]:
    places = tuple(catalog.places_by_name(where)[:_NAMED])
    region = _Region(where, keys_of_country(where, places), places)
    verdicts = [v for p in first.places[:_NAMED] if (v := _place_within(p, region, catalog)) is not None]
    if not verdicts:
        return ()
    said = {v.inside for v in verdicts}
    if said == {True}:
        lead = "Yes: "
    elif said == {False} and first.exact:
        lead = "No: "
    elif len(verdicts) > 1 and len(said) > 1:
        lead = "That depends on which is meant: "
    else:
        lead = ""
    return tuple((f"{lead if i == 0 else ''}{v.text}.", v.cited) for i, v in enumerate(verdicts))


def _place_within(place: Place, region: _Region, catalog: Catalog) -> _Verdict | None:
    others = [r for r in region.places if r.id != place.id and r.extent is not None]
    shape = next(((r, r.extent) for r in others if r.extent is not None), None)
    share = _share(place, shape[1]) if shape is not None else None
    mine = country_keys(place)
    own = ((place, ""),)
    if (region.keys | {name_key(region.name)}) & mine:
        return _Verdict(True, f"{place.name} is in {_and_list(place.country or '')}", own)
    fact = region_of(place, region.name)
    if fact is not None:
        return _Verdict(True, f"{place.name} is in {fact.value} ({label(fact.name)})", own)
    if region.keys and mine and mine <= countries() and not is_country(place):
        text = f"the archive gives {_and_list(place.country or '')} as the country of {place.name}, not {region.name}"
        for country in _country_of(place, catalog):
            if any(f.name == "sovereignt" and name_key(str(f.value)) in region.keys for f in country.facts):
                ruled = f"{text}, and {region.name} as the sovereign of {country.name}"
                return _Verdict(None, ruled, (*own, (country, "")))
        if share and shape is not None:
            return _Verdict(None, f"{text}, but {_lies(place, shape[0], share)}", (*own, (shape[0], "")))
        return _Verdict(False, text, own)
    if shape is not None and share is not None:
        inside = True if share >= _WHOLE else False if share == 0 else None
        return _Verdict(inside, _lies(place, shape[0], share), (*own, (shape[0], "")))
    return _on_continent(place, catalog) if name_key(region.name) in CONTINENTS else None


def _on_continent(place: Place, catalog: Catalog) -> _Verdict | None:
    """What continent a place, or the country it is in, is stored with: never a yes or no, some countries lie on two."""
    fact = continent(place)
    if fact is not None:
        return _Verdict(None, f"the archive gives {fact.value} as the continent of {place.name}", ((place, ""),))
    for country in _country_of(place, catalog):
        fact = continent(country)
        if fact is not None:
            text = f"{place.name} is in {place.country}, whose continent the archive gives as {fact.value}"
            return _Verdict(None, text, ((place, ""), (country, "")))
    told = [(c, str(fact.value)) for c in _countries_around(place, catalog) if (fact := continent(c)) is not None]
    if not told:
        return None
    cited = ((place, ""), *((country, "") for country, _ in told))
    lies = _lies_in(place, len(told))
    if len({where for _, where in told}) == 1:
        names = _and_list("; ".join(country.name for country, _ in told))
        text = f"{lies} {names}, whose continent the archive gives as {told[0][1]}"
    else:
        names = _and_list("; ".join(f"{country.name} (continent: {where})" for country, where in told))
        text = f"{lies} {names}"
    return _Verdict(None, text, cited)


def _countries_around(place: Place, catalog: Catalog) -> list[Place]:
    """The countries in whose outlines a place without a country lies, the one with the largest share of it first."""
    if country_keys(place):
        return []
    box = place.extent.bbox if place.extent is not None else BBox(place.lon, place.lat, place.lon, place.lat)
    near = [c for c in catalog.places_in(box) if c.id != place.id and c.extent is not None and is_country(c)]
    shares = [(share, c) for c in near if c.extent is not None and (share := _share(place, c.extent))]
    return [c for _, c in sorted(shares, key=lambda pair: (-pair[0], pair[1].name))][:_NAMED]


def _lies_in(place: Place, count: int) -> str:
    return f"{place.name} lies in the stored outline{'s' if count > 1 else ''} of"


def _country_of(place: Place, catalog: Catalog) -> list[Place]:
    """The country that a place is in, as far as it is stored as a place."""
    return [p for p in catalog.places_by_name(place.country or "") if is_country(p) and p.id != place.id]


def _share(place: Place, region: Footprint) -> float | None:
    """How much of a place lies in an outline, 0 to 1; None for a point too near to its edge."""
    if place.extent is not None:
        iou = geo.iou(place.extent, region)
        both = iou * (geo.area_km2(place.extent) + geo.area_km2(region)) / (1 + iou)
        share = min(both / max(geo.area_km2(place.extent), 1e-9), 1.0)
        if share > 0:
            return share
    inside = geo.holds(region, (place.lon, place.lat))
    if km_to_edge((place.lon, place.lat), region) <= _EDGE * math.sqrt(max(geo.area_km2(region), 1e-9)):
        return None
    return 1.0 if inside else 0.0


def km_to_edge(position: tuple[float, float], region: Footprint) -> float:
    """About how far a position is from the edge of an outline, in kilometres; fit for short distances."""
    squeeze = max(math.cos(math.radians(position[1])), 1e-6)
    flat = shapely.transform(geo.shape(region).boundary, lambda xy: xy * [squeeze, 1.0])
    return float(shapely.distance(flat, shapely.Point(position[0] * squeeze, position[1]))) * 111.2


def _lies(place: Place, region: Place, share: float) -> str:
    if share == 0:
        return f"{place.name} lies outside the stored outline of {region.name}"
    if share >= _WHOLE:
        return f"{place.name} lies within the stored outline of {region.name}"
    return f"about {100 * share:.0f} % of the stored outline of {place.name} lies within that of {region.name}"


def _and_list(countries_of: str) -> str:
    parts = [part.strip() for part in countries_of.split(";") if part.strip()]
    return ", ".join(parts[:-1]) + f" and {parts[-1]}" if len(parts) > 1 else "".join(parts)


# --- more or less ----------------------------------------------------------------------------------------------------


def _compared(relation: Relation, first: Named, second: Named) -> tuple[Told, ...]:
    """The comparison, where every pair of places that the names may mean gives the same answer."""
    measure = relation.measure
    if measure is None:
        return ()
    results: list[tuple[int, Place, Value, Place, Value]] = []
    for a, b in product(first.places, second.places):
        for mine, others in product(values_of(a, measure), values_of(b, measure)):
            if a.id != b.id and (mine.quantity, mine.dimension) == (others.quantity, others.dimension):
                results.append((_order(mine, others, measure), a, mine, b, others))
                break
    if not results or len({r[0] for r in results}) > 1:
        return ()
    order, a, mine, b, others = results[0]
    values = f"the {called(mine, measure)} of {a.name} is {mine.text}, that of {b.name} {others.text}"
    cited = ((a, mine.note), (b, others.note))
    if order == 0:
        return ((f"Too near to tell: {values}.", cited),)
    holds = order == relation.sign
    if relation.choice:
        return ((f"{(a if holds else b).name} is {relation.word}: {values}.", cited),)
    return ((f"{'Yes' if holds else 'No'}: {values}.", cited),)


def _order(a: Value, b: Value, measure: Measure) -> int:
    """1 where the first is greater, -1 where it is smaller, 0 where they are too near to tell."""
    difference = a.number - b.number
    if a.dimension == "lon" and abs(difference) > 90:
        return 0  # round the Earth both are east of each other
    if a.dimension in ("lat", "lon"):
        margin = 0.01
    elif a.dimension == "year":
        margin = 0.0
    else:
        margin = (_OUTLINES_ALIKE if a.dimension == "outline" else _ALIKE) * max(abs(a.number), abs(b.number))
    return 0 if abs(difference) <= margin else (1 if difference > 0 else -1)


def _valued(measure: Measure, first: Named, catalog: Catalog) -> tuple[Told, ...]:
    """The value of every place of exactly the name that has it."""
    told: list[Told] = []
    for place in first.places[:_NAMED]:
        if measure.label == "country":
            if place.country and country_keys(place) and not is_country(place):
                told.append((f"{place.name} is in {_and_list(place.country)}.", ((place, ""),)))
            elif around := _countries_around(place, catalog):
                names = _and_list("; ".join(country.name for country in around))
                told.append((f"{_lies_in(place, len(around))} {names}.", ((place, ""), *((c, "") for c in around))))
        elif measure.label == "continent":
            verdict = _on_continent(place, catalog)
            told += [(f"{verdict.text}.", verdict.cited)] if verdict is not None else []
        elif values := values_of(place, measure):
            told.append(
                (f"The {called(values[0], measure)} of {place.name} is {values[0].text}.", ((place, values[0].note),))
            )
    return tuple(told)


# --- how far ---------------------------------------------------------------------------------------------------------


def _distance(first: Named, second: Named) -> tuple[Told, ...]:
    """The distance between two stored positions, where each name means one place."""
    if len(first.places) != 1 or len(second.places) != 1 or first.places[0].id == second.places[0].id:
        return ()
    a, b = first.places[0], second.places[0]
    km = geo.distance_km((a.lon, a.lat), (b.lon, b.lat))
    text = f"{a.name} and {b.name} are {distance_text(km)} apart, measured between the positions stored of them."
    return ((text, ((a, ""), (b, ""))),)
