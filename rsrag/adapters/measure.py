"""Pixel geometry on the ground: areas on the ellipsoid, outlines in WGS84, simplification in metres."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import Geod
from shapely.affinity import translate

from rsrag import geo
from rsrag.adapters.base import Point, Region, Subject
from rsrag.crs import full_turn
from rsrag.errors import BadFootprint
from rsrag.types import Fact, Footprint, Window

_GEOD = Geod(ellps="WGS84")
_COLUMNS, _ROWS = 9, 3
"""Points across and down a window that tell whether rows and columns follow latitudes and longitudes."""
_STRAIGHT = 1e-4
"""Share of a window's extent by which they may not."""
_BENT_DEGREES = 2.0
"""Degrees of longitude between neighbours of an outline from which on it gets more points."""
_FINER = 16
"""How much closer they then are."""
_NODES = 17
"""Pixels across and down a window whose areas are measured where it is turned or bent on the Earth."""


def outline(subject: Subject, shape: Any) -> Footprint | None:
    """A pixel polygon (column, row) as a footprint; None for an image without a position.

    Raises:
        BadFootprint: the grid's coordinates are not on Earth.
    """
    if not subject.located or shape.is_empty:
        return None
    assert subject.crs is not None and subject.transform is not None
    crs, transform = subject.crs, subject.transform
    step = max(1.0, math.sqrt(max(shape.area, 1.0)) / 4)

    def to_earth(points: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.column_stack(geo.lonlat(crs, transform, points[:, 0], points[:, 1]))

    placed = shapely.transform(shapely.segmentize(shape, step), to_earth)
    if full_turn(crs):
        return geo.footprint_from_shape(placed)
    if _bent(placed):
        placed = shapely.transform(shapely.segmentize(shape, max(1.0, step / _FINER)), to_earth)
    return geo.footprint_from_shape(unwrapped(placed))


def _bent(placed: Any) -> bool:
    """Whether neighbours along a ring lie degrees of longitude apart, as near a pole, where straight edges bend."""
    points, rings = shapely.get_coordinates(shapely.get_rings(placed), return_index=True)
    steps = np.abs((np.diff(points[:, 0]) + 180) % 360 - 180)
    return bool(np.any(steps[np.diff(rings) == 0] > _BENT_DEGREES))


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
        copies = [copy for hole in holes for copy in _on_turns_of(outer, hole, turn)]
        whole.append(shapely.difference(outer, shapely.union_all(copies)) if copies else outer)
    return whole[0] if len(whole) == 1 else shapely.union_all(whole)


def _on_turns_of(outer: Any, hole: Any, turn: float) -> list[Any]:
    """A hole, which may have been unwrapped on another turn than the ring around it, wherever it meets that ring."""
    west, _, east, _ = outer.bounds
    left, _, right, _ = hole.bounds
    first, last = math.ceil((west - right) / turn), math.floor((east - left) / turn)
    return [translate(hole, turn * k) for k in range(first, last + 1)]


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
    return _placed_area(subject, shape, _placed(subject, shape))


def _placed(subject: Subject, shape: Any) -> Footprint | None:
    """The outline, or None where there is no position that can be used."""
    try:
        return outline(subject, shape)
    except BadFootprint:
        return None


def _placed_area(subject: Subject, shape: Any, footprint: Footprint | None) -> float | None:
    if footprint is not None:
        return geo.area_km2(footprint) * 1e6
    return float(shape.area) * subject.gsd_m**2 if subject.gsd_m else None


def pixel_areas_m2(subject: Subject, window: Window) -> npt.NDArray[np.float64] | None:
    """Area of every pixel of a window on the ellipsoid in square metres, [h, w]; None without scale.

    Pixels of a coarse grid in degrees shrink towards the poles: pixels are not to be counted and multiplied by a mean.
    """
    shape = window.height, window.width
    try:
        areas = _areas_by_latitude(subject, window) if subject.located else None
        areas = _areas_between_nodes(subject, window) if subject.located and areas is None else areas
    except BadFootprint:
        areas = None
    if areas is None:
        each = pixel_area_m2(subject, window)
        areas = None if each is None else np.array([[each]])
    return None if areas is None else np.broadcast_to(areas, shape)


def found_area_m2(subject: Subject, window: Window, found: npt.NDArray[np.bool_]) -> float | None:
    """Area of the pixels of a window that were found, bool [h, w], in square metres; None without scale."""
    areas = pixel_areas_m2(subject, window)
    return None if areas is None else float(areas.sum(where=found))


def _areas_by_latitude(subject: Subject, window: Window) -> npt.NDArray[np.float64] | None:
    """Areas in each row, [h, 1], where rows and columns are latitudes and longitudes (Mercator too); None elsewhere.

    Raises:
        BadFootprint: coordinates that are not on Earth.
    """
    assert subject.crs is not None and subject.transform is not None
    cols = window.col + np.linspace(0.0, window.width, _COLUMNS)
    rows = window.row + np.linspace(0.0, window.height, _ROWS)
    lon, lat = geo.lonlat(subject.crs, subject.transform, np.tile(cols, _ROWS), np.repeat(rows, _COLUMNS))
    lon, lat = lon.reshape(_ROWS, _COLUMNS), lat.reshape(_ROWS, _COLUMNS)
    steps = (np.diff(lon, axis=1) + 180) % 360 - 180  # a longitude may come back on another turn
    drift = (lon - lon[0] + 180) % 360 - 180
    wide, high = float(np.abs(steps.sum(axis=1)).min()), float(np.ptp(lat))
    if np.abs(drift).max() > _STRAIGHT * wide or np.ptp(lat, axis=1).max() > _STRAIGHT * high:
        return None
    edges = window.row + np.arange(window.height + 1.0)
    _, lat = geo.lonlat(subject.crs, subject.transform, np.full(len(edges), cols[_COLUMNS // 2]), edges)
    across = np.array([0.0, wide / window.width])
    corners = geo.equal_area(np.column_stack([np.resize(across, len(edges)), np.clip(lat, -90, 90)]))
    return np.asarray(np.ptp(corners[:2, 0]) * np.abs(np.diff(corners[:, 1])))[:, None]


def _areas_between_nodes(subject: Subject, window: Window) -> npt.NDArray[np.float64]:
    """Areas of some pixels, and those between by linear interpolation, [h, w].

    Raises:
        BadFootprint: coordinates that are not on Earth.
    """
    assert subject.crs is not None and subject.transform is not None
    down, across = (np.linspace(0.0, side - 1, min(side, _NODES)) for side in (window.height, window.width))
    corners = []
    for row, col in ((0, 0), (0, 1), (1, 1), (1, 0)):
        rows, cols = np.meshgrid(down + window.row + row, across + window.col + col, indexing="ij")
        lon, lat = geo.lonlat(subject.crs, subject.transform, cols.ravel(), rows.ravel())
        corners.append(geo.earth_centred(np.column_stack([lon, lat])))
    one, two, three, four = corners
    areas = np.linalg.norm(np.cross(three - one, four - two), axis=1).reshape(len(down), len(across)) / 2
    to_rows, to_cols = (
        np.stack([np.interp(np.arange(side), nodes, unit) for unit in np.eye(len(nodes))])
        for side, nodes in ((window.height, down), (window.width, across))
    )
    return np.asarray(to_rows.T @ areas @ to_cols)


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
    """A pixel polygon with at most ``metres`` between old and new outline (pixels where the scale is unknown).

    Pixels may be wider than high, as they are in degrees: the outline is simplified as it lies on the ground.
    """
    sides = pixel_sides(subject, *shapely.centroid(shape).coords[0])
    on_ground = shapely.transform(shape, lambda points: points * sides)
    simple = shapely.simplify(on_ground, metres, preserve_topology=True)
    back = shapely.transform(simple, lambda points: np.round(points / sides, 6))
    return back if back.is_valid and not back.is_empty else shape


def pixel_sides(subject: Subject, x: float, y: float) -> npt.NDArray[np.float64]:
    """Width and height of a pixel in metres, at a column and row; 1 where the scale is unknown."""
    across = length_m(subject, [(x - 0.5, y), (x + 0.5, y)])
    down = length_m(subject, [(x, y - 0.5), (x, y + 0.5)])
    sides = np.array([across or 0.0, down or 0.0])
    usable = bool(np.isfinite(sides).all() and (sides > 0).all())
    return sides if usable else np.full(2, metres_per_pixel(subject) or 1.0)


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
    footprint = _placed(subject, shape)
    found = list(facts)
    if not any(fact.name == "area" for fact in facts):
        area = _placed_area(subject, shape, footprint)
        found += [Fact("area", area, "m2")] if area is not None else []
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
    return f"{area / 1e6:,.0f} km²" if area >= 9.995e8 else f"{area / 1e6:.3g} km²"
