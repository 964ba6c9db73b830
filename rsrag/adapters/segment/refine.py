"""From a coarse heat map to outlines that follow the picture: GrabCut seeded by the heat, smoothed along edges.

The heat knows where something is to some 30 pixels; the picture knows where edges are. GrabCut (Rother et al. 2004)
learns the colours of hot and cold ground and cuts between them; it runs on a reduced copy of each window, with limits
of hot and cold that are those of the whole scene, so that neighbouring windows agree. A guided filter (He et al. 2013,
"Guided Image Filtering") brings the cut back to the full grid along the picture's edges.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from rsrag.models.base import Picture

Scores = npt.NDArray[np.float32]
LEAST = 0.12
"""A scene whose hottest place is cooler than this does not show the thing."""
RELATIVE = 0.6
"""Heat that parts hot from cold ground, as a share of the hottest."""
CUT = 0.7
"""Weight of the cut in the score; the heat has the rest."""
SIDE = 384
"""Longer side of the copy that is cut."""
RADIUS, EDGE = 6, 0.003
"""Of the guided filter: reach in pixels, and squared contrast (of brightness 0 to 1) from which an edge is kept."""
_BINS = 512
_RANGE = (0.08, 0.6)


@dataclass(eq=False)
class Counts:
    """Histogram of values in a range over a scene, counted window by window."""

    low: float = 0.0
    high: float = 1.0
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, dtype=np.int64))

    def add(self, values: Scores) -> None:
        """Count a window; NaN is left out."""
        known = values[np.isfinite(values)]
        self.counts += np.histogram(np.clip(known, self.low, self.high), bins=_BINS, range=(self.low, self.high))[0]

    @property
    def hottest(self) -> float:
        """Value that one pixel in two thousand reaches."""
        total = int(self.counts.sum())
        if total == 0:
            return self.low
        above = self.counts[::-1].cumsum()[::-1]
        place = int(np.flatnonzero(above >= max(1.0, total / 2000)).max())
        return self.low + (place + 0.5) * (self.high - self.low) / _BINS

    def parting(self) -> float:
        """Value that parts the histogram in two with the largest variance between the parts (Otsu 1979)."""
        total = self.counts.sum()
        if total == 0:
            return self.low
        share = self.counts.cumsum() / total
        weight = (self.counts * np.arange(_BINS)).cumsum() / total
        spread = share * (1 - share)
        between = np.where(spread > 1e-12, (weight[-1] * share - weight) ** 2 / np.maximum(spread, 1e-12), 0)
        best = np.flatnonzero(between >= between.max() * (1 - 1e-12))
        return self.low + (float(best.mean()) + 1.0) * (self.high - self.low) / _BINS

    def sides(self, value: float) -> tuple[float, float]:
        """Mean of the values below and of those above a value; NaN where there are none."""
        centres = self.low + (np.arange(_BINS) + 0.5) * (self.high - self.low) / _BINS
        below = centres < value
        with np.errstate(invalid="ignore"):
            low, high = (
                float((self.counts * centres)[part].sum() / self.counts[part].sum()) for part in (below, ~below)
            )
        return low, high


def middle_of(counts: Counts) -> float:
    """Heat that parts hot from cold ground in a scene."""
    return float(np.clip(RELATIVE * counts.hottest, *_RANGE))


def logit(values: Scores) -> Scores:
    """Log odds of shares, kept finite."""
    inside = np.clip(values, 1e-3, 1 - 1e-3)
    return np.asarray(np.log(inside / (1 - inside)), dtype=np.float32)


def sigmoid(values: Scores) -> Scores:
    """Shares of log odds."""
    return np.asarray(1 / (1 + np.exp(-values)), dtype=np.float32)


def scored(heat: Scores, middle: float) -> Scores:
    """Heat brought to 0.5 at the middle, in 0 to 1: float32 of the same shape; NaN stays."""
    return sigmoid(logit(heat) - logit(np.full(1, middle, dtype=np.float32)))


def refined(picture: Picture, heat: Scores, middle: float) -> Scores:
    """Score of every pixel from cut and heat, smoothed along edges: float32 [H, W] in 0 to 1.

    Args:
        picture: uint8 RGB [H, W, 3].
        heat: float32 [H, W]; NaN (nothing there) counts as cold and stays NaN.
        middle: heat that parts hot from cold.
    """
    known = np.isfinite(heat)
    filled = np.where(known, heat, np.float32(0)).astype(np.float32)
    front = cut(picture, filled, middle)
    total = CUT * front + (1 - CUT) * scored(filled, middle)
    found = guided(picture, total.astype(np.float32), RADIUS, EDGE)
    return np.where(known, np.clip(found, 0, 1), np.float32(np.nan)).astype(np.float32)


def cut(picture: Picture, heat: Scores, middle: float) -> Scores:
    """Foreground by GrabCut, 0 or 1 before enlargement, float32 [H, W]; all 0 where nothing is hot.

    Args:
        picture: uint8 RGB [H, W, 3].
        heat: float32 [H, W] without NaN.
        middle: heat above which ground is probably the thing; below half of it, it is surely not.
    """
    height, width = heat.shape
    scale = min(1.0, SIDE / max(height, width))
    size = max(8, round(width * scale)), max(8, round(height * scale))
    small = np.ascontiguousarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
    warm = cv2.resize(heat, size, interpolation=cv2.INTER_AREA)
    hot = warm > middle
    if not hot.any():
        return np.zeros((height, width), dtype=np.float32)
    mask = np.where(hot, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    mask[warm < middle / 2] = cv2.GC_BGD
    mask[warm >= max(middle, float(np.quantile(warm, 0.995)))] = cv2.GC_FGD
    if np.count_nonzero(~hot) >= 32 and np.count_nonzero(hot) >= 16:
        cv2.setRNGSeed(0)
        cv2.grabCut(small, mask, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    front = ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.float32)
    return np.asarray(cv2.resize(front, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def guided(picture: Picture, values: Scores, radius: int, edge: float) -> Scores:
    """A map smoothed where the picture is smooth: He et al. 2013 with brightness as guide; float32 [H, W].

    Args:
        picture: uint8 RGB [H, W, 3].
        values: float32 [H, W].
        radius: of the box windows in pixels.
        edge: regularisation, squared brightness of 0 to 1.
    """
    guide: Scores = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255)
    size = (2 * radius + 1, 2 * radius + 1)

    def mean(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.asarray(cv2.blur(x, size, borderType=cv2.BORDER_REFLECT_101), dtype=np.float32)

    light, average = mean(guide), mean(values)
    spread = mean(guide * guide) - light * light + np.float32(edge)
    slope: Scores = ((mean(guide * values) - light * average) / spread).astype(np.float32)
    return np.asarray(mean(slope) * guide + mean(average - slope * light), dtype=np.float32)
