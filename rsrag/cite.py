"""After a reader: are the citations real, and does the evidence say what the sentences say?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rsrag.ingest.chunks import split_sentences
from rsrag.plain import CITATION, spoken
from rsrag.prompts.builder import NOT_IN_ARCHIVE
from rsrag.quantities import Quantity, backed, quantities
from rsrag.types import Evidence, Sentence
from rsrag.words import coverage, terms, tokens

MOST_CHARACTERS = 4000
MOST_SENTENCES = 12
SUPPORT = 0.6
"""Share of a sentence's content words that its evidence must hold."""

_AFTER_STOP = re.compile(rf"([.!?…][\"'”’)]*)((?:\s*(?:{CITATION.pattern}))+)", re.IGNORECASE)
_NUMBERS = re.compile(r"(\d{1,4})(?:\s*[–-]\s*(\d{1,4}))?")
_NEGATION = frozenset(
    {"not", "no", "never", "neither", "nor", "none", "cannot", "without", "isn", "aren", "wasn", "weren"}
)

_MEASURED = frozenset(terms("averages mean covers centred lies taken"))
"""Words that only lead to a value: the value is what its evidence must hold."""


@dataclass(frozen=True, slots=True)
class _Source:
    terms: frozenset[str]
    quantities: list[Quantity]
    sentences: list[tuple[frozenset[str], bool]]


def check(text: str, evidence: Sequence[Evidence], question: str = "") -> tuple[tuple[Sentence, ...], tuple[str, ...]]:
    """Sentences of a reader's output with checked citations, and what was wrong with them.

    Markup, links and control characters are removed and the length is capped. Citations of numbers that do not exist
    are removed, with a warning. A sentence is supported when its cited evidence holds at least 60 % of its content
    words (words of the question count as given), every number in it (years exactly, others within 2 %, units brought to
    one dimension), and does not say the opposite by a plain negation. A sentence without citation gets that of the
    first evidence which supports it. Unsupported sentences stay, marked.

    Args:
        text: what the reader wrote; empty, or the agreed words for "not in the archive" uncited, gives no sentences.
        evidence: what its numbers refer to.
        question: the question, whose words need no backing.
    """
    plain = spoken(text, MOST_CHARACTERS)
    if not plain:
        return (), ()
    sources = {e.number: _source(e.text) for e in evidence}
    given = frozenset(terms(question))
    warnings: list[str] = []
    checked: list[Sentence] = []
    parts = split_sentences(_AFTER_STOP.sub(_before_stop, plain))
    if any(NOT_IN_ARCHIVE in part.upper() and not _cited(part) for part in parts):
        return (), ()  # with a citation the words are those of a document
    if len(parts) > MOST_SENTENCES:
        warnings.append(f"the answer was cut after {MOST_SENTENCES} of {len(parts)} sentences")
    for part in parts[:MOST_SENTENCES]:
        cited = _cited(part)
        words = _without_citations(part)
        if not terms(words):
            continue
        unknown = [n for n in cited if n not in sources]
        if unknown:
            warnings.append(f"removed citation of evidence that does not exist: {', '.join(map(str, unknown))}")
        known = tuple(n for n in cited if n in sources)
        sentence = _judge(words, known, sources, given)
        if not sentence.supported:
            warnings.append(f"not backed by the evidence: {words[:120]!r}")
        checked.append(sentence)
    return tuple(checked), tuple(dict.fromkeys(warnings))


def _source(text: str) -> _Source:
    parts = split_sentences(text)
    return _Source(frozenset(terms(text)), quantities(text), [(frozenset(terms(p)), _negated(p)) for p in parts])


def _judge(words: str, known: tuple[int, ...], sources: dict[int, _Source], given: frozenset[str]) -> Sentence:
    claim = terms(words)
    numbers = quantities(words)
    if known:
        union = _Source(
            frozenset().union(*(sources[n].terms for n in known)),
            [q for n in known for q in sources[n].quantities],
            [s for n in known for s in sources[n].sentences],
        )
        return Sentence(words, known, _backed(claim, numbers, _negated(words), union, given))
    for number, source in sources.items():
        if _backed(claim, numbers, _negated(words), source, given):
            return Sentence(words, (number,), True)
    return Sentence(words, (), False)


def _backed(claim: list[str], numbers: list[Quantity], negated: bool, source: _Source, given: frozenset[str]) -> bool:
    new = [t for t in claim if not t[0].isdigit()]
    if coverage(new, source.terms | given) < SUPPORT and new:
        return False
    fresh = set(new) - given - _MEASURED
    if fresh and coverage(fresh, source.terms) < SUPPORT / 2:
        return False
    if not all(backed(q, source.quantities) for q in numbers):
        return False
    return not _contradicted(set(new), negated, source)


def _contradicted(claim: set[str], negated: bool, source: _Source) -> bool:
    """Whether the closest sentence of the evidence is nearly the same but for a "not"."""
    best = max(source.sentences, key=lambda s: coverage(claim, s[0]), default=None)
    return best is not None and coverage(claim, best[0]) >= 0.8 and best[1] != negated


def _negated(text: str) -> bool:
    words = tokens(text)
    return any(w in _NEGATION and words[i + 1 : i + 2] != ["only"] for i, w in enumerate(words))


def _before_stop(match: re.Match[str]) -> str:
    return f" {match[2].strip()}{match[1]} "


def _cited(part: str) -> tuple[int, ...]:
    found: list[int] = []
    for citation in CITATION.findall(part):
        inner = re.split(r"†", citation)[0]
        for first, last in _NUMBERS.findall(inner):
            start, end = int(first), int(last or first)
            found += range(start, end + 1) if start <= end <= start + 20 else [start, end]
    return tuple(dict.fromkeys(found))


def _without_citations(part: str) -> str:
    words = CITATION.sub("", part)
    return re.sub(r"\s+([.,;:!?])", r"\1", re.sub(r"\s+", " ", words)).strip()
