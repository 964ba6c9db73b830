"""Stored facts and image metadata as words: names for people, values with units, one sentence a group."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from rsrag import geo
from rsrag.questions import FILE, VARIABLES, Question
from rsrag.times import format_span
from rsrag.types import Evidence, Fact, Footprint, Hit, TimeSpan
from rsrag.words import terms

_STATISTICS = {
    "mean": "mean", "avg": "mean", "average": "mean", "std": "spread", "spread": "spread", "min": "minimum",
    "max": "maximum", "median": "median", "p10": "10th percentile", "p90": "90th percentile",
}  # fmt: skip
_ACRONYMS = {"ndvi", "ndwi", "ndbi", "nbr", "evi", "vv", "vh", "hh", "hv", "nir", "gsd", "lst", "slp"}
_LONG = {"swir16": "SWIR 1.6 µm", "swir22": "SWIR 2.2 µm", "valid": "valid fraction", "gsd_m": "ground resolution"}
_UNIT_TAIL = re.compile(r"_(km2|m2|ha|km|m|mm|degc|pct|percent)$")


def split_name(name: str) -> tuple[str, str]:
    """A fact's name as (quantity, statistic): ``ndvi_mean`` → ("ndvi", "mean"); no statistic → ("area", "")."""
    bare = _UNIT_TAIL.sub("", name.lower())
    parts = bare.split("_")
    if len(parts) > 1 and parts[-1] in _STATISTICS:
        return "_".join(parts[:-1]), _STATISTICS[parts[-1]]
    if len(parts) > 1 and parts[0] in _STATISTICS:
        return "_".join(parts[1:]), _STATISTICS[parts[0]]
    return bare, ""


def label(quantity: str) -> str:
    """The quantity for people: ``ndvi`` → "NDVI", ``valid_fraction`` → "valid fraction"."""
    if quantity in _LONG:
        return _LONG[quantity]
    return " ".join(w.upper() if w in _ACRONYMS else w for w in quantity.split("_"))


_YEARS = frozenset(("built", "founded", "established", "opened", "inception", "completed", "inscribed"))
"""Quantities that are years without saying so."""


def is_year(quantity: str, unit: str) -> bool:
    """Whether a quantity is a year: "year_inscribed", or "built" without a unit."""
    return "year" in quantity.split("_") or (unit.strip() in ("", "1") and quantity in _YEARS)


_UNWIELDY = 1e15
"""From here on thousands are not written out: the digits of a double end."""


def value_text(fact: Fact) -> str:
    """The value with its unit: ratios with three decimals, years whole, others with about four significant digits."""
    if isinstance(fact.value, str):
        return fact.value
    number = float(fact.value)
    if not math.isfinite(number):
        return "unknown"
    unit = fact.unit.strip()
    spaced = {"km2": "km²", "m2": "m²", "degC": "°C", "percent": "%"}.get(unit, unit)
    if abs(number) >= _UNWIELDY:
        return f"{number:.3e} {spaced}".removesuffix(" 1").rstrip()
    if abs(number) >= 1e10:
        return f"{number:.3g} {spaced}".removesuffix(" 1").strip()
    if unit in ("", "1"):
        if is_year(split_name(fact.name)[0], unit) and number == int(number):
            return f"{number:.0f}"
        text = f"{number:.3f}".rstrip("0").rstrip(".") if abs(number) < 1000 else f"{number:,.0f}"
        return "0" if text == "-0" else text
    digits = 0 if abs(number) >= 1000 or number == int(number) else max(0, 3 - math.floor(math.log10(abs(number))))
    text = f"{number:,.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{text}%" if spaced == "%" else f"{text} {spaced}"


def distance_text(km: float) -> str:
    """A distance for people: metres below one kilometre, whole kilometres from ten on."""
    if km < 1:
        return f"{max(1, round(1000 * km))} m"
    return f"{km:,.0f} km" if km >= 10 else f"{km:.2g} km"


def groups(facts: Sequence[Fact]) -> dict[str, list[tuple[str, Fact]]]:
    """Facts by quantity, each with its statistic, in the order of first appearance."""
    found: dict[str, list[tuple[str, Fact]]] = {}
    for fact in facts:
        quantity, statistic = split_name(fact.name)
        found.setdefault(quantity, []).append((statistic, fact))
    return found


def fact_sentences(facts: Sequence[Fact]) -> list[str]:
    """One sentence a quantity: "NDVI: mean 0.43, spread 0.12."."""
    sentences = []
    for quantity, members in groups(facts).items():
        values = [f"{statistic} {value_text(f)}".strip() for statistic, f in members]
        sentences.append(f"{label(quantity).capitalize() if quantity not in _ACRONYMS else label(quantity)}: "
                         f"{', '.join(values)}.")  # fmt: skip
    return sentences


def position_text(lon: float, lat: float) -> str:
    """Latitude and longitude for people, four decimals (about 11 m)."""
    return f"{abs(lat):.4f}° {'N' if lat >= 0 else 'S'}, {abs(lon):.4f}° {'E' if lon >= 0 else 'W'}"


