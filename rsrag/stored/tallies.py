"""Counts and lists of what the archive holds: places of a kind, perhaps in a region, and scenes, tiles and the like.

They tell of the archive, never of the world, and say so: "The archive holds 14 airports in Greenland".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from rsrag import geo
from rsrag.catalog import Catalog
from rsrag.plain import clipped
from rsrag.questions import MONTHS, Dates, dates_of
from rsrag.retrieve import Retrieval
from rsrag.stored.bounds import Bound, parted, within
from rsrag.stored.gazetteer import ARTICLE
from rsrag.stored.sorts import Sort, of_number, places_of
from rsrag.stored.values import LEAST_SHARE, called
from rsrag.types import Filters, Hit, Place, Query, Scene
from rsrag.words import terms

Form = Literal["count", "exists", "list"]

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
    ("count", r"(?:(?:is|are) there (?:no|not (?:an?|any))|(?:isn|aren)['’]t there (?:an?|any)) (?P<things>.+)"),
    ("exists", r"(?:is|are) there (?:(?:an?|any|some) )?(?P<things>.+)"),
    ("list", r"(?:list|name|show|give)(?: me| us)?(?: all| the| of)* (?P<things>.+)"),
    ("list", r"(?:which|what) (?P<things>(?:[\w'-]+ ){1,4}?)(?:are|lie)(?: there)?(?P<rest> (?:in|within|on) .+)"),
)
_RULES = tuple((form, re.compile(rf"^{pattern}$", re.IGNORECASE)) for form, pattern in _FORMS)
_BOUNDED: tuple[Form, re.Pattern[str]] = ("list", re.compile(r"(?i)^(?:(?:which|what|find|the) )*(?P<things>.+)$"))
"""Any other question that sets a limit: "lakes larger than 100 km²"."""
_FILLING = re.compile(
    r"\b(?:(?:do|does|did) (?:the|this|your) archive (?:hold|have|contain|know|store)(?: of)?|(?:do|did) (?:you|we|i) "
    r"(?:have|hold|know)(?: of)?|(?:are|is|were) (?:there|stored|held|known|listed|located|situated|found)|there|stored"
    r"|(?:in|of|from) (?:the|this|your|our) archive|(?:do|does) (?:exist|lie)|lie|exist|in total|altogether|are|is)\b",
    re.IGNORECASE,
)
_NEGATED = re.compile(r"\b(?:not|without|except|outside|other than)\b|n['’]t\b", re.IGNORECASE)
_PARTS = re.compile(
    r"^(?P<noun>.+?)(?:\s+(?:taken |made |acquired )?(?:(?:in|within|inside|on|of|from|during)\s+(?P<where>.+)"
    r"|(?P<when>(?:between|before|after|since|until)\s.+)))?$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question for a count or list: what is counted, in the question's words, and the region or date and the limit
    to a stored value, if any."""

    form: Form
    noun: str
    where: str = ""
    bound: Bound | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """An answer of one sentence, and what it cites: places, each with what is said of it besides its passage, or
    scenes. Nothing is cited where there are none."""

    form: Form
    text: str
    places: tuple[tuple[Place, str], ...] = ()
    hits: tuple[Hit, ...] = ()


def asks_for(question: str) -> Asked | None:
    """What a question wants counted, or listed; None where it is of another form. Pure."""
    rest, bound = parted(" ".join(question.split()).rstrip("?!. "))
    text = " ".join(rest.split())
    for form, pattern in _RULES if bound is None else (*_RULES, _BOUNDED):
        match = pattern.match(text)
        if match is None:
            continue
        things = f"{match['things']}{match.groupdict().get('rest') or ''}"
        parts = _PARTS.match(" ".join(_FILLING.sub(" ", things).split()))
        if parts is None or not 1 <= len(terms(parts["noun"])) <= _MOST_WORDS:
            return None
        noun = parts["noun"]
        if _NEGATED.search(f"{noun} {parts['where'] or ''}"):  # what is counted would be the opposite
            return None
        noun = noun.lower() if text.startswith(noun) and noun.istitle() else noun  # the first word of the question
        return Asked(form, noun, (parts["where"] or parts["when"] or "").strip(" ,"), bound)
    return None


def tally(query: Query, found: Retrieval, catalog: Catalog) -> Tally | None:
    """The count or list that a question asks for; None where it asks for none, or nothing of the kind is stored.

    Args:
        query: without an image.
        found: what retrieval found.
        catalog: of the archive.
    """
    asked = asks_for(query.text or "")
    if asked is None:
        return None
    if isinstance(query.where, str) and not asked.where:
        asked = replace(asked, where=query.where)
    elif query.where is not None:
        return None
    if asked.bound is not None:
        sort = places_of(asked.noun, asked.where, query.filters, catalog)
        return _of_bounded(asked, asked.bound, sort) if sort is not None else None
    held = _HELD.get(asked.noun.lower().removesuffix("s"))
    if held is not None:
        return _of_archive(asked, held, query, found, catalog)
    sort = places_of(asked.noun, asked.where, query.filters, catalog)
    return _of_places(asked, sort) if sort is not None else None


# --- places ----------------------------------------------------------------------------------------------------------


def _of_places(asked: Asked, sort: Sort) -> Tally | None:
    where = f" in {asked.where}" if asked.where else ""
    if not sort.places:
        return _none(asked, where) if sort.known and asked.form != "exists" else None
    shown = sort.places[: _NAMED[asked.form]]
    text = _sentence(asked, len(sort.places), where, [p.name for p in shown], sort.how)
    return Tally(asked.form, text, tuple((p, "") for p in shown))


def _of_bounded(asked: Asked, bound: Bound, sort: Sort) -> Tally | None:
    """The places whose value fits a limit; None where less than half have such a value."""
    fitting, known = within(bound, sort.places)
    if not known or known < LEAST_SHARE * len(sort.places):
        return None
    where = f" in {asked.where}" if asked.where else ""
    if not fitting:
        return Tally(asked.form, f"{_none(asked, where).text[:-1]} {bound.told}.")
    shown = fitting[: _NAMED[asked.form]]
    count, noun = len(fitting), of_number(asked.noun, len(fitting))
    lead = "Yes: the" if asked.form == "exists" else "The"
    how = f" ({sort.how})" if sort.how else ""
    among = f" of {known:,} whose {called(shown[0][1], bound.measure)} is stored"
    among += f", of {len(sort.places):,} in all" if known < len(sort.places) else ""
    named = _listed([f"{clipped(p.name, 80)} ({v.text})" for p, v in shown])
    names = f": {named}" if count == len(shown) else f", among them {named}"
    text = f"{lead} archive holds {count:,} {noun}{where}{how} {bound.told},{among}{names}."
    return Tally(asked.form, text, tuple((p, v.note) for p, v in shown))


def _none(asked: Asked, where: str) -> Tally:
    """That there are none, which nothing can be cited for."""
    return Tally(asked.form, f"The archive holds no {of_number(asked.noun, 1)}{where}.")


def _sentence(asked: Asked, count: int, where: str, names: list[str], how: str) -> str:
    lead = "Yes: the" if asked.form == "exists" else "The"
    noun = of_number(asked.noun, count)
    named = _listed([clipped(n, 80) for n in names])
    among = f": {named}" if count == len(names) else f", among them {named}"
    end = among if names else ""
    return f"{lead} archive holds {count:,} {noun}{where}{f' ({how})' if how else ''}{end}".rstrip(".") + "."


def _listed(names: list[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else "".join(names)


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
