"""An IndexFilter as one engine's filter: the same conditions, in the same order, from either engine's classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

from rsrag.errors import IndexFailure
from rsrag.indexes.base import IndexFilter
from rsrag.indexes.schema import BOX_KEYS, TIME_KEYS, check_id, field_path, time_range, unwrapped
from rsrag.types import BBox


class Dialect(Protocol):
    """One engine's classes. A field condition holds exactly one comparison: the engine ignores a second one."""

    def between(self, path: str, least: float | None, most: float | None) -> Any:
        """least ≤ value ≤ most; a point without the value does not match."""

    def any_of(self, path: str, values: Sequence[str]) -> Any:
        """The value, or one of the values in a list, is among these."""

    def has_id(self, ids: Sequence[str]) -> Any:
        """The point's id is among these."""

    def has_vector(self, name: str) -> Any:
        """The point has this vector."""

    def group(self, must: Sequence[Any] = (), should: Sequence[Any] = (), must_not: Sequence[Any] = ()) -> Any:
        """All of ``must``, any of ``should`` (if given), none of ``must_not``."""


def matches_nothing(where: IndexFilter | None) -> bool:
    """Whether no point can match: a key with no accepted value."""
    return where is not None and any(len(values) == 0 for values in where.match.values())


def build(where: IndexFilter | None, dialect: Dialect, *, having: str | None = None) -> Any:
    """The engine's filter, or None when there is no condition.

    Args:
        where: what to match.
        dialect: the engine's classes.
        having: the vector a point must have.

    Raises:
        BadGeometry, BadTimeSpan: a box or time that cannot be compared.
        IndexFailure: values that are no strings, keys or ids that are none.
    """
    where = where or IndexFilter()
    must: list[Any] = [dialect.has_vector(having)] if having else []
    for key, values in where.match.items():
        if isinstance(values, str) or not all(isinstance(value, str) for value in values):
            raise IndexFailure(f"the accepted values of {key!r} are not a list of strings: {values!r:.80}")
        must.append(dialect.any_of(field_path(key), values))
    for key, (least, most) in where.ranges.items():
        if not all(math.isfinite(bound) for bound in (least, most) if bound is not None):
            raise IndexFailure(f"the range of {key!r} is not finite: {least} to {most}", hint="None is an open end")
        if least is not None or most is not None:
            must.append(dialect.between(field_path(key), least, most))
    if where.when is not None:
        start, end = time_range(where.when)
        must += [dialect.between(TIME_KEYS[0], None, end), dialect.between(TIME_KEYS[1], start, None)]
    if where.box is not None:
        must += _touches(where.box, dialect)
    must_not = [dialect.has_id([check_id(i) for i in where.exclude])] if where.exclude else []
    return dialect.group(must, must_not=must_not) if must or must_not else None


def _touches(box: BBox, dialect: Dialect) -> list[Any]:
    """Stored box and query box share a point of the sphere's longitude-latitude rectangle.

    A stored box has west in [-180, 180] and east in [west, west + 360), so the query has to be compared as it is, one
    turn further east (stored boxes that run past 180) and, where it runs past 180 itself, one turn further west.
    """
    west, south, east, north = unwrapped(box)
    lower, upper = BOX_KEYS[1], BOX_KEYS[3]
    conditions = [dialect.between(lower, None, north), dialect.between(upper, south, None)]
    if east - west >= 360:
        return conditions
    ends = [(west, east), (west + 360, east + 360)]
    if east >= 180:  # a turn forth and back would round the number that was given
        ends.append((west - 360, box.east if box.crosses_antimeridian else east - 360))
    sides = [
        dialect.group([dialect.between(BOX_KEYS[0], None, last), dialect.between(BOX_KEYS[2], first, None)])
        for first, last in ends
    ]
    return [*conditions, dialect.group(should=sides)]
