"""Numbers with units and years in text: read, brought to one unit a dimension, compared with a tolerance."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rsrag.words import fold

_UNITS: dict[str, tuple[str, float]] = {}
"""Spelling → (dimension, factor to the base unit). Bases: m, km2, degC, kg, s, Pa, m/s, 1."""


def _add(dimension: str, factor: float, spellings: str) -> None:
    for spelling in spellings.split("|"):
        _UNITS[spelling] = (dimension, factor)


_add("length", 1.0, "m|metre|metres|meter|meters")
_add("length", 1000.0, "km|kilometre|kilometres|kilometer|kilometers")
_add("length", 0.01, "cm|centimetre|centimetres|centimeter|centimeters")
_add("length", 0.001, "mm|millimetre|millimetres|millimeter|millimeters")
_add("length", 0.3048, "ft|foot|feet")
_add("length", 1609.344, "mi|mile|miles")
_add("area", 1.0, "km2|km^2|sq km|sq. km|square km|square kilometre|square kilometres")
_add("area", 1.0, "square kilometer|square kilometers")
_add("area", 0.01, "ha|hectare|hectares")
_add("area", 1e-6, "m2|m^2|sq m|square metre|square metres|square meter|square meters")
_add("area", 0.0040468564224, "acre|acres")
_add("area", 2.589988110336, "sq mi|square mile|square miles")
_add("temperature", 1.0, "°c|degc|degrees celsius|celsius")
_add("share", 0.01, "%|percent|per cent|pct")
_add("speed", 1.0, "m/s|metres per second|meters per second")
_add("speed", 1 / 3.6, "km/h|kph")
_add("pressure", 1.0, "pa|pascal|pascals")
_add("pressure", 100.0, "hpa|mbar")
_add("weight", 1.0, "kg|kilogram|kilograms")
_add("weight", 1000.0, "t|tonne|tonnes|ton|tons")
_add("duration", 1.0, "year|years|yr|yrs")
_add("duration", 100.0, "century|centuries")
_add("people", 1.0, "people|inhabitants|residents|persons|villagers|citizens|souls")

_SMALL = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty"""
_WORD_NUMBERS = {word: float(n) for n, word in enumerate(_SMALL.split())}
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORD_NUMBERS |= {word: 10.0 * n for n, word in enumerate(_TENS.split(), start=2)}
_SCALES = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9}

_UNIT = "|".join(sorted((re.escape(u) for u in _UNITS), key=len, reverse=True))
_DIGITS = r"\d{1,3}(?:[, \u00a0\u202f]\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_WORDS = "|".join(sorted(_WORD_NUMBERS, key=len, reverse=True))
_QUANTITY = re.compile(
    rf"(?<![\w.])(?P<sign>[-−](?=\d))?(?P<number>{_DIGITS}|\b(?:{_WORDS})\b)(?P<ordinal>st|nd|rd|th)?"
    rf"(?:[ -](?P<scale>hundred|thousand|million|billion)\b)?"
    rf"(?:[\s-]?(?P<unit>{_UNIT})(?![\w^]))?",
)
_ERA = re.compile(r"\b(?:bc|bce|ad|ce)\b")
_BEFORE_CHRIST = re.compile(r"\s*(?:bc|bce)\b")
_BEFORE_YEAR = re.compile(
    r"\b(?:in|by|since|from|until|till|to|of|year|around|about|c|ca|between|and|after|before)\.?,? $"
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number found in a text.

    Attributes:
        value: in the base unit of its dimension.
        dimension: length (m), area (km2), temperature (degC), share (1), speed, pressure, weight (kg), duration
            (years), people, year (negative before Christ), ordinal, or "" for a bare number.
        start, end: where it stands in the folded text.
    """

    value: float
    dimension: str
    start: int
    end: int


def quantities(text: str) -> list[Quantity]:
    """Every number of a text, digits or words up to ninety, in order. Ranges give both ends."""
    folded = fold(text.replace("²", "2").replace("º", "°"))
    found = []
    for match in _QUANTITY.finditer(folded):
        number = match["number"]
        value = _WORD_NUMBERS.get(number)
        spelled = value is not None
        if value is None:
            value = float(re.sub(r"[, \u00a0\u202f]", "", number))
        value *= _SCALES.get(match["scale"] or "", 1.0)
        if match["sign"] and not _follows_number(folded, match.start()):
            value = -value
        if match["unit"]:
            dimension, factor = _UNITS[match["unit"]]
            if match["ordinal"]:
                dimension, factor = "ordinal", 1.0
            value *= factor
        elif match["ordinal"]:
            dimension = "ordinal"
        else:
            bare = not spelled and not match["scale"] and re.fullmatch(r"\d{1,4}", number)
            dimension = "year" if bare and _is_year(folded, match, value) else ""
            if dimension and _BEFORE_CHRIST.match(folded, match.end()):
                value = -value
        found.append(Quantity(value, dimension, match.start(), match.end()))
    return found


def _follows_number(text: str, at: int) -> bool:
    return at > 0 and text[at - 1].isdigit()


def _is_year(text: str, match: re.Match[str], value: float) -> bool:
    if _ERA.search(text, max(0, match.start() - 4), match.end() + 5):
        return True
    digits = len(match["number"])
    if digits == 4:
        return 1000 <= value <= 2100
    if digits < 3:
        return False
    # Three digits are a year only where a year would stand and no noun follows ("in 827 on", not "of 600 buildings").
    stands = _BEFORE_YEAR.search(text[max(0, match.start() - 9) : match.start()]) is not None
    follows = re.match(
        r"(?:[,.;:)]|\s+(?:the|a|an|by|on|to|and|when|as|under|with|he|it|they|was|were)\b|$)", text[match.end() :]
    )
    return stands and follows is not None


def same(a: float, b: float, tolerance: float = 0.02) -> bool:
    """Whether two numbers agree within a relative tolerance (and 1e-9 absolutely)."""
    return abs(a - b) <= max(tolerance * max(abs(a), abs(b)), 1e-9)


def backed(claimed: Quantity, available: list[Quantity]) -> bool:
    """Whether a number of a claim occurs among those of its evidence.

    Years and ordinals must be equal; other numbers may differ by 2 % (rounding, unit conversion). A claim with a unit
    needs evidence of the same dimension, unless the evidence gives the bare number.
    """
    for other in available:
        if claimed.dimension in ("year", "ordinal") or other.dimension == "year":
            if claimed.value == other.value:
                return True
        elif same(claimed.value, other.value) and (
            claimed.dimension == other.dimension or not claimed.dimension or not other.dimension
        ):
            return True
    return False
