"""Pixel shapes on the ground: areas on the ellipsoid, boxes, cells, words."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod
from rasters import TEN_METRES, UTM31

from rsrag import geo
from rsrag.adapters import measure
from rsrag.adapters.base import Subject
from rsrag.types import BBox, Fact, Window

LOCATED = Subject("scene", 400, 300, UTM31, TEN_METRES, gsd_m=10.0)
BARE = Subject("photo", 400, 300)


def test_an_area_is_that_of_the_ellipsoid() -> None:
    box = shapely.box(100, 100, 200, 150)
    area = measure.area_m2(LOCATED, box)
    assert area == pytest.approx(100 * 50 * 100, rel=2e-3)  # UTM's scale lies within 0.1 % of 1
    assert measure.pixel_area_m2(LOCATED) == pytest.approx(100, rel=2e-3)
    assert measure.metres_per_pixel(LOCATED) == 10.0


def test_without_position_the_pixel_size_is_used_or_nothing_is_said() -> None:
    box = shapely.box(0, 0, 10, 10)
    assert measure.area_m2(BARE, box) is None and measure.outline(BARE, box) is None
    assert measure.area_m2(Subject("photo", 400, 300, gsd_m=0.5), box) == pytest.approx(25.0)
    found = measure.region(BARE, "tank", 0.7, box, boxed=True)
    assert found.footprint is None and found.centre is None and found.facts == () and found.rings == ()


def test_holes_that_touch_their_outer_ring_in_the_middle_of_a_side_stay_on_their_side_of_it() -> None:
    scene = Subject(
        "olinda", 400, 400, "EPSG:31985", (28.49999999927454, 0, 288776.25, 0, -28.49999999927454, 9120760.75)
    )
    outer = [(4, 8), (4, 19), (2, 22), (6, 22), (6, 12), (9, 15), (12, 14)]
    lake = shapely.Polygon(outer, [[(7, 12), (8, 11), (8, 12)]])
    for row in range(0, 360, 12):
        for col in range(0, 360, 12):
            moved = shapely.transform(lake, lambda points, by=(col, row): points + by)
            footprint = measure.outline(scene, moved)
            assert footprint is not None
            assert geo.shape(footprint).is_valid
            assert geo.area_km2(footprint) * 1e6 == pytest.approx(lake.area * 28.5**2, rel=2e-3)


def test_a_region_has_everything_a_map_needs() -> None:
    shape = shapely.Polygon([(10, 10), (60, 40), (50, 60), (0, 30)])
    found = measure.region(LOCATED, "ship", 0.9, shape, facts=[Fact("length", 3.0, "m")], oriented=True)
    assert found.box == (0, 10, 60, 60) and len(found.oriented) == 4 and found.rings[0][0] == found.rings[0][-1]
    assert shapely.Polygon(found.oriented).area == pytest.approx(shapely.oriented_envelope(shape).area)
    assert found.centre is not None and found.footprint is not None
    facts = {fact.name: fact for fact in found.facts}
    assert facts["area"].unit == "m2" and facts["area"].value == pytest.approx(shape.area * 100, rel=3e-3)


def test_a_raster_across_the_antimeridian_keeps_its_area() -> None:
    subject = Subject("pacific", 40, 40, "EPSG:4326", (0.01, 0.0, 179.8, 0.0, -0.01, 10.2), gsd_m=1100)
    found = measure.region(subject, "island", 1.0, shapely.box(0, 0, 40, 40))
    east = Subject("inland", 40, 40, "EPSG:4326", (0.01, 0.0, 20.0, 0.0, -0.01, 10.2), gsd_m=1100)
    assert found.footprint is not None and found.footprint.bbox.crosses_antimeridian
    assert found.facts[0].value == pytest.approx(measure.area_m2(east, shapely.box(0, 0, 40, 40)), rel=1e-6)


@pytest.mark.parametrize("west", [19.9e6, -20.175e6])
def test_web_mercator_across_the_antimeridian_keeps_its_area(west: float) -> None:
    subject = Subject("pacific", 300, 300, "EPSG:3857", (1e3, 0.0, west, 0.0, -1e3, 1e6), gsd_m=988)
    found = measure.region(subject, "island", 1.0, shapely.Point(138, 100).buffer(60))
    inland = Subject("inland", 300, 300, "EPSG:3857", (1e3, 0.0, 1e6, 0.0, -1e3, 1e6), gsd_m=988)
    assert found.footprint is not None and found.footprint.bbox.crosses_antimeridian
    assert found.facts[0].value == pytest.approx(measure.area_m2(inland, shapely.Point(138, 100).buffer(60)), rel=1e-6)
    each = measure.pixel_areas_m2(subject, Window(0, 0, 300, 300))
    assert each is not None
    assert each.sum() == pytest.approx(measure.area_m2(inland, shapely.box(0, 0, 300, 300)), rel=1e-6)


ANTARCTICA = Subject("antarctica", 600, 600, "EPSG:3031", (1e4, 0.0, -3e6, 0.0, -1e4, 3e6), gsd_m=1e4)


@pytest.mark.parametrize(
    "shape",
    [
        shapely.box(0, 0, 600, 600),
        shapely.Point(300, 300).buffer(100),
        shapely.Point(330, 300).buffer(50),
        shapely.box(300, 200, 400, 400),  # the pole on an edge
        shapely.box(300, 300, 400, 400),  # at a corner
        shapely.Point(300, 300).buffer(100) - shapely.Point(300, 300).buffer(60),
        shapely.box(0, 0, 600, 600) - shapely.Point(250, 310).buffer(60),
    ],
)
def test_areas_about_a_pole(shape: shapely.Polygon) -> None:
    def exact(ring: shapely.LinearRing) -> float:
        cols, rows = shapely.get_coordinates(shapely.segmentize(ring, 0.5)).T
        assert ANTARCTICA.crs is not None and ANTARCTICA.transform is not None
        lon, lat = geo.lonlat(ANTARCTICA.crs, ANTARCTICA.transform, cols, rows)
        return abs(Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)[0])

    whole = exact(shape.exterior) - sum(map(exact, shape.interiors))
    assert measure.area_m2(ANTARCTICA, shape) == pytest.approx(whole, rel=5e-4)
    found = measure.outline(ANTARCTICA, shape)
    assert found is not None
    pole = shapely.Point(300, 300)
    if not shape.boundary.intersects(pole):
        assert geo.holds(found, (0.0, -90.0)) == bool(shape.contains(pole))


EARTH_M2 = 510_065_621_724_088  # of the WGS84 ellipsoid


def test_the_whole_earth_has_its_area() -> None:
    whole = Subject("earth", 360, 180, "EPSG:4326", (1.0, 0.0, -180.0, 0.0, -1.0, 90.0))
    assert measure.area_m2(whole, shapely.box(0, 0, 360, 180)) == pytest.approx(EARTH_M2, rel=1e-4)
    assert measure.pixel_area_m2(whole) == pytest.approx(EARTH_M2 / 64_800, rel=1e-4)
    east = Subject("earth", 360, 180, "EPSG:4326", (1.0, 0.0, 0.0, 0.0, -1.0, 90.0))
    assert measure.area_m2(east, shapely.box(0, 0, 360, 180)) == pytest.approx(EARTH_M2, rel=1e-4)


@pytest.mark.parametrize("west", [-180.0, -100.0, 0.0, 100.0])
@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:4269"])
def test_wide_rasters_have_the_area_of_their_longitudes(west: float, crs: str) -> None:
    wide = Subject("wide", 200, 100, crs, (1.0, 0.0, west, 0.0, -1.0, 50.0))
    narrow = Subject("narrow", 20, 100, crs, (1.0, 0.0, 10.0, 0.0, -1.0, 50.0))
    area, tenth = (measure.area_m2(s, shapely.box(0, 0, s.width, 100)) for s in (wide, narrow))
    assert area is not None and tenth is not None and area == pytest.approx(10 * tenth, rel=1e-6)
    assert area == pytest.approx(216.67e12, rel=1e-4)


def test_wide_projected_rasters_have_the_area_of_the_ground() -> None:
    size = 2 * math.pi * 6378137 / 256
    mercator = Subject("world", 256, 256, "EPSG:3857", (size, 0.0, -128 * size, 0.0, -size, 128 * size))
    edge = math.radians(85.0511287798)
    share = math.sin(edge)  # of a sphere; the ellipsoid differs by less than 0.1 %
    assert measure.area_m2(mercator, shapely.box(0, 0, 256, 256)) == pytest.approx(EARTH_M2 * share, rel=1e-3)


def test_a_ring_round_the_pole_holds_it() -> None:
    """Polar stereographic, 80 km a pixel: the cap, and the cap with a hole about the pole and one at its edge."""
    polar = Subject("arctic", 100, 100, "EPSG:3413", (80_000.0, 0.0, -4e6, 0.0, -80_000.0, 4e6))
    cap = shapely.Point(50, 50).buffer(40, 64)
    inner, side = shapely.Point(50, 50).buffer(10, 64), shapely.Point(30, 30).buffer(4, 64)
    areas = [measure.area_m2(polar, s) for s in (cap, inner, side, cap.difference(inner), cap.difference(side))]
    whole, middle, small, ring, holed = (area or 0.0 for area in areas)
    assert polar.crs is not None and polar.transform is not None
    _, (south,) = geo.lonlat(polar.crs, polar.transform, np.array([90.0]), np.array([50.0]))
    north = geo.area_km2(geo.footprint_from_bbox(BBox(-180.0, south, 180.0, 90.0))) * 1e6
    assert whole == pytest.approx(north, rel=1e-2)  # the outline has corners
    assert ring == pytest.approx(whole - middle, rel=1e-3) and holed == pytest.approx(whole - small, rel=1e-3)


def test_a_hole_across_the_antimeridian_is_taken_out() -> None:
    zone = Subject("zone", 100, 100, "EPSG:32601", (1000.0, 0.0, 250_000.0, 0.0, -1000.0, 6_050_000.0))
    other = Subject("inland", 100, 100, "EPSG:32632", (1000.0, 0.0, 250_000.0, 0.0, -1000.0, 6_050_000.0))
    shape = shapely.box(0, 0, 100, 100).difference(
        shapely.union_all([shapely.box(5, 5, 9, 60), shapely.box(60, 20, 90, 70)])
    )
    found = measure.region(zone, "island", 1.0, shape)
    assert found.footprint is not None and found.footprint.bbox.crosses_antimeridian
    assert found.facts[0].value == pytest.approx(measure.area_m2(other, shape), rel=1e-6)


def test_simplified_outlines_stay_within_the_metres_asked_for() -> None:
    steps = [(x, 20 + x % 2) for x in range(50)]
    shape = shapely.Polygon([*steps, (49, 60), (0, 60)])
    simple = measure.simplified(LOCATED, shape, 15)
    assert shapely.get_num_coordinates(simple) < 12
    assert shapely.hausdorff_distance(simple.exterior, shape.exterior) * 10 <= 15 + 1e-6


def test_outlines_are_simplified_as_they_lie_on_the_ground() -> None:
    """In degrees a pixel at 75° N is almost four times as high as wide: 11.2 m by 2.9 m."""
    north = Subject("north", 400, 400, "EPSG:4326", (1e-4, 0, 20, 0, -1e-4, 75.0), gsd_m=5.7)
    upright = shapely.Polygon([(0, 0), (100, 0), (100, 50), (55, 50), (50, 53), (45, 50), (0, 50)])  # 33 m high
    sideways = shapely.Polygon([(0, 0), (50, 0), (50, 45), (53, 50), (50, 55), (50, 100), (0, 100)])  # 9 m wide
    assert (50, 53) in measure.simplified(north, upright, 30).exterior.coords
    assert (50, 53) not in measure.simplified(north, upright, 36).exterior.coords
    assert (53, 50) in measure.simplified(north, sideways, 7).exterior.coords
    assert (53, 50) not in measure.simplified(north, sideways, 11).exterior.coords


def test_length_of_a_line() -> None:
    assert measure.length_m(LOCATED, [(0, 0), (30, 40)]) == pytest.approx(500, rel=2e-3)
    assert measure.length_m(BARE, [(0, 0), (3, 4)]) is None


@given(st.floats(0, 399), st.floats(0, 299))
def test_cells_are_thirds(x: float, y: float) -> None:
    cell = measure.cell_of((x, y, x, y), 400, 300)
    words = {"center"} if cell == "center" else set(cell.split("-"))
    if x < 400 / 3 - 1e-9:
        assert "left" in words
    if y > 200 + 1e-9:
        assert "bottom" in words
    assert cell in {"center", *(f"{v}-{h}" for v in ("top", "center", "bottom") for h in ("left", "center", "right"))}


@pytest.mark.parametrize(
    ("area", "text"),
    [
        (3.4, "3.4 m²"),
        (5000, "5,000 m²"),
        (23_500, "2.35 ha"),
        (4_230_000, "423 ha"),
        (2.5e8, "250 km²"),
        (9.996e8, "1,000 km²"),
    ],
)
def test_areas_for_people(area: float, text: str) -> None:
    assert measure.area_text(area) == text


@given(st.floats(1e-3, 1e13))
def test_areas_never_fail(area: float) -> None:
    text = measure.area_text(area)
    assert text[0].isdigit() and text.endswith(("m²", "ha", "km²")) and math.isfinite(area)


POLAR = Subject("arctic", 120, 100, "EPSG:3413", (25_000.0, 0.0, -2e6, 0.0, -25_000.0, 2e6))
HIGH = Subject("high", 120, 100, "EPSG:4326", (0.1, 0.0, 20.0, 0.0, -0.1, 80.0))
TURNED = Subject("turned", 120, 100, "EPSG:4326", (0.07, 0.07, 20.0, 0.07, -0.07, 70.0))
MERCATOR = Subject("world", 120, 100, "EPSG:3857", (50_000.0, 0.0, -1e6, 0.0, -50_000.0, 1e7))


@pytest.mark.parametrize("subject", [LOCATED, HIGH, POLAR, TURNED, MERCATOR], ids=lambda s: s.name)
def test_every_pixel_has_its_own_area(subject: Subject) -> None:
    """The pole lies in the middle of the arctic one."""
    window = Window(20, 10, 90, 80)
    areas = measure.pixel_areas_m2(subject, window)
    assert areas is not None and areas.shape == (80, 90)
    for row, col in ((0, 0), (79, 89), (40, 3), (7, 60)):
        box = shapely.box(window.col + col, window.row + row, window.col + col + 1, window.row + row + 1)
        assert areas[row, col] == pytest.approx(measure.area_m2(subject, box), rel=1e-3)
    found = np.zeros(areas.shape, dtype=np.bool_)
    found[:20, 30:40] = True
    box = shapely.box(50, 10, 60, 30)
    assert measure.found_area_m2(subject, window, found) == pytest.approx(measure.area_m2(subject, box), rel=2e-3)


def test_rows_of_a_grid_in_degrees_add_up_to_the_earth() -> None:
    whole = Subject("earth", 360, 180, "EPSG:4326", (1.0, 0.0, -180.0, 0.0, -1.0, 90.0))
    areas = measure.pixel_areas_m2(whole, Window(0, 0, 360, 180))
    assert areas is not None and areas.sum() == pytest.approx(EARTH_M2, rel=1e-9)
    pacific = Subject("pacific", 40, 40, "EPSG:4326", (0.1, 0.0, 178.0, 0.0, -0.1, 60.0))
    part = measure.pixel_areas_m2(pacific, Window(0, 0, 40, 40))
    assert part is not None and part.sum() == pytest.approx(measure.area_m2(pacific, shapely.box(0, 0, 40, 40)))


def test_pixels_without_a_position_have_the_known_size_or_none() -> None:
    window, found = Window(0, 0, 4, 3), np.ones((3, 4), dtype=np.bool_)
    assert measure.pixel_areas_m2(BARE, window) is None and measure.found_area_m2(BARE, window, found) is None
    assert measure.found_area_m2(Subject("photo", 400, 300, gsd_m=0.5), window, found) == pytest.approx(3.0)
    beyond = Subject("beyond", 10, 10, "EPSG:4326", (1.0, 0.0, 0.0, 0.0, -1.0, 120.0), gsd_m=100.0)
    assert measure.found_area_m2(beyond, window, found) == pytest.approx(12 * 100.0**2)


def test_an_area_that_is_known_is_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geo, "area_km2", lambda _: pytest.fail("measured"))
    found = measure.region(LOCATED, "field", 1.0, shapely.box(0, 0, 9, 9), facts=[Fact("area", 5.0, "m2")])
    assert found.facts == (Fact("area", 5.0, "m2"),)


def test_outlines_that_were_measured_are_not_kept() -> None:
    before = geo.shape.cache_info().currsize
    for side in range(10, 14):
        measure.area_m2(LOCATED, shapely.Point(50, 50).buffer(side))
        measure.region(LOCATED, "pond", 1.0, shapely.Point(60, 50).buffer(side))
    assert geo.shape.cache_info().currsize == before
