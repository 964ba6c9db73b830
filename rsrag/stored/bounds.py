"""Limits that a question sets to a stored value: "with more than 80,000 seats", "larger than 100 km²"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rsrag.quantities import quantities
from rsrag.stored.relations import AREA, CAPACITY, COMPARISONS, HIGH, PEOPLE, QUANTITIES, WORD, Measure, of_verb
from rsrag.stored.values import Value, of_one_quantity
from rsrag.types import Place

_NUMBER = r"(?P<number>\d+(?:[,. ]\d{3})*(?:\.\d+)?(?: (?:hundred|thousand|million|billion))?)"
_UNIT = r"(?: ?(?P<unit>(?:square |sq\.? )?[^\W\d_]+[²2]?)\b)?"
_MORE = "(?:more|greater|larger|higher|bigger|no less) than|over|above|at least"
_LESS = "(?:less|fewer|smaller|lower|no more) than|under|below|at most"
_SIZE = rf"(?P<size>{_LESS}|{_MORE})"
_LEAD = (
    r"(?:,? (?:that|which|whose|with|having|an?|the|its|is|are|was|were|has|have|had|holds?|seats?|of|lies?|lying)"
    r"(?: there)?)*"
)
"""Words that lead from what is counted to the limit."""
_RULES = tuple(
    re.compile(rf"{_LEAD} (?P<told>{pattern})(?!\w)", re.IGNORECASE)
    for pattern in (
        rf"(?P<quantity>{'|'.join(QUANTITIES)})(?: (?:is|are|of))? {_SIZE} {_NUMBER}{_UNIT}",
        rf"(?P<word>{WORD}) than {_NUMBER}{_UNIT}",
        rf"{_SIZE} {_NUMBER}{_UNIT}",
        r"(?P<verb>\w+ed|built) (?:in or )?(?P<order>before|after|since) (?P<year>1\d{3}|20\d\d)",
    )
)
_COUNTED = {
    "seats": CAPACITY, "seat": CAPACITY, "spectators": CAPACITY, "people": PEOPLE, "inhabitants": PEOPLE,
    "residents": PEOPLE,
}  # fmt: skip
_OF_DIMENSION = {"area": AREA, "length": HIGH}
"""What "over 3000 m" and "over 10 km²" are told by, where nothing else is said."""
_EQUAL = ("at least", "no less than", "at most", "no more than")
"""Sizes that the limit itself fits."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit to a value.

    Attributes:
        measure: what the value is of.
        sign: 1 for values above the limit, -1 for those below.
        limit: in the base unit of the dimension.
        dimension: as in :class:`rsrag.quantities.Quantity`; "" for a bare number.
        told: in the question's words, fit to follow the noun.
        equal: whether the limit itself fits, too.
    """

    measure: Measure
    sign: int
    limit: float
    dimension: str
    told: str
    equal: bool = False


def parted(question: str) -> tuple[str, Bound | None]:
    """A question without its limit, and the limit, if it sets one. Pure."""
    for rule in _RULES:
        match = rule.search(question)
        if match is not None and (found := _of(match)) is not None:
            bound, end = found
            return f"{question[: match.start()]} {question[end:]}", bound
    return question, None


def _of(match: re.Match[str]) -> tuple[Bound, int] | None:
    """The limit that was matched, and where its words end; None where it is not clear what it limits."""
    found = match.groupdict()
    if verb := found.get("verb"):
        order = match["order"].lower()
        sign = -1 if order == "before" else 1
        return Bound(of_verb(verb), sign, float(match["year"]), "year", match["told"], order == "since"), match.end()
    unit, end = (found["unit"] or "").lower(), match.end()
    number = quantities(f"{match['number']} {unit}")
    if len(number) != 1:
        return None
    dimension = number[0].dimension if number[0].dimension not in ("year", "people") else ""
    if not dimension and unit not in _COUNTED:  # the next word of the question
        unit, end = "", match.end("number")
    size, word = (found.get("size") or "").lower(), found.get("word")
    measure, sign = _OF_DIMENSION.get(dimension), -1 if re.fullmatch(_LESS, size) else 1
    if word:
        measure, sign = next((m, s) for words, m, s in COMPARISONS if words.fullmatch(word))
    if named := found.get("quantity"):
        measure = QUANTITIES[named.lower()]
    measure = _COUNTED.get(unit, measure)
    if measure is None:
        return None
    told = " ".join(match.string[match.start("told") : end].split())
    told = f"with {told}" if named or unit in _COUNTED else told
    return Bound(measure, sign, number[0].value, dimension, told, size in _EQUAL), end


def within(bound: Bound, places: Sequence[Place]) -> tuple[list[tuple[Place, Value]], int]:
    """The places whose value fits a limit, the furthest from it first, and how many have such a value at all."""
    known = [pair for pair in of_one_quantity(places, bound.measure, bound.sign) if _fits(bound, pair[1])]
    return [pair for pair in known if _holds(bound, pair[1].number)], len(known)


def _fits(bound: Bound, value: Value) -> bool:
    """Whether a value is of the dimension of the limit."""
    return bound.dimension == ("area" if value.dimension == "outline" else value.dimension.replace("people", ""))


def _holds(bound: Bound, number: float) -> bool:
    return bound.sign * (number - bound.limit) > 0 or (bound.equal and number == bound.limit)
