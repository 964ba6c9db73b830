"""Pixel geometry on the ground: areas on the ellipsoid, outlines in WGS84, simplification in metres."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from pyproj import Geod
from shapely.affinity import translate

from rsrag import geo
from rsrag.adapters.base import Point, Region, Subject
from rsrag.errors import BadFootprint
from rsrag.ingest.readers.aligned import full_turn
from rsrag.types import Fact, Footprint, Window

_GEOD = Geod(ellps="WGS84")


def outline(subject: Subject, shape: Any) -> Footprint | None:
    """A pixel polygon (column, row) as a footprint; None for an image without a position.

    Raises:
        BadFootprint: the grid's coordinates are not on Earth.
    """
    if not subject.located or shape.is_empty:
        return None
    assert subject.crs is not None and subject.transform is not None
    crs, transform = subject.crs, subject.transform
    dense = shapely.segmentize(shape, max(1.0, math.sqrt(max(shape.area, 1.0)) / 4))
    turn = full_turn(crs)

    def to_earth(points: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        lon, lat = geo.lonlat(crs, transform, points[:, 0], points[:, 1])
        if turn is not None:  # x is the longitude: it says by itself which turn round the Earth is meant
            x = (transform[0] * points[:, 0] + transform[1] * points[:, 1] + transform[2]) * (360 / turn)
            lon = lon + 360 * np.round((x - lon) / 360)
        return np.column_stack([lon, lat])

    placed = shapely.transform(dense, to_earth)
    return geo.footprint_from_shape(placed if turn is not None else unwrapped(placed))


def unwrapped(shape: Any, turn: float = 360.0) -> Any:
    """A (multi)polygon whose longitudes lie within one turn, with neighbours along its rings made neighbours again.

    A ring that crosses the antimeridian runs on beyond it; one that runs once round the Earth holds the pole on its
    side.

    Args:
        shape: shapely geometry, longitude and latitude.
        turn: one turn round the Earth in its units.
    """
    if shape.is_empty or np.ptp(shapely.get_coordinates(shape)[:, 0]) <= turn / 2:
        return shape
    parts = [p for p in shapely.get_parts(shape).tolist() if p.geom_type == "Polygon"]
    whole = []
    for part in parts:
        outer = _unwrapped_ring(part.exterior, turn)
        holes = [_unwrapped_ring(ring, turn) for ring in part.interiors]
        # A hole may have been unwrapped on another turn than the ring around it.
        copies = [translate(hole, t) for hole in holes for t in (-turn, 0.0, turn)]
        whole.append(shapely.difference(outer, shapely.union_all(copies)) if copies else outer)
    return whole[0] if len(whole) == 1 else shapely.union_all(whole)


def _unwrapped_ring(ring: Any, turn: float) -> Any:
    raw, lat = shapely.get_coordinates(ring).T
    lon = raw[0] + np.concatenate([[0.0], np.cumsum((np.diff(raw) + turn / 2) % turn - turn / 2)])
    if abs(lon[-1] - lon[0]) > turn / 2:
        pole = math.copysign(turn / 4, lat.mean())
        lon, lat = np.concatenate([lon, [lon[-1], lon[0], lon[0]]]), np.concatenate([lat, [pole, pole, lat[0]]])
    return shapely.make_valid(shapely.Polygon(np.column_stack([lon, lat])))


def area_m2(subject: Subject, shape: Any) -> float | None:
    """Area of a pixel polygon on the WGS84 ellipsoid in square metres; None without a position or scale.

    An image with a known pixel size but no position is measured by that size.
    """
    try:
        footprint = outline(subject, shape)
    except BadFootprint:
        footprint = None
    if footprint is not None:
        return geo.area_km2(footprint) * 1e6
    return float(shape.area) * subject.gsd_m**2 if subject.gsd_m else None


def pixel_area_m2(subject: Subject, window: Window | None = None) -> float | None:
    """Mean area of a pixel of a window (all by default) on the ellipsoid in square metres; None without scale."""
    whole = window or Window(0, 0, subject.width, subject.height)
    box = shapely.box(whole.col, whole.row, whole.col + whole.width, whole.row + whole.height)
    area = area_m2(subject, box)
    return None if area is None else area / (whole.width * whole.height)


def metres_per_pixel(subject: Subject) -> float | None:
    """Side of a pixel on the ground: as known of the scene, or from its grid."""
    if subject.gsd_m:
        return subject.gsd_m
    area = pixel_area_m2(subject)
    return math.sqrt(area) if area else None


def simplified(subject: Subject, shape: Any, metres: float) -> Any:
    """A pixel polygon with at most ``metres`` between old and new outline (pixels where the scale is unknown)."""
    tolerance = metres / (metres_per_pixel(subject) or 1.0)
    simple = shapely.simplify(shape, tolerance, preserve_topology=True)
    return simple if simple.is_valid and not simple.is_empty else shape


def region(
    subject: Subject,
    label: str,
    score: float,
    shape: Any,
    *,
    facts: Sequence[Fact] = (),
    oriented: bool = False,
    boxed: bool = False,
) -> Region:
    """A region from a pixel polygon or multipolygon, with box, footprint, centre and area.

    Args:
        subject: the image.
        label: what it is.
        score: how sure, 0 to 1.
        shape: shapely geometry in pixels (column, row).
        facts: measured values; ``area`` is added where the scale is known.
        oriented: whether the smallest turned rectangle is wanted.
        boxed: the shape is a box: no outline of its own is kept.
    """
    left, top, right, bottom = (float(v) for v in shape.bounds)
    try:
        footprint = outline(subject, shape)
    except BadFootprint:
        footprint = None
    area = area_m2(subject, shape)
    found = list(facts)
    if area is not None and not any(fact.name == "area" for fact in facts):
        found.append(Fact("area", area, "m2"))
    turned: tuple[Point, ...] = ()
    if oriented:
        rectangle = shapely.oriented_envelope(shape)
        if rectangle.geom_type == "Polygon":
            turned = tuple((float(x), float(y)) for x, y in list(rectangle.exterior.coords)[:4])
    return Region(
        label=label,
        score=float(score),
        box=(left, top, right, bottom),
        rings=() if boxed else _rings(shape),
        oriented=turned,
        footprint=footprint,
        centre=geo.centre(footprint) if footprint is not None else None,
        facts=tuple(found),
    )


def _rings(shape: Any) -> tuple[tuple[Point, ...], ...]:
    """Rings of the largest part, outer one first."""
    parts = [p for p in shapely.get_parts(shape).tolist() if p.geom_type == "Polygon"]
    if not parts:
        return ()
    largest = max(parts, key=lambda p: p.area)
    return tuple(tuple((float(x), float(y)) for x, y in r.coords) for r in (largest.exterior, *largest.interiors))


def length_m(subject: Subject, points: Sequence[Point]) -> float | None:
    """Length of a pixel line on the ellipsoid in metres; None without scale."""
    if subject.located:
        assert subject.crs is not None and subject.transform is not None
        xy = np.asarray(points, dtype=np.float64)
        lon, lat = geo.lonlat(subject.crs, subject.transform, xy[:, 0], xy[:, 1])
        return float(_GEOD.line_length(lon, lat))
    if subject.gsd_m is None:
        return None
    return float(shapely.LineString(points).length * subject.gsd_m)


def cell_of(box: tuple[float, float, float, float], width: int, height: int) -> str:
    """The cell of a 3×3 grid that holds the centre of a box: "top-left" … "bottom-right", "center" in the middle."""
    column = min(2, max(0, int(3 * (box[0] + box[2]) / 2 / width)))
    row = min(2, max(0, int(3 * (box[1] + box[3]) / 2 / height)))
    vertical, horizontal = ("top", "center", "bottom")[row], ("left", "center", "right")[column]
    return "center" if row == column == 1 else f"{vertical}-{horizontal}"


def area_text(area: float) -> str:
    """An area for people: m² below one hectare, hectares below 100 km², then km²."""
    if area < 10_000:
        return f"{area:,.0f} m²" if area >= 10 else f"{area:.2g} m²"
    if area < 1e8:
        hectares = area / 10_000
        return f"{hectares:,.0f} ha" if hectares >= 100 else f"{hectares:.3g} ha"
    return f"{area / 1e6:,.0f} km²" if area >= 1e9 else f"{area / 1e6:.3g} km²"
