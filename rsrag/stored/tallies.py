"""Counts and lists of what the archive holds: places of a kind, perhaps in a region, and scenes, tiles and the like.

They tell of the archive, never of the world, and say so: "The archive holds 14 airports in Greenland".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rsrag import geo
from rsrag.areas import Areas
from rsrag.catalog import Catalog
from rsrag.catalog.names import name_key
from rsrag.plain import clipped
from rsrag.questions import MONTHS, Dates, dates_of
from rsrag.retrieve import Retrieval
from rsrag.stored.gazetteer import ARTICLE, CONTINENTS, continent, country_keys, is_country, keys_of_country
from rsrag.types import Filters, Hit, Place, Query, Scene
from rsrag.words import STOPWORDS, stem, terms, tokens

Form = Literal["count", "exists", "list"]

MOST_PLACES = 200_000
"""Places of an archive up to which those of a kind are read for one count: some twenty seconds at most."""
_MOST_WORDS = 4
"""More words than these name no kind of thing."""
_NAMED = {"count": 5, "exists": 3, "list": 12}
"""Things that an answer names, by its form."""
_HELD = {
    "scene": "scenes", "image": "scenes", "picture": "scenes", "photo": "scenes", "imagery": "scenes",
    "tile": "tiles", "passage": "passages", "document": "documents", "place": "places",
}  # fmt: skip
"""Words for what every archive holds, by what they are counted as."""
_FORMS: tuple[tuple[Form, str], ...] = (
    ("count", r"(?:how many|what is the (?:total )?number of|count(?: all| the)*) (?P<things>.+)"),
    ("exists", r"(?:is|are) there (?:(?:an?|any|some) )?(?P<things>.+)"),
    ("list", r"(?:list|name|show|give)(?: me| us)?(?: all| the| of)* (?P<things>.+)"),
    ("list", r"(?:which|what) (?P<things>(?:[\w'-]+ ){1,4}?)(?:are|lie)(?: there)?(?P<rest> (?:in|within|on) .+)"),
)
_RULES = tuple((form, re.compile(rf"^{pattern}$", re.IGNORECASE)) for form, pattern in _FORMS)
_FILLING = re.compile(
    r"\b(?:(?:do|does|did) (?:the|this|your) archive (?:hold|have|contain|know|store)(?: of)?|(?:do|did) (?:you|we|i) "
    r"(?:have|hold|know)(?: of)?|(?:are|is|were) (?:there|stored|held|known|listed|located|situated|found)|there|stored"
    r"|(?:in|of|from) (?:the|this|your|our) archive|(?:do|does) (?:exist|lie)|lie|exist|in total|altogether|are|is)\b",
    re.IGNORECASE,
)
_PARTS = re.compile(
    r"^(?P<noun>.+?)(?:\s+(?:taken |made |acquired )?(?:(?:in|within|inside|on|of|from|during)\s+(?P<where>.+)"
    r"|(?P<when>(?:between|before|after|since|until)\s.+)))?$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question for a count or list: what is counted, in the question's words, and the region or date, if any."""

    form: Form
    noun: str
    where: str = ""


@dataclass(frozen=True, slots=True)
class Tally:
    """An answer of one sentence, and what it cites: places or scenes. Nothing is cited where there are none."""

    form: Form
    text: str
    places: tuple[Place, ...] = ()
    hits: tuple[Hit, ...] = ()


def asks_for(question: str) -> Asked | None:
    """What a question wants counted, or listed; None where it is of another form. Pure."""
    text = " ".join(question.split()).rstrip("?!. ")
    for form, pattern in _RULES:
        match = pattern.match(text)
        if match is None:
            continue
        things = f"{match['things']}{match.groupdict().get('rest') or ''}"
        parts = _PARTS.match(" ".join(_FILLING.sub(" ", things).split()))
        if parts is None or not 1 <= len(terms(parts["noun"])) <= _MOST_WORDS:
            return None
        return Asked(form, parts["noun"], (parts["where"] or parts["when"] or "").strip(" ,"))
    return None


