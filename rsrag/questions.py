"""What a question asks for: its content words, the kind of answer, unit, dates, and stored facts it names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Literal

from rsrag.words import STOPWORDS, fold, stem, tokens

Asks = Literal["number", "year", "who", "where", "which", "yes_no", "describe", "what"]

MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_MONTH = re.compile(rf"\b({'|'.join(MONTHS)})\b(?:,? (?:of )?(?:the year )?(\d{{4}}))?")
_YEAR = re.compile(r"\b(1[0-9]{3}|20[0-9]{2})\b")

# Ways to ask for a number: dimension, pattern (see rsrag.quantities; "count" is a bare number of things).
_DIMENSIONS: tuple[tuple[str, str], ...] = (
    (
        "area",
        r"how (?:large|big|extensive)|what (?:size|area|extent)|(?:surface |total )?area|how much (?:land|ground)",
    ),
    ("area", r"what surface|(?<!\w )extent|square (?:kilo)?met\w+|hectares?"),
    ("speed", r"how fast|wind speed|speed"),
    ("length", r"how (?:high|tall|deep|wide|far|broad|thick)|height|depth|width|elevation|altitude|length|distance"),
    ("length", r"diameter|thickness|circumference"),
    ("duration", r"how (?:many|old).{0,24}\b(?:years|centuries)|how old|duration|age"),
    ("length|duration", r"how long"),
    ("people", r"how many (?:people|inhabitants|residents)|population"),
    ("share", r"what (?:percentage|share|proportion|fraction)|percent(?:age)?|what part"),
    ("temperature", r"temperature|how (?:hot|cold|warm)"),
    ("pressure", r"pressure"),
    ("weight", r"how heavy|weight|weigh"),
    ("count", r"how many|number of|how much|count"),
)
_DIMENSION = tuple((re.compile(rf"\b(?:{pattern})\b"), dimension) for dimension, pattern in _DIMENSIONS)
_ASKING_WORD = re.compile(r"\b(?:how|what|which|who|whom|whose|when|where|why)\b")
_HEAD_WORDS = 6
"""Words from the asking word on that can say what kind of thing is asked for ("what was the largest area")."""
_WHEN = re.compile(r"\bwhen\b|(?<!-)\b(?:years?|century|centuries|decade|date|period|since)\b|\bhow recent")
_WHERE = re.compile(r"\bwhere\b|\b(?:country|place|region|continent|site|island|city|location)\b")
_WHO = re.compile(r"\bwho(?:se|m)?\b|\b(?:king|queen|emperor|empress|architect|sculptor|dynasty|ruler|pope|artist)\b")
_IDENTITY = re.compile(r"^(?:what|which|who)(?:'s| is| are| was| were)\b")
_YES_NO = re.compile(r"^(?:is|are|was|were|do|does|did|has|have|had|can|could)\b")
_DESCRIBE = re.compile(
    r"\b(?:what (?:is|are|was|were) (?:known|said|written|recorded|told|to be seen)|what lies (?:here|there)"
    r"|tell (?:me|us) (?:more )?about|describe|explain|summar\w+|know about|what (?:do|can) (?:i|we|you) see"
    r"|what place|where is (?:this|that)|which place|identify|overview|history of"
    r"|what (?:is|are) (?:this|that|these|here|it|shown|seen|visible)\b(?! \w+ \w+)"
    r"|what does (?:this|the) (?:image|picture|tile|scene) show)\b"
)
FILE = re.compile(r"[^\s,;?\"'()]+\.(?:tiff?|jp2|png|jpe?g)\b")
"""A picture's file name in small letters."""
_THIS = re.compile(r"\b(?:this|that|these|those|here|shown|pictured|depicted|image|picture|photo|scene|tile)\b")

