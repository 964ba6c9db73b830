"""Suite "knowledge": questions over passages, through the whole engine, beside single channels and RS-RAG's fusion.

hit@k counts a question as found when one of the first k passages is the right one (``passage_id``) or, where only the
place is known, is about it. answer_match: the answer holds the right words or a number within 2 %, a year exactly.
citation_precision: the share of cited evidence that is about the right place. Questions whose answer is null must
be declined.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import rsrag
from rsrag.collections import PASSAGES, TEXT
from rsrag.engine import Engine
from rsrag.errors import UsageError
from rsrag.eval.fitting.observe import same_answer
from rsrag.eval.reports.result import SuiteResult, left_out, mean
from rsrag.progress import Progress, Silent
from rsrag.types import Answer, Hit

_DEPTH = 5


@dataclass(frozen=True, slots=True)
class Question:
    """One question of the suite; ``answer`` is None when it must be declined."""

    question: str
    answer: str | None
    place: str | None
    passage_id: str | None = None


def read_questions(path: Path) -> list[Question]:
    """Questions from JSON lines with ``question, answer, place`` and perhaps ``passage_id``.

    Raises:
        UsageError: a line that is not of this form, or none at all.
    """
    questions = []
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # other line ends may stand inside a text
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            answer = row["answer"]
            answer = None if answer is None else str(answer)
            questions.append(Question(str(row["question"]), answer, row.get("place"), row.get("passage_id")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{path}, line {number}: not a question: {error!r}") from error
    if not questions:
        raise UsageError(f"{path} holds no questions")
    return questions


def run(
    passages: Sequence[Path],
    questions: Path,
    *,
    profile: str | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> SuiteResult:
    """Ingest the passages into a fresh archive and ask every question.

    Args:
        passages: files with ``id, place, text`` and perhaps ``lat, lon``, or any other knowledge files.
        questions: file with the questions.
        profile: models to use instead of the default ones.
        limit: only so many questions.
    """
    progress = progress or Silent()
    asked = read_questions(questions)[:limit]
    with (
        tempfile.TemporaryDirectory(prefix="rsrag-eval-") as folder,
        rsrag.open(Path(folder) / "archive", create=True, profile=profile) as engine,
    ):
        summary = engine.ingest(knowledge=passages, progress=progress)
        if not summary.passages:
            raise UsageError("no passage could be read", hint=summary.errors[0].reason if summary.errors else None)
        result = measure(engine, asked, progress)
        return replace(result, details={**result.details, **left_out(summary.errors)})


def measure(engine: Engine, asked: Sequence[Question], progress: Progress) -> SuiteResult:
    """Ask an engine every question and score what comes back."""
    known = [q for q in asked if q.answer is not None]
    progress.start("questions", len(asked), unit="questions")
    answers: list[tuple[Question, Answer, Sequence[Hit]]] = []
    for question in asked:
        hits = engine.retrieve(question.question).passages
        answers.append((question, engine.ask(question.question), hits))
        progress.advance()
    progress.finish()
    ours = _found([(q, hits) for q, _, hits in answers if q.answer is not None])
    metrics = {**ours, **_answered([(q, a) for q, a, _ in answers])}
    rows = {
        "rsrag": metrics,
        "BM25 alone": _channel(engine, known, _bm25),
        "dense alone": _channel(engine, known, _dense),
        "RS-RAG alpha fusion": _alpha(engine, known),
    }
    details = {
        "questions": len(asked),
        "answerable": len(known),
        "passages": engine.index.count(PASSAGES),
        "text model": engine.profile.text.fingerprint,
    }
    return SuiteResult("knowledge", metrics, rows, details)


def is_right(question: Question, hit: Hit) -> bool:
    """Whether a passage is the one the question is about."""
    if hit.passage is None:
        return False
    if question.passage_id is not None:
        return any(f.name == "id" and f.value == question.passage_id for f in hit.passage.facts)
    return names(hit, question.place)


def names(hit: Hit, place: str | None) -> bool:
    """Whether a hit is about a place: by its record or, for passages without position, by their heading."""
    if place is None:
        return False
    if hit.place is not None:
        return hit.place.name == place or place in hit.place.aliases
    heading = hit.passage.heading if hit.passage else None
    return heading is not None and heading.split(" › ")[0] == place


def _found(results: Sequence[tuple[Question, Sequence[Hit]]]) -> dict[str, float]:
    ranks = [[is_right(q, h) for h in hits[:_DEPTH]] for q, hits in results]
    return {"hit@1": mean([float(any(r[:1])) for r in ranks]), "hit@5": mean([float(any(r)) for r in ranks])}


def _answered(results: Sequence[tuple[Question, Answer]]) -> dict[str, float]:
    known = [(q, a) for q, a in results if q.answer is not None]
    unknown = [a for q, a in results if q.answer is None]
    cited = [
        float(names(evidence.hit, q.place))
        for q, a in known
        if not a.abstained
        for evidence in a.evidence
        if any(evidence.number in s.citations for s in a.sentences)
    ]
    figures = {
        "answer_match": mean([float(_matches(q, a)) for q, a in known]),
        "citation_precision": mean(cited),
        "false_abstention": mean([float(a.abstained) for _, a in known]),
    }
    if unknown:
        figures["abstention_recall"] = mean([float(a.abstained) for a in unknown])
    return figures


def _matches(question: Question, answer: Answer) -> bool:
    """Whether the right answer is in the words of an answer; the numbers of its citations are none of them."""
    said = " ".join(sentence.text for sentence in answer.sentences)
    return not answer.abstained and same_answer(question.answer or "", said)


def _channel(
    engine: Engine, questions: Sequence[Question], search: Callable[[Engine, str], list[str]]
) -> dict[str, float]:
    results = []
    for question in questions:
        ids = search(engine, question.question)
        records = engine.catalog.resolve_passages(ids)
        hits = [Hit("passage", i, 0.0, passage=records[i][0], place=records[i][2]) for i in ids if i in records]
        results.append((question, hits))
    return _found(results)


def _bm25(engine: Engine, text: str) -> list[str]:
    return [s.id for s in engine.index.search_text(PASSAGES, text, _DEPTH)]


def _dense(engine: Engine, text: str) -> list[str]:
    vector = engine.profile.text.encode_questions([text])[0]
    return [s.id for s in engine.index.search(PASSAGES, TEXT, vector, _DEPTH)] if vector.any() else []


def _alpha(engine: Engine, questions: Sequence[Question]) -> dict[str, float]:
    """The same engine with RS-RAG's fusion; without images it is the dense channel with its own ranking."""
    resolved = engine.resolved
    workspace = replace(
        engine.workspace, resolved=replace(resolved, settings=replace(resolved.settings, fusion="alpha"))
    )
    other = Engine(workspace)
    other.__dict__.update(catalog=engine.catalog, index=engine.index, profile=engine.profile)
    return _found([(q, other.retrieve(q.question).passages) for q in questions])
