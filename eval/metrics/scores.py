"""Figures of classification and retrieval, in per cent, from scores alone.

Equal scores are never decided by their order: a hit among k counts with the probability that it has under every order
of the tied ones, so that figures do not change when pictures, texts or classes are shuffled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

KS = (1, 5, 10)
BINS = 15
DRAWS = 1000
LEVEL = 0.95
_FIT_ROWS = 5000
_RANGE = (1e-3, 1.0)
"""Temperatures among which one is fitted."""


# --- classification -------------------------------------------------------------------------------------------------


def probabilities(scores: Floats, temperature: float) -> Array:
    """Softmax of cosines over a temperature: float64 of shape [N, C]."""
    logits = np.asarray(scores, dtype=np.float64) / temperature
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def top_k(scores: Floats, truth: Ints, k: int) -> float:
    """Share of rows whose true column is among the best k.

    Args:
        scores: [N, C], larger is better.
        truth: column that is right, of shape [N].
    """
    one = np.ones(1)
    own = [(truth[row : row + 1], one) for row in range(len(truth))]
    return 100 * float(hits(scores, np.ones(scores.shape[1]), own, (k,)).mean())


def confusion(truth: Ints, predicted: Ints, classes: int) -> Ints:
    """Counts by true class (rows) and predicted class (columns): int64 of shape [C, C + 1].

    The last column counts rows with ``predicted`` = -1, the ones called unknown.
    """
    columns = np.where(predicted < 0, classes, predicted)
    flat = np.bincount(truth * (classes + 1) + columns, minlength=classes * (classes + 1))
    return np.asarray(flat.reshape(classes, classes + 1), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions with a confidence in (low, high]; ``confidence`` and ``accuracy`` are means in per cent."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def reliability(confidence: Floats, correct: npt.NDArray[np.bool_], bins: int = BINS) -> list[Bin]:
    """Predictions sorted into bins of equal width by their confidence, which lies in (0, 1]."""
    places = np.clip(np.ceil(np.asarray(confidence, dtype=np.float64) * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(places, minlength=bins)
    sure = np.bincount(places, weights=confidence, minlength=bins)
    right = np.bincount(places, weights=correct, minlength=bins)
    return [
        Bin(i / bins, (i + 1) / bins, int(n), 100 * float(s) / max(int(n), 1), 100 * float(r) / max(int(n), 1))
        for i, (n, s, r) in enumerate(zip(counts, sure, right, strict=True))
    ]


def ece(bins: Sequence[Bin]) -> float:
    """Expected calibration error (Naeini et al. 2015; Guo et al. 2017, equation 3), in percentage points.

    The mean over predictions of |accuracy - confidence| of their bin.
    """
    total = sum(b.count for b in bins)
    return sum(b.count * abs(b.accuracy - b.confidence) for b in bins) / total if total else 0.0


def fit_temperature(scores: Floats, truth: Ints) -> float:
    """The temperature in [0.001, 1] under which the true classes are likeliest (Guo et al. 2017, section 4.2).

    Golden-section search on its logarithm; of many rows every n-th is used.
    """
    step = max(1, len(scores) // _FIT_ROWS)
    kept, right = np.asarray(scores[::step], dtype=np.float64), truth[::step]
    kept = kept - kept.max(axis=1, keepdims=True)
    own = kept[np.arange(len(right)), right]

    def loss(log_t: float) -> float:
        t = np.exp(log_t)
        return float(np.mean(np.log(np.exp(kept / t).sum(axis=1)) - own / t))

    low, high = (float(np.log(end)) for end in _RANGE)
    ratio = (5**0.5 - 1) / 2
    while high - low > 1e-3:
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if loss(a) < loss(b) else (a, high)
    return float(np.exp((low + high) / 2))


def coverage(
    confidence: Floats, correct: npt.NDArray[np.bool_], thresholds: Sequence[float]
) -> list[tuple[float, float, float | None]]:
    """For every threshold the share of predictions at or above it, and their accuracy (None when there are none)."""
    rows: list[tuple[float, float, float | None]] = []
    for threshold in thresholds:
        kept = confidence >= threshold
        accuracy = 100 * float(correct[kept].mean()) if kept.any() else None
        rows.append((threshold, 100 * float(kept.mean()), accuracy))
    return rows


# --- retrieval ------------------------------------------------------------------------------------------------------


Relevant = tuple[Ints, Array]
"""Columns that are relevant to a row, each once, and how many of the equal columns behind each of them are."""


def hit_chances(above: Array, tied: Array, right: Array, ks: Sequence[int] = KS) -> Array:
    """Probability that one of the best k is relevant, when ties come in every order: [B, K].

    Args:
        above: columns better than the best relevant one, [B].
        tied: columns as good as it, itself included, [B].
        right: how many of these are relevant, [B].
        ks: ranks.
    """
    result = np.zeros((len(above), len(ks)))
    for column, k in enumerate(ks):
        room = np.clip(k - above, 0, tied)
        missed = np.ones(len(above))
        for drawn in range(k):
            chance = (tied - right - drawn) / np.maximum(tied - drawn, 1)
            missed = np.where(drawn < room, missed * np.clip(chance, 0, 1), missed)
        result[:, column] = 1 - missed
    return result


def hits(scores: Floats, weights: Floats, relevant: Sequence[Relevant], ks: Sequence[int] = KS) -> Array:
    """Probability that a relevant column is among the best k of each row, ties in every order: [B, K].

    Args:
        scores: [B, M], larger is better.
        weights: how many equal columns each column stands for, at least 1, of shape [M].
        relevant: for every row its relevant columns; a row without any has no hits.
        ks: ranks.
    """
    best = np.array([scores[row, own].max(initial=-np.inf) for row, (own, _) in enumerate(relevant)], scores.dtype)
    better = np.count_nonzero(scores > best[:, None], axis=1)
    above, tied, right = better.astype(np.float64), np.ones(len(scores)), np.zeros(len(scores))
    for row in np.flatnonzero((better < max(ks)) & np.isfinite(best)).tolist():  # the others have no hits at all
        own, counts = relevant[row]
        columns = np.flatnonzero(scores[row] >= best[row])
        level = scores[row, columns] == best[row]
        above[row], tied[row] = weights[columns[~level]].sum(), weights[columns[level]].sum()
        right[row] = counts[scores[row, own] == best[row]].sum()
    return hit_chances(above, tied, right, ks)


def chunked_hits(
    queries: Floats,
    gallery: Floats,
    weights: Floats,
    relevant: Callable[[int], Relevant],
    *,
    ks: Sequence[int] = KS,
    cells: int = 16_000_000,
    advance: Callable[[int], None] = lambda _: None,
) -> Array:
    """:func:`hits` of every query without ever holding the whole table of scores.

    Args:
        queries: unit vectors [N, D].
        gallery: unit vectors [M, D].
        weights: how many equal entries each gallery entry stands for, [M].
        relevant: a query's relevant gallery entries by the query's number.
        ks: ranks.
        cells: most scores held at once.
        advance: told how many queries are done.

    Returns:
        float64 of shape [N, K].
    """
    parts = [np.zeros((0, len(ks)))]
    for start, stop in _blocks(len(queries), max(1, cells // max(1, len(gallery)))):
        own = [relevant(row) for row in range(start, stop)]
        parts.append(hits(queries[start:stop] @ gallery.T, weights, own, ks))
        advance(stop - start)
    return np.concatenate(parts)


def _blocks(count: int, step: int) -> Iterator[tuple[int, int]]:
    for start in range(0, count, step):
        yield start, min(start + step, count)


def mean_recall_interval(i2t: Array, t2i_sums: Array, t2i_counts: Ints, seed: int = 0) -> tuple[float, float]:
    """95 % interval of mR by a percentile bootstrap over pictures, each drawn together with its texts.

    What is searched stays as it is; the interval speaks about other queries of the same kind.

    Args:
        i2t: hits of every picture, [N, K].
        t2i_sums: sum over each picture's texts of their hits, [N, K].
        t2i_counts: number of each picture's texts, [N].
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    count = len(i2t)
    means = []
    for _ in range(DRAWS):
        drawn = np.bincount(rng.integers(0, count, count), minlength=count).astype(np.float64)
        texts = drawn @ t2i_counts
        t2i = (drawn @ t2i_sums).mean() / texts if texts else 0.0
        means.append(((drawn @ i2t).mean() / count + t2i) / 2)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return 100 * float(low), 100 * float(high)
