"""Bounding boxes in SQL, on a round Earth."""

from __future__ import annotations

import math

from sqlalchemy import Table, and_, or_
from sqlalchemy.sql import ColumnElement

from rsrag.types import BBox

_KM_A_DEGREE = 110.574
"""Least length of a degree of latitude on WGS84."""


def touches(table: Table, box: BBox) -> ColumnElement[bool]:
    """Condition: the row's box shares a point with ``box``. Rows without a box never do.

    Stored boxes have west ≤ east with east up to 540, so the query box is compared at its own longitude and one turn
    to either side.
    """
    east = box.east + 360.0 if box.crosses_antimeridian else box.east
    back = box.east if box.crosses_antimeridian else east - 360.0  # a turn forth and back would round the number
    ends = [(box.west - 360.0, back), (box.west, east), (box.west + 360.0, east + 360.0)]
    turns = [and_(table.c.west <= last, table.c.east >= first) for first, last in ends]
    return and_(table.c.south <= box.north, table.c.north >= box.south, or_(*turns))


def box_around(lon: float, lat: float, km: float) -> BBox:
    """A box that holds everything within ``km`` kilometres; it reaches round the Earth where a pole is that near."""
    reach = km / _KM_A_DEGREE
    south, north = lat - reach, lat + reach
    if south <= -90.0 or north >= 90.0:
        return BBox(-180.0, max(south, -90.0), 180.0, min(north, 90.0))
    # The widest longitude lies poleward of the centre; with no pole in reach the ratio stays below one.
    width = math.degrees(math.asin(min(1.0, math.sin(math.radians(reach)) / math.cos(math.radians(lat)))))
    west, east = lon - width, lon + width
    return BBox(west + 360.0 if west < -180.0 else west, south, east - 360.0 if east > 180.0 else east, north)
