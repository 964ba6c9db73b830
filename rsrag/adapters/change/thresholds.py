"""Automatic thresholds of a change magnitude, from its histogram alone: memory does not depend on the scene's size."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

BINS = 512


@dataclass(slots=True)
class Histogram:
    """Counts of values in [0, top]; larger ones are in the last bin.

    Attributes:
        top: upper end.
        counts: int64 [BINS].
    """

    top: float
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))

    def add(self, values: npt.NDArray[np.float32]) -> None:
        """Count values, NaN left out."""
        finite = values[np.isfinite(values)]
        positions = np.clip(finite * (BINS / self.top), 0, BINS - 1).astype(np.int64)
        self.counts += np.bincount(positions, minlength=BINS)

    @property
    def total(self) -> int:
        """How many values were counted."""
        return int(self.counts.sum())

    @property
    def centres(self) -> npt.NDArray[np.float64]:
        """Values in the middle of the bins."""
        return np.asarray((np.arange(BINS) + 0.5) * (self.top / BINS), dtype=np.float64)

    def upper(self, position: int) -> float:
        """Upper end of a bin."""
        return (position + 1) * self.top / BINS


def otsu(histogram: Histogram) -> float:
    """The value that separates two classes with the largest variance between them (Otsu 1979)."""
    weights = histogram.counts / max(1, histogram.total)
    below = np.cumsum(weights)
    mean = np.cumsum(weights * histogram.centres)
    above = 1 - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mean[-1] * below - mean) ** 2 / (below * above)
    between[~np.isfinite(between)] = -1
    best = np.flatnonzero(
        between >= between.max() - 1e-9 * abs(between.max())
    )  # an empty gap between the groups: its middle
    return histogram.upper(int(best[len(best) // 2]))


def kapur(histogram: Histogram) -> float:
    """The value that maximises the sum of both classes' entropies (Kapur, Sahoo & Wong 1985)."""
    p = histogram.counts / max(1, histogram.total)
    below = np.cumsum(p)
    plogp = np.where(p > 0, p * np.log(np.maximum(p, 1e-300)), 0.0)
    inner = np.cumsum(plogp)
    above = 1 - below
    with np.errstate(divide="ignore", invalid="ignore"):
        low = np.log(below) - inner / below
        high = np.log(above) - (inner[-1] - inner) / above
        entropy = low + high
    entropy[~np.isfinite(entropy)] = -math.inf
    return histogram.upper(int(np.argmax(entropy)))


def chi2_quantile(degrees: int, probability: float) -> float:
    """Quantile of the chi-square distribution (Wilson & Hilferty 1931; within 1 % for the tails used here)."""
    from statistics import NormalDist

    z = NormalDist().inv_cdf(probability)
    part = 2 / (9 * degrees)
    return float(degrees * max(0.0, 1 - part + z * math.sqrt(part)) ** 3)


def chi2_survival(values: npt.NDArray[np.float64], degrees: int) -> npt.NDArray[np.float64]:
    """Probability of larger values under the chi-square distribution, by the same approximation."""
    part = 2 / (9 * degrees)
    z = ((np.maximum(values, 0) / degrees) ** (1 / 3) - (1 - part)) / math.sqrt(part)
    # Abramowitz & Stegun 7.1.26, error below 1.5e-7.
    x = np.abs(z) / math.sqrt(2)
    t = 1 / (1 + 0.3275911 * x)
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    tail = 0.5 * poly * np.exp(-x * x)
    return np.where(z >= 0, tail, 1 - tail)
