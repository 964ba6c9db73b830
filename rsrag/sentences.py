"""Which sentences of the evidence answer a question: candidates, their features, a fitted score."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rsrag.alike import WordSpace, content_words, wanted_words
from rsrag.errors import BadModelFile
from rsrag.ingest.chunks import split_sentences
from rsrag.plain import quoted
from rsrag.quantities import Quantity, quantities
from rsrag.questions import Question, focus
from rsrag.types import Evidence, Place
from rsrag.words import STOPWORDS, Weights, fold, terms, tokens

FEATURES = ("meaning", "focus", "around", "passage", "standing", "place", "kind", "near", "name")
MOST_CHARACTERS = 600
_LABEL = re.compile(r"(?:^|; )([\w ]+): $")
"""What a number is the value of in a list of attributes: "city: Goroka; tz: 10"."""
_NAME = re.compile(r"(?<![.!?:]\s)(?<!^)\b[A-ZÀ-Ý][\w'’-]+")
_REACH = 6.0
"""Words from the asking word after which a question word counts half for ``focus``."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence of the evidence: ``number`` of the evidence, ``position`` within it."""

    text: str
    number: int
    position: int
    place: Place | None
    standing: float


def candidates(evidence: Sequence[Evidence]) -> list[Candidate]:
    """The sentences of all passages, each once (the first place it stands in), none of more than 600 characters."""
    top = max((e.hit.score for e in evidence if e.hit.passage is not None), default=0.0)
    found: dict[str, Candidate] = {}
    for item in evidence:
        hit = item.hit
        if hit.passage is None:
            continue
        standing = hit.score / top if top > 0 else 0.0
        name = hit.place.name if hit.place is not None else ""
        for position, text in enumerate(split_sentences(quoted(hit.passage.text, 4000))):
            text = without_title(text, name)
            key = " ".join(content_words(text))
            if key and len(text) <= MOST_CHARACTERS:
                found.setdefault(key, Candidate(text, item.number, position, hit.place, standing))
    return list(found.values())


def without_title(text: str, name: str) -> str:
    """A sentence without a title run into it: "Lake Chad Lake Chad is shallow." loses the first "Lake Chad"."""
    rest = text[len(name) :].lstrip(" :–-") if name and text.startswith(name) else ""
    return rest if rest[:1].isupper() and len(rest.split()) > 3 else text


class SentenceScorer:
    """Scores sentences by a fitted weighted sum of :meth:`features`.

    Args:
        space: vectors of words.
        weights: one a feature; see :func:`read_weights`.
    """

    def __init__(self, space: WordSpace, weights: Sequence[float]) -> None:
        self._space = space
        self._weights = np.asarray(weights, dtype=np.float64)

    def score(self, asked: Question, found: Sequence[Candidate]) -> npt.NDArray[np.float64]:
        """One score a sentence, float64 of shape [N]; only differences between them mean anything."""
        return self.features(asked, found) @ self._weights

    def features(self, asked: Question, found: Sequence[Candidate]) -> npt.NDArray[np.float64]:
        """The figures behind the score, float64 of shape [N, len(FEATURES)].

        Words are weighted by their inverse frequency among the sentences; a word counts in part where the text has one
        like it. ``meaning``: share of the question's words in the sentence. ``focus``: the same, words next to the
        asking word counting most. ``around``: with the sentences before and after. ``passage``: in its evidence as a
        whole. ``standing``: score of the evidence relative to the best. ``place``: 1 for the place of the first
        evidence. ``kind``: 1 for a number of the dimension, or a year, that is asked for and not given in the question.
        ``near``: how close to a word of the question such a number stands. ``name``: for who, which, where and what, 1
        for a name that is new.
        """
        wanted = wanted_words(asked)
        weights = Weights([terms(c.text) for c in found])
        importance = np.array([weights[w.stem] for w in wanted])
        asking = focus(asked.text)
        close = importance * np.array([0.5 ** (abs(w.order - asking) / _REACH) for w in wanted])
        here = np.stack([self._space.presence(wanted, content_words(c.text)) for c in found])
        around = np.stack([here[_neighbours(found, i)].max(axis=0) for i in range(len(found))])
        passage = np.stack([here[[o.number == c.number for o in found]].max(axis=0) for c in found])
        first = next((c.place.id for c in found if c.place is not None), None)
        given = {q.value for q in quantities(asked.text)}
        rows = []
        for candidate in found:
            fitting = fitting_numbers(asked, candidate.text, given)
            rows.append(
                (
                    candidate.standing,
                    float(candidate.place is not None and candidate.place.id == first),
                    float(bool(fitting)),
                    _nearness(asked, candidate.text, fitting),
                    _new_name(asked, candidate),
                )
            )
        measured = ((here, importance), (here, close), (around, importance), (passage, importance))
        shares = [values @ weight / max(float(weight.sum()), 1e-9) for values, weight in measured]
        return np.column_stack([*shares, np.asarray(rows, dtype=np.float64)])


