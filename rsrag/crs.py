"""Coordinate reference systems as PROJ knows them: to longitude and latitude, back, and once round the Earth."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError

from rsrag.errors import BadFootprint


@lru_cache(maxsize=64)
def transformers(crs: str) -> tuple[Transformer, Transformer]:
    """From a CRS to WGS84 longitude and latitude, and back.

    Raises:
        BadFootprint: PROJ does not know it.
    """
    try:
        source = CRS.from_user_input(crs)
        forward = Transformer.from_crs(source, "EPSG:4326", always_xy=True)
        return forward, Transformer.from_crs("EPSG:4326", source, always_xy=True)
    except (CRSError, ProjError) as error:
        raise BadFootprint(f"unknown coordinate reference system {short_name(crs)}") from error


@lru_cache(maxsize=64)
def is_geographic(crs: str) -> bool:
    """Whether coordinates are angles; not for a CRS that PROJ does not know."""
    try:
        return bool(CRS.from_user_input(crs).is_geographic)
    except CRSError:
        return False


@lru_cache(maxsize=64)
def full_turn(crs: str) -> float | None:
    """One turn round the Earth in units of x: 360 for degrees, 40,075,017 for Web Mercator; None unless x is a
    longitude, by itself or times a length."""
    try:
        known = CRS.from_user_input(crs)
        base = known.geodetic_crs
        if base is None or not base.axis_info or not base.is_geographic:
            return None
        turn = round(math.tau / base.axis_info[0].unit_conversion_factor, 9)
        if known.is_geographic:
            return None if known.is_derived else turn  # of a turned pole's longitudes PROJ knows only the names
        lon, lat = (v.ravel() for v in np.meshgrid(np.linspace(-0.5, 0.5, 9) * turn, np.array([0.0, 0.15]) * turn))
        x, _ = Transformer.from_crs(base, known, always_xy=True).transform(lon, lat)
    except (CRSError, ProjError):
        return None
    if not np.isfinite(x).all():
        return None
    steps = np.diff(np.asarray(x).reshape(2, 9), axis=1)
    step = float(np.median(steps))
    if step <= 0:
        return None
    # Equal steps on every parallel; the one across the projection's edge is a turn off.
    apart = np.abs((steps - step + 4 * step) % (8 * step) - 4 * step)
    return 8 * step if max(apart.max(), abs(x[4] - x[13])) < 1e-6 * step else None


@lru_cache(maxsize=64)
def first_longitude(crs: str) -> float:
    """Longitude in degrees where x is 0."""
    forward, _ = transformers(crs)
    return float(forward.transform(0.0, 0.0)[0])


def short_name(crs: str) -> str:
    """A CRS as it is named in messages: the text itself, the beginning of a long one."""
    return crs if len(crs) < 60 else crs[:57] + "..."
