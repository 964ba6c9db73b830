"""Footprints on Earth: built from rasters and geometries, measured and compared on the WGS84 ellipsoid.

A footprint is stored as polygons in longitude and latitude, cut at the antimeridian. A polygon that holds a pole runs
along it. A position that cannot be trusted is an error here, never the whole world.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import Geod

from rsrag.crs import first_longitude, full_turn, short_name, transformers
from rsrag.errors import BadFootprint, BadGeometry
from rsrag.types import BBox, Footprint, Polygon, Position, Window

Affine = tuple[float, float, float, float, float, float]
"""(a, b, c, d, e, f): x = a·col + b·row + c, y = d·col + e·row + f."""
Coordinates = npt.NDArray[np.float64]

MAX_VERTICES = 20_000
_A = 6378137.0
_E2 = 0.0066943799901413165
_E = math.sqrt(_E2)
_GEOD = Geod(ellps="WGS84")
_SLACK = 1e-6
_DECIMALS = 9
"""Of degrees that a footprint keeps."""
_HAIR = 1e-9
"""Degrees to which coordinates are kept."""
_AT_POLE = 1e-7
"""Degrees from a pole at which a position is the pole itself."""
_STRAIGHT = 1.0
"""Degrees of longitude within which the edges of a raster do not bend enough to matter."""
_BENT = 5e-6
"""Share of a footprint's area by which an edge may be off between two of its points."""
_MOST_SPLITS, _MOST_POINTS = 16, 1000


# --- building -------------------------------------------------------------------------------------------------------


def footprint_from_raster(crs: str, transform: Affine, window: Window, *, densify: int = 8) -> Footprint:
    """Footprint of a pixel window.

    Args:
        crs: anything PROJ reads (EPSG code, WKT).
        transform: affine from pixel to ``crs``.
        window: pixels of the raster, or the whole of it.
        densify: points on each edge, so that curved edges stay true.

    Raises:
        BadFootprint: unknown CRS, a degenerate transform, or corners that are not on Earth.
    """
    a, b, _, d, e, _ = transform
    if not all(math.isfinite(v) for v in transform) or abs(a * e - b * d) < 1e-300:
        raise BadFootprint(f"degenerate geotransform {transform}")

    def along(t: Coordinates) -> Coordinates:
        """Positions on the window's edges, which are numbered 0 to 3 from the first row on."""
        u = np.clip(1.5 - np.abs(t - 1.5), 0.0, 1.0)
        v = np.clip(1.5 - np.abs(t - 2.5), 0.0, 1.0)
        lon, lat = lonlat(crs, transform, window.col + u * window.width, window.row + v * window.height)
        return np.column_stack([lon, lat])

    steps = max(2, densify)
    corners = np.arange(4 * steps) / steps
    if full_turn(crs):  # straight edges stay straight
        return footprint_from_ring(along(corners))
    return footprint_from_ring(_with_poles(_bent_ring(along, corners)))


def _bent_ring(along: Callable[[Coordinates], Coordinates], t: Coordinates) -> Coordinates:
    """Points of a ring, and more of them where it bends between two, as straight edges do near a pole.

    Args:
        along: longitudes and latitudes by the running number of the edge.
        t: where the points lie that are kept in any case.
    """
    points = along(t)
    if np.abs((np.diff(points[:, 0]) + 180) % 360 - 180).max() < _STRAIGHT:
        return points
    for _ in range(_MOST_SPLITS):
        middles = (t + np.append(t[1:], 4.0)) / 2
        between = along(middles)
        bent = _bends(points, between)
        if not bent.any() or len(points) > _MOST_POINTS:
            break
        after = np.flatnonzero(bent) + 1
        t, points = np.insert(t, after, middles[bent]), np.insert(points, after, between[bent], axis=0)
    return points


