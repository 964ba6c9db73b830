"""A light re-ranker without a neural network, distance and time decay, and diversity of the evidence."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rsrag.alike import WordSpace, content_words, wanted_words
from rsrag.errors import BadModelFile
from rsrag.quantities import quantities
from rsrag.questions import Question, understand
from rsrag.words import Weights, fold, terms

if TYPE_CHECKING:
    from rsrag.config import Settings
    from rsrag.models.base import ModelRow, Reranker
    from rsrag.types import Hit

Scores = npt.NDArray[np.float32]

FEATURES = ("meaning", "place_words", "place_meaning", "pairs", "kind")
"""What the light re-ranker looks at; see :func:`features`."""


def passage_text(hit: Hit) -> str:
    """What a re-ranker reads of a hit: place on the first line, then heading and text."""
    first = hit.place.name if hit.place is not None else hit.title
    parts = [first]
    if hit.passage is not None:
        parts += [hit.passage.heading or "", hit.passage.text]
    return "\n".join(" ".join(p.split()) for p in parts if p.strip())


# --- the light re-ranker --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Coefficients:
    """Weights of the features, in their order, and the bias of the logistic function."""

    weights: tuple[float, ...]
    bias: float

    @staticmethod
    def read(path: Path) -> Coefficients:
        """Weights as ``python -m rsrag.eval.fitting.reranker`` writes them.

        Raises:
            BadModelFile: no such file, or not of this form.
        """
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            weights = tuple(float(stored["weights"][name]) for name in FEATURES)
            return Coefficients(weights, float(stored["bias"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadModelFile(
                f"cannot read re-ranker weights {path}: {error!r}", hint="install rsrag again"
            ) from error


class LightReranker:
    """Do the question's words, or words like them, stand in the passage, and elsewhere in what is known of its place?

    The score of a passage is the logistic function of a fitted weighted sum of its :meth:`features`. Words are compared
    by their stems and by the static vectors of the mini profile, in every profile, because the weights were fitted to
    them.

    Args:
        row: registry row; ``source`` is the folder with ``ranker.json``.
        settings: handed on to the text encoder.
        space: vectors of words, instead of the mini profile's.
        coefficients: weights instead of the stored ones.
    """

    def __init__(
        self,
        row: ModelRow,
        settings: Settings,
        *,
        space: WordSpace | None = None,
        coefficients: Coefficients | None = None,
    ) -> None:
        self.name = row.name
        self._space = space or WordSpace.shared(settings)
        source = Path(row.source) if Path(row.source).is_absolute() else Path(__file__).parent / "models" / row.source
        self._coefficients = coefficients or Coefficients.read(source / "ranker.json")
        figures = json.dumps([self._coefficients.weights, self._coefficients.bias])
        digest = hashlib.sha256(figures.encode()).hexdigest()[:16]
        self.fingerprint = f"{row.name}:{digest}:{self._space.fingerprint}"

    def score(self, question: str, passages: Sequence[str]) -> Scores:
        """Probability that a passage is about what is asked, float32 of shape [N].

        Args:
            question: the question.
            passages: texts as :func:`passage_text` makes them; passages with the same first line support each other.
        """
        if not passages:
            return np.zeros(0, dtype=np.float32)
        logits = self.features(question, passages) @ np.asarray(self._coefficients.weights) + self._coefficients.bias
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))), dtype=np.float32)

    def features(self, question: str, passages: Sequence[str]) -> npt.NDArray[np.float64]:
        """The figures behind the score, float64 of shape [N, len(FEATURES)].

        Words are weighted by their inverse frequency among the given passages. ``place`` below means all passages with
        the same first line.

        - ``meaning``: share of the question's words in the passage, where a word counts in part if the passage has one
          like it (cosine of the static vectors, from 0.3 up; numbers, months and names have no substitute).
        - ``place_words``: share of the question's words, as such, in the place.
        - ``place_meaning``: as ``meaning``, over the place.
        - ``pairs``: share of neighbouring pairs of question words that are neighbours in the passage.
        - ``kind``: :func:`answers_kind` of the passage less the best of its place: 0 or below, so that it orders the
          passages of a place but never moves the place.
        """
        asked = understand(question)
        read = [_read(p) for p in passages]
        weights = Weights([r.terms for r in read])
        wanted = wanted_words(asked)
        importance = np.array([weights[w.stem] for w in wanted])
        share = importance / max(float(importance.sum()), 1e-9)
        here = np.stack([self._space.presence(wanted, r.words) for r in read])
        leads = [r.lead for r in read]
        pairs = set(pairwise(asked.terms))
        kind = np.array([[answers_kind(asked, p)] for p in passages])
        columns = [
            here @ share,
            _over_place((here >= 1).astype(np.float64), leads) @ share,
            _over_place(here, leads) @ share,
            np.array([len(pairs & r.pairs) / len(pairs) if pairs else 0.0 for r in read]),
            (kind - _over_place(kind, leads))[:, 0],
        ]
        return np.stack(columns, axis=1)


@dataclass(frozen=True, slots=True)
class _Read:
    """A passage taken apart."""

    lead: str
    terms: tuple[str, ...]
    words: tuple[str, ...]
    pairs: frozenset[tuple[str, str]]


def _read(passage: str) -> _Read:
    found = tuple(terms(passage))
    lead = fold(passage.partition("\n")[0])
    return _Read(lead, found, tuple(content_words(passage)), frozenset(pairwise(found)))


def _over_place(values: npt.NDArray[np.float64], leads: Sequence[str]) -> npt.NDArray[np.float64]:
    """Each row replaced by the maximum over the rows with the same first line."""
    rows: dict[str, list[int]] = {}
    for index, lead in enumerate(leads):
        rows.setdefault(lead, []).append(index)
    result = values.copy()
    for members in rows.values():
        result[members] = values[members].max(axis=0)
    return result


def answers_kind(asked: Question, passage: str) -> float:
    """1 when the passage holds a number of the dimension, or a year, that is asked for; 0.5 when no kind is asked."""
    if asked.asks == "year":
        return float(any(q.dimension in ("year", "ordinal") for q in quantities(passage)))
    if asked.asks == "number":
        wanted = set(asked.dimensions) - {"count"}
        return float(any((q.dimension in wanted) if wanted else q.dimension != "year" for q in quantities(passage)))
    return 0.5


def rerank(question: str, hits: Sequence[Hit], reranker: Reranker, *, depth: int = 60) -> list[Hit]:
    """The first ``depth`` hits in the order of a re-ranker; the rest follow as they were.

    The new ``score`` is the re-ranker's, also kept in ``scores["rerank"]``; what was not re-ranked gets a score below
    the lowest of them. Ties keep their order.
    """
    head, tail = list(hits[:depth]), list(hits[depth:])
    if not head:
        return []
    values = reranker.score(question, [passage_text(h) for h in head])
    scored = [
        replace(h, score=float(v), scores={**h.scores, "rerank": float(v)}) for h, v in zip(head, values, strict=True)
    ]
    floor = float(values.min())
    rest = [replace(h, score=floor * (1 - (i + 1) / (len(tail) + 1))) for i, h in enumerate(tail)]
    return sorted(scored, key=lambda h: -h.score) + rest


# --- place, time, diversity -----------------------------------------------------------------------------------------


def geo_decay(distance_km: float, scale_km: float) -> float:
    """``2 ** -(distance / scale)``: 1 at the spot, one half at ``scale_km``, never 0."""
    if not distance_km >= 0 or not scale_km > 0:
        raise ValueError(f"distance {distance_km} km and scale {scale_km} km must be positive")
    return math.exp2(-distance_km / scale_km)


def time_decay(days: float, scale_days: float) -> float:
    """``2 ** -(|days| / scale)``: 1 on the day, one half ``scale_days`` before or after."""
    if math.isnan(days) or not scale_days > 0:
        raise ValueError(f"days {days} and scale {scale_days} must be numbers, the scale above 0")
    return math.exp2(-abs(days) / scale_days)


def diversify(
    hits: Sequence[Hit], *, per_scene: int | None = 3, per_place: int | None = 4, limit: int | None = None
) -> list[Hit]:
    """The best hits with at most so many of one scene and one place, in their order.

    Tiles that look the same (one ``group``) count once. Hits over a quota are put behind all others rather than
    dropped, so that a small archive still fills the list; ``limit`` cuts last.
    """
    scenes: Counter[str] = Counter()
    places: Counter[str] = Counter()
    groups: set[str] = set()
    first: list[Hit] = []
    rest: list[Hit] = []
    for hit in hits:
        scene = hit.tile.scene_id if hit.tile else None
        place = hit.place.id if hit.place else hit.passage.place_id if hit.passage else None
        group = (hit.tile.group or hit.tile.id) if hit.tile else None
        over = (
            (scene is not None and per_scene is not None and scenes[scene] >= per_scene)
            or (place is not None and per_place is not None and places[place] >= per_place)
            or (group is not None and group in groups)
        )
        if over:
            rest.append(hit)
            continue
        first.append(hit)
        if scene is not None:
            scenes[scene] += 1
        if place is not None:
            places[place] += 1
        if group is not None:
            groups.add(group)
    return (first + rest)[:limit]
