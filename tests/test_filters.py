"""Boxes, geometries, ranges and positions as users write them."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path

import pytest
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st

from rsrag import geo
from rsrag.errors import BadGeometry, UsageError
from rsrag.filters import (
    MAX_VERTICES,
    parse_bbox,
    parse_columns,
    parse_facts,
    parse_intersects,
    parse_where,
)
from rsrag.types import BBox

LON = st.floats(-180, 180, allow_nan=False)
LAT = st.floats(-90, 90, allow_nan=False)


# --- boxes ----------------------------------------------------------------------------------------------------------


@given(LON, LAT, LON, LAT)
def test_box_from_numbers_and_from_text_are_the_same(west: float, south: float, east: float, north: float) -> None:
    south, north = sorted((south, north))
    assume(west != east and south != north)
    expected = BBox(west, south, east, north)
    assert parse_bbox((west, south, east, north)) == expected
    assert parse_bbox(f"{west!r},{south!r},{east!r},{north!r}") == expected
    assert parse_bbox(f"{west!r} {south!r}  {east!r} {north!r}") == expected


def test_box_across_the_antimeridian_stays() -> None:
    assert parse_bbox("170 -20 -170 -10").crosses_antimeridian


@pytest.mark.parametrize("text", ["", "1 2 3", "1 2 3 4 5", "a b c d", "nan 0 1 1", "inf 0 1 1", "0 0 0 1", "0 1 1 0"])
def test_bad_boxes(text: str) -> None:
    with pytest.raises(BadGeometry):
        parse_bbox(text)


def test_box_off_earth() -> None:
    with pytest.raises(BadGeometry, match="not on Earth"):
        parse_bbox((-8, 120, 2, 130))


# --- geometries -----------------------------------------------------------------------------------------------------

SQUARE = [[10, 40], [12, 40], [12, 42], [10, 42], [10, 40]]
POLYGON = {"type": "Polygon", "coordinates": [SQUARE]}


def test_geometry_from_geojson_feature_collection_wkt_and_file(tmp_path: Path) -> None:
    feature = {"type": "Feature", "properties": {}, "geometry": POLYGON}
    collection = {"type": "FeatureCollection", "features": [feature, feature]}
    file = tmp_path / "area.geojson"
    file.write_text("\ufeff" + json.dumps(collection), encoding="utf-8")
    wkt = tmp_path / "area.wkt"
    wkt.write_text("POLYGON ((10 40, 12 40, 12 42, 10 42, 10 40))\n")
    texts = (
        json.dumps(POLYGON),
        json.dumps(feature),
        json.dumps(collection),
        "POLYGON((10 40, 12 40, 12 42, 10 42, 10 40))",
        "SRID=4326;POLYGON((10 40, 12 40, 12 42, 10 42, 10 40))",
        str(file),
        str(wkt),
    )
    for text in texts:
        assert parse_intersects(text).bbox == BBox(10, 40, 12, 42), text


def test_open_rings_are_closed() -> None:
    opened = {"type": "Polygon", "coordinates": [SQUARE[:-1]]}
    closed = parse_intersects(json.dumps(POLYGON))
    assert geo.iou(parse_intersects(json.dumps(opened)), closed) == pytest.approx(1)
    assert geo.iou(parse_intersects("POLYGON((10 40, 12 40, 12 42, 10 42))"), closed) == pytest.approx(1)


def test_union_of_several_polygons_and_holes() -> None:
    ring = [[10.5, 40.5], [11, 40.5], [11, 41], [10.5, 41], [10.5, 40.5]]
    holed = parse_intersects(json.dumps({"type": "Polygon", "coordinates": [SQUARE, ring]}))
    assert geo.holds(holed, (10.2, 40.2))
    assert not geo.holds(holed, (10.7, 40.7))
    two = parse_intersects("MULTIPOLYGON(((0 0, 1 0, 1 1, 0 1, 0 0)), ((5 5, 6 5, 6 6, 5 6, 5 5)))")
    assert geo.holds(two, (0.5, 0.5))
    assert geo.holds(two, (5.5, 5.5))
    assert not geo.holds(two, (3, 3))


def test_geometry_beyond_180_is_cut_at_the_antimeridian() -> None:
    area = parse_intersects("POLYGON((170 -20, 190 -20, 190 -10, 170 -10, 170 -20))")
    assert len(area.polygons) == 2
    assert area.bbox == BBox(170, -20, -170, -10)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("POLYGON((0 0, 2 2, 2 0, 0 2, 0 0))", "not valid.*[Ss]elf"),
        ("POLYGON((0 0, 1 1, 2 2, 0 0))", "not valid|no area"),
        ("POLYGON EMPTY", "empty"),
        ("POLYGON((0 0, 1", "unreadable"),
        ("SRID=32633;POLYGON((0 0, 1 0, 1 1, 0 0))", "EPSG:32633"),
        ("POLYGON((500000 4000000, 510000 4000000, 510000 4010000, 500000 4000000))", "not on Earth"),
        ('{"type": "Point", "coordinates": [1, 2]}', "Polygon or MultiPolygon, not 'Point'"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1, null], [1, 1]]]}', "unreadable Polygon"),
        ('{"type": "Polygon", "coordinates": []}', "unreadable Polygon"),
        ('{"type": "Polygon", "coordinates": 5}', "unreadable Polygon"),
        ('{"type": "FeatureCollection", "features": []}', "empty"),
        ('{"type": "Feature", "geometry": null}', "must be an object"),
        ('{"type": "Polygon", ', "unreadable GeoJSON"),
        ("/no/such/file.geojson", "neither a file"),
        ("POINT(1 2)", "nor a geometry with an area .*polygons"),
        ("", "neither a file|cannot read"),
        ("\x00", "neither a file|cannot read"),
        ("~nobody_has_this_name/area.geojson", "cannot read|neither a file"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [Infinity, 0], [1, 1], [0, 0]]]}', "not finite"),
    ],
)
def test_bad_geometries(text: str, message: str) -> None:
    with pytest.raises(BadGeometry, match=message):
        parse_intersects(text)


def test_swapped_coordinates_get_a_hint() -> None:
    with pytest.raises(BadGeometry) as caught:
        parse_intersects("POLYGON((40 100, 42 100, 42 110, 40 110, 40 100))")
    assert "swapped" in (caught.value.hint or "")


def test_projected_geojson_is_refused() -> None:
    named = {**POLYGON, "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}}
    with pytest.raises(BadGeometry, match="longitude and latitude"):
        parse_intersects(json.dumps(named))
    named["crs"]["properties"]["name"] = "urn:ogc:def:crs:OGC:1.3:CRS84"  # type: ignore[index]
    assert parse_intersects(json.dumps(named)).bbox == BBox(10, 40, 12, 42)


def test_too_many_vertices() -> None:
    angles = [2 * math.pi * k / (MAX_VERTICES + 5) for k in range(MAX_VERTICES + 5)]
    ring = [[10 * math.cos(a), 10 * math.sin(a)] for a in angles]
    with pytest.raises(BadGeometry, match="vertices"):
        parse_intersects(json.dumps({"type": "Polygon", "coordinates": [[*ring, ring[0]]]}))


@given(st.lists(st.tuples(st.floats(-179, 179), st.floats(-89, 89)), min_size=3, max_size=12))
def test_any_polygon_is_read_right_or_refused(points: list[tuple[float, float]]) -> None:
    shape = shapely.Polygon(points)
    text = json.dumps({"type": "Polygon", "coordinates": [[list(p) for p in points]]})
    try:
        area = parse_intersects(text)
    except BadGeometry:
        assert not shape.is_valid or shape.area < 1e-12
    else:
        assert shape.is_valid
        assert geo.shape(area).area == pytest.approx(shape.area, rel=1e-3, abs=1e-6)


@given(st.text(max_size=60))
def test_no_text_gets_past_with_another_error(text: str) -> None:
    for parse in (parse_intersects, parse_bbox):
        with contextlib.suppress(BadGeometry):
            parse(text)


# --- facts ----------------------------------------------------------------------------------------------------------


def test_comparisons_and_ranges() -> None:
    assert parse_facts(["ndvi_mean>=0.5"]) == {"ndvi_mean": (0.5, None)}
    assert parse_facts(["ndvi_mean <= -0.5e-1"]) == {"ndvi_mean": (None, -0.05)}
    assert parse_facts(["ndvi_mean=0.2..0.4"]) == {"ndvi_mean": (0.2, 0.4)}
    assert parse_facts(["ndvi_mean=..0.4"]) == {"ndvi_mean": (None, 0.4)}
    assert parse_facts(["ndvi_mean:0.2.."]) == {"ndvi_mean": (0.2, None)}
    assert parse_facts(["ndvi_mean=3"]) == {"ndvi_mean": (3, 3)}
    assert parse_facts(["a>1", "a<=4", "b<0"])["a"] == (math.nextafter(1, 2), 4)
    assert parse_facts([]) == {}


@given(st.floats(-1e6, 1e6, allow_nan=False))
def test_strict_comparisons_leave_the_number_out(value: float) -> None:
    low, _ = parse_facts([f"x>{value!r}"])["x"]
    _, high = parse_facts([f"x<{value!r}"])["x"]
    assert low is not None and low > value
    assert high is not None and high < value


@pytest.mark.parametrize("text", ["", "ndvi", "ndvi>", ">0.5", "ndvi>x", "ndvi>0.5>3", "ndvi=..", "ndvi!=3", "a>1e999"])
def test_bad_conditions(text: str) -> None:
    with pytest.raises(UsageError):
        parse_facts([text])


def test_empty_range_and_unknown_name() -> None:
    with pytest.raises(UsageError, match=r"at least 0\.5 and at most 0\.2"):
        parse_facts(["x>=0.5", "x<=0.2"])
    with pytest.raises(UsageError, match="'colour'") as caught:
        parse_facts(["colour>1"], ("ndvi_mean", "area_km2"))
    assert "area_km2, ndvi_mean" in (caught.value.hint or "")


# --- positions and columns ------------------------------------------------------------------------------------------


@given(LON, LAT)
def test_positions(lon: float, lat: float) -> None:
    assert parse_where(f"{lon!r},{lat!r}") == (lon, lat)
    assert parse_where(f" ({lon!r} {lat!r}) ") == (lon, lat)


def test_names_are_names() -> None:
    assert parse_where("  Lake   Chad ") == "Lake Chad"
    assert parse_where("Area 51, Nevada") == "Area 51, Nevada"
    with pytest.raises(UsageError, match="empty"):
        parse_where("  ")


def test_position_off_earth_has_a_hint() -> None:
    with pytest.raises(BadGeometry) as caught:
        parse_where("47.5,120.2")
    assert "swapped" in (caught.value.hint or "")
    with pytest.raises(BadGeometry):
        parse_where("200,95")


def test_columns() -> None:
    assert parse_columns(None) == {}
    assert parse_columns("name=site, lon = x,lat=y,") == {"name": "site", "lon": "x", "lat": "y"}
    for bad in ("name", "name=", "=site", "name=a,name=b"):
        with pytest.raises(UsageError):
            parse_columns(bad)


@pytest.mark.parametrize(
    "wkt", ["POLYGON Z((0 0 5,1 0 5,1 1 5,0 0 5))", "POLYGON ZM((0 0 5 1,1 0 5 1,1 1 5 1,0 0 5 1))"]
)
def test_heights_of_a_polygon_are_left_out(wkt: str) -> None:
    assert parse_intersects(wkt).bbox == BBox(0.0, 0.0, 1.0, 1.0)


def test_features_without_a_geometry_are_passed_over() -> None:
    empty = '{"type": "Feature", "geometry": null}'
    ring = "[[[0, 0], [1, 0], [1, 1], [0, 0]]]"
    full = f'{{"type": "Feature", "geometry": {{"type": "Polygon", "coordinates": {ring}}}}}'
    text = f'{{"type": "FeatureCollection", "features": [{empty}, {full}]}}'
    assert parse_intersects(text).bbox == BBox(0.0, 0.0, 1.0, 1.0)
    with pytest.raises(BadGeometry, match="empty"):
        parse_intersects(f'{{"type": "FeatureCollection", "features": [{empty}]}}')
