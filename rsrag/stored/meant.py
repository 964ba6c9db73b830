"""The places that a question asks about by name, and which passages are about others.

What a text says of one place is no answer on another, however many words the two share: "How many bird species live in
Lake Victoria?" is not answered by those of Lake Turkana.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rsrag import geo
from rsrag.catalog import Catalog
from rsrag.catalog.names import name_key
from rsrag.questions import asks_about, understand
from rsrag.stored.gazetteer import country_keys, keys_of_country
from rsrag.stored.verdicts import km_to_edge
from rsrag.types import Hit, Place
from rsrag.words import fold

_NEAR_KM = 25.0
"""Places closer than this may be parts of one another."""
_BESIDE = r"near|around|from|outside|(?:north|south|east|west)\w* of"


def about_it(question: str, passages: Sequence[Hit], catalog: Catalog) -> tuple[Hit, ...]:
    """The passages, without those about another place than the one that a question asks about by its name.

    A name counts where a place of the archive has exactly it and it stands where that of a place does
    (:func:`rsrag.questions.asks_about`). A passage is about that place if its own place is the same, has a name that
    begins or ends with it, lies in the country or outline that is named, or near; a text about no place may be about
    any. A passage about another place that names it stays as well, unless a number or a year is asked for.
    """
    asked = understand(question)
    named = {name: catalog.places_by_name(name) for name in asked.names if asks_about(question, name)}
    meant = {name: places for name, places in named.items() if places}
    if not meant or asked.about_image:
        return tuple(passages)
    strict = {name: asked.asks in ("number", "year") and not _is_beside(question, name) for name in meant}
    return tuple(
        hit
        for hit in passages
        if hit.place is None or any(_is_about(hit, hit.place, n, p, strict[n]) for n, p in meant.items())
    )


def _is_about(hit: Hit, place: Place, name: str, meant: Sequence[Place], strict: bool) -> bool:
    if any(_holds(own, name) for own in (place.name, *place.aliases)) or _lies_in(place, name, meant):
        return True
    if strict or hit.passage is None:
        return False
    said = f" {name_key(hit.passage.text)} ".replace(f" {name_key(place.name)} ", " ")  # named after it is not about it
    return f" {name_key(name)} " in said


def _holds(own: str, name: str) -> bool:
    """Whether a name begins or ends another: "Tower of London", "Petra Archaeological Park"."""
    mine, wanted = f" {name_key(own)} ", f" {name_key(name)} "
    return mine.startswith(wanted) or mine.endswith(wanted)


def _lies_in(place: Place, name: str, meant: Sequence[Place]) -> bool:
    """Whether a place is in the country or outline of one of those of a name, or near the position of one without
    outline. Those of countries are coarse: what is near one is in it."""
    here, country = (place.lon, place.lat), keys_of_country(name, meant)
    margin = _NEAR_KM if country else 0.0
    return bool(country & country_keys(place)) or any(
        place.id == other.id
        or (
            geo.distance_km(here, (other.lon, other.lat)) <= _NEAR_KM
            if other.extent is None
            else geo.holds(other.extent, here) or (margin > 0 and km_to_edge(here, other.extent) <= margin)
        )
        for other in meant
    )


def _is_beside(question: str, name: str) -> bool:
    """Whether something beside a place is asked about: "near Petra", "south of Petra"."""
    return re.search(rf"\b(?:{_BESIDE})\s+(?:the\s+)?{re.escape(name)}\b", fold(question)) is not None
