"""Where does an image lie that does not say so? By agreement among its best tiles, or by a verified match."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from rsrag import geo
from rsrag.types import Footprint, Hit, Location

_TEMPERATURE = 0.03
_TOP = 20
LIKENESS = (0.835, 0.02)
"""Cosine at which a picture is as likely of the archive's ground as not, and the width of the change, for the mini
encoder: altered crops of an archive's own mosaic had 0.86 to 0.99, pictures of other ground 0.47 to 0.82
(``eval/benchmarks/chance_matches.py``)."""


def size_km(footprint: Footprint) -> float:
    """Side of the square with a footprint's area, in kilometres."""
    return math.sqrt(max(geo.area_km2(footprint), 1e-9))


def by_agreement(hits: Sequence[Hit]) -> Location | None:
    """The spot where an image's best tiles gather.

    Every tile votes with a softmax of its similarity (temperature 0.03 on the cosine); the winner is the tile with the
    most votes within one tile size of it. Confidence is the share of votes that agree, scaled by how far the best
    similarity lies above that of the tiles that disagree, and by how likely a picture so like its best tile shows the
    archive's ground at all.

    Args:
        hits: tile hits, best first, with ``scores["image"]`` the cosine.
    """
    located = [h for h in hits[:_TOP] if h.footprint is not None]
    if not located:
        return None
    scores = np.array([h.scores.get("image", h.score) for h in located])
    votes = np.exp((scores - scores.max()) / _TEMPERATURE)
    votes /= votes.sum()
    centres = [geo.centre(h.footprint) for h in located if h.footprint]
    sizes = np.array([size_km(h.footprint) for h in located if h.footprint])
    near = np.stack([geo.distances_km(c, centres) <= np.maximum(sizes, s) for c, s in zip(centres, sizes, strict=True)])
    support = near @ votes
    winner = int(np.argmax(support + 1e-6 * votes))
    members = np.flatnonzero(near[winner])
    others = scores[~near[winner]]
    clarity = 1.0 if not len(others) else 1 - math.exp(-max(scores[members].max() - others.max(), 0) / _TEMPERATURE)
    middle, width = LIKENESS
    known = 1 / (1 + math.exp(-(float(scores.max()) - middle) / width))
    confidence = float(support[winner]) * (0.5 + 0.5 * clarity) * known
    best = located[members[int(np.argmax(votes[members]))]]
    lon, lat = centres[winner]
    spread = geo.distances_km((lon, lat), [centres[i] for i in members])
    error = float(max(np.max(spread), sizes[winner] / 2))
    return Location(lon, lat, "agreement", min(confidence, 0.95), error, best.footprint)


def given(footprint: Footprint) -> Location:
    """The location of an image that carries its own footprint."""
    lon, lat = geo.centre(footprint)
    return Location(lon, lat, "given", 1.0, size_km(footprint) / 2, footprint)


def stated(lon: float, lat: float, error_km: float = 1.0) -> Location:
    """A location the user stated."""
    return Location(lon, lat, "stated", 1.0, error_km)


def closeness(location: Location, lon: float, lat: float, extent: Footprint | None) -> float:
    """How well a place fits a location, 0 to 1.

    A place with an extent scores by how alike the two areas are (IoU) and how much of the located area it covers; one
    without by the distance of its point, in units of the located area's size.
    """
    reach = max(location.error_km, size_km(location.footprint) / 2 if location.footprint else 1.0)
    decay = math.exp(-geo.distance_km((location.lon, location.lat), (lon, lat)) / reach)
    if location.footprint is None or extent is None:
        inside = extent is not None and geo.holds(extent, (location.lon, location.lat))
        return max(decay, 0.7) if inside else decay
    alike = geo.iou(location.footprint, extent)
    return min(1.0, 0.6 * math.sqrt(alike) + 0.4 * decay) if alike > 0 else 0.5 * decay
