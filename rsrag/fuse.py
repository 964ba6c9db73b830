"""Several rankings become one: weighted reciprocal ranks, or RS-RAG's weighted cosines.

Reciprocal rank fusion (Cormack, Clarke, Büttcher 2009) sums ``w_c / (k + rank)``. With equal weights a weak channel
pulls a strong one down. Here a channel counts by its weight times its *clarity* for this query: how far its winner
stands out from what follows. BM25 that found rare words is clear; cosines that are all alike are not. The measurements
are in ``docs/decisions/fusion.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

RRF_K = 10
_FOLLOWERS = 10
_LEAST_CLARITY = 0.01

Ranking = Sequence[tuple[str, float]]
"""Ids with scores, best first."""


@dataclass(frozen=True, slots=True)
class Fused:
    """One id after fusion; ``channels`` keeps the score that each channel gave it."""

    id: str
    score: float
    channels: Mapping[str, float] = field(default_factory=dict)


def clarity(ranking: Ranking) -> float:
    """How far the winner of a ranking stands out: (top - mean of the next ten) / top, in [0.01, 1].

    A single result, or one whose followers score 0 or less, is as clear as can be; a top score of 0 or less is not
    clear at all.
    """
    if not ranking:
        return _LEAST_CLARITY
    top = ranking[0][1]
    followers = [score for _, score in ranking[1 : 1 + _FOLLOWERS]]
    if top <= 0:
        return _LEAST_CLARITY
    if not followers:
        return 1.0
    return min(1.0, max(_LEAST_CLARITY, 1 - sum(followers) / len(followers) / top))


def rrf(
    rankings: Mapping[str, Ranking],
    weights: Mapping[str, float] | None = None,
    k: float = RRF_K,
    *,
    by_clarity: bool = True,
) -> list[Fused]:
    """Weighted reciprocal rank fusion, best first.

    Args:
        rankings: for each channel its ids with scores (higher is better), best first, without repeats.
        weights: channel → weight ≥ 0; 1 for channels not named. A weight of 0 leaves the channel out.
        k: damping of the first ranks; a smaller one trusts them more.
        by_clarity: multiply every weight by the channel's :func:`clarity`; False is the plain method.

    Returns:
        Every id of any channel that takes part. The score is scaled so that rank 1 in every channel gives 1. Ties go to
        the better single rank, then to the smaller id: the order never depends on chance.
    """
    weights = weights or {}
    total = 0.0
    score: dict[str, float] = {}
    best: dict[str, int] = {}
    channels: dict[str, dict[str, float]] = {}
    for name, ranking in rankings.items():
        weight = weights.get(name, 1.0) * (clarity(ranking) if by_clarity else 1.0)
        if weight <= 0 or not ranking:
            continue
        total += weight / (k + 1)
        for rank, (item, value) in enumerate(ranking, start=1):
            score[item] = score.get(item, 0.0) + weight / (k + rank)
            best[item] = min(best.get(item, rank), rank)
            channels.setdefault(item, {})[name] = value
    order = sorted(score, key=lambda item: (-score[item], best[item], item))
    return [Fused(item, score[item] / total, channels[item]) for item in order]


def alpha_fusion(image_scores: Mapping[str, float], text_scores: Mapping[str, float], alpha: float) -> list[Fused]:
    """RS-RAG's score ``alpha * cos(image) + (1 - alpha) * cos(text)``, best first.

    Args:
        image_scores: id → cosine between the query image and the image of the item.
        text_scores: id → cosine between the question and the text of the item.
        alpha: weight of the image, in [0, 1].

    Returns:
        Every id of either mapping. A modality that the query lacks altogether (an empty mapping) leaves the other one
        with its full weight; an item that lacks a modality which the query has counts as cosine 0 there, which is what
        two unrelated vectors have.
    """
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha must lie in [0, 1], not {alpha}")
    image_weight = 1.0 if not text_scores else 0.0 if not image_scores else alpha
    fused = []
    for item in {**image_scores, **text_scores}:
        channels = {}
        if item in image_scores:
            channels["image"] = image_scores[item]
        if item in text_scores:
            channels["text"] = text_scores[item]
        score = image_weight * channels.get("image", 0.0) + (1 - image_weight) * channels.get("text", 0.0)
        fused.append(Fused(item, score, channels))
    return sorted(fused, key=lambda f: (-f.score, f.id))
