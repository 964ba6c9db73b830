"""Detectors: how much each pixel of a window changed, and where the line is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from rsrag.adapters.change import indices, thresholds
from rsrag.adapters.change.pair import Pair
from rsrag.adapters.change.statistics import Mad, Radiometry, Sample, ir_mad, radiometry
from rsrag.adapters.change.thresholds import Histogram
from rsrag.errors import UsageError
from rsrag.ingest.readers.base import Pixels
from rsrag.models.base import Picture
from rsrag.models.changehead import MARGIN, ChangeHead, Colours, colours_of
from rsrag.models.dense import DenseEncoder

Method = Literal["cva", "irmad", "index", "features", "combined"]
METHODS: tuple[Method, ...] = ("cva", "irmad", "index", "features", "combined")
Magnitude = npt.NDArray[np.float32]

SMOOTH = 1.0
"""Standard deviation in pixels of the smoothing before magnitudes: noise and remaining shifts are finer."""
NO_CHANGE = 0.999
"""Quantile of the no-change distribution below which nothing counts as changed, whatever a histogram says."""
INDEX_STEP = 0.15
"""Least difference of an index that counts."""
FEATURE_STEP = 0.12
"""Least cosine distance of encoder cells that counts."""
_TOPS: dict[Method, float] = {"cva": 30.0, "irmad": 30.0, "index": 2.0, "features": 1.0, "combined": 1.0}
UNITS: dict[Method, str] = {"cva": "sd", "irmad": "sd", "index": "1", "features": "1", "combined": "1"}


@dataclass(frozen=True, slots=True, eq=False)
class Detector:
    """One method, ready for the windows of a pair.

    Attributes:
        method: which one.
        pair: both dates.
        radiometry: of the whole scene.
        mad: IR-MAD of the whole scene, if it could be made.
        colours: of both pictures of the whole scene.
        head: the trained network, for "combined".
        encoder: of feature maps, for "features".
    """

    method: Method
    pair: Pair
    radiometry: Radiometry
    mad: Mad | None
    colours: tuple[Colours, Colours]
    head: ChangeHead | None = None
    encoder: DenseEncoder | None = None

    @property
    def margin(self) -> int:
        """Pixels to read around a window."""
        return MARGIN if self.method in ("combined", "features") else 8

    @property
    def unit(self) -> str:
        """Of the magnitude: standard deviations of no change, or 1."""
        return UNITS[self.method]

    def histogram(self) -> Histogram:
        """An empty histogram that fits the magnitude."""
        return Histogram(_TOPS[self.method])

    def magnitude(self, before: Pixels, after: Pixels) -> Magnitude:
        """How much each pixel changed, float32 [h, w], NaN where a date has none."""
        mask = before.mask & after.mask
        if self.method in ("combined", "features"):
            found = self._by_pictures(before, after)
        else:
            found = self._by_values(before, after, mask)
        return np.asarray(np.where(mask, found, np.float32(np.nan)), dtype=np.float32)

    def threshold(self, histogram: Histogram) -> float:
        """Where the line is drawn, from the magnitudes of the whole scene."""
        if self.method == "combined" and self.head is not None:
            return self.head.threshold
        if not histogram.total:
            return histogram.top
        if self.method == "index":
            return max(INDEX_STEP, thresholds.otsu(histogram))
        if self.method == "features":
            return max(FEATURE_STEP, thresholds.otsu(histogram))
        return max(self.least(), thresholds.otsu(histogram))

    def least(self) -> float:
        """The quantile of no change in units of the magnitude."""
        degrees = self.mad.degrees if self.method == "irmad" and self.mad is not None else len(self.radiometry.noise)
        return float(np.sqrt(thresholds.chi2_quantile(degrees, NO_CHANGE) / degrees))

    def _by_pictures(self, before: Pixels, after: Pixels) -> Magnitude:
        one, two = self.pair.before.stretch.apply(before), self.pair.after.stretch.apply(after)
        if self.method == "combined":
            assert self.head is not None
            return self.head.probability(one, two, self.colours)
        assert self.encoder is not None
        return feature_distance(self.encoder, one, two)

    def _by_values(self, before: Pixels, after: Pixels, mask: npt.NDArray[np.bool_]) -> Magnitude:
        one, two = self.pair.values(before, after)
        one, two = _smoothed(one, mask), _smoothed(two, mask)
        matched = self.radiometry.apply(two)
        if self.method == "irmad" and self.mad is not None:
            bands, height, width = one.shape
            flat = one.reshape(bands, -1).T.astype(np.float64), matched.reshape(bands, -1).T.astype(np.float64)
            found = np.sqrt(self.mad.chi2(*flat) / self.mad.degrees)
            return np.asarray(found.reshape(height, width), dtype=np.float32)
        if self.method == "index":
            return index_difference(one, matched, self.pair.roles)
        scaled = (one - matched) / self.radiometry.noise.astype(np.float32)[:, None, None]
        return np.asarray(np.sqrt(np.mean(scaled**2, axis=0)), dtype=np.float32)


def prepare(
    method: Method, pair: Pair, found: Sample, head: ChangeHead | None, encoder: DenseEncoder | None
) -> Detector:
    """A detector for a pair, from the sample of its pixels.

    Raises:
        UsageError: "index" without bands for an index.
    """
    if method == "index" and not indices.available(pair.roles):
        raise UsageError(
            f"{pair.subject.name}: no bands for an index", hint="name them with --bands, or take another --method"
        )
    light, weights = radiometry(found.before, found.after)
    mad = ir_mad(found.before, light.apply(found.after.T).T.astype(np.float64), weights) if method == "irmad" else None
    colours = colours_of(found.look_before), colours_of(found.look_after)
    return Detector(method, pair, light, mad, colours, head, encoder)


def index_difference(before: Magnitude, after: Magnitude, roles: tuple[str, ...]) -> Magnitude:
    """The largest difference of any index that the bands allow, float32 [h, w] in [0, 2]."""
    found = [
        np.abs(indices.index(name, before, roles) - indices.index(name, after, roles))
        for name in indices.available(roles)
    ]
    return np.asarray(np.max(found, axis=0), dtype=np.float32)


def feature_distance(encoder: DenseEncoder, before: Picture, after: Picture) -> Magnitude:
    """Mean cosine distance of the encoder's cells at three scales, float32 [h, w] in [0, 2]."""
    height, width = before.shape[:2]
    levels: Mapping[str, int] = {name: encoder.strides[name] for name in ("fine", "middle", "coarse")}
    total = np.zeros((height, width), dtype=np.float32)
    one, two = encoder.maps(before, tuple(levels)), encoder.maps(after, tuple(levels))
    for name, stride in levels.items():
        product = np.sum(one[name] * two[name], axis=0)
        norms = np.linalg.norm(one[name], axis=0) * np.linalg.norm(two[name], axis=0)
        distance = 1 - product / (norms + 1e-6)
        full = cv2.resize(distance, (distance.shape[1] * stride, distance.shape[0] * stride))
        total += full[:height, :width] / len(levels)
    return np.maximum(total, 0)


def _smoothed(values: Magnitude, mask: npt.NDArray[np.bool_]) -> Magnitude:
    """Gaussian means of valid pixels."""
    weight = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), SMOOTH)
    weight = np.maximum(weight, 1e-3)
    return np.stack([cv2.GaussianBlur(np.where(mask, v, np.float32(0)), (0, 0), SMOOTH) / weight for v in values])
