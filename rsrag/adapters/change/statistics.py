"""What a whole pair is needed for: a sample of pixel pairs, invariant pixels by IR-MAD, and the radiometric mapping.

One pass over the scene keeps at most :data:`MOST` pixel pairs on a regular lattice, so memory does not depend on size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rsrag.adapters.change.clouds import clouds
from rsrag.adapters.change.pair import Pair
from rsrag.adapters.change.thresholds import chi2_survival
from rsrag.adapters.sweep import steps, sweep
from rsrag.progress import Progress

Values = npt.NDArray[np.float64]
MOST = 200_000
"""Pixel pairs that statistics are made of, about."""
CORE = 512
_ITERATIONS = 30
_TOLERANCE = 1e-3
_RIDGE = 1e-6
_INVARIANT = 0.05
"""Probability of no change from which a pixel counts as invariant."""
_LEAST_INVARIANT = 200


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


def ir_mad(before: Values, after: Values) -> Mad | None:
    """IR-MAD of a sample; None when there are too few pixels or a date has no variance.

    Args:
        before: [n, bands].
        after: [n, bands].
    """
    if len(before) < 10 * before.shape[1] or min(before.std(axis=0).max(), after.std(axis=0).max()) < 1e-9:
        return None
    weights = np.ones(len(before))
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
    return found


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
        gain: [bands].
        offset: [bands].
        noise: standard deviation of what is left on invariant pixels, [bands].
        invariant: share of the sample that is invariant.
        how: "invariant pixels" or "mean and spread".
    """

    gain: Values
    offset: Values
    noise: Values
    invariant: float
    how: str

    def apply(self, after: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Values [bands, h, w] of the later date as the earlier one would show them."""
        shape = (-1, 1, 1)
        return np.asarray(
            after * self.gain.reshape(shape).astype(np.float32) + self.offset.reshape(shape).astype(np.float32)
        )


def radiometry(before: Values, after: Values, mad: Mad | None) -> Radiometry:
    """A line a band, by orthogonal regression on the pixels that IR-MAD finds invariant (Canty & Nielsen 2008).

    Without enough of them mean and standard deviation of all pixels are matched.
    """
    bands = before.shape[1]
    if not len(before):
        return Radiometry(np.ones(bands), np.zeros(bands), np.ones(bands), 0.0, "mean and spread")
    chosen = np.ones(len(before), dtype=np.bool_)
    how = "mean and spread"
    if mad is not None:
        invariant = chi2_survival(mad.chi2(before, after), mad.degrees) > _INVARIANT
        if invariant.sum() >= max(_LEAST_INVARIANT, 0.02 * len(before)):
            chosen, how = invariant, "invariant pixels"
    x, y = after[chosen], before[chosen]
    gain, offset = np.ones(bands), np.zeros(bands)
    for band in range(bands):
        gain[band], offset[band] = _line(x[:, band], y[:, band])
    left = np.abs(y - (x * gain + offset))
    spread = np.maximum(before.std(axis=0), 1e-9)
    noise = np.maximum(1.4826 * np.median(left, axis=0), 0.02 * spread)
    return Radiometry(gain, offset, noise, float(chosen.mean()) if how == "invariant pixels" else 0.0, how)


def _line(x: Values, y: Values) -> tuple[float, float]:
    """Gain and offset from x to y: orthogonal regression where they go together, else mean and spread matched."""
    sx, sy = float(x.std()), float(y.std())
    if sx < 1e-9 or sy < 1e-9:
        return 1.0, float(y.mean() - x.mean())
    covariance = float(np.mean((x - x.mean()) * (y - y.mean())))
    correlation = covariance / (sx * sy)
    if correlation > 0.3:
        difference = sy * sy - sx * sx
        gain = (difference + np.sqrt(difference * difference + 4 * covariance * covariance)) / (2 * covariance)
    else:
        gain = sy / sx
    gain = float(np.clip(gain, 0.2, 5.0))
    return gain, float(y.mean() - gain * x.mean())
