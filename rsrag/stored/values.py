"""Stored values of places as numbers that can be compared: of one quantity, in the base unit of its dimension."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from rsrag import geo
from rsrag.facts import is_year, label, position_text, split_name, value_text
from rsrag.quantities import quantities
from rsrag.stored.relations import Measure
from rsrag.types import Fact, Place
from rsrag.words import terms

LEAST_SHARE = 0.5
"""Of the places in question, so many must have a value for an answer about all of them."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value to compare: the quantity it is of, in the base unit of a dimension, and for people."""

    quantity: str
    number: float
    dimension: str
    text: str
    note: str = ""


def values_of(place: Place, measure: Measure) -> list[Value]:
    """The values of a place that a measure may be told by, the one of the first name first."""
    if measure.axis:
        number = place.lat if measure.axis == "lat" else place.lon
        text = position_text(place.lon, place.lat).split(", ")[measure.axis == "lon"]
        return [Value(measure.label, number, measure.axis, text)]
    found = []
    for fact in place.facts:
        quantity, statistic = split_name(fact.name)
        fits = quantity in measure.names or (measure.verb and measure.verb in terms(quantity.replace("_", " ")))
        if fits and statistic in ("", "mean") and (value := _value(fact, quantity)) is not None:
            found.append(value)
    if not found and measure.outline and place.extent is not None:
        area = geo.area_km2(place.extent)
        text = f"about {value_text(Fact('area', float(f'{area:.3g}'), 'km2'))} by its stored outline"
        found.append(Value(measure.label, area, "outline", text, f"Area: {text}."))
    return found


def of_one_quantity(places: Iterable[Place], measure: Measure, sign: int) -> list[tuple[Place, Value]]:
    """The places that have a value of the one quantity that most of them have, the greatest first, or for the sign -1
    the least."""
    groups: dict[tuple[str, str], list[tuple[Place, Value]]] = defaultdict(list)
    for place in places:
        own = {(value.quantity, value.dimension): value for value in reversed(values_of(place, measure))}
        for key, value in own.items():
            groups[key].append((place, value))
    if not groups:
        return []
    most = max(groups.values(), key=len)
    return sorted(most, key=lambda pair: -sign * pair[1].number)


def _value(fact: Fact, quantity: str) -> Value | None:
    """A fact as a value to compare; None where it is no number, or of a unit that is not known."""
    if isinstance(fact.value, str) or not math.isfinite(fact.value):
        return None
    unit = fact.unit.strip()
    if is_year(quantity, unit):
        return Value(label(quantity), float(fact.value), "year", f"{fact.value:.0f}")
    if unit in ("", "1"):
        return Value(label(quantity), float(fact.value), "", value_text(fact))
    known = [q for q in quantities(f"1 {unit}") if q.dimension not in ("", "year")]
    if len(known) != 1:
        return Value(label(quantity), float(fact.value), unit, value_text(fact))
    return Value(label(quantity), float(fact.value) * known[0].value, known[0].dimension, value_text(fact))


def called(value: Value, measure: Measure) -> str:
    """The name of a value for people: "population (pop est)"."""
    if measure.verb or value.quantity == measure.label:
        return value.quantity
    return f"{measure.label} ({value.quantity})"