def _bends(points: Coordinates, between: Coordinates) -> npt.NDArray[np.bool_]:
    """Whether the ring's middles between its points lie so far off the straight line that the area suffers."""
    following = np.roll(points, -1, axis=0)
    first, second = ((p[:, 0] - between[:, 0] + 180) % 360 - 180 for p in (points, following))
    # At a pole any longitude is right: that of the line towards it.
    first, second = np.where(_at_pole(points), 0.0, first), np.where(_at_pole(following), 0.0, second)
    height = equal_area(np.column_stack([np.zeros(len(points)), points[:, 1]]))[:, 1]
    middle = equal_area(np.column_stack([np.zeros(len(points)), between[:, 1]]))[:, 1]
    before, behind = height - middle, np.roll(height, -1) - middle
    triangles = np.abs(first * behind - second * before) * math.radians(_A) / 2
    corners = earth_centred(points) - earth_centred(points[:1])
    area = float(np.linalg.norm(np.cross(corners, np.roll(corners, -1, axis=0)).sum(axis=0))) / 2
    # Right round the Earth the corners enclose nothing: what rounding makes of a straight line is no bend either.
    reach = max(float(np.abs(first).sum()) * math.radians(_A) * float(np.ptp(height)), 1e-6)
    return np.asarray(triangles > max(_BENT * area, 1e-9 * reach)) | _at_pole(between)


def _at_pole(points: Coordinates) -> npt.NDArray[np.bool_]:
    return np.asarray(np.abs(points[:, 1]) >= 90 - _AT_POLE)


def _with_poles(ring: Coordinates) -> Coordinates:
    """A ring that passes through a pole with that point twice: on the meridian it comes by, and the one it leaves by.

    Seen from a pole every direction has a longitude of its own, and map projections give back any.
    """
    poles = np.flatnonzero(_at_pole(ring))
    if not len(poles) or len(poles) == len(ring):
        return ring
    found = np.repeat(ring, np.where(_at_pole(ring), 2, 1), axis=0)
    for place in poles + np.arange(len(poles)):
        pole = math.copysign(90.0, found[place, 1])
        found[place] = found[place - 1, 0], pole
        found[place + 1] = found[(place + 2) % len(found), 0], pole
    return found


def lonlat(crs: str, transform: Affine, cols: Coordinates, rows: Coordinates) -> tuple[Coordinates, Coordinates]:
    """Longitudes and latitudes in degrees of pixel positions; longitudes may lie beyond ±180.

    Where x is a longitude, in degrees or in metres, it says by itself which turn round the Earth is meant.

    Raises:
        BadFootprint: unknown CRS, or positions that are not on Earth or outside the CRS's domain.
    """
    a, b, c, d, e, f = transform
    x, y = a * cols + b * rows + c, d * cols + e * rows + f
    forward, backward = transformers(crs)
    lon, lat = forward.transform(x, y)
    turn = full_turn(crs)
    if turn is not None:
        lon = lon + 360 * np.round((first_longitude(crs) + x * (360 / turn) - lon) / 360)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        raise BadFootprint(f"coordinates outside the domain of {short_name(crs)}")
    if np.abs(lat).max() > 90 + _SLACK or np.abs(lon).max() > 540 + _SLACK:
        raise BadFootprint(f"coordinates are not on Earth: latitude up to {np.abs(lat).max():g}")
    back_x, back_y = backward.transform(lon, lat)
    size = max(np.ptp(x), np.ptp(y), 1e-12)
    error_x = np.abs(back_x - x) if turn is None else np.abs((back_x - x + turn / 2) % turn - turn / 2)
    # A point outside a projection's domain comes back as another one: compare, do not trust.
    if not np.isfinite(back_x).all() or max(error_x.max(), np.abs(back_y - y).max()) > 0.01 * size + 1e-6:
        raise BadFootprint(f"coordinates do not survive a round trip through {short_name(crs)}")
    return lon, lat


def footprint_from_ring(ring: Coordinates | Sequence[Position]) -> Footprint:
    """Footprint of one ring of longitudes and latitudes in order; neighbours less than 180° apart are neighbours.

    A ring that runs once round the Earth holds the pole on its side.

    Raises:
        BadFootprint: fewer than three points, not finite, not on Earth, or without area.
    """
    points = np.asarray(ring, dtype=np.float64)
    if points.ndim != 2 or points.shape[0] < 3 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise BadFootprint("a footprint needs at least three finite positions")
    if np.abs(points[:, 1]).max() > 90 + _SLACK:
        raise BadFootprint(f"latitude {np.abs(points[:, 1]).max():g} is not on Earth")
    if np.array_equal(points[0], points[-1]):
        points = points[:-1]
    lat = np.clip(points[:, 1], -90, 90)
    raw = points[:, 0]
    # A raster may span the full circle on purpose: only jumps between neighbours are unwrapped.
    lon = np.concatenate([[raw[0]], raw[0] + np.cumsum((np.diff(raw) + 180) % 360 - 180)])
    closing = (raw[0] - raw[-1] + 180) % 360 - 180
    turn = lon[-1] + closing - lon[0]
    if abs(turn) > 180:
        pole = math.copysign(90.0, lat.mean())
        lon = np.concatenate([lon, [lon[0] + turn, lon[0] + turn, lon[0]]])
        lat = np.concatenate([lat, [lat[0], pole, pole]])
    return footprint_from_shape(shapely.Polygon(np.column_stack([lon, lat])))


