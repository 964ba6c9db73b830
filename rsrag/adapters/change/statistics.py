"""What a whole pair is needed for: a sample of pixel pairs, invariant pixels by IR-MAD, and the radiometric mapping.

One pass over the scene keeps at most :data:`MOST` pixel pairs on a regular lattice, so memory does not depend on size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rsrag.adapters.change.clouds import clouds
from rsrag.adapters.change.pair import Pair
from rsrag.adapters.change.thresholds import chi2_quantile, chi2_survival
from rsrag.adapters.sweep import steps, sweep
from rsrag.progress import Progress

Values = npt.NDArray[np.float64]
MOST = 60_000
"""Pixel pairs that statistics are made of, about."""
CORE = 512
_ITERATIONS = 30
_TOLERANCE = 1e-3
_RIDGE = 1e-6
_INVARIANT = 0.05
"""Probability of no change from which a pixel counts as invariant."""
_LEAST = 50
_LEAST_NOISE = 0.08
"""Least noise as a share of a band's spread: curves of light that are no parabola leave as much."""
_LEAST_SPREAD = 0.12
"""Least spread of a MAD variate of unit variance, for the same reason."""
_REWEIGHTED = 8
_SLOPES = (0.4, 2.5)
"""Slopes are at least and at most so many times that of the line they start from."""
_BENDS = (0.15, 4.0)
"""The same for the ends of a parabola."""
_MUCH_BETTER = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Pixel pairs of the whole scene.

    Attributes:
        before: float64 [n, bands].
        after: float64 [n, bands].
        look_before: the same pixels in the picture, float64 RGB [n, 3].
        look_after: the same of the later date.
        valid: pixels that both dates have, all of the scene.
        total: pixels of the scene.
        clouded: pixels left out as clouds.
    """

    before: Values
    after: Values
    look_before: Values
    look_after: Values
    valid: int
    total: int
    clouded: int


def sample(pair: Pair, *, mask_clouds: bool, progress: Progress) -> Sample:
    """Look at every window once, and keep a lattice of valid pixel pairs."""
    width, height = pair.subject.width, pair.subject.height
    stride = max(1, int(np.ceil(np.sqrt(width * height / MOST))))
    befores: list[Values] = []
    afters: list[Values] = []
    looks: tuple[list[Values], list[Values]] = ([], [])
    valid = clouded = 0
    progress.start("statistics", steps(width, height, core=CORE), unit="windows")
    for step in sweep(width, height, core=CORE, margin=0):
        one, two = pair.read(step.outer)
        mask = one.mask & two.mask
        pictures = pair.before.stretch.apply(one), pair.after.stretch.apply(two)
        if mask_clouds and mask.any():
            cloudy = clouds(pictures[0]) | clouds(pictures[1])
            clouded += int((cloudy & mask).sum())
            mask = mask & ~cloudy
        valid += int(mask.sum())
        rows = slice(-step.outer.row % stride, None, stride)
        cols = slice(-step.outer.col % stride, None, stride)
        kept = mask[rows, cols]
        if kept.any():
            first, second = pair.values(one, two)
            befores.append(first[:, rows, cols][:, kept].T.astype(np.float64))
            afters.append(second[:, rows, cols][:, kept].T.astype(np.float64))
            for found, picture in zip(looks, pictures, strict=True):
                found.append(picture[rows, cols][kept].astype(np.float64))
        progress.advance()
    progress.finish()
    bands = len(pair.roles) or 3
    return Sample(
        _joined(befores, bands), _joined(afters, bands), _joined(looks[0], 3), _joined(looks[1], 3), valid,
        width * height, clouded,
    )  # fmt: skip


def _joined(parts: list[Values], columns: int) -> Values:
    return np.concatenate([np.zeros((0, columns)), *parts])


@dataclass(frozen=True, slots=True, eq=False)
class Mad:
    """Iteratively re-weighted multivariate alteration detection (Nielsen 2007).

    Attributes:
        mean_before: [bands].
        mean_after: [bands].
        left: canonical vectors of the earlier date, [bands, k].
        right: of the later one, [bands, k].
        spread: standard deviation of each MAD variate among invariant pixels, [k].
        correlations: canonical correlations, [k].
        iterations: until they stood still.
    """

    mean_before: Values
    mean_after: Values
    left: Values
    right: Values
    spread: Values
    correlations: Values
    iterations: int

    def chi2(self, before: Values, after: Values) -> Values:
        """Sum of squared standardised variates, chi-square distributed where nothing changed: [n] of [n, bands]."""
        variates = (before - self.mean_before) @ self.left - (after - self.mean_after) @ self.right
        return np.asarray(np.sum((variates / self.spread) ** 2, axis=1))

    @property
    def degrees(self) -> int:
        """Degrees of freedom."""
        return len(self.spread)


def ir_mad(before: Values, after: Values, weights: Values | None = None) -> Mad | None:
    """IR-MAD of a sample; None when there are too few pixels or a date has no variance.

    Args:
        before: [n, bands].
        after: [n, bands].
        weights: to begin with, [n]: canonical correlation by itself is content with any relation, a reversed one too.
    """
    if len(before) < 10 * before.shape[1] or min(before.std(axis=0).max(), after.std(axis=0).max()) < 1e-9:
        return None
    weights = np.ones(len(before)) if weights is None or weights.sum() < 0.05 * len(before) else weights
    last = np.zeros(before.shape[1])
    found: Mad | None = None
    for iteration in range(1, _ITERATIONS + 1):
        step = _mad(before, after, weights, iteration)
        if step is None:
            break
        found = step
        if np.max(np.abs(found.correlations - last)) < _TOLERANCE:
            break
        last = found.correlations
        weights = chi2_survival(found.chi2(before, after), found.degrees)
        if weights.sum() < 10 * before.shape[1]:
            break
    return None if found is None else _calibrated(found, before, after)


def _calibrated(found: Mad, before: Values, after: Values) -> Mad:
    """Weights favour pixels without noise, so that the spread of no change is understated: the median puts it right."""
    stretch = float(np.median(found.chi2(before, after))) / chi2_quantile(found.degrees, 0.5)
    return replace(found, spread=np.maximum(found.spread * np.sqrt(max(1.0, stretch)), _LEAST_SPREAD))


def _mad(before: Values, after: Values, weights: Values, iteration: int) -> Mad | None:
    total = weights.sum()
    mean_x, mean_y = weights @ before / total, weights @ after / total
    x, y = before - mean_x, after - mean_y
    weighted_x, weighted_y = x * weights[:, None], y * weights[:, None]
    xx, yy, xy = weighted_x.T @ x / total, weighted_y.T @ y / total, weighted_x.T @ y / total
    xx += np.eye(len(xx)) * (_RIDGE * np.trace(xx) / len(xx) + 1e-12)
    yy += np.eye(len(yy)) * (_RIDGE * np.trace(yy) / len(yy) + 1e-12)
    try:
        root_x, root_y = np.linalg.cholesky(xx), np.linalg.cholesky(yy)
        inner = np.linalg.solve(root_x, np.linalg.solve(root_y, xy.T).T)
        u, rho, vt = np.linalg.svd(inner)
        left, right = np.linalg.solve(root_x.T, u), np.linalg.solve(root_y.T, vt.T)
    except np.linalg.LinAlgError:
        return None
    rho = np.clip(rho, 0, 1 - 1e-9)
    return Mad(mean_x, mean_y, left, right, np.sqrt(2 * (1 - rho)), rho, iteration)


@dataclass(frozen=True, slots=True, eq=False)
class Radiometry:
    """How values of the later date become values of the earlier one where nothing changed.

    Attributes:
        curve: coefficients of 1, v and v² for each band, [bands, 3].
        low: values below go on along the tangent, [bands].
        high: values above do, [bands].
        noise: standard deviation of what is left on invariant pixels, [bands].
        invariant: share of the sample that is invariant.
    """

    curve: Values
    low: Values
    high: Values
    noise: Values
    invariant: float

    def apply(self, after: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Values [bands, ...] of the later date as the earlier one would show them."""
        shape = (-1, *(1,) * (after.ndim - 1))
        c0, c1, c2 = (self.curve[:, i].reshape(shape) for i in range(3))
        inside = np.clip(after, self.low.reshape(shape), self.high.reshape(shape))
        tangent = (after - inside) * (c1 + 2 * c2 * inside)
        return np.asarray(c0 + c1 * inside + c2 * inside * inside + tangent, dtype=np.float32)


