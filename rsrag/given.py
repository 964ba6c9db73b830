"""What callers give, checked where it enters.

Another type than an argument takes is a :class:`UsageError` that names the argument and shows the value; without that
it would be a TypeError from deep inside, or be taken for something else: a text for its letters, ``"no"`` for yes.
Numbers, truths and texts of numpy count as those of Python.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rsrag.config import expanded
from rsrag.errors import BadTimeSpan, UsageError
from rsrag.progress import Silent
from rsrag.types import BBox, Filters, Footprint, Position, QueryImage, TimeSpan

if TYPE_CHECKING:
    from rsrag.progress import Progress

T = TypeVar("T")
_SHOWN = 80
_MOST = 2**31 - 1
"""Largest whole number that means something anywhere."""


# --- plain values -----------------------------------------------------------------------------------------------------


def maybe(check: Callable[[str, Any], T], name: str, value: Any) -> T | None:
    """None as it is, anything else as ``check`` has it."""
    return None if value is None else check(name, value)


def text(name: str, value: Any) -> str:
    """A text that can be written.

    Raises:
        UsageError: another type, or halves of surrogate pairs, as file names with broken letters have.
    """
    if not isinstance(value, str):
        raise UsageError(f"{name} must be text, not {_shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{name} is {_shown(value)}: text that is not valid Unicode", hint="leave out what cannot be written"
        ) from error
    return value


def number(name: str, value: Any) -> float:
    """A finite number.

    Raises:
        UsageError: something else.
    """
    plain = _plain(value)
    if isinstance(plain, Real) and not isinstance(plain, bool):
        try:
            found = float(plain)
        except OverflowError:
            found = math.inf
        if math.isfinite(found):
            return found
    raise UsageError(f"{name} is {_shown(value)}, not a number")


def whole(name: str, value: Any) -> int:
    """A whole number.

    Raises:
        UsageError: something else, or one beyond 2,147,483,647.
    """
    plain = _plain(value)
    if isinstance(plain, int) and not isinstance(plain, bool) and abs(plain) <= _MOST:
        return plain
    raise UsageError(f"{name} is {_shown(value)}, not a whole number")


def flag(name: str, value: Any) -> bool:
    """Yes or no.

    Raises:
        UsageError: neither True nor False.
    """
    plain = _plain(value)
    if isinstance(plain, bool):
        return plain
    raise UsageError(f"{name} is {_shown(value)}", hint="True or False")


def one_of(name: str, value: Any, known: Sequence[str]) -> None:
    """Refuse a word that an argument does not know.

    Raises:
        UsageError: it is none of the known ones.
    """
    if not isinstance(value, str) or value not in known:
        raise UsageError(f"unknown {name} {_shown(value)}", hint=f"one of {', '.join(known)}")


def path(name: str, value: Any) -> Path:
    """A path, with ``~`` replaced by the home folder.

    Raises:
        UsageError: neither text nor a path, or an empty one, which would be the working directory.
    """
    found = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(found, str) or not found or "\0" in found:
        raise UsageError(f"{name} is {_shown(value)}, not a path")
    return expanded(found)


def callback(name: str, value: Any) -> Callable[..., Any]:
    """A function.

    Raises:
        UsageError: something that cannot be called.
    """
    if not callable(value):
        raise UsageError(f"{name} is {_shown(value)}, not a function")
    found: Callable[..., Any] = value
    return found


def instance(name: str, value: Any, kind: type[T]) -> T:
    """An object of a class.

    Raises:
        UsageError: another one.
    """
    if not isinstance(value, kind):
        raise UsageError(f"{name} is {_shown(value)}", hint=f"give {kind.__name__}")
    return value


def several(name: str, values: Iterable[Any]) -> tuple[Any, ...]:
    """The values of an argument that takes several.

    Raises:
        UsageError: one text, whose letters would be taken for the values, or nothing that can be gone through.
    """
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise UsageError(f"{name} is {_shown(values)}, not a list", hint=f"{name}=[...]")
    try:
        return tuple(values)
    except TypeError as error:  # an array of no dimension
        raise UsageError(f"{name} is {_shown(values)}, not a list", hint=f"{name}=[...]") from error


def texts(name: str, values: Iterable[Any]) -> tuple[str, ...]:
    """The texts of an argument that takes several.

    Raises:
        UsageError: no list, or one with something else in it.
    """
    return tuple(text(f"{name}[{place}]", value) for place, value in enumerate(several(name, values)))


def progress(value: Any) -> Progress:
    """What is told of steps; nobody for None.

    Raises:
        UsageError: something without the methods of :class:`rsrag.progress.Progress`.
    """
    if value is None:
        return Silent()
    if not all(callable(getattr(value, step, None)) for step in ("start", "advance", "finish")):
        raise UsageError(f"progress is {_shown(value)}", hint="give an rsrag.progress.Progress")
    told: Progress = value
    return told


# --- where, when, what ------------------------------------------------------------------------------------------------


def where(value: Any) -> str | Position | None:
    """Where a question is about: a name as it is, and a pair of numbers of any make as a position.

    Raises:
        UsageError: neither a name nor two numbers.
    """
    if value is None:
        return None
    hint = "give the name of a place, or (longitude, latitude) in degrees"
    if isinstance(value, str):
        if not text("where", value).strip():
            raise UsageError("where is an empty name", hint=hint)
        return value
    try:
        lon, lat = several("where", value)
        return number("where", lon), number("where", lat)
    except (UsageError, ValueError) as error:
        raise UsageError(f"where is {_shown(value)}", hint=hint) from error


def count(limit: Any) -> int:
    """How many hits are wanted.

    Raises:
        UsageError: no whole number from 1 on.
    """
    hint = "a whole number from 1 on, or None for that of the settings"
    try:
        found = whole("limit", limit)
    except UsageError as error:
        raise UsageError(f"a limit of {_shown(limit)}", hint=hint) from error
    if found < 1:
        raise UsageError(f"a limit of {found}", hint=hint)
    return found


def dates(name: str, values: Iterable[Any]) -> tuple[TimeSpan, ...]:
    """Dates as spans: texts, spans, or dates or times of the standard library.

    Raises:
        BadTimeSpan: a text that is no date.
        UsageError: something else.
    """
    return tuple(_date(value) for value in several(name, values))


def _date(value: Any) -> TimeSpan:
    from rsrag.times import parse_time

    if isinstance(value, TimeSpan):
        return span("a date", value)
    if isinstance(value, date):  # which a datetime is, too
        return parse_time(value.isoformat())
    if isinstance(value, str):
        return parse_time(value)
    raise UsageError(f"{_shown(value)} is not a date", hint='give text such as "2020-05-31"')


def span(name: str, value: Any) -> TimeSpan:
    """A time span whose ends can be compared with those of the archive.

    Raises:
        UsageError: no span.
        BadTimeSpan: an end that is no time, or none of a known time zone, or ends the wrong way round.
    """
    if not isinstance(value, TimeSpan):
        raise UsageError(f"{name} is {_shown(value)}", hint="give rsrag.TimeSpan(start, end)")
    ends = [end for end in (value.start, value.end) if end is not None]
    if not all(isinstance(end, datetime) and end.utcoffset() is not None for end in ends):
        raise BadTimeSpan(f"{name} is {_shown(value)}", hint="both ends are None or a datetime with its time zone")
    if len(ends) == 2 and ends[0] > ends[1]:
        raise BadTimeSpan(f"{name} starts at {ends[0]} and ends before, at {ends[1]}")
    return value


def filters(value: Filters | None) -> Filters:
    """The filters, with a box of any four numbers as a :class:`BBox`, and lists of any make as tuples.

    Raises:
        UsageError: no filters, or one that would not limit what it is meant to.
    """
    if value is None:
        return Filters()
    if not isinstance(value, Filters):
        raise UsageError(f"filters are {type(value).__name__}", hint="give rsrag.Filters(bbox=..., when=..., ...)")
    if value.intersects is not None and not isinstance(value.intersects, Footprint):
        raise UsageError(
            f"intersects of the filters is {_shown(value.intersects)}", hint="rsrag.filters.parse_intersects makes one"
        )
    return replace(
        value,
        bbox=_box(value.bbox),
        when=maybe(span, "when of the filters", value.when),
        collections=_names("collections", value.collections),
        sensors=_names("sensors", value.sensors),
        kinds=_names("kinds", value.kinds),
        scenes=_names("scenes", value.scenes),
        facts=_ranges(value.facts),
    )


def _names(name: str, values: Any) -> tuple[str, ...]:
    if isinstance(values, str):
        raise UsageError(f"{name} of the filters is a text", hint=f"Filters({name}=({values!r},))")
    return texts(f"{name} of the filters", values)


def _box(value: Any) -> BBox | None:
    from rsrag import geo

    if value is None:
        return None
    try:
        west, south, east, north = (number("a side", side) for side in several("bbox", value))
    except (UsageError, ValueError) as error:
        hint = "west, south, east, north in degrees"
        raise UsageError(f"bbox of the filters is {_shown(value)}", hint=hint) from error
    return geo.check_bbox((west, south, east, north))


def _ranges(value: Any) -> dict[str, tuple[float | None, float | None]]:
    hint = 'facts={"ndvi_mean": (0.3, None)}, least and most'
    if not isinstance(value, Mapping):
        raise UsageError(f"facts of the filters are {_shown(value)}", hint=hint)
    found = {}
    for name, ends in value.items():
        try:
            least, most = several("facts", ends)
            found[text("a fact", name)] = low, high = maybe(number, "least", least), maybe(number, "most", most)
        except (UsageError, ValueError) as error:
            raise UsageError(f"{_shown(name)} in facts of the filters is {_shown(ends)}", hint=hint) from error
        if low is not None and high is not None and low > high:
            raise UsageError(f"facts of the filters: no value of {name!r} is at least {low:g} and at most {high:g}")
    return found


def query_image(image: QueryImage) -> None:
    """Refuse a query image whose name, place, time or scale is of another type; its pixels are checked when read.

    Raises:
        UsageError: it is.
    """
    text("name of the image", image.name)
    maybe(lambda name, value: instance(name, value, Footprint), "footprint of the image", image.footprint)
    maybe(span, "time of the image", image.time)
    maybe(number, "gsd_m of the image", image.gsd_m)


def pixel_box(name: str, value: Any) -> tuple[float, float, float, float]:
    """Left, top, right, bottom in pixels.

    Raises:
        UsageError: not four numbers.
    """
    try:
        left, top, right, bottom = (number(name, side) for side in several(name, value))
    except (UsageError, ValueError) as error:
        raise UsageError(f"{name} is {_shown(value)}", hint="left, top, right, bottom in pixels") from error
    return left, top, right, bottom


def dialogue(name: str, turns: Any) -> tuple[tuple[str, str], ...]:
    """Questions with their answers.

    Raises:
        UsageError: something else than pairs of texts.
    """
    found = []
    for turn in several(name, turns):
        try:
            asked, told = several(name, turn)
            found.append((text(name, asked), text(name, told)))
        except (UsageError, ValueError) as error:
            hint = f"{name}=[(question, answer), ...]"
            raise UsageError(f"a turn of {name} is {_shown(turn)}", hint=hint) from error
    return tuple(found)


def _plain(value: Any) -> Any:
    """A number of an array library, or an array of no dimension, as Python has it."""
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value


def _shown(value: Any) -> str:
    """A value as it may stand in a message: on one line, and not long."""
    try:
        line = " ".join(repr(value).split())
    except Exception:  # whatever a class of the caller's does
        return f"a {type(value).__name__}"
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"
