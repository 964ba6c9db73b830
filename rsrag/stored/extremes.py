"""The greatest or least of the places of a kind by a stored value: "Which is the northernmost airport in Iceland?".

It is the greatest of what the archive holds, never of the world, and the answer says so. Where a text tells of the
greatest of all, the text answers instead.
"""

from __future__ import annotations

import re
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
from rsrag.stored.values import LEAST_SHARE, Value, called, of_one_quantity
from rsrag.superlatives import ORDINALS, tells_of
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
_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_ORDINAL = rf"(?:(?P<rank>{'|'.join(ORDINALS[1:])}|\d{{1,2}}(?:st|nd|rd|th))[ -])?"
_RANKED = rf"(?:{_ORDINAL}|(?P<many>{'|'.join(_NUMBERS)}|[2-9]|10) )"
_OF = rf"{_RANKED}(?P<size>{_MOST}|{_LEAST})"
_QUANTITY = rf"(?P<quantity>{'|'.join(QUANTITIES)})"
_RULES = tuple(
    re.compile(rf"^{pattern}$", re.IGNORECASE)
    for pattern in (
        rf"(?:which|what) {_NOUN}{_IN} (?:has|have|had) the {_OF} {_QUANTITY}(?: of all)?{_AFTER}",
        rf"(?:which|what) (?:is|are|was) the {_OF} {_NOUN} by {_QUANTITY}{_IN}",
        rf"(?:which|what) (?:is|are|was) the {_RANKED}(?P<word>{_WORDS}) {_NOUN}{_IN}",
        rf"(?:which|what) {_NOUN}{_IN} (?:is|are|was|lies) (?:the )?{_RANKED}(?P<word>{_WORDS})(?: one)?"
        rf"(?: of all)?{_AFTER}",
        rf"(?:(?:name|find|show|tell)(?: me)? )?(?:the )?{_RANKED}(?P<word>{_WORDS}) {_NOUN}{_IN}",
    )
)
_FILLING = re.compile(r"\b(?:stored |held )?(?:in|of) (?:the|this|your|our) archive\b", re.IGNORECASE)
_EVERYWHERE = ("world", "earth", "all")
_MOST_NAMED = 12
_ROUND = 180.0
"""Places that lie further apart than this, in degrees, have no easternmost."""


@dataclass(frozen=True, slots=True)
class Extreme:
    """A question for the greatest or least of a kind.

    Attributes:
        word: the superlative, in the question's words; "largest population" where that is asked.
        noun: what is compared: "airport".
        where: a region; empty for everywhere.
        measure: what it is told by.
        sign: 1 for the greatest value, -1 for the least.
        rank: 1 for the very greatest, 2 for the second.
        many: how many are asked for: "the three largest".
    """

    word: str
    noun: str
    where: str
    measure: Measure
    sign: int
    rank: int = 1
    many: int = 1


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
        rank, many = _rank(found["rank"]), _many(found["many"])
        if quantity := (found.get("quantity") or "").lower():
            size = found["size"].lower()
            sign = 1 if size in _MOST.split("|") else -1
            return Extreme(f"{size} {quantity}", found["noun"], where, QUANTITIES[quantity], sign, rank, many)
        word = found["word"].lower()
        for measure, most, least in _WORDED:
            for words, sign in ((most, 1), (least, -1)):
                if word in words.split("|"):
                    return Extreme(word, found["noun"], where, measure, sign, rank, many)
    return None


