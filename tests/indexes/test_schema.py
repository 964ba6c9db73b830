"""The stored layout, without an engine."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsrag.errors import IndexFailure
from rsrag.indexes import schema
from rsrag.indexes.base import CollectionSpec, Point
from rsrag.types import BBox, TimeSpan

SPEC = CollectionSpec("tiles", {"image": 4})


def _stored(**given: object) -> dict[str, object]:
    point = Point("00000000-0000-0000-0000-000000000001", {}, {}, **given)  # type: ignore[arg-type]
    return schema.rows(SPEC, [point])[0].payload


@pytest.mark.parametrize(
    ("box", "east", "lon"),
    [
        (BBox(-10, 0, 10, 20), 10, 0),
        (BBox(170, 0, -170, 20), 190, 180),
        (BBox(179, 0, -170, 20), 190, -175.5),
        (BBox(-180, 0, 180, 20), 180, 0),
        (BBox(180, 0, -180, 20), 180, 180),
    ],
)
def test_boxes_are_stored_unrolled(box: BBox, east: float, lon: float) -> None:
    stored = {"west": box.west, "south": 0, "east": east, "north": 20, "centre": {"lon": lon, "lat": 10}}
    assert _stored(box=box) == {"_where": stored}


def test_times_are_seconds_and_open_ends_finite() -> None:
    span = TimeSpan(datetime(1970, 1, 2, tzinfo=UTC), None)
    assert _stored(when=span) == {"_when": {"start": 86400.0, "end": 1e15}}
    latest = TimeSpan(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
    start, end = schema.time_range(latest)
    assert -schema.FOREVER < start < end < schema.FOREVER


instants = st.datetimes(min_value=datetime(1834, 1, 1), max_value=datetime(2105, 1, 1), timezones=st.just(UTC))


@given(instants, instants)
def test_stored_times_keep_their_order(a: datetime, b: datetime) -> None:
    (x, _), (y, _) = (schema.time_range(TimeSpan(t, t)) for t in (a, b))
    assert (a < b) == (x < y) and (a == b) == (x == y)


def test_dates_become_text() -> None:
    point = Point("00000000-0000-0000-0000-000000000001", {}, {"day": date(2020, 5, 1), "at": datetime(2020, 5, 1, 9)})
    assert schema.rows(SPEC, [point])[0].payload == {"day": "2020-05-01", "at": "2020-05-01T09:00:00"}


@pytest.mark.parametrize(
    ("key", "path"),
    [("kind", "kind"), ("facts.ndvi", "facts.ndvi"), ("facts.mean red", 'facts."mean red"'), ("8bit", '"8bit"')],
)
def test_field_paths(key: str, path: str) -> None:
    assert schema.field_path(key) == path


@pytest.mark.parametrize("key", ["", ".", "a.", 'a"b', "a..b"])
def test_keys_that_lead_nowhere(key: str) -> None:
    with pytest.raises(IndexFailure):
        schema.field_path(key)


def test_specifications_survive_storage() -> None:
    spec = CollectionSpec("p", {"t": 3}, "w", 31.5, ("k",), ("n", "facts.x"), {"t": "m:1"})
    assert schema.spec_from_json(schema.spec_to_json(spec), "here") == spec
