"""Which place a text is about: by explicit id, by name, or by coordinates.

A wrong link is worse than none: an ambiguous name that neither a country nor a position decides stays unlinked, and so
does a text that names several places equally often.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple, Protocol

from rsrag import geo
from rsrag.ingest.countries import country_name
from rsrag.types import Place, Position
from rsrag.words import fold

NEAR_KM = 10.0
"""A position belongs to the nearest place within this distance."""
_TOKEN = re.compile(r"[^\W_]+")
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h"})
_LEAST_LETTERS = 3


class Known(NamedTuple):
    """What linking needs to know of a place."""

    id: str
    name: str
    lon: float
    lat: float
    country: str | None

    @property
    def position(self) -> Position:
        return self.lon, self.lat


class PlaceLookup(Protocol):
    """Places that texts can be linked to."""

    def by_id(self, key: str) -> Known | None:
        """The place with this id, or with this id in its own source."""

    def by_name(self, name: str, *, near: Position | None = None, country: str | None = None) -> Known | None:
        """The one place of this name; several are told apart by position, then by country, else None."""

    def subject(self, text: str, *, near: Position | None = None) -> Known | None:
        """The one place that a text is about, by the names in it."""

    def nearest(self, position: Position, within_km: float = NEAR_KM) -> Known | None:
        """The nearest place within a distance."""


class PlaceIndex:
    """Places by id, by name and by position. Names are matched without regard to case and accents, as whole words.

    Holds a dictionary from name (as words) to places, and a grid of one-degree cells: 100,000 places take seconds to
    add, and a text is read in time linear in its length.
    """

    def __init__(self, places: Iterable[Place] = ()) -> None:
        self._ids: dict[str, Known | None] = {}
        self._names: dict[tuple[str, ...], list[Known]] = {}
        self._longest: dict[str, int] = {}
        self._cells: dict[tuple[int, int], list[Known]] = {}
        for place in places:
            self.add(place)

    def __len__(self) -> int:
        return sum(map(len, self._cells.values()))

    def add(self, place: Place) -> None:
        """Add a place; one whose id is known already is ignored."""
        if place.id in self._ids:
            return
        known = Known(place.id, place.name, place.lon, place.lat, place.country)
        self._ids[place.id] = known
        for fact in place.facts:
            if fact.name == "id" and isinstance(fact.value, str):
                # The id that the source gave; two sources may use the same one, which then names neither.
                self._ids[fact.value] = None if fact.value in self._ids else known
        for name in {place.name, *place.aliases}:
            self._add_name(name, known)
        self._cells.setdefault(_cell(known.position), []).append(known)

    def _add_name(self, name: str, known: Known) -> None:
        words = name_words(name)
        forms = {words, words[1:]} if words[:1] == ("the",) else {words}
        for form in forms:
            if not form or sum(map(len, form)) < _LEAST_LETTERS or all(w.isdigit() for w in form):
                continue
            self._names.setdefault(form, []).append(known)
            self._longest[form[0]] = max(self._longest.get(form[0], 0), len(form))

    def by_id(self, key: str) -> Known | None:
        """The place with this id, or with this id in its own source; None if two sources use it."""
        return self._ids.get(key)

    def by_name(self, name: str, *, near: Position | None = None, country: str | None = None) -> Known | None:
        """The one place of this name.

        Of several, the one nearest to ``near`` is taken if it lies within 100 km, else the only one in ``country``;
        several within 10 km of each other count as one.
        """
        return _resolve(self._names.get(name_words(name), []), near, {country_name(country)} if country else set())

    def subject(self, text: str, *, near: Position | None = None) -> Known | None:
        """The one place that a text is about: the only one named, or the one named more often than any other.

        Countries named in the text decide between places of the same name.
        """
        found = list(self._mentions(text))
        if not found:
            return None
        countries = {country_name(k.country) for options in found for k in options if k.country and len(options) > 1}
        folded = f" {' '.join(name_words(text))} " if countries else ""
        named = {c for c in countries if f" {' '.join(name_words(c))} " in folded}
        counts: Counter[Known] = Counter()
        for options in found:
            known = _resolve(options, near, named)
            if known is not None:
                counts[known] += 1
        ranked = counts.most_common(2)
        if not ranked or (len(ranked) == 2 and ranked[0][1] == ranked[1][1]):
            return None
        return ranked[0][0]

    def _mentions(self, text: str) -> Iterator[list[Known]]:
        """The places that each name in a text may mean, longest names first, without overlap.

        A name of a single word counts only where the text writes it with a capital (or a script without case).
        """
        tokens = [(m.group(), _plain(m.group())) for m in _TOKEN.finditer(unicodedata.normalize("NFC", text))]
        at = 0
        while at < len(tokens):
            for length in range(min(self._longest.get(tokens[at][1], 0), len(tokens) - at), 0, -1):
                options = self._names.get(tuple(plain for _, plain in tokens[at : at + length]))
                if options and (length > 1 or not tokens[at][0][0].islower()):
                    yield options
                    at += length
                    break
            else:
                at += 1

    def nearest(self, position: Position, within_km: float = NEAR_KM) -> Known | None:
        """The nearest place within a distance, across the antimeridian and the poles too."""
        reach = within_km / 6_330  # radians; a little more than on the ellipsoid
        rows = math.ceil(math.degrees(reach)) + 1
        lon, lat = _cell(position)
        # The furthest a circle on the sphere reaches east and west; right round when it holds a pole.
        parallel, side = math.cos(math.radians(position[1])), math.sin(min(reach, math.pi / 2))
        columns = 180 if side >= parallel else math.ceil(math.degrees(math.asin(side / parallel))) + 1
        around = {(c + 180) % 360 - 180 for c in range(lon - columns, lon + columns + 1)}
        best: tuple[float, Known] | None = None
        for row in range(max(lat - rows, -90), min(lat + rows, 89) + 1):
            for column in around:
                for known in self._cells.get((column, row), ()):
                    distance = geo.distance_km(position, known.position)
                    if distance <= within_km and (best is None or distance < best[0]):
                        best = distance, known
        return best[1] if best else None


def _cell(position: Position) -> tuple[int, int]:
    lon, lat = position
    return (math.floor(lon) + 180) % 360 - 180, min(math.floor(lat), 89)


def _resolve(options: list[Known], near: Position | None, countries: set[str]) -> Known | None:
    """The one meant among places of the same name, or None."""
    if len(options) > 1 and near is not None:
        distance, known = min((geo.distance_km(near, k.position), k) for k in options)
        if distance <= 10 * NEAR_KM:
            return known
    if len(options) > 1 and countries:
        options = [k for k in options if k.country and country_name(k.country) in countries] or options
    if not options:
        return None
    first = options[0]
    same = all(geo.distance_km(first.position, k.position) <= NEAR_KM for k in options[1:])
    return first if same else None


def name_words(name: str) -> tuple[str, ...]:
    """A name as it is compared: words in lower case without accents and punctuation."""
    return tuple(_plain(word) for word in _TOKEN.findall(unicodedata.normalize("NFC", name)))


@lru_cache(maxsize=65536)
def _plain(word: str) -> str:
    return word.lower() if word.isascii() else fold(word).translate(_LETTERS)
