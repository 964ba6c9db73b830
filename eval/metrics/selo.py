"""Indicators of semantic localisation: how well a map of likelihood shows where a text is true.

Source: Z. Yuan et al., "Learning to Evaluate Performance of Multimodal Semantic Localization", IEEE TGRS 2022
(SeLo, arXiv 2209.06515), and the evaluator that its authors publish with the AIR-SLT test set. Their names:

=====  ==========================  ======  ==================================================================
Rsu    significant area            higher  likelihood inside the annotated regions against outside, by area
Ras    attention shift             lower   from the middle of a region to the attention centres near it
Rda    discrete attention          higher  one centre in a region is better than several that lie apart
Rmi    combined                    higher  0.40 Rsu + 0.35 (1 - Ras) + 0.25 Rda
=====  ==========================  ======  ==================================================================

The published windows (median 251, box 50, neighbourhood 1000) are pixels of images that were cut into crops of 256,
512 and 768 pixels. Here they are given in *units*, a unit being 1/256 of the smallest crop, so that a map of another
size or resolution is measured alike; with crops from 256 pixels on a map of full resolution they are the published
ones.

Deviations from the published evaluator, all below its own rounding except the first: a region that overlaps another
one adds to the mask instead of cancelling it; centres and radii are not cut to whole pixels; maps do not pass through
a JPEG file. With no attention centre at all Ras is 1 and Rda 0, as there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import shapely

Map = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Centre = tuple[float, float]

UNIT = 256
"""Pixels of the smallest published crop, in which the published window sizes are given."""
MEDIAN, BOX, BOXES, NEIGHBOURHOOD = 251, 50, 5, 1000
NAMES = ("rsu", "rda", "ras", "rmi")
_BETA, _EPS = 0.707, 1e-7
_REACH = 1.5
_WIDEST_MEDIAN = 255
"""Side of the largest window whose pixels OpenCV's median filter can count."""
_SHIFT = 3.0
_LONELY = 0.5
_W_SU, _W_AS, _W_DA = 0.40, 0.35, 0.25


@dataclass(frozen=True, slots=True)
class Indicators:
    """What one map reached for one text.

    Attributes:
        rsu: significant area proportion, 0..1, higher is better.
        rda: discrete attention, 0..1, higher is better.
        ras: attention shift, 0..1, lower is better.
        rmi: all of them in one, 0..1, higher is better.
        centres: attention centres (x, y) in map pixels, strongest first.
    """

    rsu: float
    rda: float
    ras: float
    rmi: float
    centres: tuple[Centre, ...] = ()

    def figures(self) -> dict[str, float]:
        """The four figures by name."""
        return dict(zip(NAMES, (self.rsu, self.rda, self.ras, self.rmi), strict=True))


def normalise(values: npt.NDArray[np.floating]) -> Map:
    """Stretch a map to [0, 1] by its least and greatest value; NaN stays.

    A map that is the same everywhere says that everything is as likely: it becomes 1 everywhere.

    Args:
        values: [H, W], any range.

    Returns:
        float32 [H, W].
    """
    known = np.isfinite(values)
    if not known.any():
        return np.full(values.shape, np.nan, dtype=np.float32)
    low, high = float(values[known].min()), float(values[known].max())
    if high <= low:
        return np.where(known, 1.0, np.nan).astype(np.float32)
    return ((values - low) / (high - low)).astype(np.float32)


def soften(likelihood: Map, unit: float) -> Map:
    """The median filter of the published procedure, in 8 bits as there; of a shrunk map where its window is too wide.

    Args:
        likelihood: float32 [H, W] in [0, 1]; NaN counts as 0 and stays.
        unit: map pixels per unit.

    Returns:
        float32 [H, W] in [0, 1].
    """
    side = 2 * round((MEDIAN * unit - 1) / 2) + 1
    if side < 3:
        return likelihood
    known = np.isfinite(likelihood)
    smooth = _median(_grey(likelihood), side).astype(np.float32) / np.float32(255)
    return np.where(known, smooth, np.float32(np.nan)).astype(np.float32)


