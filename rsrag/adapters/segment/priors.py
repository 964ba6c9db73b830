"""Words whose things a band index measures: water by NDWI, vegetation by NDVI, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rsrag.adapters.look import View
from rsrag.adapters.segment.refine import Counts, Scores, sigmoid
from rsrag.ingest.enrich import VEGETATION_NDVI, WATER_NDWI
from rsrag.ingest.readers.base import Pixels
from rsrag.words import terms

SLOPE = 0.04
"""Change of an index that brings its score from 0.5 to 0.73."""
WEIGHT = 0.75
"""Of the index where it measures the thing itself; the refined heat has the rest."""
_REACH = 0.25
"""How far the scene's own parting value of an index may lie from the usual one."""
_WATER = frozenset(terms("water lake lakes river rivers sea ocean pond ponds reservoir reservoirs lagoon bay"))
_GREEN = frozenset(terms("vegetation greenery plants green"))
_PLANTS = frozenset(
    terms("forest forests wood woods tree trees grass grassland meadow meadows lawn crops shrubs bushes")
)


@dataclass(frozen=True, slots=True)
class Prior:
    """An index that tells of a text.

    Attributes:
        name: "ndwi" or "ndvi".
        roles: of the bands: (first - second) / (first + second).
        usual: value above which it speaks for the thing.
        alone: it measures the thing itself; otherwise it is needed but not enough (a forest is green, so is a lawn).
    """

    name: str
    roles: tuple[str, str]
    usual: float
    alone: bool

    def values(self, view: View, pixels: Pixels) -> Scores:
        """The index, float32 [H, W], NaN where it has no meaning."""
        first, second = (view.physical(pixels, role) for role in self.roles)
        assert first is not None and second is not None
        total = first + second
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.where(total > 0, (first - second) / total, np.float32(np.nan))
        return np.clip(found, -1, 1).astype(np.float32)

    def parting(self, counts: Counts) -> float:
        """Value that parts the thing from the rest in this scene: Otsu's, not far from the usual one.

        Stored contrast and haze shift an index, in 8-bit pictures above all.
        """
        return float(np.clip(counts.parting(), self.usual - _REACH, self.usual + _REACH))

    def joined(self, index: Scores, parting: float, score: Scores) -> Scores:
        """The score with what the index says; where there is no index, the score alone."""
        said = sigmoid((index - np.float32(parting)) / np.float32(SLOPE))
        both = WEIGHT * said + (1 - WEIGHT) * score if self.alone else np.sqrt(said * score)
        return np.where(np.isfinite(index), both, score).astype(np.float32)


def prior_for(text: str, view: View) -> Prior | None:
    """The index that tells of a text, if the image has its bands."""
    words = set(terms(text))
    near = next((role for role in ("nir", "nir08") if view.band(role) is not None), None)
    if near is None:
        return None
    if words & _WATER and view.band("green") is not None:
        return Prior("ndwi", ("green", near), WATER_NDWI, True)
    if words & (_GREEN | _PLANTS) and view.band("red") is not None:
        return Prior("ndvi", (near, "red"), VEGETATION_NDVI - 0.15, bool(words & _GREEN) and not words & _PLANTS)
    return None
