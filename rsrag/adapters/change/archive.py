"""The scenes of an archive that cover a place, nearest to wanted dates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import shapely

from rsrag import geo
from rsrag.adapters.base import Context
from rsrag.catalog import Catalog
from rsrag.errors import UsageError
from rsrag.places import PlaceFinder
from rsrag.times import format_span
from rsrag.types import Filters, Footprint, Location, Position, Query, Scene, TimeSpan

_AROUND_KM = 0.05


def scenes_of(
    where: str | Position, between: Sequence[TimeSpan], context: Context, filters: Filters | None = None
) -> tuple[list[Scene], list[str]]:
    """Scenes to compare, in order of time, and what is unclear about them.

    Args:
        where: name of a place in the archive, or (longitude, latitude).
        between: two or more dates; for each the scene nearest in time is taken, no scene twice.
        context: with the archive.
        filters: what the scenes are limited to; kinds are those of places, and left aside.

    Raises:
        UsageError: no archive, an unknown place, fewer than two dates, fewer than two scenes of different times, or
            filters on facts, which scenes do not have.
    """
    if context.archive is None:
        raise UsageError("a place is looked up in an archive, and there is none", hint="rsrag ingest, or --workspace")
    if len(between) < 2:
        raise UsageError("which dates?", hint="--between 2009 2020, two or more")
    notes: list[str] = []
    spot = _spot(where, context, notes)
    footprint = spot.footprint or geo.around((spot.lon, spot.lat), _AROUND_KM)
    passing = _passing(footprint, filters or Filters(), context.archive.catalog)
    covering = _covering([s for s in passing if s.time is not None], footprint, spot)
    if len({s.time for s in covering}) < 2:
        held = ", ".join(sorted(format_span(s.time) for s in covering)) or "none"
        hint = "rsrag status; rsrag ingest more"
        if undated := _covering([s for s in passing if s.time is None], footprint, spot):
            held += f", and {len(undated)} without a date"
            hint = "rsrag ingest --datetime DATE where a file does not say, or compare two files: rsrag change A B"
        raise UsageError(f"the archive holds fewer than two dates of {_named(where)}: {held}", hint=hint)
    chosen: list[Scene] = []
    for span in between:
        rest = [s for s in covering if s.id not in {c.id for c in chosen} and s.time not in {c.time for c in chosen}]
        if not rest:
            notes.append(f"no further scene of {_named(where)} for {format_span(span)}")
            continue
        scene = min(rest, key=lambda s: (_distance_days(s.time, span), s.gsd_m or 0.0, s.id))
        days = _distance_days(scene.time, span)
        if days > 0:
            notes.append(f"nearest to {format_span(span)} is {format_span(scene.time)}")
        chosen.append(scene)
    if len(chosen) < 2:
        raise UsageError(f"fewer than two dates of {_named(where)} fit", hint="give dates that are further apart")
    return sorted(chosen, key=lambda s: (_middle(s.time), s.id)), notes


def _passing(footprint: Footprint, filters: Filters, catalog: Catalog) -> list[Scene]:
    """Scenes that touch a place and pass the filters, whether their time is known or not."""
    shape = filters.intersects
    found = catalog.scenes(replace(filters, intersects=footprint, kinds=()))
    return [
        scene
        for scene in found
        if shape is None or (scene.footprint is not None and geo.intersects(scene.footprint, shape))
    ]


def _spot(where: str | Position, context: Context, notes: list[str]) -> Location:
    assert context.archive is not None
    archive = context.archive
    warnings: list[str] = []
    found = PlaceFinder(archive.catalog, archive.index).known(Query(where=where), warnings)
    if found is None:
        raise UsageError(f"no place named {where!r} in the archive", hint="give longitude,latitude, or another name")
    notes += warnings
    return found


def _covering(scenes: Sequence[Scene], footprint: Footprint, spot: Location) -> list[Scene]:
    """Scenes that hold the spot; those that hold all of the place first, when there are two dates of them."""
    area = geo.shape(footprint)
    holding = [s for s in scenes if s.footprint is not None and geo.holds(s.footprint, (spot.lon, spot.lat))]
    whole = [s for s in holding if s.footprint is not None and shapely.covers(geo.shape(s.footprint), area)]
    return whole if len({s.time for s in whole}) >= 2 else holding


def _middle(span: TimeSpan | None) -> float:
    ends = [t.timestamp() for t in (span.start, span.end) if t is not None] if span is not None else []
    return sum(ends) / len(ends) if ends else 0.0


def _distance_days(span: TimeSpan | None, wanted: TimeSpan) -> float:
    """Days between two spans, 0 when they overlap."""
    if span is None:
        return float("inf")
    if span.overlaps(wanted):
        return 0.0

    def gap(later: datetime | None, earlier: datetime | None) -> float:
        return (later - earlier).total_seconds() / 86_400 if later is not None and earlier is not None else -1.0

    return max(gap(span.start, wanted.end), gap(wanted.start, span.end))


def _named(where: str | Position) -> str:
    return where if isinstance(where, str) else f"{where[0]:g},{where[1]:g}"
