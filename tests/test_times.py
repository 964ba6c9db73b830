"""Dates and intervals as people write them."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsrag.errors import BadTimeSpan
from rsrag.times import format_span, parse_span, parse_time
from rsrag.types import TimeSpan

instants = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2020", (2020, 1, 1), (2020, 12, 31)),
        ("2020-02", (2020, 2, 1), (2020, 2, 29)),
        ("2020-02-03", (2020, 2, 3), (2020, 2, 3)),
        ("2009/2012", (2009, 1, 1), (2012, 12, 31)),
        ("20200131", (2020, 1, 31), (2020, 1, 31)),
        ("20200101/20200131", (2020, 1, 1), (2020, 1, 31)),
        ("9999", (9999, 1, 1), (9999, 12, 31)),
        ("99991231", (9999, 12, 31), (9999, 12, 31)),
        ("2020-01-01/9999-12-31", (2020, 1, 1), (9999, 12, 31)),
    ],
)
def test_calendar_spans(text: str, start: tuple[int, int, int], end: tuple[int, int, int]) -> None:
    span = parse_span(text)
    assert span.start == datetime(*start, tzinfo=UTC)
    assert span.end is not None
    assert span.end.timetuple()[:3] == end
    assert span.end.time() == time.max


@pytest.mark.parametrize("text", ["9999", "9999-12", "9999-12-31", "2020-01-01/9999-12-31"])
def test_the_last_year_is_formatted_too(text: str) -> None:
    assert format_span(parse_span(text)) == text


@pytest.mark.parametrize("text", ["9999-12-31T23:00:00-05:00", "0001-01-01T00:00:00+05:00"])
def test_instants_outside_the_years_that_can_be_told_are_refused(text: str) -> None:
    with pytest.raises(BadTimeSpan, match="is not a date"):
        parse_span(text)


@pytest.mark.parametrize("text", ["2020-W05", "2020-W05-1", "2020W05", "2020W051", "2020-01-01/2020-W05"])
def test_days_in_other_forms_are_not_taken_for_midnight(text: str) -> None:
    with pytest.raises(BadTimeSpan, match="form that is not read"):
        parse_span(text)


@given(st.text(alphabet="0123456789-:TWZ+/. ", max_size=28))
def test_any_text_is_a_span_or_refused(text: str) -> None:
    with contextlib.suppress(BadTimeSpan):
        format_span(parse_span(text))


def test_naive_times_are_utc_and_zones_are_converted() -> None:
    assert parse_time("2020-05-31T12:00:00") == parse_time("2020-05-31T12:00:00Z")
    assert parse_time("2020-05-31T12:00:00+02:00").start == datetime(2020, 5, 31, 10, tzinfo=UTC)


def test_open_ends() -> None:
    assert parse_span("../2012").start is None
    assert parse_span("2012/").end is None
    assert parse_span("../..") == TimeSpan(None, None)


@pytest.mark.parametrize(
    "text", ["", "..", "yesterday", "2020-13", "2020-02-30", "2020/2019", "1e9", "2020-01-01T99:00:00"]
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(BadTimeSpan):
        parse_span(text)


@given(instants, instants, instants, instants)
def test_overlap_is_symmetric(a: datetime, b: datetime, c: datetime, d: datetime) -> None:
    first, second = TimeSpan(min(a, b), max(a, b)), TimeSpan(min(c, d), max(c, d))
    assert first.overlaps(second) == second.overlaps(first)
    assert first.overlaps(first)
    assert first.overlaps(TimeSpan(None, None))


@pytest.mark.parametrize("text", ["2020", "2020-05", "2020-05-31", "2019-05-31/2020-01-01", "../2020-01-01"])
def test_formatting_reads_back(text: str) -> None:
    assert format_span(parse_span(text)) == text


def test_unknown_time_is_said() -> None:
    assert format_span(None) == "unknown date"
