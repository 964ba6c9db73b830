"""Filters mean the same to every engine: match, ranges, boxes on the globe, spans of time."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from engines import NAME, day_of, found_in, id_of, point_of, vector_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rsrag.errors import BadGeometry, BadTimeSpan, IndexFailure
from rsrag.indexes.base import IndexFilter, VectorIndex
from rsrag.types import BBox, TimeSpan

# The client's local mode says, once each, that it ignores what only a server can use.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]


def test_match_ranges_and_exclude(index: VectorIndex) -> None:
    index.upsert(
        NAME,
        [
            point_of(0, payload={"kind": "lake", "tags": ["x", "y"], "cloud": 0.1, "facts": {"ndvi": 0.5}}),
            point_of(1, payload={"kind": "lake", "tags": ["y"], "cloud": 0.5, "facts": {"ndvi": -0.2}}),
            point_of(2, payload={"kind": "delta", "cloud": 0.9, "facts": {"odd name": 3, "when": "2020"}}),
            point_of(3, payload={}),
        ],
    )
    everything = {0, 1, 2, 3}
    assert found_in(index, IndexFilter()) == everything
    assert found_in(index, IndexFilter(match={"kind": ["lake"]})) == {0, 1}
    assert found_in(index, IndexFilter(match={"kind": ["delta", "lake"], "tags": ["x"]})) == {0}
    assert found_in(index, IndexFilter(match={"tags": ("y", "z")})) == {0, 1}
    assert found_in(index, IndexFilter(match={"kind": ["volcano"]})) == set()
    assert found_in(index, IndexFilter(match={"kind": []})) == set()
    assert found_in(index, IndexFilter(ranges={"cloud": (0.1, 0.5)})) == {0, 1}
    assert found_in(index, IndexFilter(ranges={"cloud": (0.2, None)})) == {1, 2}
    assert found_in(index, IndexFilter(ranges={"cloud": (None, 0.1)})) == {0}
    assert found_in(index, IndexFilter(ranges={"cloud": (None, None)})) == everything
    assert found_in(index, IndexFilter(ranges={"cloud": (0.5, 0.1)})) == set()
    assert found_in(index, IndexFilter(ranges={"facts.ndvi": (0.0, 1.0)})) == {0}
    assert found_in(index, IndexFilter(ranges={"facts.odd name": (3, 3)})) == {2}
    assert found_in(index, IndexFilter(exclude=(id_of(1), id_of(9)))) == {0, 2, 3}
    assert found_in(index, IndexFilter(match={"kind": ["lake"]}, ranges={"cloud": (0, 1)}, exclude=(id_of(0),))) == {1}


@pytest.mark.parametrize(
    ("where", "error"),
    [
        (IndexFilter(match={"kind": "lake"}), IndexFailure),
        (IndexFilter(match={"kind": [1]}), IndexFailure),  # type: ignore[list-item]
        (IndexFilter(match={"a..b": ["x"]}), IndexFailure),
        (IndexFilter(ranges={"cloud": (math.nan, 1.0)}), IndexFailure),
        (IndexFilter(exclude=("x",)), IndexFailure),
        (IndexFilter(box=BBox(0, 5, 1, -5)), BadGeometry),
        (IndexFilter(when=TimeSpan(datetime(2020, 1, 1), None)), BadTimeSpan),
    ],
)
def test_filters_that_cannot_be_compared_are_errors(
    index: VectorIndex, where: IndexFilter, error: type[Exception]
) -> None:
    index.upsert(NAME, [point_of(0)])
    with pytest.raises(error):
        index.search(NAME, "text", vector_of(0), 3, where)
    with pytest.raises(error):
        index.count(NAME, where)


def test_boxes_on_both_sides_of_the_antimeridian(index: VectorIndex) -> None:
    boxes = [
        BBox(170, -10, 175, 10),
        BBox(-175, -10, -170, 10),
        BBox(178, -10, -178, 10),
        BBox(-10, -10, 10, 10),
        BBox(179, 80, 180, 90),
        BBox(-180, -90, 180, 90),
    ]
    index.upsert(NAME, [*(point_of(n, box=box) for n, box in enumerate(boxes)), point_of(9)])
    for query, expected in [
        (BBox(171, -1, 172, 1), {0, 5}),
        (BBox(-172, -1, -171, 1), {1, 5}),
        (BBox(174, -1, -174, 1), {0, 1, 2, 5}),
        (BBox(-179, -1, -178.5, 1), {2, 5}),
        (BBox(178.5, -1, 179, 1), {2, 5}),
        (BBox(-180, 80, -179, 85), {4, 5}),
        (BBox(170, 60, 180, 90), {4, 5}),
        (BBox(10, 10, 20, 20), {3, 5}),
        (BBox(11, 11, 20, 20), {5}),
        (BBox(-180, -90, 180, 90), {0, 1, 2, 3, 4, 5}),
        (BBox(20, -5, 15, 5), {0, 1, 2, 3, 5}),
    ]:
        assert found_in(index, IndexFilter(box=query)) == expected, query


def test_time_overlaps_and_unknown_time_never_matches(index: VectorIndex) -> None:
    micro = timedelta(microseconds=1)
    spans = [
        TimeSpan(day_of(0), day_of(1)),
        TimeSpan(day_of(1) + micro, day_of(3)),
        TimeSpan(None, day_of(0) - micro),
        TimeSpan(day_of(5), None),
        TimeSpan(None, None),
        TimeSpan(datetime(1, 1, 1, tzinfo=UTC), datetime(1900, 1, 1, tzinfo=UTC)),
    ]
    index.upsert(NAME, [*(point_of(n, when=span) for n, span in enumerate(spans)), point_of(9)])
    offset = timezone(timedelta(hours=-7))
    for query, expected in [
        (TimeSpan(day_of(1), day_of(1)), {0, 4}),
        (TimeSpan(day_of(1) + micro, day_of(1) + micro), {1, 4}),
        (TimeSpan(day_of(1).astimezone(offset), day_of(1).astimezone(offset)), {0, 4}),
        (TimeSpan(day_of(0), day_of(2)), {0, 1, 4}),
        (TimeSpan(None, day_of(0) - micro), {2, 4, 5}),
        (TimeSpan(day_of(4), None), {3, 4}),
        (TimeSpan(datetime(9999, 12, 31, tzinfo=UTC), None), {3, 4}),
        (TimeSpan(None, datetime(2, 1, 1, tzinfo=UTC)), {2, 4, 5}),
        (TimeSpan(None, None), {0, 1, 2, 3, 4, 5}),
    ]:
        assert found_in(index, IndexFilter(when=query)) == expected, query


# Boxes of rsrag have nine decimals; a turn added to 1e-200 would be lost.
LON = st.one_of(st.sampled_from([-180.0, -179.0, 0.0, 179.0, 180.0]), st.floats(-180, 180)).map(lambda x: round(x, 9))
LAT = st.one_of(st.sampled_from([-90.0, 0.0, 90.0]), st.floats(-90, 90)).map(lambda x: round(x, 9))
BOXES = st.builds(lambda w, e, a, b: BBox(w, min(a, b), e, max(a, b)), LON, LON, LAT, LAT)


def _touch(a: BBox, b: BBox) -> bool:
    """Whether two boxes share a point, by walking the intervals of longitude that each covers."""

    def covers(box: BBox) -> list[tuple[float, float]]:
        whole = [(box.west, 180.0), (-180.0, box.east)] if box.crosses_antimeridian else [(box.west, box.east)]
        seam = [(-s, -s) for s in (180.0, -180.0) if any(lo <= s <= hi for lo, hi in whole)]
        return whole + seam

    longitudes = any(lo <= hi2 and lo2 <= hi for lo, hi in covers(a) for lo2, hi2 in covers(b))
    return longitudes and a.south <= b.north and b.south <= a.north


def test_boxes_that_share_only_a_meridian_touch_across_the_antimeridian(index: VectorIndex) -> None:
    """-1.516585721 + 360 - 360 is another number."""
    index.upsert(NAME, [point_of(0, box=BBox(-1.516585721, -10.0, 0.0, 10.0))])
    assert found_in(index, IndexFilter(box=BBox(179.0, -10.0, -1.516585721, 10.0))) == {0}


@given(boxes=st.lists(BOXES, min_size=1, max_size=12), queries=st.lists(BOXES, min_size=1, max_size=6))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_box_filter_is_the_predicate(index: VectorIndex, boxes: list[BBox], queries: list[BBox]) -> None:
    index.delete(NAME, [id_of(n) for n in range(12)])
    index.upsert(NAME, [point_of(n, box=box) for n, box in enumerate(boxes)])
    for query in queries:
        expected = {n for n, box in enumerate(boxes) if _touch(box, query)}
        assert found_in(index, IndexFilter(box=query)) == expected, query


SPANS = st.tuples(*[st.one_of(st.none(), st.integers(-5, 5))] * 2).map(
    lambda ab: tuple(sorted(ab)) if None not in ab else ab  # type: ignore[type-var]
)


@given(spans=st.lists(st.one_of(st.none(), SPANS), min_size=1, max_size=10), query=SPANS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_time_filter_is_the_predicate(index: VectorIndex, spans: list[Any], query: Any) -> None:
    def span(ab: Any) -> TimeSpan | None:
        return None if ab is None else TimeSpan(*(None if n is None else day_of(n) for n in ab))

    index.delete(NAME, [id_of(n) for n in range(10)])
    index.upsert(NAME, [point_of(n, when=span(ab)) for n, ab in enumerate(spans)])
    wanted = span(query)
    assert wanted is not None
    expected = {n for n, ab in enumerate(spans) if (stored := span(ab)) is not None and stored.overlaps(wanted)}
    assert found_in(index, IndexFilter(when=wanted)) == expected
