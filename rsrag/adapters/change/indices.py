"""Band indices of both dates, and the four kinds of ground that they tell apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rsrag.adapters.segment.refine import Counts
from rsrag.adapters.waterline import dry_or_wet, waterline

Values = npt.NDArray[np.float32]
INDICES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "ndvi": (("nir", "nir08"), ("red",)),  # Rouse et al. 1974
    "ndwi": (("green",), ("nir", "nir08")),  # McFeeters 1996
    "mndwi": (("green",), ("swir16",)),  # Xu 2006
    "ndbi": (("swir16",), ("nir", "nir08")),  # Zha et al. 2003
}
"""(first - second) / (first + second), each the first role that a scene has."""
WATER, VEGETATION, BARE, BUILT = "water", "vegetation", "bare ground", "built-up"
CLASSES = (WATER, VEGETATION, BARE, BUILT)
COLOURS = ((44, 123, 182), (60, 150, 60), (214, 178, 120), (200, 60, 60))
VEGETATION_NDVI = 0.4
WATER_NDWI = 0.0


def available(roles: Sequence[str]) -> tuple[str, ...]:
    """Names of the indices that bands of these roles allow."""
    return tuple(name for name, sides in INDICES.items() if all(any(role in roles for role in side) for side in sides))


def index(name: str, values: Values, roles: Sequence[str]) -> Values:
    """An index of band values [bands, h, w]: float32 [h, w], 0 where both bands are 0."""
    first, second = (
        values[next(roles.index(role) for role in side if role in roles)].astype(np.float32) for side in INDICES[name]
    )
    total = first + second
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(np.abs(total) > 1e-9, (first - second) / total, np.float32(0))
    return np.asarray(np.clip(found, -1, 1), dtype=np.float32)


def tells_classes(roles: Sequence[str]) -> bool:
    """Whether water and vegetation can be told by indices."""
    return {"ndvi", "ndwi"} <= set(available(roles))


def line_of(values: Values, roles: Sequence[str]) -> float:
    """NDWI from which ground is water at a date, of the band values [bands, n] of a sample of its pixels."""
    counts = Counts(-1.0, 1.0)
    counts.add(not_green(values, roles))
    return waterline(counts)


def not_green(values: Values, roles: Sequence[str]) -> Values:
    """NDWI of the ground on which the line of a scene is drawn, NaN elsewhere."""
    return dry_or_wet(_ndwi(values, roles), index("ndvi", values, roles))


def _ndwi(values: Values, roles: Sequence[str]) -> Values:
    """NDWI, NaN where both bands are 0: shadows without light are no water."""
    green, near = (values[next(roles.index(role) for role in side if role in roles)] for side in INDICES["ndwi"])
    return np.where(green + near > 0, index("ndwi", values, roles), np.float32(np.nan))


def classes(values: Values, roles: Sequence[str], line: float) -> npt.NDArray[np.uint8]:
    """Kinds of ground by rules, numbers into :data:`CLASSES`: uint8 [h, w].

    Water where NDWI is above ``line`` (or, with a short-wave band, MNDWI above 0) and NDVI low, vegetation where NDVI
    is above 0.4, the rest bare; bare and built-up ground cannot be told apart by these indices, so nothing is called
    built-up here.

    Args:
        values: float32 [bands, h, w].
        roles: of the bands.
        line: NDWI from which ground is water, see :func:`line_of`.
    """
    ndvi = index("ndvi", values, roles)
    water = _ndwi(values, roles) > line
    if "mndwi" in available(roles):
        water |= (index("mndwi", values, roles) > WATER_NDWI) & (ndvi < 0.2)
    found = np.full(ndvi.shape, CLASSES.index(BARE), dtype=np.uint8)
    found[ndvi > VEGETATION_NDVI] = CLASSES.index(VEGETATION)
    found[water & (ndvi < VEGETATION_NDVI)] = CLASSES.index(WATER)
    return found