# Stored facts by the words people use for them; the first is the name used in answers.
VARIABLES: dict[str, tuple[str, ...]] = {
    "ndvi": ("ndvi", "vegetation index", "greenness", "how green"),
    "ndwi": ("ndwi", "water index", "wetness"),
    "ndbi": ("ndbi", "built-up index", "built up index", "builtup index"),
    "brightness": ("brightness", "how bright", "how dark"),
    "area": ("area of the tile", "area of this tile", "tile area", "ground area", "area in the image"),
    "date": ("acquisition date", "date of the image", "date of this image", "when was this image", "when was the image",
             "when was this taken", "when was it taken", "when was this picture", "image taken", "tile taken",
             "scene taken", "image acquired", "image captured", "how recent is"),
    "sensor": ("sensor", "which satellite", "what satellite", "which camera"),
    "resolution": ("resolution", "gsd", "pixel size", "ground sampling distance"),
    "valid_fraction": ("valid fraction", "valid pixels", "nodata", "no data"),
    "coordinates": ("coordinates", "latitude", "longitude", "lat/lon"),
}  # fmt: skip


_MONTHS = "|".join(MONTHS)
_FULL_YEAR = r"(?:1[0-9]{3}|20[0-9]{2})"


def _point(name: str) -> str:
    """Pattern of a year, with or without a month, as groups ``{name}y`` and ``{name}m``."""
    return rf"(?:the year )?(?:(?P<{name}m>{_MONTHS}),? (?:of )?)?(?P<{name}y>{_FULL_YEAR})(?!-?\d)"


_PERIODS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b(?:between|from) {_point('a')},? (?:and|to|until|till|through) {_point('b')}",
        rf"\b(?:between|from) (?P<am>{_MONTHS}) (?:and|to|until|till|through) {_point('b')}",
        rf"\b(?P<ay>{_FULL_YEAR})\s?(?:-|–|/|\bto\b)\s?{_point('b')}",
        rf"\b(?P<rule>before|prior to|earlier than|until|till|up to) {_point('a')}",
        rf"\b(?P<rule>after|later than|since) {_point('a')}",
        rf"\b(?P<rule>from) {_point('a')}(?= on(?:wards?)?\b)",
        r"\b(?P<decade>1[0-9]{2}|20[0-9])0s\b",
    )
)
"""Ways to write a period, the longer ones first: what one has taken is not read again by those after it."""
_INCLUSIVE = ("since", "from", "until", "till", "up to")
_LATER = ("after", "later than", "since", "from")


def month_number(year: int, month: int) -> int:
    """Months counted through, so that periods compare as numbers."""
    return 12 * year + month - 1


@dataclass(frozen=True, slots=True)
class Dates:
    """The time a question is about.

    Attributes:
        periods: first and last month (:func:`month_number`) of "between 2010 and 2015", "before 2012", "since May 2017"
            or "the 1990s"; None is open.
        months, years: mentions outside of the periods, as in :class:`Question`.
    """

    periods: tuple[tuple[int | None, int | None], ...] = ()
    months: tuple[tuple[int, int | None], ...] = ()
    years: tuple[int, ...] = ()

    def fit(self, start: date, end: date) -> bool:
        """Whether a time from ``start`` to ``end`` is one that the question is about; any is where it names none."""
        first, last = month_number(start.year, start.month), month_number(end.year, end.month)
        spans = [*self.periods, *((month_number(y, 1), month_number(y, 12)) for y in self.years)]
        if spans and not any((a is None or a <= last) and (b is None or first <= b) for a, b in spans):
            return False
        return not self.months or any(
            first <= month_number(year, month) <= last
            if year is not None
            else any(n % 12 == month - 1 for n in range(first, min(last, first + 11) + 1))
            for month, year in self.months
        )


def dates_of(text: str) -> Dates:
    """The periods, months and years that a question names."""
    periods: list[tuple[int | None, int | None]] = []

    def taken(match: re.Match[str]) -> str:
        periods.append(_period(match.groupdict()))
        return " ; "

    rest = " ".join(_plain_dates(text).split())
    for pattern in _PERIODS:
        rest = pattern.sub(taken, rest)
    months = tuple((MONTHS.index(m[1]) + 1, int(m[2]) if m[2] else None) for m in _MONTH.finditer(rest))
    return Dates(tuple(periods), months, tuple(dict.fromkeys(int(y) for y in _YEAR.findall(rest))))


