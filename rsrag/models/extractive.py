"""The default reader: picks, orders and cites the sentences of the evidence that answer the question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from rsrag._version import __version__
from rsrag.alike import WordSpace
from rsrag.config import Settings
from rsrag.facts import fact_answers, position_text, tile_sentences
from rsrag.models.base import ModelRow, Prompt
from rsrag.questions import Question, understand
from rsrag.sentences import Candidate, SentenceScorer, candidates, fitting_numbers, read_weights
from rsrag.superlatives import Fit, fit
from rsrag.types import Evidence, Place
from rsrag.words import coverage, terms

Piece = tuple[str, int]
"""A sentence and the evidence it rests on."""

_SECOND = 1.5
"""A second sentence joins the best one if its score lies no further below (scores are logits)."""
_FITS = 2.0
"""What a sentence about the greatest of all, where that is asked about, is ahead of those that name none (logits)."""
_ABOUT = 3
"""Sentences that describe a place."""


class ExtractiveReader:
    """Answers in the words of the evidence. Deterministic, and unable to follow instructions in it.

    Questions for a stored fact (NDVI, date, sensor, coordinates, area) are answered from the values; questions for a
    number, year, name or the like by the one or two sentences that fit best; open ones by several sentences about the
    place of the first evidence, and what is known of the best tile. If it is about a picture, the place comes first.

    Args:
        row: registry row.
        settings: for the vectors of words.
        space: vectors of words instead of the mini profile's.
    """

    def __init__(self, row: ModelRow, settings: Settings, *, space: WordSpace | None = None) -> None:
        self.name = row.name
        self.fingerprint = f"{row.name}:{__version__}"
        self._settings = settings
        self._space = space

    def read(self, prompt: Prompt) -> Iterator[str]:
        """The answer, a sentence at a time, each ending in its citation; nothing when no sentence fits."""
        asked = understand(prompt.question)
        open_question = asked.asks == "describe" or not asked.terms
        pieces: list[Piece] = fact_answers(asked, prompt.evidence)
        if not pieces and open_question:
            pieces = self._describe(asked, prompt)
        elif not pieces:
            pieces = self._answer(asked, prompt.evidence)
        if pieces and prompt.pictures and asked.about_image and not open_question:
            pieces = [*_introduction(prompt), *pieces]
        for index, (text, number) in enumerate(pieces):
            yield f"{' ' if index else ''}{_with_citation(text, number)}"

    def _scorer(self) -> SentenceScorer:
        weights = read_weights(Path(__file__).parent / "weights" / "mini" / "reader.json")
        return SentenceScorer(self._space or WordSpace.shared(self._settings), weights)

    def _answer(self, asked: Question, evidence: Sequence[Evidence]) -> list[Piece]:
        """The best sentence, and the second best if it is nearly as good."""
        found = candidates(evidence)
        if not any(_touches(asked, c) for c in found):
            return []
        scores = self._scorer().score(asked, found)
        fits = [fit(asked.text, c.text) for c in found]
        if Fit.FITS in fits:  # then the second greatest, and the greatest elsewhere, are no answers
            scores = np.where([one in (None, Fit.FITS) for one in fits], scores, -np.inf)
            scores = scores + np.array([_FITS * (one is Fit.FITS) for one in fits])
        order = [int(i) for i in np.argsort(-scores, kind="stable")]
        chosen = [i for i in order[:2] if scores[order[0]] - scores[i] <= _SECOND]
        return [(_in_context(found[i]), found[i].number) for i in chosen]

    def _describe(self, asked: Question, prompt: Prompt) -> list[Piece]:
        place = _lead_place(prompt.evidence)
        about = [e for e in prompt.evidence if place is None or (e.hit.place and e.hit.place.id == place.id)]
        found = candidates(about)
        pieces = _introduction(prompt) if prompt.pictures or not found else []
        if found:
            scores = self._scorer().score(asked, found) if asked.terms else np.zeros(len(found))
            # Texts begin with what matters most: without a word to go by, the first sentences describe best.
            scores = scores - 0.5 * np.array([c.position for c in found])
            best = sorted(int(i) for i in np.argsort(-scores, kind="stable")[:_ABOUT])
            pieces += [(found[i].text, found[i].number) for i in best]
        tile = next((e for e in prompt.evidence if e.hit.kind == "tile"), None)
        if tile is not None:
            pieces += [(s, tile.number) for s in tile_sentences(tile.hit)[:2]]
        return pieces


def _touches(asked: Question, one: Candidate) -> bool:
    """Whether a sentence shares a word with the question, or gives the kind of number asked for of "it"."""
    name = one.place.name if one.place is not None else ""
    if coverage(asked.terms, terms(f"{name} {one.text}")):
        return True
    return not asked.names and bool(fitting_numbers(asked, one.text, set()))


def _with_citation(text: str, number: int) -> str:
    body = text.rstrip()
    stop = body[-1] if body and body[-1] in ".!?…" else "."
    return f"{body.rstrip('.!?…')} [{number}]{stop}"


def _in_context(one: Candidate) -> str:
    """The sentence, led by its place's name unless it says it."""
    if one.place is None or coverage(terms(one.place.name), terms(one.text)) >= 0.5:
        return one.text
    return f"{one.place.name}: {one.text}"


def _lead_place(evidence: Sequence[Evidence]) -> Place | None:
    return next((e.hit.place for e in evidence if e.hit.place is not None), None)


def _introduction(prompt: Prompt) -> list[Piece]:
    """Name, kind, country and position of the first evidence's place."""
    lead = next((e for e in prompt.evidence if e.hit.place is not None), None)
    if lead is None or lead.hit.place is None:
        return []
    place = lead.hit.place
    about = ", ".join(x for x in (place.kind, place.country) if x)
    words = f"{place.name}{f' ({about})' if about else ''}"
    if prompt.pictures:
        return [(f"The image most likely shows {words}, at {position_text(place.lon, place.lat)}.", lead.number)]
    return [(f"{words} lies at {position_text(place.lon, place.lat)}.", lead.number)]
