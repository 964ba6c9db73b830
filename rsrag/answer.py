"""From what retrieval found to an answer: compose the prompt, read, cite, check, or abstain."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rsrag._version import __version__
from rsrag.abstain import confidence, should_abstain, why
from rsrag.catalog import Catalog
from rsrag.cite import check
from rsrag.compose import compose
from rsrag.config import Settings
from rsrag.facts import THERE, extreme_rank, has_value, in_time, names_file
from rsrag.models.base import Picture, Profile
from rsrag.plain import quoted
from rsrag.questions import Question, understand
from rsrag.retrieve import Retrieval, merge
from rsrag.types import Answer, Hit, Provenance, Query, Sentence

_THUMBNAILS = 3


def answer(
    query: Query,
    found: Retrieval,
    profile: Profile,
    settings: Settings,
    catalog: Catalog,
    *,
    history: Sequence[tuple[str, str]] = (),
    on_text: Callable[[str], None] | None = None,
) -> Answer:
    """Answer a query from what retrieval found. See :meth:`rsrag.engine.Engine.ask`."""
    start = time.perf_counter()
    question = query.text or "What is this place?"
    hits = evidence_hits(query, found)
    sure = confidence(
        question,
        found.passages,
        settings,
        tiles=[h for h in hits if h.kind == "tile"],
        location=found.location,
        image=query.image is not None or _stated(query, found),
    )
    reader = profile.reader
    picture = query.image.pixels if query.image is not None else None
    shown = _thumbnails(hits, catalog) if reader is not None and reader.name != "extractive" else ()
    prompt = compose(question, hits, budget=settings.token_budget, picture=picture, thumbnails=shown)
    prompt = replace(prompt, user=_history(history) + prompt.user)
    sentences: tuple[Sentence, ...] = ()
    warnings: tuple[str, ...] = ()
    if reader is not None and prompt.evidence and not should_abstain(sure):
        pieces = []
        for piece in reader.read(prompt):
            pieces.append(piece)
            if on_text is not None:
                on_text(piece)
        sentences, warnings = check("".join(pieces), prompt.evidence, question)
    abstained = not any(s.supported for s in sentences)
    seconds = {**found.seconds, "answer": time.perf_counter() - start}
    provenance = Provenance(_models(profile), prompt.template, __version__, seconds)
    return Answer(
        question,
        () if abstained else sentences,
        prompt.evidence,
        abstained,
        sure,
        provenance,
        reason=why(found.passages, found.tiles) if abstained else None,
        location=found.location,
        warnings=(*found.warnings, *warnings),
    )


def evidence_hits(query: Query, found: Retrieval) -> list[Hit]:
    """The hits a reader gets, best first.

    Tiles lead where the question is about imagery: with an image, a place, a filter, or a value that tiles have. Any
    other question is answered from passages, and from tiles only in an archive without them.
    """
    asked = understand(query.text or "")
    imagery = query.image is not None or _stated(query, found) or not query.filters.empty
    if asked.variables:
        found = replace(found, tiles=tuple(_meant_first(asked, _marked(query, found))))
    if asked.variables or (imagery and (asked.years or asked.months)):
        return merge(found, query.limit, tiles_first=max(2, query.limit // 2))
    return merge(found, query.limit, tiles_first=2 if imagery or not found.passages else 0)


def _marked(query: Query, found: Retrieval) -> list[Hit]:
    """The tiles, marked where the query itself says where they lie."""
    area = query.filters.bbox or query.filters.intersects or query.filters.scenes
    if query.image is None and not area and not _stated(query, found):
        return list(found.tiles)
    return [replace(h, scores={**h.scores, THERE: 1.0}) for h in found.tiles]


def _meant_first(asked: Question, tiles: Sequence[Hit]) -> list[Hit]:
    """The tiles; first those of a file or of a time that the question names, and those that have its value."""
    question = asked.text.casefold()

    def rank(hit: Hit) -> tuple[bool, bool, bool, float]:
        named = names_file(question, hit)
        return not named, not in_time(asked, hit), not has_value(asked, hit), extreme_rank(asked, hit)

    return sorted(tiles, key=rank)


def _stated(query: Query, found: Retrieval) -> bool:
    """Whether the query says where, by an argument or by a position in its text."""
    return query.where is not None or (found.location is not None and found.location.method == "stated")


def _thumbnails(hits: Sequence[Hit], catalog: Catalog) -> tuple[Picture, ...]:
    import cv2

    pictures = []
    for hit in [h for h in hits if h.kind == "tile"][:_THUMBNAILS]:
        encoded = catalog.thumbnail(hit.id) or b""
        decoded: Any = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB) if encoded else None
        if decoded is not None:
            pictures.append(np.asarray(decoded, dtype=np.uint8))
    return tuple(pictures)


def _history(history: Sequence[tuple[str, str]]) -> str:
    """Earlier turns for a reader that follows a dialogue; cleaned like everything else that it reads."""
    lines = [f"Earlier question: {quoted(q, 400)}\nEarlier answer: {quoted(a, 800)}\n" for q, a in history[-2:]]
    return "".join(lines)


def _models(profile: Profile) -> Mapping[str, str]:
    models: dict[str, Any] = {
        "image": profile.image,
        "text": profile.text,
        "reranker": profile.reranker,
        "reader": profile.reader,
    }
    return {role: model.fingerprint for role, model in models.items() if model is not None}
