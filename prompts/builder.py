"""Versioned prompt templates, filled with fenced and numbered evidence within a token budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template

from rsrag.errors import ConfigError
from rsrag.plain import clipped, quoted, without_controls

NOT_IN_ARCHIVE = "NOT IN THE ARCHIVE"
"""What the templates tell a reader to say when the evidence holds no answer."""

Counter = Callable[[str], int]
LATEST = {"answer": "v1", "answer_image": "v1", "caption": "v1", "change": "v1", "ground": "v1"}
EVIDENCE_CHARACTERS = 1600
QUESTION_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """One template: system text and user text with ``$evidence`` and ``$question``."""

    task: str
    version: str
    system: str
    user: str

    @property
    def name(self) -> str:
        return f"{self.task}/{self.version}"


@cache
def template(task: str, version: str | None = None) -> PromptTemplate:
    """Read a template; the latest version unless one is named.

    Raises:
        ConfigError: there is no such task or version.
    """
    version = version or LATEST.get(task, "")
    source = files("rsrag.prompts") / "templates" / task / f"{version}.txt"
    if task not in LATEST or not source.is_file():
        raise ConfigError(f"no prompt template {task}/{version}", hint=f"tasks: {', '.join(LATEST)}")
    system, _, user = source.read_text(encoding="utf-8").partition("\n---\n")
    return PromptTemplate(task, version, system.strip(), user.strip())


def approximate_tokens(text: str) -> int:
    """Tokens of a text, on the safe side for the usual vocabularies: 1.3 a word, but no fewer than one per 5 bytes."""
    return max(math.ceil(1.3 * len(text.split())), math.ceil(len(text.encode()) / 5))


def fence(number: int, text: str, limit: int = EVIDENCE_CHARACTERS) -> str:
    """One piece of evidence between markers that its text cannot forge."""
    return f'<evidence n="{number}">\n{quoted(text, limit)}\n</evidence>'


def within_budget(texts: Sequence[str], budget: int, count: Counter = approximate_tokens) -> list[str]:
    """The first texts, cleaned and fenced, that fit into ``budget`` tokens together.

    The first text is shortened to fit rather than dropped, so that a reader never gets an empty list while there was
    evidence; the others are taken whole or not at all, and the first that does not fit ends the list.
    """
    kept: list[str] = []
    left = budget
    for number, text in enumerate(texts, start=1):
        fenced = fence(number, text)
        needed = count(fenced)
        if needed > left:
            if kept:
                break
            characters = EVIDENCE_CHARACTERS
            while needed > left and characters > 40:
                characters = max(40, int(characters * 0.8))
                fenced = fence(number, text, characters)
                needed = count(fenced)
        kept.append(fenced)
        left -= needed
    return kept


def render(task: str, question: str, fenced: Sequence[str], version: str | None = None) -> tuple[str, str, str]:
    """System text, user text and template name for fenced evidence and a question.

    The question is the user's own, but it is cleaned of control characters and cannot close or open a fence either.
    """
    chosen = template(task, version)
    asked = quoted(without_controls(question), QUESTION_CHARACTERS) or "What is this?"
    block = "\n".join(fenced) or "(none)"
    user = Template(chosen.user).substitute(evidence=block, question=clipped(asked, QUESTION_CHARACTERS))
    return chosen.system, user, chosen.name