def extreme(query: Query, found: Retrieval, catalog: Catalog) -> Told | None:
    """The place that a question for an extreme asks for, by what is stored; None where a text tells of it, fewer than
    half of the places have the value, or there are less than two, or less than are asked for. What has no area is large
    by its capacity.

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
    sort = places_of(asked.noun, asked.where, query.filters, catalog)
    if sort is None:
        return None
    valued = of_one_quantity(sort.places, asked.measure, asked.sign)
    if not valued and asked.measure == AREA:
        asked = replace(asked, measure=CAPACITY)
        valued = of_one_quantity(sort.places, CAPACITY, asked.sign)
    if len(valued) < max(2.0, asked.rank, asked.many, LEAST_SHARE * len(sort.places)):
        return None
    if asked.measure == EAST and abs(valued[0][1].number - valued[-1][1].number) > _ROUND:
        return None
    return _sentence(asked, sort, valued)


def _is_told(question: str, noun: str, found: Retrieval) -> bool:
    """Whether a sentence that was found tells of the greatest of that kind itself."""
    evidence = [Evidence(n, hit, "") for n, hit in enumerate(found.passages, start=1)]
    kind = terms(noun)[-1]
    return any(tells_of(kind, question, one.text) for one in candidates(evidence))


def _rank(said: str | None) -> int:
    """The rank that a word stands for: 2 for "second" and "2nd"; 1 without a word."""
    if said is None:
        return 1
    return ORDINALS.index(said.lower()) + 1 if said.lower() in ORDINALS else max(int(said[:-2]), 1)


def _many(said: str | None) -> int:
    """The number that a word stands for; 1 without a word."""
    if said is None:
        return 1
    return _NUMBERS.index(said.lower()) + 2 if said.lower() in _NUMBERS else int(said)


def _ordinal(rank: int) -> str:
    if rank <= len(ORDINALS):
        return ORDINALS[rank - 1]
    ending = "th" if rank % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{rank}{ending}"


def _sentence(asked: Extreme, sort: Sort, ranked: Sequence[tuple[Place, Value]]) -> Told:
    """The place of the rank with its value, beside its neighbours, and how many there are to compare."""
    at = asked.rank - 1
    place, value = ranked[at]
    name, where = called(value, asked.measure), f" in {asked.where}" if asked.where else ""
    count, noun = len(sort.places), of_number(asked.noun, len(sort.places))
    told = f" ({sort.how})" if sort.how else ""
    among = f"the {count:,} {noun}{where} that the archive holds{told}"
    if len(ranked) < count:
        among = f"the {len(ranked):,} {noun}{where} whose {name} is stored, of {count:,} that the archive holds{told}"
    if asked.many > 1 and (told_of := _the_most(asked, ranked, among, name)) is not None:
        return told_of
    level = [pair for pair in ranked if pair[1].number == value.number]
    first = ranked.index(level[0])
    word = asked.word if first == 0 else f"{_ordinal(first + 1)} {asked.word}"
    word = f"one with the {word}" if asked.word.split()[-1] in QUANTITIES else word
    if len(level) > 1:
        (one, of_one), (other, of_other) = level[:2]
        more = f" and {len(level) - 2:,} more" if len(level) > 2 else ""
        both = f"{one.name}, {other.name}{more}" if more else f"{one.name} and {other.name}"
        both_cited = ((one, of_one.note), (other, of_other.note))
        return Told(f"Of {among}, {both} are level as the {word}: {name} {value.text}.", both_cited)
    beside = [(lead, ranked[i]) for lead, i in (("before it is", at - 1), ("next is", at + 1)) if 0 <= i < len(ranked)]
    others = "".join(f"; {lead} {p.name}: {v.text}" for lead, (p, v) in beside)
    cited = ((place, value.note), *((p, v.note) for _, (p, v) in beside))
    return Told(f"Of {among}, {place.name} is the {word}: {name} {value.text}{others}.", cited)


def _the_most(asked: Extreme, ranked: Sequence[tuple[Place, Value]], among: str, name: str) -> Told | None:
    """The first so many, and those level with the last of them; None where these are too many to name."""
    last = ranked[asked.many - 1][1].number
    (lead, most), *rest = [pair for pair in ranked if asked.sign * (pair[1].number - last) >= 0]
    if len(rest) >= _MOST_NAMED:
        return None
    named = [f"{lead.name}: {name} {most.text}", *(f"{p.name}: {v.text}" for p, v in rest)]
    word = f"ones with the {asked.word}" if asked.word.split()[-1] in QUANTITIES else asked.word
    text = f"Of {among}, the {len(named)} {word} are {', '.join(named[:-1])} and {named[-1]}."
    return Told(text, ((lead, most.note), *((p, v.note) for p, v in rest)))
