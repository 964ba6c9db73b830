"""Hits become numbered evidence, and evidence a prompt within a token budget."""

from __future__ import annotations

from collections.abc import Sequence

from rsrag.facts import fact_sentences, position_text, tile_sentences
from rsrag.models.base import Picture, Prompt
from rsrag.plain import clipped, quoted
from rsrag.prompts.builder import Counter, approximate_tokens, render, within_budget
from rsrag.times import format_span
from rsrag.types import Evidence, Hit
from rsrag.words import terms

_NAME_CHARACTERS = 160


def evidence_text(hit: Hit) -> str:
    """A hit as a reader sees it, without its fence.

    Passages: a line naming the place (kind, country, position), the heading, the date if there is one, the text, then
    the place's and passage's facts. Tiles: sentences on scene, date, sensor, position and area, then the facts.
    """
    if hit.kind == "tile":
        lines = [" ".join(tile_sentences(hit))]
        if hit.place is not None:
            lines.append(_place_line(hit))
        return quoted("\n".join(lines))
    lines = [_place_line(hit)] if hit.place is not None else []
    passage = hit.passage
    if passage is None:
        return quoted("\n".join([*lines, clipped(hit.title, _NAME_CHARACTERS)]))
    if passage.heading and not _repeats(passage.heading, hit):
        lines.append(clipped(passage.heading, _NAME_CHARACTERS))
    if passage.time is not None:
        lines.append(f"Date: {format_span(passage.time)}.")
    lines.append(passage.text)
    facts = list(dict.fromkeys([*passage.facts, *(hit.place.facts if hit.place else ())]))
    lines += [" ".join(fact_sentences(facts))] if facts else []
    return quoted("\n".join(lines))


def _repeats(heading: str, hit: Hit) -> bool:
    """Whether a heading says no more than the line on the place."""
    return hit.place is not None and set(terms(heading)) <= set(terms(_place_line(hit)))


def _place_line(hit: Hit) -> str:
    place = hit.place
    if place is None:
        return ""
    about = ", ".join(clipped(x, _NAME_CHARACTERS) for x in (place.kind, place.country) if x)
    name = clipped(place.name, _NAME_CHARACTERS)
    return f"Place: {name}{f' ({about})' if about else ''}, {position_text(place.lon, place.lat)}."


def number_evidence(hits: Sequence[Hit], budget: int, count: Counter = approximate_tokens) -> tuple[Evidence, ...]:
    """Evidence numbered from 1 in the order of the hits (best first), as much as fits into ``budget`` tokens.

    Two hits that read the same (a passage stored twice) become one.
    """
    texts: dict[str, Hit] = {}
    for hit in hits:
        texts.setdefault(evidence_text(hit), hit)
    kept = len(within_budget(list(texts), budget, count))
    return tuple(Evidence(n, hit, text) for n, (text, hit) in enumerate(list(texts.items())[:kept], start=1))


def compose(
    question: str,
    hits: Sequence[Hit],
    *,
    budget: int = 3000,
    picture: Picture | None = None,
    thumbnails: Sequence[Picture] = (),
    count: Counter = approximate_tokens,
    max_tokens: int = 400,
) -> Prompt:
    """The prompt for a question over hits, best first.

    Args:
        question: the question; empty for an image alone.
        hits: what retrieval chose, best first.
        budget: tokens for the evidence block.
        picture: the query image, uint8 [H, W, 3]; with one, the template for images is used.
        thumbnails: pictures of the evidence, shown to the reader after the query image.
        count: the reader's own token counter, if it has one.
        max_tokens: room for the answer.
    """
    evidence = number_evidence(hits, budget, count)
    fenced = within_budget([e.text for e in evidence], budget, count)
    task = "answer_image" if picture is not None else "answer"
    system, user, name = render(task, question, fenced)
    pictures = (picture, *thumbnails) if picture is not None else tuple(thumbnails)
    return Prompt(system, user, question, evidence, pictures, name, max_tokens)