def footprint_text(footprint: Footprint) -> str:
    """Centre and area of a footprint."""
    area = value_text(Fact("area", geo.area_km2(footprint), "km2"))
    return f"centred at {position_text(*geo.centre(footprint))}, covering {area}"


def tile_sentences(hit: Hit) -> list[str]:
    """What is known of a tile: scene, date, sensor, position, area, then its facts, one sentence a group."""
    scene, tile = hit.scene, hit.tile
    first = f"Satellite image tile of {hit.title}"
    if scene is not None:
        first += f", taken {format_span(scene.time)}" if scene.time else ", of unknown date"
        first += f" by {scene.sensor}" if scene.sensor else ""
    sentences = [first + "."]
    if tile is not None:
        if tile.footprint is not None:
            sentences.append(f"The tile is {footprint_text(tile.footprint)}.")
        else:
            sentences.append("The tile has no known position.")
        if scene is not None and scene.gsd_m:
            sentences.append(f"One pixel is {value_text(Fact('gsd', scene.gsd_m * tile.scale, 'm'))} on the ground.")
        sentences += fact_sentences([f for f in tile.facts if split_name(f.name)[0] != "area" or not tile.footprint])
    return sentences


# --- answers from values --------------------------------------------------------------------------------------------


def fact_answers(asked: Question, evidence: Sequence[Evidence]) -> list[tuple[str, int]]:
    """Sentences that answer from stored values, with the number of the evidence; empty if none was asked for.

    A value is asked for when the question uses one of its names (:data:`rsrag.questions.VARIABLES`), or when it
    consists of nothing but the value's name, the name of the thing, and a date. A month, year or period in the question
    must fit the date of the evidence, if that has one, and so must what it names (:func:`_is_meant`). The highest or
    lowest value is that of the evidence.
    """
    answers: list[tuple[str, int]] = []
    timely = [item for item in _of_named_file(asked, evidence) if in_time(asked, item.hit)]
    for variable in asked.variables:
        fitting = [item for item in timely if _is_meant(asked, variable, item.hit)]
        for item in sorted(fitting, key=lambda i: extreme_rank(asked, i.hit, variable)):
            text = _answer(variable, item.hit, dated=asked.asks == "year")
            if text:
                answers.append((text, item.number))
                break
    if answers:
        return answers
    for item in timely:
        for quantity in groups(_facts_of(item.hit)):
            if _only_asks_for(asked, quantity, item.hit):
                text = _answer(quantity, item.hit)
                if text:
                    return [(text, item.number)]
    return []


THERE = "there"
"""Score of tiles that lie where the query itself says: by its image, place, position or area."""
_MOST = re.compile(r"\b(?:highest|largest|greatest|biggest|maximum|max|greenest|brightest|wettest|most)\b")
_LATEST = re.compile(r"\b(?:latest|newest|most recent|last)\b")
_EARLIEST = re.compile(r"\b(?:earliest|oldest|first)\b")
_LEAST = re.compile(r"\b(?:lowest|smallest|minimum|min|darkest|driest|least)\b")


def _of_named_file(asked: Question, evidence: Sequence[Evidence]) -> list[Evidence]:
    """The evidence; only that of a file which the question names, or of where the query says, where it names one."""
    question = asked.text.casefold()
    named = [item for item in evidence if names_file(question, item.hit)]
    if named or not FILE.search(question):
        return named or list(evidence)
    return [item for item in evidence if item.hit.scores.get(THERE)]


def names_file(question: str, hit: Hit) -> bool:
    """Whether a question, in small letters, names the file of a tile, with or without its ending."""
    if hit.scene is None:
        return False
    title = hit.title.casefold()
    names = {title, title.rpartition(".")[0]}
    return any(
        len(name) > 3 and not name.isalpha() and re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", question)
        for name in names
        if not name.isdigit()
    )


def has_value(asked: Question, hit: Hit) -> bool:
    """Whether a hit has a stored value that is asked for."""
    return any(_answer(variable, hit) is not None for variable in asked.variables)


def _is_meant(asked: Question, variable: str, hit: Hit) -> bool:
    """Whether a stored value of a hit can be the one asked for.

    It can where the query itself says where, or where what the hit is called holds every name in the question. Places
    have coordinates as tiles do: there, every word must be in what the hit is called.
    """
    if hit.scores.get(THERE) or hit.scores.get("place"):
        return True
    called = {t for name in _called(hit) for t in terms(name)}
    said = called | set(terms(_MEASURING)) | {t for words in VARIABLES.values() for w in words for t in terms(w)}
    if variable == "coordinates" and not asked.about_image:
        return set(asked.terms) <= said | set(terms(_AT))
    first = next(iter(terms(asked.text)), "")  # its capital says nothing
    return all(t in said or t.isdigit() or t == first for name in asked.names for t in terms(name))


_AT = "exact geographic geographical position centre center degree decimal"