def footprint_from_shape(shape: Any) -> Footprint:
    """Footprint of a shapely (multi)polygon in longitude and latitude, which may lie beyond ±180.

    Raises:
        BadFootprint: nothing left with an area.
    """
    # By structure: parts that overlap are joined instead of leaving out what they share.
    shape = shapely.make_valid(shape, method="structure", keep_collapsed=False) if not shape.is_valid else shape
    west, _, east, _ = shape.bounds if not shape.is_empty else (0.0, 0.0, 0.0, 0.0)
    pieces: list[Any] = []
    # A hair beyond the antimeridian is a rounding error, not a part on the other side.
    left, right = west + _HAIR, east - _HAIR
    for turn in range(math.floor((left + 180) / 360), math.ceil((right - 180) / 360) + 1):
        world = shapely.box(-180 + 360 * turn, -90, 180 + 360 * turn, 90)
        part = shape if turn == 0 and left >= -180 and right <= 180 else shapely.intersection(shape, world)
        if turn:
            part = shapely.transform(part, lambda xy, t=turn: xy - [360.0 * t, 0.0])
        pieces += [p for p in shapely.get_parts(part).tolist() if p.geom_type == "Polygon" and p.area > 0]
        for collection in (p for p in shapely.get_parts(part).tolist() if p.geom_type == "MultiPolygon"):
            pieces += [p for p in collection.geoms if p.area > 0]
    pieces = [p for piece in pieces for p in _on_grid(piece)]
    if not pieces:
        raise BadFootprint("a footprint without area")
    if len(pieces) > 1 and east - west >= 360 - _HAIR:  # right round the Earth the pieces meet again
        pieces = shapely.get_parts(shapely.union_all(pieces, grid_size=_HAIR)).tolist()
    return Footprint(tuple(_polygon(p) for p in pieces), _bbox(pieces))


def footprint_from_bbox(box: BBox) -> Footprint:
    """Footprint of a bounding box in degrees; ``west > east`` crosses the antimeridian."""
    west, south, east, north = check_bbox(box)
    east = east + 360 if east < west else east
    return footprint_from_shape(shapely.segmentize(shapely.box(west, south, east, north), 5.0))


def footprint_from_geojson(geometry: dict[str, Any]) -> Footprint:
    """Footprint of a GeoJSON Polygon, MultiPolygon, or a Feature of one.

    Raises:
        BadFootprint: another type, off-Earth coordinates, an empty or broken geometry.
    """
    if geometry.get("type") == "Feature":
        geometry = geometry.get("geometry") or {}
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind not in ("Polygon", "MultiPolygon") or not isinstance(coordinates, list):
        raise BadFootprint(f"a footprint needs a Polygon or MultiPolygon, not {kind!r}")
    polygons = [coordinates] if kind == "Polygon" else coordinates
    try:
        shapes = [_shape_of_rings(rings) for rings in polygons]
    except (TypeError, ValueError, IndexError) as error:
        raise BadFootprint(f"unreadable {kind} coordinates: {error}") from error
    return footprint_from_shape(shapely.MultiPolygon(shapes) if len(shapes) > 1 else shapes[0])


def _shape_of_rings(rings: list[Any]) -> Any:
    arrays = [np.asarray([p[:2] for p in ring], dtype=np.float64) for ring in rings]
    if sum(len(a) for a in arrays) > MAX_VERTICES * 50:
        raise ValueError("too many vertices")
    for array in arrays:
        if not np.isfinite(array).all() or np.abs(array[:, 1]).max() > 90 or np.abs(array[:, 0]).max() > 360:
            raise BadFootprint("coordinates are not longitude, latitude on Earth")
    return shapely.Polygon(arrays[0], arrays[1:])


