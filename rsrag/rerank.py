"""A light re-ranker without a neural network, distance and time decay, and diversity of the evidence."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rsrag.quantities import quantities
from rsrag.questions import Question, understand
from rsrag.words import Weights, coverage, terms

if TYPE_CHECKING:
    from rsrag.types import Hit

Scores = npt.NDArray[np.float32]


def passage_text(hit: Hit) -> str:
    """What the re-ranker reads of a hit: place, heading and text on lines of their own."""
    parts = []
    if hit.place is not None:
        parts.append(hit.place.name)
    if hit.passage is not None:
        parts += [hit.passage.heading or "", hit.passage.text]
    elif hit.tile is not None:
        parts.append(hit.title)
    return "\n".join(p for p in parts if p)


class LightReranker:
    """Lexical agreement between question and passage; no model file, microseconds a passage."""

    name = "light"
    fingerprint = "light-1"

    def score(self, question: str, passages: Sequence[str]) -> Scores:
        """One score in [0, 1] a passage, float32 of shape [N].

        The score is 0.6 × weighted coverage of the question's words + 0.25 × proximity (the same within the best window
        of 30 words) + 0.15 × whether the passage holds the kind of thing asked for.
        """
        asked = understand(question)
        texts = [terms(p) for p in passages]
        weights = Weights(texts)
        rows = [
            0.6 * coverage(asked.terms, text, weights)
            + 0.25 * proximity(asked.terms, text, weights)
            + 0.15 * answers_kind(asked, passage)
            for text, passage in zip(texts, passages, strict=True)
        ]
        return np.asarray(rows, dtype=np.float32).reshape(len(passages))


def proximity(wanted: Sequence[str], text: Sequence[str], weights: Weights, window: int = 30) -> float:
    """Largest weighted coverage of the wanted terms within any run of ``window`` terms."""
    needed = set(wanted)
    total = sum(weights[t] for t in needed)
    places = [i for i, term in enumerate(text) if term in needed]
    best = 0.0
    for start in places:
        here = {text[i] for i in places if start <= i < start + window}
        best = max(best, sum(weights[t] for t in here))
    return best / total if total else 0.0


def answers_kind(asked: Question, passage: str) -> float:
    """1 when the passage holds a number of the dimension, or a year, that is asked for; 0.5 when no kind is asked."""
    if asked.asks == "year":
        return float(any(q.dimension in ("year", "ordinal") for q in quantities(passage)))
    if asked.asks == "number":
        wanted = set(asked.dimensions) - {"count"}
        return float(any((q.dimension in wanted) if wanted else q.dimension != "year" for q in quantities(passage)))
    return 0.5


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