def _median(grey: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Median over squares of an odd side; wide squares are taken of the map shrunk so far that OpenCV can do them."""
    if side <= _WIDEST_MEDIAN:
        return np.asarray(cv2.medianBlur(grey, side), dtype=np.uint8)
    height, width = grey.shape
    shrink = math.ceil(side / _WIDEST_MEDIAN)
    size = (math.ceil(width / shrink), math.ceil(height / shrink))
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    smooth = cv2.medianBlur(small, 2 * round((side / shrink - 1) / 2) + 1)
    return np.asarray(cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def evaluate(likelihood: Map, regions: Sequence[shapely.Polygon], unit: float) -> Indicators:
    """All indicators of one map.

    Args:
        likelihood: float32 [H, W] in [0, 1], normalised and softened; NaN counts as 0.
        regions: where the text is true, in map pixels (x to the right, y down, the first pixel's corner at 0, 0).
        unit: map pixels per unit.
    """
    values = np.nan_to_num(likelihood, nan=0.0)
    mask = rasterise(regions, (values.shape[0], values.shape[1]))
    centres = attention_centres(values, unit)
    circles = [circle(region) for region in regions]
    su, da, shift = rsu(values, mask), rda(centres, circles), ras(centres, circles)
    return Indicators(su, da, shift, rmi(su, da, shift), tuple(centres))


def rasterise(regions: Sequence[shapely.Polygon], shape: tuple[int, int]) -> Mask:
    """True for pixels whose middle lies in a region: bool of shape [H, W]."""
    mask = np.zeros(shape, dtype=np.bool_)
    for region in regions:
        left, top, right, bottom = region.bounds
        cols = slice(max(0, math.floor(left)), min(shape[1], math.ceil(right)))
        rows = slice(max(0, math.floor(top)), min(shape[0], math.ceil(bottom)))
        if cols.start >= cols.stop or rows.start >= rows.stop:
            continue
        y, x = np.mgrid[rows, cols] + 0.5
        shapely.prepare(region)
        mask[rows, cols] |= shapely.contains_xy(region, x, y)
    return mask


def rsu(values: Map, mask: Mask) -> float:
    """Significant area proportion: ``1 - exp(-0.707 · S/(A - S) · (HW - M)/M)``.

    *S* is the likelihood inside the regions, *A* that of the whole map, *M* the area of the regions. A map that is the
    same everywhere gets ``1 - exp(-0.707)``, one that is zero outside the regions 1, one that is zero inside 0.
    """
    area = float(mask.sum())
    if not area:
        return 0.0
    inside = float(values[mask].sum(dtype=np.float64))
    outside = float(values.sum(dtype=np.float64)) - inside
    return 1.0 - math.exp(-_BETA * inside / (max(outside, 0.0) + _EPS) * (mask.size - area) / area)


def attention_centres(values: Map, unit: float) -> list[Centre]:
    """Where the likelihood peaks: (x, y) in map pixels, the strongest first.

    The 8-bit map goes through five box filters of 50 units; centres are the middles of the areas that equal the
    greatest value within a square of 1000 units around them, above zero, where the unfiltered map is at least 0.5.
    """
    smooth = _grey(values)
    side = max(1, round(BOX * unit))
    for _ in range(BOXES):
        smooth = np.asarray(cv2.boxFilter(smooth, -1, (side, side)), dtype=np.uint8)
    wide = max(3, round(NEIGHBOURHOOD * unit))
    highest = cv2.dilate(smooth, np.ones((wide, wide), np.uint8))
    peaks = ((smooth == highest) & (smooth > 0)).astype(np.uint8)
    count, _, _, middles = cv2.connectedComponentsWithStats(peaks, connectivity=8)
    found = []
    for x, y in middles[1:count]:
        value = float(values[int(y), int(x)])
        if value >= 0.5:
            found.append((value, (float(x) + 0.5, float(y) + 0.5)))
    return [centre for _, centre in sorted(found, key=lambda one: (-one[0], one[1]))]


def circle(region: shapely.Polygon) -> tuple[Centre, float]:
    """Middle and radius of the surroundings of a region: mean of its corners, 1.5 × their mean distance from it."""
    corners = np.asarray(region.exterior.coords, dtype=np.float64)[:-1, :2]
    middle = corners.mean(axis=0)
    radius = _REACH * float(np.linalg.norm(corners - middle, axis=1).mean())
    return (float(middle[0]), float(middle[1])), radius


def _near(centres: Sequence[Centre], middle: Centre, radius: float) -> list[Centre]:
    return [c for c in centres if math.dist(c, middle) <= radius]


def ras(centres: Sequence[Centre], circles: Sequence[tuple[Centre, float]]) -> float:
    """Attention shift: ``(exp(3x) - 1)/(exp(3) - 1)``.

    *x* is the mean over regions of the mean distance from the region's middle to the centres within its radius, as a
    share of the radius; 1 for a region without any.
    """
    shares = []
    for middle, radius in circles:
        near = _near(centres, middle, radius)
        shares.append(sum(math.dist(c, middle) for c in near) / len(near) / radius if near else 1.0)
    x = sum(shares) / len(shares)
    return (math.exp(_SHIFT * x) - 1) / (math.exp(_SHIFT) - 1)


def rda(centres: Sequence[Centre], circles: Sequence[tuple[Centre, float]]) -> float:
    """Discrete attention, the mean over regions.

    With *n* centres within the region's radius *r*: 0 for none, 1 for one, else ``0.5 (1 - d/r) + exp(-0.5 (n + 2))``,
    *d* being the mean distance of the centres from their own middle.
    """
    values = []
    for middle, radius in circles:
        near = np.array(_near(centres, middle, radius)).reshape(-1, 2)
        if len(near) < 2:
            values.append(float(len(near)))
            continue
        apart = float(np.linalg.norm(near - near.mean(axis=0), axis=1).mean())
        values.append(0.5 * (1 - apart / radius) + math.exp(-_LONELY * (len(near) + 2)))
    return sum(values) / len(values)


def rmi(su: float, da: float, shift: float) -> float:
    """Combined indicator: ``0.40 Rsu + 0.35 (1 - Ras) + 0.25 Rda``."""
    return _W_SU * su + _W_AS * (1 - shift) + _W_DA * da


def _grey(values: Map) -> npt.NDArray[np.uint8]:
    return np.asarray(np.nan_to_num(values, nan=0.0) * 255, dtype=np.uint8)