def radiometry(before: Values, after: Values) -> tuple[Radiometry, Values]:
    """A line a band, or a parabola where light differs by more, and every pixel's weight as unchanged, [n].

    Iteratively re-weighted, so that the pseudo-invariant pixels are found on the way: those near the line in all bands.
    It starts from the best of three lines: equal, median and spread, mean and spread.
    """
    bands = before.shape[1]
    if len(before) < _LEAST:
        flat = np.tile([0.0, 1.0, 0.0], (bands, 1))
        return Radiometry(flat, np.zeros(bands), np.zeros(bands), np.ones(bands), 0.0), np.ones(len(before))
    fits = [_curve(after[:, band], before[:, band]) for band in range(bands)]
    low, high = np.percentile(after, 0.5, axis=0), np.percentile(after, 99.5, axis=0)
    found = Radiometry(np.array(fits), low, high, np.ones(bands), 0.0)
    left = np.abs(before - found.apply(after.T).T)
    spread = np.maximum(before.std(axis=0), 1e-9)
    noise = np.maximum(1.4826 * np.median(left, axis=0), _LEAST_NOISE * spread)
    weights = chi2_survival(np.sum((left / noise) ** 2, axis=1), bands)
    near = weights > _INVARIANT
    if near.sum() >= _LEAST:
        # Among invariant pixels the spread is wider where the ground is rough: not the median alone counts.
        noise = np.maximum(noise, np.sqrt(np.mean(left[near] ** 2, axis=0)))
    return Radiometry(found.curve, low, high, noise, float(near.mean())), weights