def tally(query: Query, found: Retrieval, catalog: Catalog) -> Tally | None:
    """The count or list that a question asks for; None where it asks for none, or nothing of the kind is stored.

    Args:
        query: without an image.
        found: what retrieval found: places are only read where some that it found are of the kind.
        catalog: of the archive.
    """
    asked = asks_for(query.text or "")
    if asked is None:
        return None
    if isinstance(query.where, str) and not asked.where:
        asked = replace(asked, where=query.where)
    elif query.where is not None:
        return None
    held = _HELD.get(asked.noun.lower().removesuffix("s"))
    if held is not None:
        return _of_archive(asked, held, query, found, catalog)
    wanted = _noun_terms(asked.noun)
    if not wanted or catalog.counts()["places"] > MOST_PLACES:
        return None
    known = [
        h.place for h in found.passages if h.place is not None and _is_of_kind(h.place.kind, h.place.source, wanted)
    ]
    region = _in_region(asked.where, known, catalog) if asked.where else _Region(_everywhere)
    if region is None or not (known or asked.where):
        return None
    return _of_places(asked, wanted, region, query.filters, catalog)


# --- places ----------------------------------------------------------------------------------------------------------


def _noun_terms(noun: str) -> tuple[str, ...]:
    return tuple(stem(w) for w in tokens(noun) if w not in STOPWORDS)


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


def _of_places(
    asked: Asked, wanted: tuple[str, ...], region: _Region, filters: Filters, catalog: Catalog
) -> Tally | None:
    areas = Areas(filters)
    kinds = {kind for kind, source in catalog.place_sorts() if _is_of_kind(kind, source, wanted)}
    kinds = {kind for kind in kinds if kind in filters.kinds} if filters.kinds else kinds
    some = (p for batch in catalog.iter_places(kinds=kinds) for p in batch)
    known = [p for p in some if _is_of_kind(p.kind, p.source, wanted) and areas.hold(p.lon, p.lat, None)]
    counted = sorted((p for p in known if region.holds(p)), key=lambda p: (p.name.casefold(), p.id))
    where = f" in {asked.where}" if asked.where else ""
    if not counted:
        return _none(asked, where) if known and asked.form != "exists" else None
    shown = tuple(counted[: _NAMED[asked.form]])
    how = region.how
    if how == "by country" and not all(map(country_keys, counted)):
        how += ", or by position where none is stored"
    return Tally(asked.form, _sentence(asked, len(counted), where, [p.name for p in shown], how), places=shown)


def _none(asked: Asked, where: str) -> Tally:
    """That there are none, which nothing can be cited for."""
    return Tally(asked.form, f"The archive holds no {_of_number(asked.noun, 1)}{where}.")


def _sentence(asked: Asked, count: int, where: str, names: list[str], how: str) -> str:
    lead = "Yes: the" if asked.form == "exists" else "The"
    noun = _of_number(asked.noun, count)
    named = _listed([clipped(n, 80) for n in names])
    among = f": {named}" if count == len(names) else f", among them {named}"
    end = among if names else ""
    return f"{lead} archive holds {count:,} {noun}{where}{f' ({how})' if how else ''}{end}".rstrip(".") + "."


def _of_number(noun: str, count: int) -> str:
    """A noun of the question in the plural, or in the singular for one."""
    if count == 1:
        return f"{noun[:-3]}y" if noun.endswith("ies") else noun.removesuffix("s")
    if noun.endswith("s"):
        return noun
    return f"{noun[:-1]}ies" if re.search(r"[^aeiou]y$", noun) else f"{noun}s"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else "".join(names)


def _everywhere(place: Place) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class _Region:
    """Whether a place is in a region, and what that is told by."""

    holds: Callable[[Place], bool]
    how: str = ""


