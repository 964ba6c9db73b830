"""Questions with known answers, and what an archive finds for them: shared by the scripts that fit on such data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rsrag.errors import UsageError
from rsrag.quantities import backed, quantities
from rsrag.types import Hit
from rsrag.words import fold


@dataclass(frozen=True, slots=True)
class KnownQuestion:
    """A question, its answer (None: the archive does not hold it), the place it is about, and its half of the set."""

    text: str
    answer: str | None
    place: str | None
    split: str


@dataclass(frozen=True, slots=True)
class Observed:
    """A question and the passages that retrieval found for it, best first."""

    question: KnownQuestion
    hits: tuple[Hit, ...]


def read_questions(path: Path) -> list[KnownQuestion]:
    """Questions from a JSONL file with ``question``, ``answer``, ``place`` and ``split``.

    Raises:
        UsageError: a line that is not of this form.
    """
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            found.append(KnownQuestion(row["question"], row["answer"], row["place"], row.get("split", "test")))
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path}:{number}: not a question: {error!r}") from error
    return found


def observe(workspace: Path, questions: Iterable[KnownQuestion]) -> Iterator[Observed]:
    """What the engine over a workspace retrieves for each question."""
    import rsrag

    with rsrag.open(workspace) as engine:
        for question in questions:
            yield Observed(question, engine.retrieve(question.text).passages)


def same_answer(answer: str, text: str) -> bool:
    """Whether a text holds an answer: its numbers (years exactly, others within 2 %), or its words without accents."""
    wanted = quantities(answer)
    if wanted:
        available = quantities(text)
        return all(backed(q, available) for q in wanted)
    wording, squeezed = (" ".join(re.findall(r"\w+", fold(t))) for t in (answer, text))
    return f" {wording} " in f" {squeezed} "
