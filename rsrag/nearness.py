"""Hits weighed by how near they lie to what a query is about, in place and in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rsrag import geo, locate
from rsrag.questions import understand
from rsrag.rerank import geo_decay, time_decay
from rsrag.times import parse_time
from rsrag.types import Hit, Location, Query, TimeSpan

LEAST_OVERLAP = 0.01
"""Tiles that share less with a located footprint (the whole Earth, a corner) say nothing about it."""
LEAST_NEAR = 0.05
"""Tiles further away than about four times their own size say nothing about a location."""


def near_first(tiles: Sequence[Hit], location: Location) -> list[Hit]:
    """Tiles re-ranked by distance to a known location, in units of their own size.

    Fine tiles come before coarse ones (by the tenth root of their size); those far away are left out. The score of a
    tile that no channel found, listed for its position alone, is no relevance: all of them count alike.
    """
    sizes = {h.id: locate.size_km(h.footprint) for h in tiles if h.footprint is not None}
    finest = min(sizes.values(), default=1.0)
    ranked = []
    for hit in tiles:
        relevance = max(hit.score, 0.0) if hit.scores else 1.0
        if hit.footprint is None:
            ranked.append(replace(hit, score=0.25 * relevance))
            continue
        distance = geo.distance_km((location.lon, location.lat), geo.centre(hit.footprint))
        decay = geo_decay(distance, max(sizes[hit.id], location.error_km))
        if decay < LEAST_NEAR:
            continue
        fine = (finest / sizes[hit.id]) ** 0.1
        ranked.append(replace(hit, score=relevance * decay * fine, scores={**hit.scores, "near": decay}))
    return sorted(ranked, key=lambda h: (-h.score, h.id))


def wanted_time(query: Query) -> TimeSpan | None:
    """When the query is about: the time of its image, or the one year that the question names."""
    if query.image is not None and query.image.time is not None:
        return query.image.time
    years = understand(query.text).years if query.text else ()
    return parse_time(f"{years[0]:04d}") if len(years) == 1 else None


def timely_first(tiles: Sequence[Hit], wanted: TimeSpan) -> list[Hit]:
    """Tiles weighed by time: up to a tenth of the score is lost with distance in years; unknown time counts as far."""
    ranked = []
    for hit in tiles:
        days = days_between(hit.scene.time if hit.scene else None, wanted)
        decay = time_decay(days, 365.25) if days is not None else 0.0
        score = hit.score - 0.1 * (1 - decay) * abs(hit.score)
        ranked.append(replace(hit, score=score, scores={**hit.scores, "timely": decay}))
    return sorted(ranked, key=lambda h: (-h.score, h.id))


def days_between(span: TimeSpan | None, wanted: TimeSpan) -> float | None:
    if span is None:
        return None
    if span.overlaps(wanted):
        return 0.0
    gaps = [
        abs((a - b).total_seconds())
        for a, b in ((span.start, wanted.end), (wanted.start, span.end))
        if a is not None and b is not None
    ]
    return min(gaps, default=0.0) / 86_400


def weigh_location(hits: list[Hit], near: Mapping[str, float], location: Location | None) -> list[Hit]:
    """Passages weighed by how they fit a location.

    With c the confidence of the location, a passage about a place near it gets
    ``c·closeness·(0.6 + 0.4·relevance) + (1 - c)·relevance``, one about no place ``(1 - c/2)·relevance``, and one about
    a place elsewhere ``(1 - c)·relevance``; it is dropped when the location is more likely right than wrong.

    Args:
        hits: passages, ``score`` their relevance.
        near: closeness of the passages that are about a place near the location.
        location: where the query lies, if that is known.
    """
    if location is None:
        return hits
    sure = location.confidence
    ranked = []
    for hit in hits:
        relevance, close = hit.score, near.get(hit.id)
        if close is not None:
            score = sure * close * (0.6 + 0.4 * relevance) + (1 - sure) * relevance
        elif hit.passage is None or hit.passage.lon is None:
            score = (1 - 0.5 * sure) * relevance
        elif sure > 0.5:
            continue
        else:
            score = (1 - sure) * relevance
        ranked.append(replace(hit, score=score, scores={**hit.scores, "place": close or 0.0}))
    return sorted(ranked, key=lambda h: (-h.score, h.id))


def by_overlap(tiles: Sequence[Hit], location: Location) -> list[Hit]:
    """Tiles at a located footprint, by ``0.5 + 0.5·confidence·IoU`` with it: as verified tiles are scored.

    Up to 0.05 more for agreeing features: of the dates of one place the picture's own comes first.
    """
    ranked = []
    for hit in tiles:
        if location.footprint is None or hit.footprint is None:
            continue
        overlap = geo.iou(location.footprint, hit.footprint)
        if overlap > LEAST_OVERLAP:
            inliers = hit.scores.get("inliers", 0.0)
            score = 0.5 + 0.5 * location.confidence * overlap + 0.05 * inliers / (inliers + 100)
            ranked.append(replace(hit, score=score, scores={**hit.scores, "overlap": overlap}))
    return sorted(ranked, key=lambda h: (-h.score, h.id))


def by_overlap_and_rest(tiles: Sequence[Hit], location: Location) -> list[Hit]:
    """Tiles at a located footprint first, then those near it; each tile once."""
    distinct = list({h.id: h for h in tiles}.values())
    located = by_overlap(distinct, location)
    taken = {h.id for h in located}
    return [*located, *near_first([h for h in distinct if h.id not in taken], location)]
