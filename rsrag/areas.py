"""What lies in the areas that filters ask for, compared exactly: made once for many footprints and positions."""

from __future__ import annotations

from rsrag import geo
from rsrag.types import BBox, Filters, Footprint


class Areas:
    """The box and the shape of filters; each may be missing.

    A box without area has no footprint: what is asked of it is whether positions lie on it, and the boxes of footprints
    have been compared with it by the index or the catalogue.

    Attributes:
        drawn: whether there is an area that footprints must touch.
    """

    def __init__(self, filters: Filters) -> None:
        self._box, self._shape = filters.bbox, filters.intersects
        self._flat = self._box is not None and (self._box.south == self._box.north or not width(self._box))
        drawn = geo.footprint_from_bbox(self._box) if self._box is not None and not self._flat else None
        self._footprints = [area for area in (drawn, self._shape) if area is not None]
        self.drawn = bool(self._footprints)

    def touch(self, footprint: Footprint | None) -> bool:
        """Whether a footprint shares a point with every area; without one it does so only where none is asked for."""
        return all(footprint is not None and geo.intersects(footprint, area) for area in self._footprints)

    def hold(self, lon: float | None, lat: float | None, extent: Footprint | None) -> bool:
        """Whether a position, or the extent of the place there, lies in the areas; no position lies in none.

        Args:
            lon: degrees east.
            lat: degrees north.
            extent: of the place, where it is known.
        """
        if self._box is None and self._shape is None:
            return True
        if extent is not None and not self._flat and self.touch(extent):
            return True
        if lon is None or lat is None or (self._box is not None and not _in_box(lon, lat, self._box)):
            return False
        return self._shape is None or geo.holds(self._shape, (lon, lat))


def width(box: BBox) -> float:
    """Of a box, in degrees."""
    return box.east - box.west + (360.0 if box.crosses_antimeridian else 0.0)


def smallest(*boxes: BBox | None) -> BBox | None:
    """The box with the least area in degrees; None without any."""
    return min((b for b in boxes if b is not None), key=lambda b: width(b) * (b.north - b.south), default=None)


def _in_box(lon: float, lat: float, box: BBox) -> bool:
    """Whether a position lies in a box or on its edge, on a round Earth."""
    return box.south <= lat <= box.north and (lon - box.west) % 360.0 <= width(box)