_ISO_DATE = re.compile(rf"\b({_FULL_YEAR})-(0[1-9]|1[0-2])(?:-[0-3]\d)?\b(?!-)")


def _plain_dates(text: str) -> str:
    """The folded text, "may" left out where it is no month, and "2012-07-31" as "july 2012"."""
    folded = " ".join(fold(text).split())
    mays = {m.start() for m in _month_mentions(text) if m[1] == "may"}
    words = re.sub(r"\bmay\b", lambda m: m[0] if m.start() in mays else "", folded)
    return _ISO_DATE.sub(lambda m: f"{MONTHS[int(m[2]) - 1]} {m[1]}", words)


def _period(found: dict[str, str | None]) -> tuple[int | None, int | None]:
    if decade := found.get("decade"):
        return month_number(10 * int(decade), 1), month_number(10 * int(decade) + 9, 12)
    rule = found.get("rule")
    if rule is None:
        year = int(found["by"] or 0)
        first = _ends(int(found.get("ay") or year), found.get("am"))[0]
        last = _ends(year, found.get("bm"))[1]
        return min(first, last), max(first, last)
    first, last = _ends(int(found["ay"] or 0), found.get("am"))
    if rule in _LATER:
        return (first if rule in _INCLUSIVE else last + 1), None
    return None, (last if rule in _INCLUSIVE else first - 1)


def _ends(year: int, month: str | None) -> tuple[int, int]:
    """First and last month of a year, or of a month of it."""
    number = MONTHS.index(month) + 1 if month else None
    return month_number(year, number or 1), month_number(year, number or 12)


@dataclass(frozen=True, slots=True)
class Question:
    """A question taken apart.

    Attributes:
        text: as asked.
        terms: stems of its content words and numbers, each once, in order.
        names: capitalised names in it, folded ("aachen cathedral"); a name is what an answer must be about.
        asks: the kind of answer.
        dimensions: for numbers, the acceptable dimensions ("area"; "count" is a bare number); empty when unknown.
        months: (month 1-12, year or None) mentions.
        years: years mentioned.
        variables: names of stored facts it asks for, keys of VARIABLES.
        about_image: it points at something shown ("this", "here", "the image").
        dates: months, years and periods that a stored value must be of.
    """

    text: str
    terms: tuple[str, ...]
    names: tuple[str, ...]
    asks: Asks
    dimensions: tuple[str, ...] = ()
    months: tuple[tuple[int, int | None], ...] = ()
    years: tuple[int, ...] = ()
    variables: tuple[str, ...] = ()
    about_image: bool = False
    dates: Dates = Dates()


def understand(text: str) -> Question:
    """Take a question apart. Pure; an empty question has no terms and asks to describe."""
    folded = " ".join(fold(text).split())
    head = _head(folded)
    dimensions = _dimensions(head)
    pointed = FILE.sub("this image", folded)  # "when was a.tif taken" asks for the date as "when was this image" does
    variables = tuple(v for v, words in VARIABLES.items() if any(_mentions(pointed, w) for w in words))
    return Question(
        text=text,
        terms=tuple(dict.fromkeys(stem(w) for w in tokens(text) if w not in _ASKING)),
        names=_names(text),
        asks="describe" if _identifies(folded, text, variables) else _asks(folded, head, dimensions),
        dimensions=dimensions,
        months=tuple((MONTHS.index(m[1]) + 1, int(m[2]) if m[2] else None) for m in _month_mentions(text)),
        years=tuple(dict.fromkeys(int(y) for y in _YEAR.findall(folded))),
        variables=variables,
        about_image=bool(_THIS.search(folded)),
        dates=dates_of(text),
    )


