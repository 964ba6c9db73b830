"""Questions about a comparison, in turn: from mask and statistics, and by a reader that sees the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rsrag.adapters.base import Context
from rsrag.adapters.change import trend
from rsrag.adapters.change.questions import Asked, answer, understand
from rsrag.adapters.change.request import ChangeResult, QuestionAnswer
from rsrag.cite import check
from rsrag.errors import ReaderError, UsageError
from rsrag.facts import fact_sentences
from rsrag.models.base import Prompt, Reader
from rsrag.prompts.builder import render, within_budget
from rsrag.types import Evidence, Hit, Provenance

SEEN: tuple[str, ...] = ("caption", "open", "kind")
"""Intents that a reader answers from the pictures; numbers and places always come from the measurement."""
_MOST_TURNS = 4


def check_asked(questions: Sequence[str]) -> None:
    """Refuse questions without words, before any work is done.

    Raises:
        UsageError: an empty question.
    """
    if any(not question.strip() for question in questions):
        raise UsageError("an empty question", hint='rsrag change A B --question "What changed?"')


def answered(result: ChangeResult, questions: Sequence[str], context: Context) -> ChangeResult:
    """The result with an answer to every question; later questions may refer to earlier ones."""
    reader = context.profile.reader
    turns: list[QuestionAnswer] = []
    understood: list[Asked] = []
    warnings = list(result.warnings)
    models = dict(result.provenance.models)
    template = result.provenance.prompt
    for question in questions:
        asked = understand(question, understood)
        understood.append(asked)
        turn = QuestionAnswer(question, asked.intent, answer(asked, result))
        if reader is not None and reader.name != "extractive" and asked.intent in SEEN and result.looks is not None:
            prompt = compose(question, result, turns, budget=context.settings.token_budget)
            models["reader"], template = reader.fingerprint, prompt.template
            seen = _read(reader, prompt, warnings)
            turn = replace(turn, answer=seen, by=reader.name) if seen else turn
        turns.append(turn)
    made = Provenance(models, template, result.provenance.version, result.provenance.seconds)
    return replace(result, answers=tuple(turns), warnings=tuple(warnings), provenance=made)


def compose(question: str, result: ChangeResult, turns: Sequence[QuestionAnswer] = (), *, budget: int = 2000) -> Prompt:
    """The prompt of a reader: both dates, the changes marked, and what was measured as evidence number 1.

    Earlier turns stand before the question, flattened as ChangeChat does.
    """
    told = " ".join(sentence.text for sentence in result.sentences)
    measured = f"{told} {' '.join(fact_sentences(result.facts))}"
    earlier = " ".join(f"q: {turn.question} a: {turn.answer}" for turn in turns[-_MOST_TURNS:])
    asked = f"{earlier} q: {question}" if earlier else question
    system, user, name = render("change", asked, within_budget([measured], budget))
    hit = Hit("tile", "measurement", 1.0)
    pictures = result.looks or ()
    marked = (trend.marked(result),) if result.looks is not None and result.changed else ()
    return Prompt(system, user, question, (Evidence(1, hit, measured),), (*pictures, *marked), name)


def _read(reader: Reader, prompt: Prompt, warnings: list[str]) -> str:
    """What the reader says, checked against the measurement; empty when it failed or had no answer."""
    try:
        text = "".join(reader.read(prompt))
    except ReaderError as error:
        warnings.append(f"answered from the measurement alone: {error.message}")
        return ""
    sentences, notes = check(text, prompt.evidence, prompt.question)
    warnings += [note for note in notes if note not in warnings]
    return " ".join(sentence.text for sentence in sentences)
