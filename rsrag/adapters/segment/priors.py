"""Words whose things a band index measures: water by NDWI, vegetation by NDVI, pixel by pixel."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from rsrag.adapters.look import View
from rsrag.adapters.segment.refine import Counts, Scores, sigmoid
from rsrag.adapters.waterline import dry_or_wet, waterline
from rsrag.ingest.enrich import VEGETATION_NDVI, WATER_NDWI
from rsrag.ingest.readers.base import Pixels
from rsrag.words import STOPWORDS, stem, terms, tokens

SLOPE = 0.04
"""Change of an index that brings its score from 0.5 to 0.73."""
WEIGHT = 0.75
"""Of the index where it measures the thing itself; the refined heat has the rest."""
_REACH = 0.25
"""How far the scene's own parting value of NDVI may lie from the usual one."""
_WATER = frozenset(terms("water lake lakes river rivers sea ocean pond ponds reservoir reservoirs lagoon bay"))
_GREEN = frozenset(terms("vegetation greenery plants green"))
_PLANTS = frozenset(
    terms("forest forests wood woods tree trees grass grassland meadow meadows lawn crops shrubs bushes")
)
_EXTENTS = frozenset(terms("area areas body bodies cover field fields land patches space spaces surface surfaces"))
"""Words for the extent of what is named beside them: "green areas", "bodies of water"."""
_SIDES = frozenset(terms("north south east west left right"))
_DOUBTFUL = frozenset(terms("plant plants bay bays"))
"""Words that mean something else after others: a power plant, a parking bay."""
_ENDS = STOPWORDS | {"behind", "beneath", "beside", "beyond", "inside", "lining", "outside", "surrounding"}
"""Words before which what is named ends."""


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
        return _difference(view, pixels, *self.roles)

    def parted(self, view: View, pixels: Pixels) -> Scores:
        """The index where it counts for :meth:`parting`, float32 [H, W], NaN elsewhere."""
        found = self.values(view, pixels)
        if self.name != "ndwi" or view.band("red") is None:
            return found
        return dry_or_wet(found, _difference(view, pixels, self.roles[1], "red"))

    def parting(self, counts: Counts) -> float:
        """Value that parts the thing from the rest in this scene: Otsu's, not far from the usual one.

        Stored contrast and haze shift an index, in 8-bit pictures above all.
        """
        if self.name == "ndwi":
            return waterline(counts)
        return float(np.clip(counts.parting(), self.usual - _REACH, self.usual + _REACH))

    def joined(self, index: Scores, parting: float, score: Scores) -> Scores:
        """The score with what the index says; where there is no index, the score alone."""
        said = sigmoid((index - np.float32(parting)) / np.float32(SLOPE))
        both = WEIGHT * said + (1 - WEIGHT) * score if self.alone else np.sqrt(said * score)
        return np.where(np.isfinite(index), both, score).astype(np.float32)


def _difference(view: View, pixels: Pixels, first: str, second: str) -> Scores:
    """(first - second) / (first + second) of two bands, float32 [H, W], NaN where it has no meaning."""
    one, two = view.physical(pixels, first), view.physical(pixels, second)
    assert one is not None and two is not None
    total = one + two
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(total > 0, (one - two) / total, np.float32(np.nan))
    return np.clip(found, -1, 1).astype(np.float32)


def prior_for(text: str, view: View) -> Prior | None:
    """The index that tells of a text, if the image has its bands."""
    near = next((role for role in ("nir", "nir08") if view.band(role) is not None), None)
    if near is None:
        return None
    parts = re.split(r"\b(?:and|or)\b|[,;/&+]", text.casefold())
    things = [words for words in map(named, parts) if words]
    if not things:
        return None
    if all(_is_any(words, _WATER) for words in things) and view.band("green") is not None:
        return Prior("ndwi", ("green", near), WATER_NDWI, True)
    if all(_is_any(words, _GREEN | _PLANTS) for words in things) and view.band("red") is not None:
        alone = all(words[-1] in _GREEN and not _PLANTS & set(words) for words in things)
        return Prior("ndvi", (near, "red"), VEGETATION_NDVI - 0.15, alone)
    return None


def named(text: str) -> list[str]:
    """Stems of the words that name a thing, its noun last: of "the old trees along the river" those of "old trees"."""
    words = tokens(text)
    while words:
        start = next((n for n, word in enumerate(words) if word not in _ENDS), len(words))
        end = next((n for n in range(start, len(words)) if words[n] in _ENDS), len(words))
        found = [stem(word) for word in words[start:end]]
        while found and (found[-1] in _SIDES or found[-1] in _EXTENTS):
            found.pop()
        if found or words[end : end + 1] != ["of"]:
            return found
        words = words[end:]
    return []


def _is_any(words: list[str], known: frozenset[str]) -> bool:
    """Whether the noun of what is named is among the known ones, and the word before makes no other thing of it."""
    if words[-1] not in known:
        return False
    return words[-1] not in _DOUBTFUL or len(words) == 1 or words[-2] in known
