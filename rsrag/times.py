"""Dates and intervals as users and files write them, read into UTC."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, date, datetime, time

from rsrag.errors import BadTimeSpan
from rsrag.types import TimeSpan

_DATE = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?")
_BASIC_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})")
_FORMS = "use 2020, 2020-05, 2020-05-31, 20200531 or an RFC 3339 time"
_OPEN = ("", "..")


def parse_time(text: str) -> TimeSpan:
    """The span that one date or time stands for: a year, a month, a day or an instant.

    A time without a zone is UTC. ``2020`` is the whole year, ``2020-05`` the month, ``20200531`` the day.

    Raises:
        BadTimeSpan: not a date, or one that lies outside the years 1 to 9999 in UTC.
    """
    text = text.strip()
    if match := _DATE.fullmatch(text) or _BASIC_DATE.fullmatch(text):
        year, month, day = (int(g) if g else None for g in match.groups())
        return _calendar_span(text, year or 0, month, day)
    try:
        instant = datetime.fromisoformat(text)
        instant = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadTimeSpan(f"{text!r} is not a date", hint=_FORMS) from error
    if _is_date_alone(text):
        raise BadTimeSpan(f"{text!r} is a date in a form that is not read", hint=_FORMS)
    return TimeSpan(instant, instant)


def _is_date_alone(text: str) -> bool:
    """Whether an ISO text names a day but no time ("2020-W05-1"); read as an instant it would be midnight alone."""
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _calendar_span(text: str, year: int, month: int | None, day: int | None) -> TimeSpan:
    try:
        start = datetime(year, month or 1, day or 1, tzinfo=UTC)
        last_month = month or 12
        last = datetime(year, last_month, day or monthrange(year, last_month)[1], tzinfo=UTC)
    except ValueError as error:
        raise BadTimeSpan(f"{text!r} is not a date: {error}") from error
    return TimeSpan(start, datetime.combine(last, time.max, tzinfo=UTC))


def parse_span(text: str) -> TimeSpan:
    """An interval in STAC form: one date, or ``start/end`` with ``..`` (or nothing) for an open end.

    Raises:
        BadTimeSpan: unreadable, or the end lies before the start.
    """
    first, slash, second = text.partition("/")
    if not slash:
        return parse_time(first)
    start = None if first.strip() in _OPEN else parse_time(first).start
    end = None if second.strip() in _OPEN else parse_time(second).end
    if start is not None and end is not None and end < start:
        raise BadTimeSpan(f"interval {text!r} ends before it starts")
    return TimeSpan(start, end)


def format_span(span: TimeSpan | None) -> str:
    """A span for people: a day, a month, a year, or ``start/end``; "unknown date" for None."""
    if span is None:
        return "unknown date"
    start, end = span.start, span.end
    if start is None or end is None:
        left = start.date().isoformat() if start else ".."
        right = end.date().isoformat() if end else ".."
        return f"{left}/{right}"
    if start.date() == end.date():
        return start.date().isoformat()
    for text in (f"{start.year:04d}", f"{start.year:04d}-{start.month:02d}"):
        if parse_time(text) == span:
            return text
    return f"{start.date().isoformat()}/{end.date().isoformat()}"
