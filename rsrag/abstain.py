"""Is the evidence good enough for an answer? A calibrated confidence, and the threshold below which none is given."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rsrag.alike import WordSpace, content_words, wanted_words
from rsrag.config import Settings
from rsrag.errors import BadModelFile
from rsrag.facts import fact_answers
from rsrag.quantities import quantities
from rsrag.questions import Question, understand
from rsrag.rerank import diversify, passage_text
from rsrag.sentences import FEATURES as SENTENCE_FEATURES
from rsrag.sentences import SentenceScorer, candidates, fitting_numbers, read_weights
from rsrag.stored.relations import Relation, relation, says
from rsrag.superlatives import Fit, fit, needs_saying
from rsrag.types import Evidence, Hit, Location
from rsrag.words import STOPWORDS, coverage, stem, terms

FEATURES = ("margin", "dense", "agree", "known", "like", "focus", "kind")
_MODELS = Path(__file__).parent / "models" / "weights" / "mini"
_READ = 8
_LOOKED_AT = 60
_LOGIT = 6.0
_SHORT = 5
_UNKNOWN = 0.3
_UNPLACED = 0.7
"""What is left of the confidence in texts about no known place, where the question is about one."""
_NO_PLACE = re.compile(r"^(?:age|era|war|period|dynasty)$|(?:[ie]an|rican|ese|ish)$")

_WORDS = re.compile(r"[^\W\d_]+")
_PLACE_WORDS = """
abbey airport archipelago area basilica basin bay beach bridge canal canyon cape castle cathedral cave caves channel
church city coast desert district empire falls fjord forest fort fortress gardens glacier gorge great gulf harbour hill
hills island islands isle kingdom lagoon lake lakes monastery mosque mount mountain mountains museum national ocean
palace park peak peninsula plateau port province reef region reserve river rivers rock sea strait temple temples tomb
tower town valley village volcano wall
"""
_KINDS_OF_PLACE = frozenset(_PLACE_WORDS.split())
"""Words that are part of a name with a capital and stand alone without one: "Lake Chad", "the lake"."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Logistic regression of "the answer is in the archive" on the features, and the threshold chosen with it."""

    weights: tuple[float, ...]
    bias: float
    threshold: float

    @staticmethod
    def read(path: Path) -> Calibration:
        """A calibration as ``python -m rsrag.eval.fitting.abstention`` writes it.

        Raises:
            BadModelFile: no such file, or not of this form.
        """
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            weights = tuple(float(stored["weights"][name]) for name in FEATURES)
            return Calibration(weights, float(stored["bias"]), float(stored["threshold"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadModelFile(f"cannot read calibration {path}: {error!r}", hint="install rsrag again") from error

    @staticmethod
    @cache
    def shipped() -> Calibration:
        """The calibration in the package."""
        return Calibration.read(_MODELS / "abstention.json")


def features(question: str, passages: Sequence[Hit], space: WordSpace) -> npt.NDArray[np.float64]:
    """What the confidence in a text answer rests on, float64 of shape [len(FEATURES)].

    Args:
        question: the question.
        passages: re-ranked passage hits, best first, with ``scores`` "rerank", "dense" and "bm25" as far as known.
        space: vectors of words.

    Returns:
        ``margin``: by how much the logit of the best re-ranking score exceeds that of the best other place; ``dense``:
        best cosine within the top place; ``agree``: how many of BM25 and dense put this place first, 0 to 2;
        ``known``: share of the question's words in the passages of the top place; ``like``: the same, counting words of
        like meaning in part; ``focus``, ``kind``: of the best sentence, see
        :meth:`rsrag.sentences.SentenceScorer.features` (``kind`` is 1 when none is asked for).
    """
    asked = understand(question)
    looked = list(passages[:_LOOKED_AT])
    if not looked:
        return np.zeros(len(FEATURES))
    best = looked[0]
    mine = [h for h in looked if _group(h) == _group(best)]
    other = next((h for h in looked if _group(h) != _group(best)), None)
    top = _logit(best.scores.get("rerank", best.score))
    margin = top - _logit(other.scores.get("rerank", other.score)) if other is not None else _LOGIT
    leaders = [max(passages, key=lambda h: h.scores.get(channel, -1.0)) for channel in ("bm25", "dense")]
    texts = [passage_text(h) for h in mine]
    known = {t for text in texts for t in terms(text)}
    words = [w for text in texts for w in content_words(text)]
    like = space.presence(wanted_words(asked), words)
    _, focus, kind = _best_sentence(asked, passages, space)
    figures = (
        min(margin, _LOGIT),
        max(h.scores.get("dense", 0.0) for h in mine),
        float(sum(_group(h) == _group(best) for h in leaders)),
        coverage(asked.terms, known),
        float(like.mean()) if len(like) else 0.0,
        focus,
        kind,
    )
    return np.asarray(figures, dtype=np.float64)


def _best_sentence(asked: Question, passages: Sequence[Hit], space: WordSpace) -> tuple[float, float, float]:
    """``around``, ``focus`` and ``kind`` of the sentence that answers best."""
    read = diversify(passages, per_place=4)[:_READ]
    found = candidates([Evidence(n, h, "") for n, h in enumerate(read, start=1)])
    if not found:
        return 0.0, 0.0, 0.0
    scorer = _scorer(space)
    table = scorer.features(asked, found)
    best = dict(zip(SENTENCE_FEATURES, table[int(np.argmax(scorer.score(asked, found)))], strict=True))
    kind = float(best["kind"]) if asked.asks in ("number", "year") else 1.0
    return float(best["around"]), float(best["focus"]), kind


@cache
def _scorer(space: WordSpace) -> SentenceScorer:
    return SentenceScorer(space, read_weights(_MODELS / "reader.json"))


def _group(hit: Hit) -> str:
    if hit.place is not None:
        return hit.place.id
    return hit.document.id if hit.document is not None else hit.id


def _logit(p: float) -> float:
    p = min(max(p, 1e-9), 1 - 1e-9)
    return min(max(math.log(p / (1 - p)), -_LOGIT), _LOGIT)


def names_factor(question: str, passages: Sequence[Hit]) -> float:
    """What an unknown name takes from the confidence, in [0, 1].

    Names of several words are mostly those of the place that is meant: 0.3 if the passages of the top place know less
    than half of one (eras and adjectives such as "Iron Age" and "South American" aside). A question of up to five
    content words hangs on its names: the squared share that is known. Words are compared by their stems or beginnings,
    all but two letters and four at least: "Tunisian" is in "Tunisia". A word that the passages write without a capital
    only is no name ("Lake Nowhere", "nowhere"), unless it is a kind of place.
    """
    asked = understand(question)
    names = [[w for w in content_words(name) if len(w) > 2] for name in asked.names]
    names = [words for words in names if words]
    if not names or not passages:
        return 1.0
    mine = [h for h in passages[:_LOOKED_AT] if _group(h) == _group(passages[0])]
    texts = [f"{passage_text(h)} {h.place.country if h.place else ''}" for h in mine]
    anywhere, as_names = _known(texts), _known([*map(_capitalised, texts), *(h.title for h in mine)])
    strict = _tells_names(question) and any(_capitalised(h.passage.text) for h in mine if h.passage is not None)
    known = [[(as_names if strict and not _loose(w, words) else anywhere)(w) for w in words] for words in names]
    strange = [n for n, one in zip(names, known, strict=True) if len(one) > 1 and sum(one) < len(one) / 2]
    factor = _UNKNOWN if any(not _NO_PLACE.search(words[-1]) for words in strange) else 1.0
    if len(asked.terms) <= _SHORT:
        factor *= (sum(map(sum, known)) / sum(map(len, known))) ** 2
    return factor


def _loose(word: str, name: Sequence[str]) -> bool:
    """Whether a word of a name may stand without a capital: a kind of place, or part of an era ("iron age")."""
    return word in _KINDS_OF_PLACE or _NO_PLACE.search(name[-1]) is not None


def _known(texts: Sequence[str]) -> Callable[[str], bool]:
    """Whether a folded word is in the texts, by its stem or beginning."""
    present = {w for text in texts for w in content_words(text)}
    stems = {stem(w) for w in present}
    begins = {w[:length] for w in present for length in range(3, len(w) + 1)}
    return lambda word: stem(word) in stems or word[: max(min(4, len(word)), len(word) - 2)] in begins


def _capitalised(text: str) -> str:
    """The words of a text that do not begin with a small letter."""
    return " ".join(w for w in _WORDS.findall(text) if not w[0].islower())


def _tells_names(question: str) -> bool:
    """Whether capitals are names: some longer word has none, so the question is no heading."""
    return any(len(w) > 3 and w.islower() for w in _WORDS.findall(question))


def superlative_factor(question: str, passages: Sequence[Hit]) -> float:
    """What it takes from the confidence, in [0, 1], that the greatest of all is asked about and all that is said of
    the greatest is said of another rank or region (:mod:`rsrag.superlatives`), or that nothing says what only a
    sentence can."""
    evidence = [Evidence(n, hit, "") for n, hit in enumerate(passages[:_READ], start=1)]
    said = [found for one in candidates(evidence) if (found := fit(question, one.text)) is not None]
    if not said:
        return _UNKNOWN if needs_saying(question) else 1.0
    return 1.0 if min(said) is Fit.FITS else _UNKNOWN


def count_factor(question: str, passages: Sequence[Hit]) -> float:
    """What it takes from the confidence, in [0, 1], that a number of things is asked for and no sentence has one."""
    asked = understand(question)
    if asked.asks != "number" or not {"count", "people"} & set(asked.dimensions):
        return 1.0
    given = {q.value for q in quantities(question)}
    evidence = [Evidence(n, hit, "") for n, hit in enumerate(passages[:_READ], start=1)]
    return 1.0 if any(fitting_numbers(asked, one.text, given) for one in candidates(evidence)) else _UNKNOWN


def named_relation(question: str) -> Relation | None:
    """The relation between two things called by names that a question asks about (:mod:`rsrag.stored.relations`): "Is
    Lake Zorba larger than Lake Chad?", not "Was the church built in stone?"."""
    asked = relation(question)
    if asked is None or asked.kind == "value":
        return None
    words = [w for name in (asked.first, asked.second) for w in _WORDS.findall(name)]
    small = [w for w in words if w[0].islower() and w not in STOPWORDS and w not in _KINDS_OF_PLACE]
    return None if small else asked


def relation_factor(question: str, passages: Sequence[Hit]) -> float:
    """What it takes from the confidence, in [0, 1], that a relation between two named things is asked about and no
    sentence tells of it: one that only names both is no answer."""
    asked = named_relation(question)
    if asked is None:
        return 1.0
    evidence = [Evidence(n, hit, "") for n, hit in enumerate(passages[:_READ], start=1)]
    told = (says(asked, one.text, one.place.name if one.place else "") for one in candidates(evidence))
    return 1.0 if any(told) else _UNKNOWN


def probability(figures: npt.NDArray[np.float64], calibration: Calibration) -> float:
    """Calibrated probability for the features of one question."""
    logit = float(figures @ np.asarray(calibration.weights)) + calibration.bias
    return 1 / (1 + math.exp(-min(max(logit, -30.0), 30.0)))


def confidence(
    question: str,
    passages: Sequence[Hit],
    settings: Settings,
    *,
    tiles: Sequence[Hit] = (),
    location: Location | None = None,
    image: bool = False,
) -> float:
    """How likely the evidence holds the answer, in [0, 1].

    Without an image: the calibrated probability, less what unknown names take from it (:func:`names_factor`), so that
    "How deep is Lake Zorbania?" is not answered from another lake; a stored value that answers counts 0.9. With an
    image, everything hangs on whether its place was recognised: the location's confidence, times, for a question with
    words of its own, how much of it the passages of the place speak of (0.4 to 1). Texts about no known place say
    nothing of the picture: where there are only such, they count as without an image, less three tenths.

    Args:
        question: the question; may be empty with an image.
        passages: re-ranked passage hits, best first.
        settings: for the vectors of words.
        tiles: tile hits, best first.
        location: where the image was found to lie.
        image: whether the query has an image.
    """
    asked = understand(question)
    evidence = [Evidence(n, h, "") for n, h in enumerate([*tiles[:_READ], *passages[:_READ]], start=1)]
    if not evidence:
        return 0.0
    stored = bool(fact_answers(asked, evidence))
    if image:
        recognised = location.confidence if location is not None else 0.0
        if stored or asked.asks == "describe" or not asked.terms:
            return recognised
        here = [h for h in passages if is_placed(h)]
        if not here and passages:
            return _UNPLACED * _of_text(question, passages, settings)
        around, _, kind = _best_sentence(asked, here, WordSpace.shared(settings))
        return recognised * (0.4 + 0.3 * around + 0.3 * kind)
    text = _of_text(question, passages, settings)
    return max(text, 0.9) if stored else text


def _of_text(question: str, passages: Sequence[Hit], settings: Settings) -> float:
    """The calibrated probability that passages answer, less what the factors take from it."""
    if not passages:
        return 0.0
    text = probability(features(question, passages, WordSpace.shared(settings)), Calibration.shipped())
    for factor in (names_factor, superlative_factor, count_factor, relation_factor):
        text *= factor(question, passages)
    return text


def is_placed(hit: Hit) -> bool:
    """Whether a passage is about a place or a position, so that it can tell of a picture of one."""
    return hit.place is not None or (hit.passage is not None and hit.passage.lon is not None)


def should_abstain(value: float) -> bool:
    """Whether a confidence lies below the calibrated threshold."""
    return value < Calibration.shipped().threshold


def why(passages: Sequence[Hit], tiles: Sequence[Hit] = ()) -> str:
    """The words of an abstention, naming the nearest miss."""
    nearest = list(dict.fromkeys(h.title for h in [*passages[:8], *tiles[:2]]))[:3]
    if not nearest:
        return "The archive holds nothing that fits the question and its filters."
    return f"The archive holds no evidence for an answer; the closest it has is about {', '.join(nearest)}."
