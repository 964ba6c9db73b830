"""Answers from what the catalogue stores of places and scenes: relations, extremes, counts and lists, each cited.

They come before the reader, because a sentence that shares words with "Is A larger than B?" or "How many airports are
there?" is not an answer to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rsrag.catalog import Catalog
from rsrag.compose import evidence_text
from rsrag.questions import understand
from rsrag.retrieve import Retrieval
from rsrag.stored.extremes import extreme
from rsrag.stored.gazetteer import place_hit
from rsrag.stored.relations import relation
from rsrag.stored.tallies import tally
from rsrag.stored.verdicts import decide
from rsrag.types import Evidence, Hit, Place, Query, Sentence

CONFIDENCE = 0.9
"""As that of any stored value that answers (:func:`rsrag.abstain.confidence`)."""


@dataclass(frozen=True, slots=True)
class FromValues:
    """An answer from stored values, and the rule that led to it; no sentences, but a reason, where there are none of
    what is asked for."""

    sentences: tuple[Sentence, ...]
    evidence: tuple[Evidence, ...]
    why: str
    reason: str | None = None


def from_values(query: Query, found: Retrieval, catalog: Catalog) -> FromValues | None:
    """The answer that stored values give; None where the question is of another kind or they do not decide it.

    A question with an image is about the image, unless it asks how things it names stand to each other.
    """
    if not query.text or understand(query.text).about_image:
        return None
    evidence = _Numbered(catalog)
    asked = relation(query.text) if query.filters.empty else None
    if asked is not None:
        told = decide(asked, catalog, found.passages)
        sentences = [Sentence(_capital(text), evidence.of_places(places)) for text, places in told]
        if sentences:
            return FromValues(tuple(sentences), evidence.all(), f"values/{asked.kind}")
    if query.image is not None:
        return None
    most = extreme(query, found, catalog)
    if most is not None:
        return FromValues((Sentence(most.text, evidence.of_places(most.places)),), evidence.all(), "values/extreme")
    counted = tally(query, found, catalog)
    if counted is None:
        return None
    if not counted.places and not counted.hits:
        return FromValues((), (), f"values/{counted.form}", counted.text)
    cited = (*evidence.of_places(counted.places), *evidence.of_hits(counted.hits))
    return FromValues((Sentence(counted.text, cited),), evidence.all(), f"values/{counted.form}")


class _Numbered:
    """Evidence in the order of its citation, each piece once."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._found: dict[str, Evidence] = {}

    def of_places(self, places: Iterable[tuple[Place, str]]) -> tuple[int, ...]:
        """Numbers of places, each with what is to be said of it besides its passage."""
        numbers = []
        for place, note in places:
            if place.id not in self._found:
                self._add(place.id, place_hit(self._catalog, place), note)
            numbers.append(self._found[place.id].number)
        return tuple(numbers)

    def of_hits(self, hits: Iterable[Hit]) -> tuple[int, ...]:
        """Numbers of hits."""
        numbers = []
        for hit in hits:
            if hit.id not in self._found:
                self._add(hit.id, hit, "")
            numbers.append(self._found[hit.id].number)
        return tuple(numbers)

    def all(self) -> tuple[Evidence, ...]:
        """All that was numbered."""
        return tuple(self._found.values())

    def _add(self, key: str, hit: Hit, note: str) -> None:
        text = "\n".join(part for part in (evidence_text(hit), note) if part)
        self._found[key] = Evidence(len(self._found) + 1, hit, text)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
