"""The default reader: picks, orders and cites the sentences of the evidence that answer the question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rsrag import geo
from rsrag._version import __version__
from rsrag.config import Settings
from rsrag.facts import footprint_text, groups, label, position_text, tile_sentences, value_text
from rsrag.ingest.chunks import split_sentences
from rsrag.models.base import ModelRow, Prompt
from rsrag.plain import quoted
from rsrag.quantities import quantities
from rsrag.questions import Question, understand
from rsrag.times import format_span
from rsrag.types import Evidence, Hit, Place
from rsrag.words import Weights, coverage, terms

MOST_SENTENCE_CHARACTERS = 600


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One sentence of the evidence with what its score is made of."""

    text: str
    number: int
    position: int
    place: Place | None
    terms: tuple[str, ...]
    context: frozenset[str]
    first: bool


class ExtractiveReader:
    """Answers in the words of the evidence; deterministic, no model file.

    Questions that name a stored fact (NDVI, date, sensor, coordinates) are answered from the values; questions for a
    number, year, name or place by the sentence that fits best; open ones by several sentences about the top place.
    """

    def __init__(self, row: ModelRow, settings: Settings) -> None:
        self.name = row.name
        self.fingerprint = f"{row.name}:{__version__}"

    def read(self, prompt: Prompt) -> Iterator[str]:
        """The answer, a sentence at a time, each ending in its citation; nothing when no sentence fits."""
        asked = understand(prompt.question)
        pieces = _from_facts(asked, prompt.evidence)
        if not pieces and (asked.asks == "describe" or not asked.terms):
            pieces = _describe(asked, prompt)
        elif not pieces:
            pieces = _from_text(asked, prompt.evidence)
        for index, (text, number) in enumerate(pieces):
            yield f"{' ' if index else ''}{_with_citation(text, number)}"


def _with_citation(text: str, number: int) -> str:
    body = text.rstrip()
    stop = body[-1] if body and body[-1] in ".!?…" else "."
    return f"{body.rstrip('.!?…')} [{number}]{stop}"


# --- stored facts ---------------------------------------------------------------------------------------------------


def _from_facts(asked: Question, evidence: Sequence[Evidence]) -> list[tuple[str, int]]:
    pieces = []
    for variable in asked.variables:
        for item in evidence:
            text = _fact_answer(variable, item.hit)
            if text:
                pieces.append((text, item.number))
                break
    return pieces


def _fact_answer(variable: str, hit: Hit) -> str | None:
    """A sentence giving one stored fact of a hit, or None if it has no such fact."""
    subject = f"the tile of {hit.title}" if hit.kind == "tile" else hit.title
    scene = hit.scene
    if variable == "date" and scene is not None:
        return f"The image {hit.title} was taken {format_span(scene.time)}." if scene.time else None
    if variable == "sensor" and scene is not None:
        return f"The image {hit.title} was taken by {scene.sensor}." if scene.sensor else None
    if variable == "resolution" and scene is not None and scene.gsd_m:
        return f"One pixel of {hit.title} is {scene.gsd_m:.3g} m on the ground."
    if variable == "coordinates":
        if hit.footprint is not None and hit.kind == "tile":
            return f"{_capital(subject)} is centred at {position_text(*geo.centre(hit.footprint))}."
        if hit.place is not None:
            return f"{hit.place.name} lies at {position_text(hit.place.lon, hit.place.lat)}."
        return None
    facts = [*(hit.tile.facts if hit.tile else ()), *(hit.passage.facts if hit.passage else ())]
    members = groups([*facts, *(hit.place.facts if hit.place else ())]).get(variable)
    if members:
        values = " and ".join(f"{'averages' if s == 'mean' else s or 'is'} {value_text(f)}" for s, f in members[:1])
        spread = [value_text(f) for s, f in members if s == "spread"]
        return f"The {label(variable)} of {subject} {values}{f' (spread {spread[0]})' if spread else ''}."
    if variable == "area" and hit.footprint is not None:
        return f"{_capital(subject)} is {footprint_text(hit.footprint)}."
    return None


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


# --- sentences ------------------------------------------------------------------------------------------------------