def _in_region(where: str, known: Sequence[Place], catalog: Catalog) -> _Region | None:
    """A region by its name; None where the archive does not know it.

    A country is told by the country stored with a place, and for places without one by its outline, where that is
    stored; a continent by the countries of it; any other region by its outline.

    Args:
        where: as the question has it.
        known: some of what is counted: what they name as their country is one ("England").
        catalog: of the archive.
    """
    name = ARTICLE.sub("", where)
    same = catalog.places_by_name(name)
    outlines = [(p.id, p.extent) for p in same if p.extent is not None]

    def at(place: Place) -> bool:
        return any(place.id != i and geo.holds(outline, (place.lon, place.lat)) for i, outline in outlines)

    if keys := keys_of_country(name, same):
        return _Region(lambda p: bool(keys & mine) if (mine := country_keys(p)) else at(p), "by country")
    if members := _countries_of_continent(name, catalog):
        return _Region(lambda p: bool(country_keys(p) & members), "by the continent stored of their country")
    if outlines:
        return _Region(at, "by position within its stored outline")
    key = name_key(name)
    named = any(key in country_keys(place) for place in known)
    return _Region(lambda p: key in country_keys(p), "by country") if named else None


def _countries_of_continent(where: str, catalog: Catalog) -> frozenset[str]:
    """Keys of the countries that are stored with a continent; empty where the name is none."""
    wanted = name_key(where)
    if wanted not in CONTINENTS:
        return frozenset()
    places = (place for batch in catalog.iter_places() for place in batch)
    members = (p for p in places if (fact := continent(p)) and name_key(str(fact.value)) == wanted and is_country(p))
    return frozenset().union(*(keys_of_country(p.name, [p]) for p in members))


# --- scenes, tiles and the like --------------------------------------------------------------------------------------


def _of_archive(asked: Asked, held: str, query: Query, found: Retrieval, catalog: Catalog) -> Tally | None:
    """How many scenes there are, in the place or of the dates that the question names; of the rest, how many in all."""
    if held != "scenes":
        if asked.where or not query.filters.empty or asked.form == "list":
            return None
        count = catalog.counts()[held]
        some = (found.tiles if held == "tiles" else found.passages)[: _NAMED["exists"]]
        text = _sentence(asked, count, "", [], "")
        return Tally(asked.form, text, hits=tuple(some)) if count and some else None
    filters = replace(query.filters, kinds=(), facts={})
    dates = dates_of(asked.where)
    if dates == Dates():
        placed = _at(asked.where, filters, catalog) if asked.where else filters
        if placed is None:
            return None
        filters, region = placed, f" in {asked.where}" if asked.where else ""
    elif _DATE_WORDS.sub(" ", asked.where).strip():
        return None
    else:
        region = f" with a date that fits {asked.where}"
    scenes = [s for s in catalog.scenes(filters) if dates == Dates() or _of_time(s, dates)]
    if not scenes:
        return None if asked.form == "exists" else _none(asked, region)
    hits = tuple(Hit("tile", s.id, 1.0, scene=s) for s in scenes[: _NAMED[asked.form]])
    return Tally(asked.form, _sentence(asked, len(scenes), region, [h.title for h in hits], ""), hits=hits)


_DATE_WORDS = re.compile(
    rf"\b(?:{'|'.join(MONTHS)}|\d{{4}}s?|and|to|until|before|after|between|since|the|years?)\b|[-/,]", re.IGNORECASE
)


def _at(where: str, filters: Filters, catalog: Catalog) -> Filters | None:
    """The filters, for scenes of a place as well; None where the archive knows no such place, or several."""
    places = catalog.places_by_name(ARTICLE.sub("", where))
    if len(places) != 1 or filters.intersects is not None:
        return None
    return replace(filters, intersects=places[0].extent or geo.around((places[0].lon, places[0].lat), 1.0))


def _of_time(scene: Scene, dates: Dates) -> bool:
    span = scene.time
    return span is not None and span.start is not None and span.end is not None and dates.fit(span.start, span.end)