_ASKING = STOPWORDS | {"kind", "type", "sort", "image", "picture", "photo", "tile", "scene", "shown"}


def _identifies(folded: str, text: str, variables: tuple[str, ...]) -> bool:
    """Whether a question asks what a named thing is; "What is the NDVI?" asks for a value."""
    return not variables and _IDENTITY.match(folded) is not None and _only_names(text)


def _only_names(text: str) -> bool:
    """Whether names are all that a question says: "What is Aachen Cathedral?"."""
    named = {stem(w) for name in _names(text) for w in tokens(name)}
    said = {stem(w) for w in tokens(text) if w not in _ASKING}
    return bool(said) and said <= named


def _head(folded: str) -> str:
    """The words that say what is asked for: six from the asking word on, or the whole of a question without one."""
    match = _ASKING_WORD.search(folded)
    return " ".join(folded[match.start() :].split()[:_HEAD_WORDS]) if match else folded


def _asks(folded: str, head: str, dimensions: tuple[str, ...]) -> Asks:
    if not folded or _DESCRIBE.search(folded):
        return "describe"
    kinds: tuple[tuple[Asks, bool], ...] = (
        ("number", head.startswith("how ") and bool(dimensions)),
        ("year", bool(_WHEN.search(head))),
        ("number", bool(dimensions)),
        ("who", bool(_WHO.search(head))),
        ("where", bool(_WHERE.search(head))),
        ("yes_no", bool(_YES_NO.match(folded))),
        ("which", "which" in head.split()),
    )
    return next((kind for kind, holds in kinds if holds), "what")


def focus(text: str) -> int:
    """Position of the asking word among the words of a question (as :func:`rsrag.words.tokens` counts them); 0 if none.

    What stands next to it is what is asked for; what stands further off describes the thing.
    """
    words = tokens(text)
    return next((i for i, w in enumerate(words) if _ASKING_WORD.fullmatch(w)), 0)


def _dimensions(folded: str) -> tuple[str, ...]:
    for pattern, dimension in _DIMENSION:
        if pattern.search(folded):
            return tuple(dimension.split("|"))
    return ()


def _month_mentions(text: str) -> list[re.Match[str]]:
    """Months, the word "may" only when it is capitalised or a year follows."""
    folded = " ".join(fold(text).split())
    found = []
    for match in _MONTH.finditer(folded):
        if match[1] == "may" and not match[2] and not re.search(r"\bMay\b(?!\s+(?:I|we|you)\b)", text[1:]):
            continue
        found.append(match)
    return found


def _mentions(folded: str, phrase: str) -> bool:
    return re.search(rf"\b{re.escape(phrase)}\b", folded) is not None


_CAPITAL = r"[A-ZÀ-ÞĀĂĄĆČĎĐĒĘĚĞĢĪİĶŁŃŇŌŐŒŘŚŞŠŤŪŮŰŹŻŽ]"
_NAME = re.compile(rf"{_CAPITAL}[\w'’-]*(?:(?:\s+(?:of|the|de|la|le|du|del|and|y))*\s+{_CAPITAL}[\w'’-]*)*")


def _names(text: str) -> tuple[str, ...]:
    """Runs of capitalised words, without months and without words that only open the question."""
    found = []
    for match in _NAME.finditer(text):
        words = fold(match[0]).split()
        while words and (words[0] in STOPWORDS or words[0] in MONTHS):
            words = words[1:]
        if words:
            found.append(" ".join(words))
    return tuple(dict.fromkeys(found))


_BEFORE_A_PLACE = "about|around|at|does|in|is|are|near|of|on|was|were"


def asks_about(question: str, name: str) -> bool:
    """Whether a name stands where that of a place does: "of Angkor", "Where is Lake Chad?", not "Did Cook land?"."""
    written = r"\W+".join(map(re.escape, name.split()))
    pattern = rf"\b(?:{_BEFORE_A_PLACE})\s+(?:the\s+)?{written}\b"
    return re.search(pattern, fold(question)) is not None
