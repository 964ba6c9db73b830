"""Hits weighed by place and time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from rsrag import geo, nearness
from rsrag.times import parse_time
from rsrag.types import BBox, Hit, Location, Passage, Query, Scene, Tile, TimeSpan, Window


def tile(name: str, score: float, *, scene: str = "s", when: str | None = None, at: BBox | None = None) -> Hit:
    footprint = geo.footprint_from_bbox(at) if at else None
    record = Tile(name, scene, Window(0, 0, 1, 1), 1.0, name, 0, footprint)
    source = Scene(scene, f"{scene}.tif", "d", "c", 1, 1, (), time=parse_time(when) if when else None)
    return Hit("tile", name, score, {}, tile=record, scene=source)


def passage(name: str, score: float, *, at: tuple[float, float] | None = None) -> Hit:
    lon, lat = at or (None, None)
    return Hit("passage", name, score, {}, passage=Passage(name, "d", 0, "text", lon=lon, lat=lat))


def test_tiles_of_the_year_asked_about_come_first() -> None:
    hits = [tile("new", 0.80, when="2020-07-01"), tile("old", 0.79, when="2009-08-18"), tile("unknown", 0.79)]
    ranked = nearness.timely_first(hits, parse_time("2009"))
    assert [h.id for h in ranked] == ["old", "new", "unknown"]
    assert ranked[0].scores["timely"] == 1.0
    assert nearness.wanted_time(Query(text="What did it look like in 2009?")) == parse_time("2009")
    assert nearness.wanted_time(Query(text="What changed from 2009 to 2012?")) is None


def test_the_time_asked_about_counts_for_unlike_tiles_too() -> None:
    hits = [tile("unknown", -0.1), tile("new", -0.1, when="2020-07-01"), tile("old", -0.1, when="2009-08-18")]
    assert [h.id for h in nearness.timely_first(hits, parse_time("2009"))] == ["old", "new", "unknown"]


def test_days_between_spans() -> None:
    day = TimeSpan(datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC))
    later = TimeSpan(datetime(2020, 1, 12, tzinfo=UTC), None)
    assert nearness.days_between(day, later) == pytest.approx(10)
    assert nearness.days_between(later, day) == pytest.approx(10)
    assert nearness.days_between(day, day) == 0
    assert nearness.days_between(None, day) is None


def test_known_location_pulls_tiles_near() -> None:
    location = Location(10.05, 50.05, "given", 1.0, 1.0)
    hits = [
        tile("far", 0.9, at=BBox(40, 50, 40.1, 50.1)),
        tile("here", 0.3, at=BBox(10, 50, 10.1, 50.1)),
        tile("nowhere", 0.9),
    ]
    assert [h.id for h in nearness.near_first(hits, location)] == ["here", "nowhere"]


def test_location_weighs_passages_by_its_confidence() -> None:
    hits = [passage("elsewhere", 0.9, at=(90.0, 10.0)), passage("general", 0.9), passage("near", 0.1, at=(0.0, 0.0))]
    sure = Location(0, 0, "geometry", 0.95, 1.0)
    assert [h.id for h in nearness.weigh_location(hits, {"near": 0.9}, sure)] == ["near", "general"]
    assert [h.id for h in nearness.weigh_location(hits, {}, sure)] == ["general"]
    unsure = Location(0, 0, "agreement", 0.1, 1.0)
    assert [h.id for h in nearness.weigh_location(hits, {"near": 0.9}, unsure)] == ["general", "elsewhere", "near"]
    assert nearness.weigh_location(hits, {}, None) == hits


def test_tiles_of_all_dates_at_a_footprint_by_overlap() -> None:
    here = geo.footprint_from_bbox(BBox(10, 50, 10.1, 50.1))
    location = Location(10.05, 50.05, "geometry", 1.0, 1.0, here)
    hits = [
        tile("part", 0.9, at=BBox(10.05, 50, 10.15, 50.1)),
        tile("same", 0.1, at=here.bbox),
        tile("off", 0.9, at=BBox(20, 50, 21, 51)),
    ]
    ranked = nearness.by_overlap(hits, location)
    assert [h.id for h in ranked] == ["same", "part"]
    assert ranked[0].score == pytest.approx(1.0)


def test_of_the_dates_of_one_place_the_pictures_own_comes_first() -> None:
    here = geo.footprint_from_bbox(BBox(10, 50, 10.1, 50.1))
    location = Location(10.05, 50.05, "geometry", 1.0, 1.0, here)
    other = tile("other", 0.9, at=here.bbox)
    few, own = (replace(tile(i, 0.5, at=BBox(10.0001, 50, 10.1001, 50.1)), scores={"inliers": n})
                for i, n in (("few", 8.0), ("own", 300.0)))  # fmt: skip
    ranked = nearness.by_overlap([other, few, own], location)
    assert [h.id for h in ranked] == ["own", "few", "other"]
