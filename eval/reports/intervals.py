"""How far a mean may be off: percentile bootstrap over independent groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

DRAWS = 2000
LEVEL = 0.95


def mean_interval(values: Sequence[float], groups: Sequence[int] | None = None, seed: int = 0) -> tuple[float, float]:
    """Interval that holds the mean of 95 % of resamples.

    Whole groups are drawn with replacement, as many as there are, and all their values pooled, so that values which
    share a scene or a picture do not count as independent (Field & Welsh, "Bootstrapping clustered data", 2007).

    Args:
        values: measured, at least one.
        groups: which of them belong together; each by itself when not given.
        seed: of the draws.
    """
    _, owner = np.unique(range(len(values)) if groups is None else groups, return_inverse=True)
    sums = np.bincount(owner, weights=np.asarray(values, dtype=np.float64))
    counts = np.bincount(owner)
    rng = np.random.default_rng(seed)
    means = []
    for start in range(0, DRAWS, block := max(1, 4_000_000 // len(sums))):
        drawn = rng.integers(0, len(sums), (min(block, DRAWS - start), len(sums)))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    low, high = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