def _on_grid(piece: Any) -> list[Any]:
    """A polygon as it is, or as polygons on the nine decimals of footprints where rounding alone would break it.

    A hole that touches its outer ring in the middle of a side would cross that side.
    """
    if not piece.interiors or shapely.transform(piece, lambda points: np.round(points, _DECIMALS)).is_valid:
        return [piece]
    valid = shapely.make_valid(piece, method="structure", keep_collapsed=False)
    snapped = shapely.get_parts(shapely.set_precision(valid, 10.0**-_DECIMALS)).tolist()
    return [p for p in snapped if p.geom_type == "Polygon" and p.area > 0]


def _polygon(shape: Any) -> Polygon:
    rings = [shape.exterior, *shape.interiors]
    corners = (shapely.get_coordinates(ring).tolist() for ring in rings)
    return tuple(tuple((round(x, _DECIMALS), round(y, _DECIMALS)) for x, y in ring) for ring in corners)


def _bbox(pieces: Sequence[Any]) -> BBox:
    bounds = np.array([p.bounds for p in pieces])
    south, north = round(float(bounds[:, 1].min()), _DECIMALS), round(float(bounds[:, 3].max()), _DECIMALS)
    west, east = float(bounds[:, 0].min()), float(bounds[:, 2].max())
    # The box leaves out the widest gap: that behind the antimeridian, or one between two pieces.
    spans = sorted((float(b[0]), float(b[2])) for b in bounds)
    gap_from, gap, reach = 0.0, 0.0, spans[0][1]
    for start, end in spans[1:]:
        if start - reach > gap:
            gap, gap_from = start - reach, reach
        reach = max(reach, end)
    if gap > 360 - (east - west) + _HAIR:
        return BBox(round(gap_from + gap, _DECIMALS), south, round(gap_from, _DECIMALS), north)
    return BBox(round(west, _DECIMALS), south, round(east, _DECIMALS), north)


# --- reading what users give ----------------------------------------------------------------------------------------


def check_bbox(box: Iterable[float]) -> BBox:
    """A bounding box with valid numbers.

    Raises:
        BadGeometry: not four finite numbers, latitudes reversed or off Earth.
    """
    values = [float(v) for v in box]
    if len(values) != 4 or not all(math.isfinite(v) for v in values):
        raise BadGeometry("a bounding box is four finite numbers", hint="west south east north, in degrees")
    west, south, east, north = values
    if abs(south) > 90 or abs(north) > 90 or abs(west) > 180 or abs(east) > 180:
        hint = "the order is west south east north"
        raise BadGeometry(f"bounding box {west:g} {south:g} {east:g} {north:g} is not on Earth", hint=hint)
    if south > north:
        raise BadGeometry(f"bounding box has south {south:g} above north {north:g}")
    return BBox(west, south, east, north)


def check_position(lon: float, lat: float) -> Position:
    """A longitude and latitude on Earth.

    Raises:
        BadGeometry: not finite or out of range, with a hint when the two look swapped.
    """
    if not (math.isfinite(lon) and math.isfinite(lat)) or abs(lat) > 90 or abs(lon) > 180:
        swapped = abs(lon) <= 90 and 90 < abs(lat) <= 180
        hint = "longitude and latitude look swapped" if swapped else "longitude in [-180, 180], latitude in [-90, 90]"
        raise BadGeometry(f"longitude {lon:g}, latitude {lat:g} is not on Earth", hint=hint)
    return (float(lon), float(lat))


# --- measuring ------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=8192)
def shape(footprint: Footprint) -> Any:
    """The footprint as a shapely polygon or multipolygon in degrees; kept, for footprints that are asked for again."""
    return _shape(footprint)


def _shape(footprint: Footprint) -> Any:
    parts = [shapely.Polygon(rings[0], rings[1:]) for rings in footprint.polygons]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def equal_area(xy: Coordinates) -> Coordinates:
    """Longitude and latitude in degrees to the ellipsoidal equal-area cylinder, in metres (Snyder 1987, eq. 3-12)."""
    sine = np.sin(np.radians(xy[:, 1]))
    q = (1 - _E2) * (sine / (1 - _E2 * sine**2) + np.arctanh(_E * sine) / _E)
    return np.column_stack([_A * np.radians(xy[:, 0]), _A * q / 2])