def _curve(x: Values, y: Values) -> Values:
    """Coefficients of 1, v, v² from x to y."""
    centre, scale = float(np.median(x)), max(float(x.std()), 1e-9)
    u = (x - centre) / scale
    if y.std() < 1e-9 or x.std() < 1e-9:
        return np.array([np.median(y) - np.median(x), 1.0, 0.0])
    lines = [(1.0, 0.0)]
    for middle, spread in ((np.median, _mad_of), (np.mean, np.std)):
        gain = float(np.clip(spread(y) / max(float(spread(x)), 1e-9), 0.2, 5.0))
        lines.append((gain, float(middle(y) - gain * middle(x))))
    gain, offset = min(lines, key=lambda line: float(np.median(np.abs(y - line[0] * x - line[1]))))
    line = np.array([gain * centre + offset, gain * scale, 0.0])
    for _ in range(_REWEIGHTED):
        w = _tukey(y - line[0] - line[1] * u, y)
        total = max(float(w.sum()), 1e-9)
        mean_u, mean_y = float(w @ u) / total, float(w @ y) / total
        spread_u = np.sqrt(max(float(w @ (u - mean_u) ** 2) / total, 1e-12))
        spread_y = np.sqrt(float(w @ (y - mean_y) ** 2) / total)
        # Both dates are noisy: the ratio of spreads is not flattened by noise, as least squares would be.
        slope = float(np.clip(spread_y / spread_u, _SLOPES[0] * gain * scale, _SLOPES[1] * gain * scale))
        line = np.array([mean_y - slope * mean_u, slope, 0.0])
    coefficients = _bent(u, y, line)
    a, b, c = coefficients
    return np.array(
        [a - b * centre / scale + c * (centre / scale) ** 2, b / scale - 2 * c * centre / scale**2, c / scale**2]
    )


def _tukey(left: Values, y: Values) -> Values:
    """Weights of residuals [n] (Beaton & Tukey 1974)."""
    width = max(4.685 * 1.4826 * float(np.median(np.abs(left))), 0.02 * float(y.std()))
    return np.clip(1 - (left / width) ** 2, 0, None) ** 2


def _bent(u: Values, y: Values, line: Values) -> Values:
    """A parabola in place of the line where it fits much better and bends little: another gamma, not another scene."""
    columns = np.stack([np.ones_like(u), u, u * u], axis=1)
    tried = line.copy()
    for _ in range(_REWEIGHTED):
        weighted = columns * _tukey(y - columns @ tried, y)[:, None]
        try:
            tried = np.asarray(np.linalg.solve(weighted.T @ columns + 1e-9 * np.eye(3), weighted.T @ y), np.float64)
        except np.linalg.LinAlgError:
            return line
    slopes = tried[1] + 2 * tried[2] * np.percentile(u, (0.5, 99.5))
    tame = slopes.min() > _BENDS[0] * line[1] and slopes.max() < _BENDS[1] * line[1]
    # In the middle a line is always good enough: what counts are the ends, short of what changed.
    bent, straight = (float(np.percentile(np.abs(y - columns @ c), 80)) for c in (tried, line))
    return tried if tame and bent < _MUCH_BETTER * straight else line


def _mad_of(values: Values) -> float:
    return float(np.median(np.abs(values - np.median(values))))