def _neighbours(found: Sequence[Candidate], index: int) -> list[int]:
    one = found[index]
    return [
        i
        for i in range(max(0, index - 2), min(len(found), index + 3))
        if found[i].number == one.number and abs(found[i].position - one.position) <= 1
    ]


def fitting_numbers(asked: Question, text: str, given: set[float]) -> list[Quantity]:
    """Numbers of the kind asked for that the question does not give itself."""
    found = [q for q in quantities(text) if q.value not in given]
    if asked.asks == "year":
        return [q for q in found if q.dimension in ("year", "ordinal")]
    if asked.asks != "number":
        return []
    wanted = set(asked.dimensions)
    if wanted & {"count", "people"}:
        folded = fold(text)
        return [
            q for q in found if q.dimension in ("people", "share") or (q.dimension == "" and _counts(asked, q, folded))
        ]
    return [q for q in found if q.dimension in wanted]


def _counts(asked: Question, number: Quantity, folded: str) -> bool:
    """Whether a bare number may say how many there are.

    It is whole, no angle, ratio or time zone ("UTC+10"), and the value of nothing else ("runways: 3", "tz: 10").
    """
    before, after = folded[: number.start], folded[number.end :].lstrip()
    if number.value < 0 or number.value % 1 or before.endswith(("+", "/", ":")) or after.startswith(("°", ":", "/")):
        return False
    label = _LABEL.search(before)
    return label is None or bool(set(terms(label[1])) & set(asked.terms))


def _nearness(asked: Question, text: str, fitting: Sequence[Quantity]) -> float:
    """``2 ** -(words between / 4)`` for the closest pair of a fitting number and a word of the question."""
    if not fitting:
        return 0.0
    folded = fold(text)
    spots = [m.start() for m in re.finditer(r"[^\W\d_]+", folded) if set(terms(m[0])) & set(asked.terms)]
    gaps = [len(folded[min(s, q.start) : max(s, q.start)].split()) for s in spots for q in fitting]
    return math.exp2(-min(gaps) / 4) if gaps else 0.0


def _new_name(asked: Question, candidate: Candidate) -> float:
    """1 for a capitalised word that neither the question nor the place's name holds, when a name is asked for."""
    if asked.asks not in ("who", "which", "where", "what"):
        return 0.0
    known = set(terms(asked.text)) | set(terms(candidate.place.name if candidate.place else ""))
    for match in _NAME.findall(candidate.text):
        words = [w for w in tokens(match) if w not in STOPWORDS]
        if words and not set(terms(match)) & known:
            return 1.0
    return 0.0


def read_weights(path: Path) -> tuple[float, ...]:
    """Weights as ``python -m rsrag.eval.fitting.sentences`` writes them.

    Raises:
        BadModelFile: no such file, or not of this form.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return tuple(float(stored["weights"][name]) for name in FEATURES)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadModelFile(f"cannot read reader weights {path}: {error!r}", hint="install rsrag again") from error
