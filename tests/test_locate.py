"""Where an image lies: agreement among tiles, and how places fit a location."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsrag import geo, locate
from rsrag.types import BBox, Footprint, Hit, Location, Tile, Window


def hit(name: str, west: float, score: float, south: float = 40.0) -> Hit:
    footprint = geo.footprint_from_bbox(BBox(west, south, west + 0.1, south + 0.1))
    tile = Tile(name, "s", Window(0, 0, 1, 1), 1.0, "d", 0, footprint)
    return Hit("tile", name, score, {"image": score}, tile=tile)


def box(west: float, south: float, side: float) -> Footprint:
    return geo.footprint_from_bbox(BBox(west, south, west + side, south + side))


def test_tiles_that_agree_outvote_a_lone_better_one() -> None:
    hits = [hit("lone", 50, 0.90), hit("a", 10.0, 0.89), hit("b", 10.02, 0.89), hit("c", 10.05, 0.88)]
    location = locate.by_agreement(hits)
    assert location is not None
    assert location.method == "agreement"
    assert location.lon == pytest.approx(10.07, abs=0.1)
    assert 0 < location.confidence < 0.95


def test_agreement_is_surer_than_scatter() -> None:
    together = locate.by_agreement([hit("a", 10, 0.9), hit("b", 10.02, 0.9), hit("c", 80, 0.5)])
    scattered = locate.by_agreement([hit("a", 10, 0.9), hit("b", 40, 0.9), hit("c", 80, 0.9)])
    assert together is not None
    assert scattered is not None
    assert together.confidence > 2 * scattered.confidence


def test_a_picture_unlike_everything_has_no_place() -> None:
    alike = locate.by_agreement([hit("a", 10, 0.95), hit("b", 10.02, 0.94)])
    unlike = locate.by_agreement([hit("a", 10, 0.70), hit("b", 10.02, 0.69)])
    assert alike is not None
    assert unlike is not None
    assert alike.confidence > 0.5
    assert unlike.confidence < 0.01


def test_across_the_antimeridian_tiles_still_agree() -> None:
    location = locate.by_agreement([hit("a", 179.85, 0.9), hit("b", -179.98, 0.9), hit("c", 0, 0.6)])
    assert location is not None
    assert abs(location.lon) > 179.5


def test_unlocated_tiles_say_nothing() -> None:
    tile = Tile("t", "s", Window(0, 0, 1, 1), 1.0, "d", 0)
    assert locate.by_agreement([Hit("tile", "t", 0.9, tile=tile)]) is None
    assert locate.by_agreement([]) is None


def test_the_place_that_fills_the_picture_is_closest() -> None:
    footprint = box(10, 40, 2)
    location = Location(11, 41, "geometry", 1.0, 10.0, footprint)
    same = locate.closeness(location, 11, 41, box(10.1, 40.1, 1.9))
    small = locate.closeness(location, 11, 41, box(10.9, 40.9, 0.2))
    large = locate.closeness(location, 11, 41, box(0, 30, 22))
    elsewhere = locate.closeness(location, 60, 0, box(60, 0, 2))
    assert same > max(small, large) > elsewhere
    assert elsewhere < 0.05


@given(st.floats(-170, 170), st.floats(-70, 70), st.floats(-170, 170), st.floats(-70, 70))
def test_closeness_stays_within_bounds(lon: float, lat: float, other_lon: float, other_lat: float) -> None:
    location = Location(lon, lat, "stated", 1.0, 5.0)
    assert 0 <= locate.closeness(location, other_lon, other_lat, None) <= 1
    assert locate.closeness(location, lon, lat, None) == pytest.approx(1.0)
