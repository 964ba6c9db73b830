"""The NDWI from which ground is water in a scene: one line for every task that tells water by it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rsrag.adapters.segment.refine import Counts
from rsrag.ingest.enrich import VEGETATION_NDVI, WATER_NDWI

REACH = 0.25
"""How far the line of a scene may lie from the usual one."""


def dry_or_wet(ndwi: npt.NDArray[np.float32], ndvi: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """NDWI of the ground that the line is drawn on, NaN where there are plants, which are neither."""
    return np.where(ndvi > VEGETATION_NDVI, np.float32(np.nan), ndwi)


def waterline(counts: Counts) -> float:
    """The line of a scene: where the NDWI of its :func:`dry_or_wet` ground parts in two (Otsu 1979).

    Stored contrast and haze move it, in 8-bit pictures above all: there bare fields may lie a little above the usual 0.
    The usual one counts where the lower group is no dry ground or the upper one no water: the scene is all of a kind.
    """
    parting = counts.parting()
    dry, wet = counts.sides(parting)
    if not (dry < WATER_NDWI + REACH / 2 and wet > WATER_NDWI):
        return WATER_NDWI
    return float(np.clip(parting, WATER_NDWI - REACH, WATER_NDWI + REACH))
