"""Places of the archive that a question names, what country they are in, and the passage that tells of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from string import ascii_uppercase

from rsrag.catalog import Catalog
from rsrag.catalog.names import name_key
from rsrag.ingest.countries import country_name
from rsrag.types import Fact, Hit, Place
from rsrag.words import terms, tokens

ARTICLE = re.compile(r"^(?:the|an?) ", re.IGNORECASE)
CONTINENTS = frozenset(("africa", "antarctica", "asia", "europe", "north america", "oceania", "south america"))
_REGIONS = frozenset(
    (
        "continent", "region", "subregion", "region_un", "state", "province", "county", "district", "municipality",
        "city", "town", "island", "archipelago",
    )
)  # fmt: skip
"""Values that tell where a place is."""
_MOST = 5
"""Places of one name that are looked at."""


@dataclass(frozen=True, slots=True)
class Named:
    """What the archive holds of a name: the places, and whether the name is theirs or only part of theirs."""

    places: tuple[Place, ...] = ()
    exact: bool = True


def named(catalog: Catalog, name: str, found: Sequence[Hit] = ()) -> Named:
    """The places that a name may mean.

    Args:
        catalog: of the archive.
        name: as a question has it.
        found: what retrieval found for the question: where no place has exactly this name, those whose names begin with
            it count, or else those whose names hold all of its words.
    """
    places = catalog.places_by_name(name)
    if places:
        return Named(tuple(places[:_MOST]))
    known = list({h.place.id: h.place for h in found if h.place is not None}.values())
    key = name_key(name)
    begins = [p for p in known if key and f"{name_key(p.name)} ".startswith(f"{key} ")]
    wanted = set(terms(name)) or set(tokens(name))
    holds = [p for p in known if wanted and wanted <= set(terms(p.name))]
    return Named(tuple((begins or holds)[:_MOST]), exact=False)


def country_keys(place: Place) -> frozenset[str]:
    """Keys of the countries that a place is in: several where its country names several ("Austria; Hungary")."""
    parts = (place.country or "").replace(",", ";").split(";")
    keys = {name_key(part) for part in [*parts, place.country or ""]}
    return frozenset(k for k in keys if k and not any(c.isdigit() for c in k))


def is_country(place: Place) -> bool:
    """Whether a place is a country: one whose country it is itself."""
    names = {name_key(n) for n in (place.name, *place.aliases)}
    return bool(place.country) and name_key(place.country or "") in names


def keys_of_country(name: str, places: Iterable[Place]) -> frozenset[str]:
    """Keys under which places may name a country; empty if it is none.

    Args:
        name: as a question has it.
        places: those of that name; names, aliases and codes of a country among them count as well.
    """
    keys: set[str] = set()
    for place in places:
        if is_country(place):
            codes = [f.value for f in place.facts if f.name in ("iso_a2", "iso_a3") and isinstance(f.value, str)]
            keys |= {name_key(n) for n in (place.name, place.country or "", *place.aliases, *map(country_name, codes))}
    if keys or name_key(name) in countries():
        keys.add(name_key(name))
    return frozenset(k for k in keys if k)


def continent(place: Place) -> Fact | None:
    """The continent stored with a place."""
    return next((f for f in place.facts if f.name == "continent" and isinstance(f.value, str)), None)


def region_of(place: Place, name: str) -> Fact | None:
    """The value of a place that says it is in a region of that name: its city, province or the like."""
    told = (f for f in place.facts if f.name in _REGIONS and isinstance(f.value, str))
    return next((f for f in told if name_key(str(f.value)) == name_key(name)), None)


@cache
def countries() -> frozenset[str]:
    """Keys of the countries' short English names."""
    codes = ("".join(letters) for letters in product(ascii_uppercase, repeat=2))
    return frozenset(name_key(country_name(code)) for code in codes if country_name(code) != code)


def place_hit(catalog: Catalog, place: Place) -> Hit:
    """A place as evidence: the first passage that tells of it."""
    passage = next(iter(catalog.passages_of_place(place.id)), None)
    document = catalog.document(passage.document_id) if passage is not None else None
    return Hit("passage", passage.id if passage else place.id, 1.0, passage=passage, document=document, place=place)
