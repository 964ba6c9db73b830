"""From what retrieval found to an answer: compose the prompt, read, cite, check, or abstain."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rsrag._version import __version__
from rsrag.abstain import confidence, is_placed, named_relation, should_abstain, why
from rsrag.catalog import Catalog
from rsrag.cite import check
from rsrag.compose import compose
from rsrag.config import Settings
from rsrag.facts import THERE, extreme_rank, has_value, in_time, names_file
from rsrag.models.base import Picture, Profile
from rsrag.plain import quoted
from rsrag.quantities import quantities
from rsrag.questions import Question, understand
from rsrag.rerank import passage_text
from rsrag.retrieve import Retrieval, merge
from rsrag.sentences import fitting_numbers
from rsrag.stored.answer import CONFIDENCE, from_values
from rsrag.stored.meant import about_it
from rsrag.stored.relations import says
from rsrag.types import Answer, Evidence, Hit, Provenance, Query, Sentence
from rsrag.words import terms

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
    known = from_values(query, found, catalog)
    if known is not None:
        if on_text is not None:
            on_text(" ".join(s.text for s in known.sentences))
        seconds = {**found.seconds, "answer": time.perf_counter() - start}
        return Answer(
            question,
            known.sentences,
            known.evidence,
            not known.sentences,
            CONFIDENCE if known.sentences else 0.0,
            Provenance(_models(profile), known.why, __version__, seconds),
            reason=known.reason,
            location=found.location,
            warnings=found.warnings,
        )
    found = _of_the_place(query, found)
    found = replace(found, passages=about_it(question, found.passages, catalog))
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
    picture = query.image.pixels if query.image is not None and not _overruled(query, found) else None
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
        if reader.name == "extractive":
            sentences = _telling(question, sentences, prompt.evidence)
    abstained = not any(s.supported for s in sentences)
    if not abstained and _located(query, found):
        warnings = (*warnings, *_unplaced(sentences, prompt.evidence))
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


def _of_the_place(query: Query, found: Retrieval) -> Retrieval:
    """What was found, without passages about no known place where the question is about a located picture or place.

    An open question ("What is this?") and one that points at the picture ask for what is true of it, which such a text
    cannot say. One that holds every name in the question stays.
    """
    asked = understand(query.text or "")
    pointing = asked.about_image or asked.asks == "describe" or not asked.terms
    if not _located(query, found) or not pointing:
        return found
    names = {t for name in asked.names for t in terms(name)}
    kept = [h for h in found.passages if is_placed(h) or (names and names <= set(terms(passage_text(h))))]
    return replace(found, passages=tuple(kept))


def _located(query: Query, found: Retrieval) -> bool:
    """Whether a question is about a place that was found or said besides it."""
    return found.location is not None and (query.image is not None or _stated(query, found))


def _overruled(query: Query, found: Retrieval) -> bool:
    """Whether the question names another place than its image (:meth:`rsrag.places.PlaceFinder.known`)."""
    return query.where is None and found.location is not None and found.location.method == "stated"


def _unplaced(sentences: Sequence[Sentence], evidence: Sequence[Evidence]) -> tuple[str, ...]:
    """A warning where an answer about a place rests on texts about no known place."""
    loose = {e.number for e in evidence if e.hit.kind == "passage" and not is_placed(e.hit)}
    cited = sorted(loose & {n for s in sentences for n in s.citations})
    if not cited:
        return ()
    return (f"{', '.join(f'[{n}]' for n in cited)}: about no known place, perhaps not about this one",)


def _telling(question: str, sentences: tuple[Sentence, ...], evidence: Sequence[Evidence]) -> tuple[Sentence, ...]:
    """Quoted sentences: to "how many", those with a number; to a relation between two named things, those that tell of
    it."""
    wanted = understand(question)
    if "how many" in question.lower() and {"count", "people"} & set(wanted.dimensions):
        given = {q.value for q in quantities(question)}
        sentences = tuple(s for s in sentences if fitting_numbers(wanted, s.text, given))
    asked = named_relation(question)
    if asked is None:
        return sentences
    about = {e.number: e.hit.place.name if e.hit.place is not None else "" for e in evidence}
    return tuple(s for s in sentences if any(says(asked, s.text, about[n]) for n in s.citations))


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
