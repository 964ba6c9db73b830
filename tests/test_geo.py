"""Footprints: built, measured and compared; the antimeridian and the poles from both sides."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st
from pyproj import Geod

from rsrag import geo
from rsrag.errors import BadFootprint, BadGeometry
from rsrag.types import BBox, Footprint, Window

EARTH_KM2 = 510_065_621.7
"""Surface of the WGS84 ellipsoid."""

lons = st.integers(-17999, 17999).map(lambda n: n / 100)
lats = st.floats(-89, 89, allow_nan=False)


@st.composite
def boxes(draw: st.DrawFn) -> BBox:
    south, north = sorted((draw(lats), draw(lats)))
    west, width = draw(lons), draw(st.floats(0.01, 300))
    assume(north - south > 0.01)
    return BBox(west, south, geo.wrap(west + width), north)


def test_utm_tile() -> None:
    footprint = geo.footprint_from_raster("EPSG:26914", (5.0, 0, 500000, 0, -5.0, 5200000), Window(0, 0, 256, 256))
    assert geo.area_km2(footprint) == pytest.approx(1.28**2, rel=2e-3)
    assert geo.gsd_m("EPSG:26914", (5.0, 0, 500000, 0, -5.0, 5200000), 256, 256) == pytest.approx(5.0, rel=1e-3)
    assert footprint.bbox.west == pytest.approx(-99.0, abs=1e-6)


def test_across_the_antimeridian() -> None:
    footprint = geo.footprint_from_raster("EPSG:32660", (1000, 0, 800000, 0, -1000, 100000), Window(0, 0, 300, 300))
    assert footprint.bbox.crosses_antimeridian
    assert len(footprint.polygons) == 2
    for lon in (179.9, -179.9, 180.0, -180.0):
        assert geo.holds(footprint, (lon, 0.0))
    assert not geo.holds(footprint, (0.0, 0.0))
    assert geo.area_km2(footprint) == pytest.approx(300 * 300, rel=0.01)
    assert abs(geo.centre(footprint)[0]) > 178


def test_islands_on_both_sides_of_the_antimeridian_have_a_small_box() -> None:
    islands = [
        [[[177, -18], [179, -18], [179, -16], [177, -18]]],
        [[[-179.5, -19], [-178, -19], [-178, -17], [-179.5, -19]]],
    ]
    footprint = geo.footprint_from_geojson({"type": "MultiPolygon", "coordinates": islands})
    assert footprint.bbox == BBox(177, -19, -178, -16)
    assert abs(geo.centre(footprint)[0]) > 177
    wide = [[[[w, 0], [w + 10, 0], [w + 10, 5], [w, 0]]] for w in (-60, 45)]
    assert geo.footprint_from_geojson({"type": "MultiPolygon", "coordinates": wide}).bbox == BBox(-60, 0, 55, 5)


def test_parts_that_overlap_are_joined() -> None:
    def square(west: float, south: float, side: float) -> list[list[float]]:
        corners = [(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]
        return [[west + side * x, south + side * y] for x, y in corners]

    overlapping = {"type": "MultiPolygon", "coordinates": [[square(0, 0, 4)], [square(2, 2, 4)]]}
    joined = geo.footprint_from_geojson(overlapping)
    assert len(joined.polygons) == 1 and geo.holds(joined, (3, 3))
    assert geo.iou(joined, geo.footprint_from_shape(shapely.geometry.shape(overlapping))) == pytest.approx(1)
    bow = [[0, 10], [2, 12], [2, 10], [0, 12], [0, 10]]
    crossed = geo.footprint_from_geojson({"type": "MultiPolygon", "coordinates": [[square(0, 0, 4)], [bow]]})
    assert geo.holds(crossed, (0.1, 11)) and geo.holds(crossed, (2, 2)) and crossed.bbox == BBox(0, 0, 4, 12)


def test_south_pole() -> None:
    footprint = geo.footprint_from_raster("EPSG:3031", (1e4, 0, -3e6, 0, -1e4, 3e6), Window(0, 0, 600, 600))
    assert geo.holds(footprint, (123.0, -90.0))
    assert not geo.holds(footprint, (123.0, -40.0))
    assert geo.centre(footprint) == (0.0, -90.0)
    assert geo.area_km2(footprint) == pytest.approx(3.56e7, rel=0.01)


@pytest.mark.parametrize(
    ("crs", "west"), [("EPSG:3857", 19.9e6), ("EPSG:3857", -20.2e6), ("EPSG:3395", 19.9e6), ("EPSG:3832", 3.2e6)]
)
def test_mercator_across_the_antimeridian(crs: str, west: float) -> None:
    transform = (1000.0, 0, west, 0, -1000.0, 1e6)
    footprint = geo.footprint_from_raster(crs, transform, Window(0, 0, 300, 300))
    assert footprint.bbox.crosses_antimeridian and len(footprint.polygons) == 2
    inland = geo.footprint_from_raster(crs, (1000.0, 0, -1e6, 0, -1000.0, 1e6), Window(0, 0, 300, 300))
    assert geo.area_km2(footprint) == pytest.approx(geo.area_km2(inland), rel=1e-9)
    assert geo.gsd_m(crs, transform, 300, 300) == pytest.approx(988, rel=0.01)
    lon, _ = geo.lonlat(crs, transform, np.arange(0.0, 301, 50), np.full(7, 10.0))
    assert np.ptp(lon) < 3 and (np.diff(lon) > 0).all()


def test_a_world_in_metres_reaches_once_round() -> None:
    side = 20037508.342789244
    pixel = 2 * side / 256
    footprint = geo.footprint_from_raster("EPSG:3857", (pixel, 0, -side, 0, -pixel, side), Window(0, 0, 256, 256))
    assert list(footprint.bbox) == pytest.approx([-180, -85.0511288, 180, 85.0511288])


def square_about(crs: str, left: float, top: float, rows: int = 300) -> tuple[Footprint, float]:
    """A footprint of 300 columns of 10 km, and its area by geodesics between very many points of its outline."""
    transform = (1e4, 0.0, left, 0.0, -1e4, top)
    along = np.linspace(0, 1, 2000, endpoint=False)
    u = np.concatenate([along, np.ones(2000), 1 - along, np.zeros(2000)]) * 300
    v = np.concatenate([np.zeros(2000), along, np.ones(2000), 1 - along]) * rows
    lon, lat = geo.lonlat(crs, transform, u, v)
    exact = abs(Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)[0]) / 1e6
    return geo.footprint_from_raster(crs, transform, Window(0, 0, 300, rows)), exact


@pytest.mark.parametrize("crs", ["EPSG:3413", "EPSG:3031", "EPSG:3571"])
@pytest.mark.parametrize(
    ("left", "top", "rows"),
    [
        (-1.5e6, 1.5e6, 300),  # the pole in the middle
        (-2.9e6, 1e5, 300),  # in a corner of it
        (0, 3e6, 300),  # at a corner
        (-1.5e6, 3e6, 300),  # on an edge
        (-1.5e6, 3e6, 299),  # just outside
        (-1.5e6, 3e6, 301),  # just inside
        (2e5, 2e5, 300),
    ],
)
def test_areas_and_outlines_over_a_pole(crs: str, left: float, top: float, rows: int) -> None:
    footprint, exact = square_about(crs, left, top, rows)
    assert geo.area_km2(footprint) == pytest.approx(exact, rel=1e-3)
    assert shapely.is_valid(geo.shape(footprint))
    whole_turn = footprint.bbox.west == -180 and footprint.bbox.east == 180
    assert whole_turn == (left < 0 < left + 3e6 and top - rows * 1e4 < 0 < top)


def test_outlines_without_a_bend_keep_their_few_points() -> None:
    footprint = geo.footprint_from_raster("EPSG:32633", (30, 0, 300000, 0, -30, 7e6), Window(0, 0, 7600, 7600))
    assert len(footprint.polygons[0][0]) == 33
    for west in (-180.0, 0.0):  # a pole is no bend where rows are latitudes
        world = geo.footprint_from_raster("EPSG:4326", (1.2, 0, west, 0, -0.6, 90), Window(0, 0, 300, 300))
        assert sum(len(rings[0]) for rings in world.polygons) < 80
    speck = geo.footprint_from_raster("EPSG:3413", (1e-4, 0, -1e-2, 0, -1e-4, 1e-2), Window(0, 0, 200, 200))
    assert sum(len(rings[0]) for rings in speck.polygons) < 3000


@pytest.mark.parametrize(("col", "width"), [(0, 4096), (1304, 4096), (0, 128), (5272, 128), (0, 5400)])
def test_windows_that_end_at_the_antimeridian_are_one_valid_part(col: int, width: int) -> None:
    found = geo.footprint_from_raster("EPSG:4326", (1 / 15, 0, -180, 0, -1 / 15, 90), Window(col, 0, width, 2700))
    assert len(found.polygons) == 1 and shapely.is_valid(geo.shape(found))
    assert found.bbox == pytest.approx((-180 + col / 15, -90, -180 + (col + width) / 15, 90))


def test_whole_earth() -> None:
    footprint = geo.footprint_from_raster("EPSG:4326", (0.1, 0, -180, 0, -0.1, 90), Window(0, 0, 3600, 1800))
    assert footprint.bbox == BBox(-180, -90, 180, 90)
    assert geo.area_km2(footprint) == pytest.approx(EARTH_KM2, rel=1e-6)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:4326", (1.0, 0, 100, 0, -1.0, 300)),
        ("EPSG:3857", (1e5, 0, -2e9, 0, -1e5, 2e9)),
        ("EPSG:32633", (1e5, 0, -2e9, 0, -1e5, 2e9)),
        ("EPSG:4326", (0.0, 0, 0, 0, 0.0, 0)),
        ("EPSG:4326", (math.nan, 0, 0, 0, 1.0, 0)),
        ("not a crs", (1.0, 0, 0, 0, -1.0, 0)),
    ],
)
def test_no_footprint_rather_than_a_wrong_one(crs: str, transform: geo.Affine) -> None:
    with pytest.raises(BadFootprint):
        geo.footprint_from_raster(crs, transform, Window(0, 0, 40000, 40000))


@given(boxes())
def test_boxes_survive(box: BBox) -> None:
    footprint = geo.footprint_from_bbox(box)
    assert list(footprint.bbox) == pytest.approx(list(box), abs=1e-6)
    for polygon in footprint.polygons:
        for lon, lat in polygon[0]:
            assert -180 <= lon <= 180
            assert -90 <= lat <= 90
    middle = geo.wrap(box.west + ((box.east - box.west) % 360) / 2)
    assert geo.holds(footprint, (middle, (box.south + box.north) / 2))


@given(boxes())
def test_geojson_round_trip(box: BBox) -> None:
    footprint = geo.footprint_from_bbox(box)
    again = geo.footprint_from_geojson(footprint.to_geojson())
    assert geo.iou(footprint, again) == pytest.approx(1.0, abs=1e-6)


@given(lons, st.floats(-80, 80), st.floats(0.05, 2.0))
def test_area_agrees_with_geodesics(lon: float, lat: float, side: float) -> None:
    box = BBox(lon, lat, geo.wrap(lon + side), lat + side)
    ring = shapely.segmentize(shapely.box(lon, lat, lon + side, lat + side), 0.01)
    exact = abs(Geod(ellps="WGS84").geometry_area_perimeter(ring)[0]) / 1e6
    assert geo.area_km2(geo.footprint_from_bbox(box)) == pytest.approx(exact, rel=1e-4)


@given(boxes(), boxes())
def test_iou_is_symmetric_and_bounded(a: BBox, b: BBox) -> None:
    first, second = geo.footprint_from_bbox(a), geo.footprint_from_bbox(b)
    forward = geo.iou(first, second)
    assert 0 <= forward <= 1 + 1e-9
    assert forward == pytest.approx(geo.iou(second, first), abs=1e-9)
    assert geo.iou(first, first) == pytest.approx(1.0, abs=1e-9)
    assert (forward > 0) <= geo.intersects(first, second)


@given(lons, lats, st.floats(1, 800))
def test_circles(lon: float, lat: float, radius: float) -> None:
    circle = geo.around((lon, lat), radius)
    assert geo.holds(circle, (lon, lat))
    assert geo.area_km2(circle) == pytest.approx(math.pi * radius**2, rel=0.02)


def test_circle_round_the_pole() -> None:
    assert geo.holds(geo.around((0, 89.9), 50), (180.0, 89.99))


def test_distances() -> None:
    assert geo.distance_km((0, 0), (1, 0)) == pytest.approx(111.32, rel=1e-3)
    assert list(geo.distances_km((179.5, 0), [(-179.5, 0), (179.5, 0)])) == pytest.approx([111.32, 0], rel=1e-3)
    assert len(geo.distances_km((0, 0), [])) == 0


@pytest.mark.parametrize("box", [(0, 0, 1), (0, 5, 1, 4), (0, 0, 1, 91), (200, 0, 201, 1), (0, math.nan, 1, 1)])
def test_bad_boxes(box: tuple[float, ...]) -> None:
    with pytest.raises(BadGeometry):
        geo.check_bbox(box)


def test_swapped_position_is_named() -> None:
    with pytest.raises(BadGeometry, match="swapped"):
        geo.check_position(45.0, 120.0)
    assert geo.check_position(120, 45) == (120.0, 45.0)


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": "Point", "coordinates": [0, 0]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 120], [1, 1], [0, 0]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [0, 0], [0, 0], [0, 0]]]},
        {"type": "Polygon", "coordinates": [[["a", 0], [1, 1]]]},
        {"type": "Polygon"},
    ],
)
def test_bad_geojson(geometry: dict[str, object]) -> None:
    with pytest.raises(BadFootprint):
        geo.footprint_from_geojson(geometry)


def test_holes_that_touch_their_outer_ring_stay_on_their_side_of_it_after_rounding() -> None:
    outer = [(4, 8), (4, 19), (2, 22), (6, 22), (6, 12), (9, 15), (12, 14)]
    hole = [(7, 12), (8, 11), (8, 12)]
    sound = shapely.Polygon(outer, [hole])
    for step in range(60):
        moved = shapely.transform(
            sound, lambda points, by=step: points * 2.571e-4 + [-34.9 + by / 997, -8.1 + by / 991]
        )
        given_ = shapely.geometry.mapping(moved)
        footprint = geo.footprint_from_geojson(
            {"type": "Polygon", "coordinates": [list(r) for r in given_["coordinates"]]}
        )
        assert geo.shape(footprint).is_valid
        assert geo.shape(footprint).area == pytest.approx(sound.area * 2.571e-4**2, rel=1e-3)
