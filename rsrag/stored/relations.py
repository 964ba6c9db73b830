"""Questions that relate named things: is A in B, is A larger than B, how far is A from B, how large is A. By rules."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rsrag.quantities import quantities
from rsrag.words import STOPWORDS, coverage, stem, terms, tokens

RelationKind = Literal["within", "compare", "distance", "value"]


@dataclass(frozen=True, slots=True)
class Measure:
    """What two things are compared by.

    Attributes:
        label: for people.
        names: the quantities (:func:`rsrag.facts.split_name`) that tell it; two things are compared by the same one.
        outline: where there is none, the area of the stored outlines counts.
        axis: "lat" or "lon": the stored positions are compared.
        verb: any year whose name holds this word ("inscribed": ``year_inscribed``).
    """

    label: str
    names: tuple[str, ...] = ()
    outline: bool = False
    axis: Literal["", "lat", "lon"] = ""
    verb: str = ""


@dataclass(frozen=True, slots=True)
class Relation:
    """A question that relates two things.

    Attributes:
        kind: "within" (is the first in the second), "compare", "distance", or "value" (of the first alone).
        first, second: as the question names them, without article; no second for a value.
        word: what is asked of the first: "larger", "before"; empty for the others.
        measure: what is compared by, or asked for; "country" and "continent" are values, too.
        sign: 1 where the first is to have the greater value, -1 where the smaller.
        choice: "which of the two" instead of yes or no.
    """

    kind: RelationKind
    first: str
    second: str
    word: str = ""
    measure: Measure | None = None
    sign: int = 1
    choice: bool = False


AREA = Measure("area", ("area", "total_area", "land_area", "surface_area", "surface"), outline=True)
HIGH = Measure("elevation", ("elevation", "altitude", "elev", "summit_elevation", "height"))
HEIGHT = Measure("height", ("height", "total_height"))
DEPTH = Measure("depth", ("depth", "max_depth", "maximum_depth", "mean_depth"))
LENGTH = Measure("length", ("length", "total_length"))
WIDTH = Measure("width", ("width", "max_width"))
PEOPLE = Measure("population", ("population", "pop", "pop_est", "population_estimate", "inhabitants", "residents"))
_WARMTH = Measure("temperature", ("temperature", "air_temperature"))
CAPACITY = Measure("capacity", ("capacity", "seats"))
BEGINNING = Measure(
    "beginning",
    (
        "built", "year_built", "built_year", "construction_year", "year_of_construction", "founded", "year_founded",
        "established", "year_established", "opened", "year_opened", "opening_year", "inception", "completed",
        "year_completed",
    ),
)  # fmt: skip
NORTH, EAST = Measure("latitude", axis="lat"), Measure("longitude", axis="lon")

_WORDED: tuple[tuple[Measure, str, str], ...] = (
    (AREA, "larger|bigger|more extensive", "smaller"),
    (HIGH, "higher", "lower"),
    (HEIGHT, "taller", ""),
    (DEPTH, "deeper", "shallower"),
    (LENGTH, "longer", "shorter"),
    (WIDTH, "wider|broader", "narrower"),
    (BEGINNING, "younger|newer", "older"),
    (PEOPLE, "more populous|more populated", "less populous|less populated"),
    (_WARMTH, "warmer|hotter", "colder|cooler"),
    (NORTH, "(?:further|farther) north|more northern", "(?:further|farther) south|more southern"),
    (EAST, "(?:further|farther) east|more eastern", "(?:further|farther) west|more western"),
)
"""Measure, words for the greater value, words for the smaller one."""
COMPARISONS = tuple(
    (re.compile(words, re.IGNORECASE), measure, sign)
    for measure, more, less in _WORDED
    for words, sign in ((more, 1), (less, -1))
    if words
)
WORD = "|".join(f"(?:{words})" for _, more, less in _WORDED for words in (more, less) if words)
_COMPASS = {"north": (NORTH, 1), "south": (NORTH, -1), "east": (EAST, 1), "west": (EAST, -1)}
QUANTITIES = {
    "area": AREA, "size": AREA, "elevation": HIGH, "altitude": HIGH, "height": HEIGHT, "depth": DEPTH,
    "length": LENGTH, "width": WIDTH, "population": PEOPLE, "temperature": _WARMTH, "capacity": CAPACITY,
    "seats": CAPACITY, "inhabitants": PEOPLE, "people": PEOPLE,
}  # fmt: skip
_ASKED = {
    "how many people": PEOPLE, "how many inhabitants": PEOPLE, "how many seats": CAPACITY,
    "how large": AREA, "how big": AREA, "how high": HIGH, "how deep": DEPTH, "how tall": HEIGHT,
    "country": Measure("country"), "continent": Measure("continent"),
}  # fmt: skip

_BE = r"(?:is|are|was|were)"
_WHICH, _WHERE = r"(?:which|what)(?: \w+)?(?: one)?", "(?:in |on )?(?:what|which)"
_HOW_MANY = "how many (?:people|inhabitants|seats)"
_GREAT, _LITTLE = "higher|larger|greater|bigger", "lower|smaller"
_IN = r"(?:(?:located|situated|found) )?(?:in|inside|within|on)|(?:a )?part of"
_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(rf"^{pattern}$", re.IGNORECASE))
    for name, pattern in (
        ("than", rf"{_BE} (?P<a>.+?) (?P<word>{WORD}) than (?P<b>.+)"),
        ("compass", rf"{_BE} (?P<a>.+?) (?:to the )?(?P<way>north|south|east|west) of (?P<b>.+)"),
        ("dated", rf"{_BE} (?P<a>.+?) (?P<verb>\w+ed|built) (?P<order>before|after|earlier than|later than) (?P<b>.+)"),
        (
            "quantity",
            rf"{_BE} the (?P<q>\w+) of (?P<a>.+?) (?P<size>{_GREAT}|{_LITTLE}) than "
            r"(?:(?:that|the (?P=q)) of )?(?P<b>.+)",
        ),
        ("quantity", rf"(?:do|does|did) (?P<a>.+?) have an? (?P<size>{_GREAT}|{_LITTLE}) (?P<q>\w+) than (?P<b>.+)"),
        ("which", rf"{_WHICH} {_BE} (?:the )?(?P<word>{WORD})(?: one)?[,:;]? (?P<a>.+?) or (?P<b>.+)"),
        ("which", rf"which of (?P<a>.+?) and (?P<b>.+?) {_BE} (?:the )?(?P<word>{WORD})(?: one)?"),
        ("which", rf"{_BE} (?P<a>.+?) or (?P<b>.+?) (?P<word>{WORD})"),
        ("distance", rf"how far (?:(?:away|apart) )?{_BE} (?P<a>.+?)(?: away)? from (?P<b>.+)"),
        ("distance", rf"how far (?:apart )?{_BE} (?P<a>.+?) and (?P<b>.+?)(?: apart)?"),
        ("distance", r"(?:what is )?(?:the )?distance (?:between|from) (?P<a>.+?) (?:and|to) (?P<b>.+)"),
        ("value", rf"(?:what|how (?:large|great|high)) {_BE} the (?P<q>{'|'.join(QUANTITIES)}) of (?P<a>.+)"),
        ("value", rf"(?P<q>{_HOW_MANY}) (?:live|are there|are|does|do) (?:in )?(?P<a>.+?)(?: have)?"),
        ("value", rf"(?P<q>how (?:large|big|high|deep|tall)) {_BE} (?P<a>.+)"),
        ("value", rf"{_WHERE} (?P<q>country|continent) (?:{_BE}|does) (?P<a>.+?)(?: lie)?(?: in| on)?"),
        ("within", rf"{_BE} (?P<a>.+?) (?:{_IN}) (?P<b>.+)"),
        ("within", r"(?:do|does|did) (?P<a>.+?) (?:lie|belong) (?:in|inside|within|on|to) (?P<b>.+)"),
    )
)  # fmt: skip
_ARTICLE = re.compile(r"^(?:the|an?) ", re.IGNORECASE)
_POINTING = re.compile(r"^(?:there|here|it|this|that|these|those|he|she|they|we|any|all|some|which|who|what)\b", re.I)
_NEGATED = re.compile(r"\bnot\b|n['’]t\b", re.IGNORECASE)
_MOST_WORDS = 10
"""A name with more words is none."""


def relation(question: str) -> Relation | None:
    """The relation that a question asks about; None where it is of another form. Pure.

    Whether the two names are things the archive knows is not looked at.
    """
    text = " ".join(question.split()).rstrip("?!. ").strip()
    if _NEGATED.search(text):  # yes and no would say the opposite
        return None
    for form, pattern in _PATTERNS:
        match = pattern.match(text)
        if match is None:
            continue
        found = match.groupdict()
        first, second = _name(found["a"]), _name(found.get("b"))
        if first and (second or form == "value"):
            return _of_form(form, first, second, found)
    return None


def _of_form(form: str, first: str, second: str, found: dict[str, str | None]) -> Relation | None:
    word = (found.get("word") or found.get("way") or found.get("order") or found.get("size") or "").lower()
    if form == "within":
        return Relation("within", first, second)
    if form == "distance":
        return Relation("distance", first, second)
    if form == "value":
        asked = (found["q"] or "").lower()
        return Relation("value", first, "", measure=QUANTITIES.get(asked) or _ASKED[asked])
    if form == "compass":
        measure, sign = _COMPASS[word]
        return Relation("compare", first, second, word, measure, sign)
    if form == "dated":
        verb = found["verb"] or ""
        sign = -1 if word in ("before", "earlier than") else 1
        return Relation("compare", first, second, word, of_verb(verb), sign)
    if form == "quantity":
        named = (found["q"] or "").lower()
        sign = -1 if word in _LITTLE.split("|") else 1
        return Relation("compare", first, second, word, QUANTITIES.get(named, Measure(named, (named,))), sign)
    measure, sign = next((m, s) for words, m, s in COMPARISONS if words.fullmatch(word))
    return Relation("compare", first, second, word, measure, sign, choice=form == "which")


def of_verb(verb: str) -> Measure:
    """The year that a verb tells of: "inscribed"."""
    return Measure(f"year {verb.lower()}", verb=stem(verb.lower()))


def _name(text: str | None) -> str:
    """A name without its article; empty where it points at something or is too long to be one."""
    bare = _ARTICLE.sub("", (text or "").strip(" ,:;"))
    words = tokens(bare)
    return "" if not words or len(words) > _MOST_WORDS or _POINTING.match(bare) else bare


def says(asked: Relation, sentence: str, about: str = "") -> bool:
    """Whether a sentence tells of the relation itself, and not only of the two things.

    It must name the second thing, and the first unless the passage is about it; say "in" it, or one of the words of the
    comparison; and give a length where a distance is asked for.

    Args:
        asked: the relation.
        sentence: of the evidence.
        about: the name of the place that the sentence stands under.
    """
    said = set(terms(sentence))
    if not _holds(asked.second, said) or not _holds(asked.first, said | set(terms(about))):
        return False
    if asked.kind == "within":
        return _says_within(asked.second, sentence)
    if asked.kind == "distance":
        return any(q.dimension == "length" for q in quantities(sentence))
    words = tokens(sentence)
    return "than" in words and bool({w for w in tokens(asked.word) if w not in STOPWORDS} & set(words))


def _holds(name: str, said: set[str]) -> bool:
    return coverage(terms(name), said) >= 1.0


def _says_within(where: str, sentence: str) -> bool:
    """Whether a sentence has "in", "of" or "within" up to three words before the name of a region."""
    words, name = tokens(sentence), tokens(where)
    starts: Sequence[int] = [i for i in range(len(words)) if words[i : i + len(name)] == name]
    return any({"in", "within", "inside", "on"} & set(words[max(0, i - 4) : i]) for i in starts)
