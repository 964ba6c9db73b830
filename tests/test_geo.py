"""Footprints: built, measured and compared; the antimeridian and the poles from both sides."""

from __future__ import annotations

import math

import pytest
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st
from pyproj import Geod

from rsrag import geo
from rsrag.errors import BadFootprint, BadGeometry
from rsrag.types import BBox, Window

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


def test_south_pole() -> None:
    footprint = geo.footprint_from_raster("EPSG:3031", (1e4, 0, -3e6, 0, -1e4, 3e6), Window(0, 0, 600, 600))
    assert geo.holds(footprint, (123.0, -90.0))
    assert not geo.holds(footprint, (123.0, -40.0))
    assert geo.centre(footprint) == (0.0, -90.0)
    assert geo.area_km2(footprint) == pytest.approx(3.56e7, rel=0.01)


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
