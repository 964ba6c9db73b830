"""Answers measured on pixels: what an adapter found, as sentences that cite the image they were measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rsrag._version import __version__
from rsrag.errors import SourceError, UsageError
from rsrag.facts import label, value_text
from rsrag.questions import dates_of, understand
from rsrag.route import Route
from rsrag.times import format_span, parse_time
from rsrag.types import Answer, Evidence, Filters, Hit, Position, Provenance, Scene, Sentence, TimeSpan

if TYPE_CHECKING:
    from rsrag.adapters.base import Subject, TaskResult
    from rsrag.engine import Engine

_FACTS = 12


def measure(
    engine: Engine,
    route: Route,
    question: str,
    image: Any,
    where: str | Position | None,
    filters: Filters | None = None,
) -> tuple[Answer | None, tuple[str, ...]]:
    """Answer a question that was routed to a task on pixels.

    Args:
        engine: with models and archive.
        route: its task, target and years.
        question: as asked.
        image: what it is about, or None.
        where: name of a place in the archive, or (longitude, latitude).
        filters: what the scenes of the archive that are compared are limited to.

    Returns:
        The answer; or None and why the task could not be done, so that the archive answers instead.
    """
    rest = ""
    try:
        if route.task == "change":
            result: TaskResult = _change(engine, route, question, image, where, filters or Filters())
        elif route.task == "outline":
            result, rest = engine.segment(image, route.target), _beyond(route)
        else:
            asked, rest = _looked_for(route)
            result = engine.ground(image, asked)
    except (UsageError, SourceError) as error:
        return None, (f"{route.task} was not possible: {error.message}",)
    if rest:
        result = replace(result, warnings=(*result.warnings, f"{rest!r} is not judged: it was left out"))
    return as_answer(result, question, route), ()


def _looked_for(route: Route) -> tuple[str, str]:
    """What to look for, and what of the question is left out of it: words beyond the target that nobody understands."""
    from rsrag.adapters.ground.spatial import parse

    lead = "how many " if route.task == "count" else ""
    read = parse(route.phrase).target
    if read and parse(route.target).target.startswith(read):
        return f"{lead}{route.phrase}", ""
    return f"{lead}{route.target}", _beyond(route)


def _beyond(route: Route) -> str:
    """What the question says of the target, such as where it is."""
    return route.phrase.partition(route.target)[2].strip(" ,")


def _change(
    engine: Engine, route: Route, question: str, image: Any, where: str | Position | None, filters: Filters
) -> TaskResult:
    from rsrag.adapters.base import Context
    from rsrag.adapters.change.archive import scenes_of

    place = where
    if image is not None and place is None:
        location = engine.retrieve(None, image=image, filters=filters, limit=1).location
        if location is None:
            raise UsageError("the image has no position and was not recognised in the archive")
        place = (location.lon, location.lat)
    if place is None:
        raise UsageError("no place", hint="name one with --where, or give an image")
    within = _closed_period(question) if filters.when is None else None
    if within is not None:
        filters = replace(filters, when=within)
    years = () if within is not None else route.years
    dates = [parse_time(date) if isinstance(date, str) else date for date in _spans(engine, years, filters)]
    scenes, notes = scenes_of(place, dates, Context(engine.profile, engine.settings, engine), filters)
    result = engine.change(*scenes, questions=(question,))
    return replace(result, warnings=(*notes, *result.warnings))


def _closed_period(question: str) -> TimeSpan | None:
    """The period that both dates must lie in: "before 2012", "until 2017", "in the 1990s"; None where two dates are
    named or the period is open ("since 2012"), because then its beginning itself is compared."""
    dates = dates_of(question)
    if len(dates.periods) != 1 or dates.years:
        return None
    first, last = dates.periods[0]
    if last is None or (first is not None and len(set(understand(question).years)) > 1):
        return None
    end = parse_time(f"{last // 12:04d}-{last % 12 + 1:02d}").end
    return TimeSpan(parse_time(f"{first // 12:04d}-{first % 12 + 1:02d}").start if first is not None else None, end)


def _spans(engine: Engine, years: Sequence[int], filters: Filters) -> tuple[str | TimeSpan, ...]:
    """Two dates: those of the question, with the latest that passes the filters for "since"; else first and last."""
    if len(years) >= 2:
        return tuple(str(year) for year in sorted(years))
    times = [scene.time for scene in engine.catalog.scenes(replace(filters, kinds=())) if scene.time is not None]
    known = sorted((t for t in times if t.start is not None), key=lambda t: str(t.start))
    if len(known) < 2:
        raise UsageError("the archive has no two dates" + ("" if filters.empty else " that pass the filters"))
    return (str(years[0]) if years else known[0], known[-1])


def as_answer(result: TaskResult, question: str, route: Route) -> Answer:
    """A task's result as an answer: evidence 1 is the image with its numbers, others follow."""
    own = Evidence(1, _hit(result.subject), _told(result))
    others = tuple(replace(item, number=item.number + 1) for item in result.evidence)
    sentences = tuple(
        Sentence(s.text, (1, *(number + 1 for number in s.citations)), s.supported) for s in result.sentences
    )
    scores = [region.score for region in result.regions]
    return Answer(
        question=question,
        sentences=sentences,
        evidence=(own, *others),
        abstained=not sentences,
        confidence=float(np.clip(np.mean(scores), 0, 1)) if scores else 0.5,
        provenance=Provenance(result.provenance.models, route.why, __version__, result.provenance.seconds),
        reason=None if sentences else "nothing could be measured on the image",
        warnings=result.warnings,
    )


def _hit(subject: Subject) -> Hit:
    """The measured image as a hit, so that faces show its name, date and place."""
    scene = Scene(
        id=subject.scene_id or subject.name,
        source=subject.source or subject.name,
        digest="",
        collection="",
        width=subject.width,
        height=subject.height,
        bands=(),
        footprint=subject.footprint,
        crs=subject.crs,
        transform=subject.transform,
        gsd_m=subject.gsd_m,
        time=subject.time,
        title=subject.name,
    )
    return Hit("tile", scene.id, 1.0, scene=scene)


def _told(result: TaskResult) -> str:
    """What was measured, for people and for the check of citations."""
    subject = result.subject
    when = f", taken {format_span(subject.time)}" if subject.time is not None else ""
    lines = [f"Measured on {subject.name} ({subject.width}×{subject.height} pixels{when})."]
    lines += [f"{label(fact.name)}: {value_text(fact)}." for fact in result.facts[:_FACTS]]
    counts: dict[str, int] = {}
    for region in result.regions:
        counts[region.label] = counts.get(region.label, 0) + 1
    lines += [f"{name}: {count} found." for name, count in counts.items()]
    return " ".join(lines)
