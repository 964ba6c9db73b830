"""Small misregistration between two dates: phase correlation of patches, their robust median, below a pixel.

Phase correlation: Kuglin & Hines 1975, with a Hanning window and the sub-pixel centroid of OpenCV. It is computed on
gradient magnitudes, which stay where they are when the light changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from rsrag.adapters.change.pair import Pair
from rsrag.types import Window

PATCH = 128
"""Side of a patch in pixels."""
MOST = 49
"""Patches that are looked at."""
LARGEST = 16.0
"""Shifts beyond this many pixels are no small misregistration and are not corrected."""
_LEAST_RESPONSE = 0.05
_SPREAD_PX = 1.0
_GAIN = 0.02
"""Correlation that a correction must add, in the median over patches; resampling by itself adds less."""
_ALIKE = 0.3
"""Correlation that the corrected dates must reach: where nearly everything changed, any shift is a guess."""
_WORTH = 0.15
"""Shifts below this many pixels are left alone: resampling would blur for nothing."""


@dataclass(frozen=True, slots=True)
class Registration:
    """How the later image lies on the earlier one.

    Attributes:
        shift: columns and rows by which its content lies right of and below, in pixels; (0, 0) when not corrected.
        patches: how many patches agree on it.
        spread_px: median absolute deviation of the patches' shifts from their median.
        corrected: whether there was a shift to correct.
    """

    shift: tuple[float, float]
    patches: int
    spread_px: float
    corrected: bool


def register(pair: Pair) -> Registration:
    """Estimate the shift of the later image; nothing is corrected unless several patches agree on it.

    A second look at the corrected pair adds the remainder, as patches that overlap more say more. What changed may look
    like a shift, so the correction must also make most patches more alike.
    """
    found = _estimate(pair)
    if found is None:
        return Registration((0.0, 0.0), 0, 0.0, False)
    shift, patches, spread = found
    if max(map(abs, shift)) < _WORTH:
        return Registration((0.0, 0.0), patches, spread, False)
    again = _estimate(pair.moved(shift))
    if again is not None and max(map(abs, again[0])) < 1.0:
        shift, patches, spread = (shift[0] + again[0][0], shift[1] + again[0][1]), again[1], again[2]
    moved = pair.moved(shift)
    gains, after = [], []
    for window in _patches(pair.subject.width, pair.subject.height):
        one, two = _alike(pair, window), _alike(moved, window)
        if one is not None and two is not None:
            gains.append(two - one)
            after.append(two)
    better = bool(gains) and float(np.median(gains)) > _GAIN and float(np.mean(np.array(gains) > 0)) >= 2 / 3
    better = better and float(np.median(after)) > _ALIKE
    return Registration(shift if better else (0.0, 0.0), patches, spread, better)


def _alike(pair: Pair, window: Window) -> float | None:
    """Correlation of the structures of both dates in a window; None where it cannot be told."""
    before, after = pair.read(window)
    mask = before.mask & after.mask
    if mask.mean() < 0.5:
        return None
    one, two = _structure(pair.before.stretch.apply(before))[mask], _structure(pair.after.stretch.apply(after))[mask]
    if min(one.std(), two.std()) < 1e-3:
        return None
    return float(np.corrcoef(one, two)[0, 1])


def _estimate(pair: Pair) -> tuple[tuple[float, float], int, float] | None:
    """Shift, patches that agree, and their spread; None when they do not agree."""
    shifts = []
    for window in _patches(pair.subject.width, pair.subject.height):
        before, after = pair.read(window)
        if min(before.mask.mean(), after.mask.mean()) < 0.9:
            continue
        one, two = _structure(pair.before.stretch.apply(before)), _structure(pair.after.stretch.apply(after))
        if min(one.std(), two.std()) < 1e-3:
            continue
        hann = cv2.createHanningWindow((window.width, window.height), cv2.CV_32F)
        (dx, dy), response = cv2.phaseCorrelate(one, two, hann)
        if response >= _LEAST_RESPONSE and max(abs(dx), abs(dy)) <= LARGEST:
            shifts.append((dx, dy))
    if not shifts:
        return None
    found = np.asarray(shifts)
    median = np.median(found, axis=0)
    distance = np.abs(found - median).max(axis=1)
    agreeing = distance <= _SPREAD_PX
    needed = 1 if len(found) == 1 else max(2, -(-len(found) // 3))
    if agreeing.sum() < needed:
        return None
    centre = np.median(found[agreeing], axis=0)
    spread = float(np.median(np.abs(found[agreeing] - centre).max(axis=1)))
    return (float(centre[0]), float(centre[1])), int(agreeing.sum()), spread


def _structure(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Gradient magnitude of the grey picture, its largest values cut, zero mean: float32 [h, w]."""
    grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.0)
    edges = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    edges = np.minimum(edges, np.percentile(edges, 98))
    return np.asarray(edges - edges.mean(), dtype=np.float32)


def _patches(width: int, height: int) -> list[Window]:
    """Patches spread evenly over the grid; a small image is divided into four that overlap."""
    side_x, side_y = min(PATCH, width), min(PATCH, height)
    if width < 2 * PATCH:
        side_x = max(16, min(width, (width * 2) // 3))
    if height < 2 * PATCH:
        side_y = max(16, min(height, (height * 2) // 3))
    across = int(np.clip(width // side_x + 1, 1, 7))
    down = int(np.clip(height // side_y + 1, 1, 7))
    cols = sorted({int(v) for v in np.linspace(0, width - side_x, across)})
    rows = sorted({int(v) for v in np.linspace(0, height - side_y, down)})
    return [Window(c, r, side_x, side_y) for r in rows for c in cols][:MOST]