def _candidates(evidence: Sequence[Evidence]) -> list[_Candidate]:
    found = []
    for item in evidence:
        passage = item.hit.passage
        if passage is None:
            continue
        place = item.hit.place
        heading = " ".join(x for x in (place.name if place else "", passage.heading or "") if x)
        sentences = split_sentences(quoted(passage.text))
        context = frozenset(terms(f"{heading} {passage.text}"))
        for position, text in enumerate(sentences):
            if len(text) <= MOST_SENTENCE_CHARACTERS:
                first = position == 0
                found.append(_Candidate(text, item.number, position, place, tuple(terms(text)), context, first))
    return found


def _score(asked: Question, one: _Candidate, weights: Weights) -> float:
    own = coverage(asked.terms, one.terms, weights)
    around = coverage(asked.terms, one.context, weights)
    return own + 0.5 * around + 0.6 * _kind(asked, one.text) + 0.5 / (1 + one.number)


def _kind(asked: Question, text: str) -> float:
    """How well the sentence holds the kind of thing asked for, 0 to 1."""
    if asked.asks not in ("number", "year"):
        return 0.0
    found = quantities(text)
    if asked.asks == "year":
        return float(any(q.dimension in ("year", "ordinal") for q in found))
    wanted = set(asked.dimensions) - {"count"}
    if wanted:
        return float(any(q.dimension in wanted for q in found))
    return float(any(q.dimension in ("", "people") for q in found))


def _from_text(asked: Question, evidence: Sequence[Evidence]) -> list[tuple[str, int]]:
    candidates = _candidates(evidence)
    if not candidates:
        return []
    weights = Weights([c.terms for c in candidates])
    ranked = sorted(candidates, key=lambda c: (-_score(asked, c, weights), c.number, c.position))
    best = ranked[0]
    if coverage(asked.terms, best.context, weights) == 0:
        return []
    top = _score(asked, best, weights)
    chosen = [best]
    for other in ranked[1:4]:
        same_place = other.place is not None and best.place is not None and other.place.id == best.place.id
        if len(chosen) < 2 and same_place and _score(asked, other, weights) >= 0.8 * top:
            chosen.append(other)
    return [(_in_context(c), c.number) for c in chosen]


def _in_context(one: _Candidate) -> str:
    """The sentence, led by its place's name unless it says it."""
    if one.place is None or coverage(terms(one.place.name), one.terms) >= 0.5:
        return one.text
    return f"{one.place.name}: {one.text}"


def _describe(asked: Question, prompt: Prompt) -> list[tuple[str, int]]:
    pieces: list[tuple[str, int]] = []
    lead = next((e for e in prompt.evidence if e.hit.place is not None), None)
    if lead is not None and lead.hit.place is not None:
        pieces.append((_introduction(lead.hit.place, bool(prompt.pictures)), lead.number))
        about = [e for e in prompt.evidence if e.hit.place is not None and e.hit.place.id == lead.hit.place.id]
        chosen = _best(asked, _candidates(about), 3)
        pieces += [(c.text, c.number) for c in sorted(chosen, key=lambda c: (c.number, c.position))]
    else:
        pieces += [(c.text, c.number) for c in _best(asked, _candidates(prompt.evidence), 3)]
    tile = next((e for e in prompt.evidence if e.hit.kind == "tile"), None)
    if tile is not None:
        pieces += [(s, tile.number) for s in tile_sentences(tile.hit)[:2]]
    return pieces


def _best(asked: Question, candidates: list[_Candidate], count: int) -> list[_Candidate]:
    weights = Weights([c.terms for c in candidates])
    ranked = sorted(candidates, key=lambda c: (-_score(asked, c, weights) - 0.3 * c.first, c.number, c.position))
    return ranked[:count]


def _introduction(place: Place, shown: bool) -> str:
    about = ", ".join(x for x in (place.kind, place.country) if x)
    words = f"{place.name}{f' ({about})' if about else ''}"
    if shown:
        return f"The image most likely shows {words}, at {position_text(place.lon, place.lat)}."
    return f"{words} lies at {position_text(place.lon, place.lat)}."
