"""Stored facts and image metadata as words: names for people, values with units, one sentence a group."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from rsrag import geo
from rsrag.times import format_span
from rsrag.types import Fact, Footprint, Hit

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


def value_text(fact: Fact) -> str:
    """The value with its unit: ratios with three decimals, others with about four significant digits."""
    if isinstance(fact.value, str):
        return fact.value
    number = float(fact.value)
    if not math.isfinite(number):
        return "unknown"
    unit = fact.unit.strip()
    if unit in ("", "1"):
        text = f"{number:.3f}".rstrip("0").rstrip(".") if abs(number) < 1000 else f"{number:,.0f}"
        return "0" if text == "-0" else text
    digits = 0 if abs(number) >= 1000 or number == int(number) else max(0, 3 - math.floor(math.log10(abs(number))))
    text = f"{number:,.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    spaced = {"km2": "km²", "m2": "m²", "degC": "°C", "percent": "%"}.get(unit, unit)
    return f"{text}%" if spaced == "%" else f"{text} {spaced}"


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
