"""The greatest or least of the places of a kind by a stored value: "Which is the northernmost airport in Iceland?".

It is the greatest of what the archive holds, never of the world, and the answer says so. Where a text tells of the
greatest of all, the text answers instead.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rsrag.catalog import Catalog
from rsrag.retrieve import Retrieval
from rsrag.sentences import candidates
from rsrag.stored.gazetteer import ARTICLE
from rsrag.stored.relations import (
    AREA,
    BEGINNING,
    CAPACITY,
    DEPTH,
    EAST,
    HEIGHT,
    HIGH,
    LENGTH,
    NORTH,
    PEOPLE,
    QUANTITIES,
    WIDTH,
    Measure,
)
from rsrag.stored.sorts import Sort, of_number, places_of
from rsrag.stored.values import Value, called, values_of
from rsrag.superlatives import tells_of
from rsrag.types import Evidence, Place, Query
from rsrag.words import terms

_WORDED: tuple[tuple[Measure, str, str], ...] = (
    (AREA, "largest|biggest|most extensive", "smallest"),
    (HIGH, "highest", "lowest"),
    (HEIGHT, "tallest", ""),
    (DEPTH, "deepest", "shallowest"),
    (LENGTH, "longest", "shortest"),
    (WIDTH, "widest|broadest", "narrowest"),
    (BEGINNING, "youngest|newest", "oldest|earliest"),
    (PEOPLE, "most populous|most populated", "least populous|least populated"),
    (NORTH, "northernmost|most northern|most northerly", "southernmost|most southern|most southerly"),
    (EAST, "easternmost|most eastern|most easterly", "westernmost|most western|most westerly"),
)
"""Measure, words for its greatest value, words for its least."""
_WORDS = "|".join(words for _, most, least in _WORDED for words in (most, least) if words)
_NOUN, _IN = r"(?P<noun>[\w'-]+(?: [\w'-]+){0,3}?)", r"(?: (?:in|within|of|on) (?P<where>.+?))?"
_AFTER = _IN.replace("where", "after")
_MOST, _LEAST = "largest|greatest|highest|biggest|most", "smallest|lowest|least|fewest"
_OF = rf"(?P<size>{_MOST}|{_LEAST})"
_QUANTITY = rf"(?P<quantity>{'|'.join(QUANTITIES)})"
_RULES = tuple(
    re.compile(rf"^{pattern}$", re.IGNORECASE)
    for pattern in (
        rf"(?:which|what) {_NOUN}{_IN} (?:has|have|had) the {_OF} {_QUANTITY}(?: of all)?{_AFTER}",
        rf"(?:which|what) (?:is|are|was) the {_OF} {_NOUN} by {_QUANTITY}{_IN}",
        rf"(?:which|what) (?:is|are|was) the (?P<word>{_WORDS}) {_NOUN}{_IN}",
        rf"(?:which|what) {_NOUN}{_IN} (?:is|are|was|lies) (?:the )?(?P<word>{_WORDS})(?: one)?(?: of all)?{_AFTER}",
        rf"(?:name|find|show|tell)(?: me)? the (?P<word>{_WORDS}) {_NOUN}{_IN}",
    )
)
_FILLING = re.compile(r"\b(?:stored |held )?(?:in|of) (?:the|this|your|our) archive\b", re.IGNORECASE)
_EVERYWHERE = ("world", "earth", "all")
_LEAST_SHARE = 0.5
"""Of the places in question, so many must have the value."""
_ROUND = 180.0
"""Places that lie further apart than this, in degrees, have no easternmost."""


@dataclass(frozen=True, slots=True)
class Extreme:
    """A question for the greatest or least of a kind.

    Attributes:
        word: the superlative, in the question's words; "one with the largest population" where that is asked.
        noun: what is compared: "airport".
        where: a region; empty for everywhere.
        measure: what it is told by.
        sign: 1 for the greatest value, -1 for the least.
    """

    word: str
    noun: str
    where: str
    measure: Measure
    sign: int


@dataclass(frozen=True, slots=True)
class Told:
    """An answer of one sentence, and the places it rests on, each with what is said of it besides its passage."""

    text: str
    places: tuple[tuple[Place, str], ...]


def asks_for(question: str) -> Extreme | None:
    """The extreme that a question asks for; None where it is of another form. Pure."""
    text = " ".join(_FILLING.sub(" ", question.rstrip("?!. ")).split())
    for rule in _RULES:
        match = rule.match(text)
        if match is None or not terms(match["noun"]):
            continue
        found = match.groupdict()
        where = ARTICLE.sub("", (found["where"] or found.get("after") or "").strip(" ,"))
        where = "" if where.lower() in _EVERYWHERE else where
        if quantity := (found.get("quantity") or "").lower():
            size = found["size"].lower()
            word = f"one with the {size} {quantity}"
            return Extreme(word, found["noun"], where, QUANTITIES[quantity], 1 if size in _MOST.split("|") else -1)
        word = found["word"].lower()
        for measure, most, least in _WORDED:
            for words, sign in ((most, 1), (least, -1)):
                if word in words.split("|"):
                    return Extreme(word, found["noun"], where, measure, sign)
    return None


def extreme(query: Query, found: Retrieval, catalog: Catalog) -> Told | None:
    """The place that a question for an extreme asks for, by what is stored; None where a text tells of it, fewer than
    half of the places have the value, or there are less than two. What has no area is large by its capacity.

    Args:
        query: without an image.
        found: what retrieval found.
        catalog: of the archive.
    """
    asked = asks_for(query.text or "")
    if asked is None or _is_told(query.text or "", asked.noun, found):
        return None
    if query.where is not None:
        if asked.where or not isinstance(query.where, str):
            return None
        asked = replace(asked, where=query.where)
    sort = places_of(asked.noun, asked.where, found.passages, query.filters, catalog)
    if sort is None:
        return None
    valued = _valued(sort.places, asked.measure, asked.sign)
    if not valued and asked.measure == AREA:
        asked = replace(asked, measure=CAPACITY)
        valued = _valued(sort.places, CAPACITY, asked.sign)
    if len(valued) < max(2.0, _LEAST_SHARE * len(sort.places)):
        return None
    if asked.measure == EAST and abs(valued[0][1].number - valued[-1][1].number) > _ROUND:
        return None
    return _sentence(asked, sort, valued)


def _is_told(question: str, noun: str, found: Retrieval) -> bool:
    """Whether a sentence that was found tells of the greatest of that kind itself."""
    evidence = [Evidence(n, hit, "") for n, hit in enumerate(found.passages, start=1)]
    kind = terms(noun)[-1]
    return any(tells_of(kind, question, one.text) for one in candidates(evidence))


def _valued(places: Sequence[Place], measure: Measure, sign: int) -> list[tuple[Place, Value]]:
    """The places that have a value of the one quantity that most of them have, the greatest (or least) first."""
    groups: dict[tuple[str, str], list[tuple[Place, Value]]] = defaultdict(list)
    for place in places:
        own = {(value.quantity, value.dimension): value for value in reversed(values_of(place, measure))}
        for key, value in own.items():
            groups[key].append((place, value))
    if not groups:
        return []
    most = max(groups.values(), key=len)
    return sorted(most, key=lambda pair: -sign * pair[1].number)


def _sentence(asked: Extreme, sort: Sort, ranked: Sequence[tuple[Place, Value]]) -> Told:
    """The first place with its value, beside the next one, and how many there are to compare."""
    (first, best), (second, next_best) = ranked[:2]
    name, where = called(best, asked.measure), f" in {asked.where}" if asked.where else ""
    count, noun = len(sort.places), of_number(asked.noun, len(sort.places))
    told = f" ({sort.how})" if sort.how else ""
    among = f"the {count:,} {noun}{where} that the archive holds{told}"
    if len(ranked) < count:
        among = f"the {len(ranked):,} {noun}{where} whose {name} is stored, of {count:,} that the archive holds{told}"
    cited = ((first, best.note), (second, next_best.note))
    if best.number == next_best.number:
        level = [place.name for place, value in ranked if value.number == best.number]
        more = f" and {len(level) - 2:,} more" if len(level) > 2 else ""
        both = f"{first.name}, {second.name}{more}" if more else f"{first.name} and {second.name}"
        return Told(f"Of {among}, {both} are level as the {asked.word}: {name} {best.text}.", cited)
    text = f"Of {among}, {first.name} is the {asked.word}: {name} {best.text}; next is {second.name}: {next_best.text}."
    return Told(text, cited)