def _called(hit: Hit) -> list[str]:
    """All that a hit is called: its title, place, heading, sensor and collection."""
    names = [hit.title]
    if hit.place is not None:
        names += [hit.place.name, *hit.place.aliases, hit.place.country or "", hit.place.kind or ""]
    if hit.passage is not None:
        names.append(hit.passage.heading or "")
    if hit.scene is not None:
        names += [hit.scene.sensor or "", hit.scene.collection]
    return names


def extreme_rank(asked: Question, hit: Hit, variable: str | None = None) -> float:
    """What to sort by, least first, where the highest or lowest value or the latest or earliest date is asked for; 0
    where it is not.

    Args:
        asked: the question.
        hit: what may have the value.
        variable: the value; the first one that the question names when None.
    """
    variable = variable or next(iter(asked.variables), "")
    question = asked.text.casefold()
    most, least = (_LATEST, _EARLIEST) if variable == "date" else (_MOST, _LEAST)
    sign = -1 if most.search(question) else 1 if least.search(question) else 0
    if not sign:
        return 0.0
    value = _number(variable, hit)
    return math.inf if value is None else sign * value


def _number(variable: str, hit: Hit) -> float | None:
    """A stored value, or the date, as a number."""
    if variable == "date":
        span = hit.scene.time if hit.scene is not None else None
        return float(span.start.toordinal()) if span is not None and span.start is not None else None
    members = groups(_facts_of(hit)).get(variable, [])
    value = next((f.value for s, f in members if s in ("mean", "")), None)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _facts_of(hit: Hit) -> list[Fact]:
    return [
        *(hit.tile.facts if hit.tile else ()),
        *(hit.passage.facts if hit.passage else ()),
        *(hit.place.facts if hit.place else ()),
    ]


def _only_asks_for(asked: Question, quantity: str, hit: Hit) -> bool:
    """Whether every word of the question is in the value's name, the thing's name, or says how much or when."""
    naming = set(terms(label(quantity)))
    if not naming or not naming <= set(asked.terms):
        return False
    names = [hit.title, *(hit.place.aliases if hit.place else ()), (hit.passage.heading or "") if hit.passage else ""]
    said = naming | {t for name in names for t in terms(name)} | set(terms(_MEASURING))
    return all(t in said or t.isdigit() for t in asked.terms)


_MEASURING = (
    "value measurement measured observed mean average total large big high tall deep long wide many much "
    "january february march april may june july august september october november december year month area location"
)


def in_time(asked: Question, hit: Hit) -> bool:
    """Whether the date of a hit is one that the question is about; so is one without a date."""
    span = _time_of(hit)
    if span is None or span.start is None or span.end is None:
        return True
    return asked.dates.fit(span.start, span.end)


def _time_of(hit: Hit) -> TimeSpan | None:
    if hit.scene is not None:
        return hit.scene.time
    return hit.passage.time if hit.passage is not None else None


def _answer(quantity: str, hit: Hit, *, dated: bool = False) -> str | None:
    """A sentence giving one value of a hit, with the date of a tile if asked to; None if it has no such value."""
    subject = f"the tile of {hit.title}" if hit.kind == "tile" else hit.title
    scene = hit.scene
    if quantity == "date":
        return f"The image {hit.title} was taken {format_span(scene.time)}." if scene and scene.time else None
    if quantity == "sensor":
        return f"The image {hit.title} was taken by {scene.sensor}." if scene and scene.sensor else None
    if quantity == "resolution":
        if scene is None or not scene.gsd_m:
            return None
        return f"One pixel of {hit.title} is {value_text(Fact('gsd', scene.gsd_m, 'm'))} on the ground."
    if quantity == "coordinates":
        if hit.kind == "tile":
            return (
                f"{_capital(subject)} is centred at {position_text(*geo.centre(hit.footprint))}."
                if hit.footprint
                else None
            )
        return f"{hit.title} lies at {position_text(hit.place.lon, hit.place.lat)}." if hit.place else None
    members = groups(_facts_of(hit)).get(quantity)
    if members:
        taken = f", taken {format_span(scene.time)}," if dated and scene is not None and scene.time else ""
        return _values(label(quantity), subject + taken, members, hit)
    if quantity == "area" and hit.kind == "tile" and hit.footprint is not None:
        return f"{_capital(subject)} covers {value_text(Fact('area', geo.area_km2(hit.footprint), 'km2'))}."
    return None


def _values(name: str, subject: str, members: Sequence[tuple[str, Fact]], hit: Hit) -> str:
    statistic, fact = next((m for m in members if m[0] in ("mean", "")), members[0])
    verb = {"mean": "averages", "": "is"}.get(statistic, f"has a {statistic} of")
    spread = next((value_text(f) for s, f in members if s == "spread"), None)
    span = _time_of(hit)
    when = f" in {format_span(span)}" if span is not None and hit.kind == "passage" else ""
    return f"The {name} of {subject}{when} {verb} {value_text(fact)}{f' (spread {spread})' if spread else ''}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