def earth_centred(xy: Coordinates) -> Coordinates:
    """Longitude and latitude in degrees on the ellipsoid to x, y, z from the Earth's centre, in metres."""
    lon, lat = np.radians(xy).T
    normal = _A / np.sqrt(1 - _E2 * np.sin(lat) ** 2)
    around = normal * np.cos(lat)
    return np.column_stack([around * np.cos(lon), around * np.sin(lon), (1 - _E2) * normal * np.sin(lat)])


def area_km2(footprint: Footprint) -> float:
    """Area on the WGS84 ellipsoid in square kilometres."""
    # Not kept: outlines of masks are large, and measured once.
    flat = shapely.transform(shapely.segmentize(_shape(footprint), 1.0), equal_area)
    return float(flat.area) / 1e6


def centre(footprint: Footprint) -> Position:
    """Centroid in degrees; the pole for a footprint that runs round it."""
    west, south, east, north = footprint.bbox
    if east - west >= 360 - 1e-6 and (north >= 90 - 1e-6) != (south <= -90 + 1e-6):
        return (0.0, 90.0 if north >= 90 - 1e-6 else -90.0)
    whole = _shape(footprint)
    if footprint.bbox.crosses_antimeridian:
        whole = shapely.transform(whole, lambda xy: np.where(xy < [0.0, -91.0], np.add(xy, [360.0, 0.0]), xy))
    point = shapely.centroid(whole)
    return (wrap(point.x), point.y)


def wrap(lon: float) -> float:
    """Longitude brought into [-180, 180]."""
    return lon if -180 <= lon <= 180 else (lon + 180) % 360 - 180


def distance_km(a: Position, b: Position) -> float:
    """Geodesic distance between two positions in kilometres."""
    return float(_GEOD.inv(a[0], a[1], b[0], b[1])[2]) / 1000


def distances_km(a: Position, others: Sequence[Position]) -> npt.NDArray[np.float64]:
    """Geodesic distances from one position to many, in kilometres, float64 of shape [N]."""
    if not others:
        return np.zeros(0)
    points = np.asarray(others, dtype=np.float64)
    lon, lat = np.full(len(points), a[0]), np.full(len(points), a[1])
    return np.asarray(_GEOD.inv(lon, lat, points[:, 0], points[:, 1])[2]) / 1000


def intersects(a: Footprint, b: Footprint) -> bool:
    """Whether two footprints share a point."""
    return bool(shapely.intersects(shape(a), shape(b)))


def holds(footprint: Footprint, position: Position) -> bool:
    """Whether a position lies in a footprint or on its edge."""
    return bool(shapely.intersects_xy(shape(footprint), *position))


def iou(a: Footprint, b: Footprint) -> float:
    """Intersection over union, by area on the ellipsoid; 0 to 1."""
    first, second = (shapely.transform(shapely.make_valid(shape(f)), equal_area) for f in (a, b))
    union = shapely.union(first, second).area
    return float(shapely.intersection(first, second).area / union) if union else 0.0


def around(position: Position, radius_km: float, *, points: int = 48) -> Footprint:
    """The geodesic circle about a position."""
    bearings = np.linspace(0, 360, points, endpoint=False)
    n = len(bearings)
    lon, lat, _ = _GEOD.fwd(np.full(n, position[0]), np.full(n, position[1]), bearings, np.full(n, radius_km * 1000))
    return footprint_from_ring(np.column_stack([lon, lat]))


def gsd_m(crs: str, transform: Affine, width: int, height: int) -> float:
    """Ground sample distance at the centre of a raster: geometric mean of the pixel's two sides, in metres."""
    col, row = width / 2, height / 2
    lon, lat = lonlat(crs, transform, np.array([col, col + 1, col]), np.array([row, row, row + 1]))
    across = _GEOD.inv(lon[0], lat[0], lon[1], lat[1])[2]
    down = _GEOD.inv(lon[0], lat[0], lon[2], lat[2])[2]
    return math.sqrt(across * down)
