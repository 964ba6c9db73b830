"""The reader's choice of sentences: ``python -m rsrag.eval.fitting.sentences WORKSPACE QUESTIONS.jsonl --out FILE``.

Run after :mod:`rsrag.eval.fitting.reranker`: the evidence comes in the order the re-ranker gives it. Weights are fitted
on the ``dev`` half; the ``test`` half only gives the figures stored beside them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsrag.alike import WordSpace
from rsrag.compose import number_evidence
from rsrag.config import Settings
from rsrag.eval.fitting.observe import Observed, observe, read_questions, same_answer
from rsrag.eval.fitting.reranker import Array, Group, fit
from rsrag.questions import understand
from rsrag.rerank import diversify
from rsrag.sentences import FEATURES, SentenceScorer, candidates
from rsrag.words import fold

PENALTY = 0.003
FOLDS = 10
BUDGET = 3000


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The sentences of one question: ``group.right`` are those of the right place with the answer, ``holds`` all."""

    group: Group
    holds: np.ndarray


def choice(scorer: SentenceScorer, seen: Observed) -> Choice | None:
    """Features and labels; None when no passage was found."""
    hits = diversify(seen.hits, per_place=4)[:8]
    found = candidates(number_evidence(hits, BUDGET))
    if not found:
        return None
    holds = np.array([same_answer(seen.question.answer or "", c.text) for c in found], dtype=bool)
    place = fold(seen.question.place or "")
    there = np.array([c.place is not None and fold(c.place.name) == place for c in found], dtype=bool)
    features = scorer.features(understand(seen.question.text), found)
    return Choice(Group(features, holds & there, np.zeros(len(found), dtype=bool)), holds)


def figures(choices: Sequence[Choice], weights: Array) -> dict[str, float]:
    """Share of questions with the answer in the first sentence, the first two, and any of the evidence."""
    orders = [np.argsort(-(c.group.features @ weights), kind="stable") for c in choices]
    return {
        "answer@1": round(float(np.mean([c.holds[o[:1]].any() for c, o in zip(choices, orders, strict=True)])), 3),
        "answer@2": round(float(np.mean([c.holds[o[:2]].any() for c, o in zip(choices, orders, strict=True)])), 3),
        "in evidence": round(float(np.mean([c.holds.any() for c in choices])), 3),
        "questions": len(choices),
    }


def cross_validated(choices: Sequence[Choice], folds: int = FOLDS) -> dict[str, float]:
    """Figures on questions that the weights were not fitted on."""
    parts = []
    for fold_ in range(folds):
        held = [c for i, c in enumerate(choices) if i % folds == fold_]
        rest = [c.group for i, c in enumerate(choices) if i % folds != fold_]
        if held and rest:
            parts.append((figures(held, fit(rest, PENALTY)), len(held)))
    total = sum(n for _, n in parts)
    means = {name: round(sum(p[name] * n for p, n in parts) / total, 3) for name in parts[0][0]}
    return {**means, "questions": total}


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, report, and write the weights."""
    parser = argparse.ArgumentParser(prog="rsrag.eval.fitting.sentences", description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="for example rsrag/models/weights/mini/reader.json")
    options = parser.parse_args(arguments)
    scorer = SentenceScorer(WordSpace.shared(Settings()), [1.0] * len(FEATURES))
    questions = [q for q in read_questions(options.questions) if q.answer is not None]
    by_split: dict[str, list[Choice]] = {"dev": [], "test": []}
    for seen in observe(options.workspace, questions):
        one = choice(scorer, seen)
        if one is not None:
            by_split[seen.question.split].append(one)
    weights = fit([c.group for c in by_split["dev"]], PENALTY)
    stored = {
        "weights": {name: round(float(w), 3) for name, w in zip(FEATURES, weights, strict=True)},
        "fitted_on": f"{options.questions.name}, dev half",
        "penalty": PENALTY,
        "figures": {
            "dev, cross-validated": cross_validated(by_split["dev"]),
            "test": figures(by_split["test"], weights) if by_split["test"] else {},
        },
    }
    text = json.dumps(stored, indent=1) + "\n"
    options.out.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
