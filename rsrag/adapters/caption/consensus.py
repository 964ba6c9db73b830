"""Which of several sentences says what most say: the largest mean CIDEr-D to the others (minimum Bayes risk)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

Grams = tuple[Counter[tuple[str, ...]], ...]
ORDERS = 4
SIGMA = 6.0
"""Width in words of the penalty on a difference in length (Vedantam et al. 2015, CIDEr-D)."""


def grams(words: Sequence[str]) -> Grams:
    """Counts of the n-grams of a sentence for n = 1 to 4."""
    return tuple(Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1)) for n in range(1, ORDERS + 1))


def document_frequency(documents: Sequence[Sequence[Grams]]) -> Counter[tuple[str, ...]]:
    """In how many documents (pictures with all their sentences) each n-gram occurs."""
    found: Counter[tuple[str, ...]] = Counter()
    for sentences in documents:
        found.update({gram for sentence in sentences for counts in sentence for gram in counts})
    return found


def cider_d(candidate: Grams, reference: Grams, frequency: Mapping[tuple[str, ...], int], documents: int) -> float:
    """CIDEr-D of one sentence against one other, times 10 as usual (Vedantam et al. 2015, section 5).

    Counts of the candidate are clipped to those of the reference; the difference in length is penalised.

    Args:
        candidate: of the sentence judged.
        reference: of the other.
        frequency: documents that hold an n-gram; those in none count as one.
        documents: how many there are.
    """
    ceiling = math.log(max(documents, 2))
    length = sum(candidate[0].values()) - sum(reference[0].values())
    penalty = math.exp(-(length**2) / (2 * SIGMA**2))
    total = 0.0
    for ours, theirs in zip(candidate, reference, strict=True):
        weigh = {gram: ceiling - math.log(max(1, frequency.get(gram, 0))) for gram in {*ours, *theirs}}
        own = {gram: count * weigh[gram] for gram, count in ours.items()}
        other = {gram: count * weigh[gram] for gram, count in theirs.items()}
        norm = math.sqrt(sum(v * v for v in own.values())) * math.sqrt(sum(v * v for v in other.values()))
        if norm:
            total += penalty * sum(min(value, other.get(g, 0.0)) * other.get(g, 0.0) for g, value in own.items()) / norm
    return 10 * total / ORDERS


def choose(
    candidates: Sequence[Sequence[str]],
    voters: Sequence[Sequence[str]],
    weights: Sequence[float],
    frequency: Mapping[tuple[str, ...], int],
    documents: int,
) -> list[tuple[int, float]]:
    """Candidates with their weighted mean CIDEr-D to the voters, best first; equal ones in their order.

    Args:
        candidates: sentences as words.
        voters: sentences as words.
        weights: of the voters, not negative.
        frequency: see :func:`cider_d`.
        documents: see :func:`cider_d`.
    """
    ours, theirs = [grams(words) for words in candidates], [grams(words) for words in voters]
    ceiling = math.log(max(documents, 2))
    lengths = [np.array([sum(counts[0].values()) for counts in side], dtype=np.float64) for side in (ours, theirs)]
    likeness = np.zeros((len(ours), len(theirs)))
    for order in range(ORDERS):
        known = {gram: n for n, gram in enumerate({g: None for side in (ours, theirs) for c in side for g in c[order]})}
        rarity = np.array([ceiling - math.log(max(1, frequency.get(gram, 0))) for gram in known])
        own, other = (np.zeros((len(side), len(known))) for side in (ours, theirs))
        for table, side in ((own, ours), (other, theirs)):
            for row, counts in enumerate(side):
                for gram, count in counts[order].items():
                    table[row, known[gram]] = count * rarity[known[gram]]
        norms = np.outer(np.linalg.norm(own, axis=1), np.linalg.norm(other, axis=1))
        shared = np.stack([(np.minimum(row, other) * other).sum(axis=1) for row in own])
        likeness += np.divide(shared, norms, out=np.zeros_like(shared), where=norms > 0)
    likeness *= np.exp(-((lengths[0][:, None] - lengths[1]) ** 2) / (2 * SIGMA**2)) * 10 / ORDERS
    scores = likeness @ np.asarray(weights, dtype=np.float64) / (sum(weights) or 1.0)
    return sorted(enumerate(scores.tolist()), key=lambda pair: (-pair[1], pair[0]))
