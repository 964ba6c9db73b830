"""Fit the weights of the light re-ranker: ``python -m rsrag.eval.fitting.reranker WORKSPACE QUESTIONS.jsonl``.

The workspace holds the passages; each line of the questions has ``question``, ``answer``, ``place`` and ``split``. Only
the ``dev`` half is looked at, except for the figures of the ``test`` half that are printed and stored at the end.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rsrag.config import Settings
from rsrag.eval.fitting.observe import Observed, observe, read_questions, same_answer
from rsrag.models.registry import find
from rsrag.rerank import FEATURES, Coefficients, LightReranker, passage_text
from rsrag.words import fold

Array = npt.NDArray[np.float64]

PENALTY = 0.001
FOLDS = 10
_STEPS = 4000
_RATE = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """The candidates of one question: features [N, F], which are of the right place, which also hold the answer."""

    features: Array
    right: npt.NDArray[np.bool_]
    answers: npt.NDArray[np.bool_]


def group(ranker: LightReranker, seen: Observed) -> Group:
    """Features and labels of the candidates that the re-ranker saw for one question."""
    hits = [h for h in seen.hits if "rerank" in h.scores]
    texts = [passage_text(h) for h in hits]
    place, answer = seen.question.place, seen.question.answer
    right = np.array([h.place is not None and fold(h.place.name) == fold(place or "") for h in hits], dtype=bool)
    holds = np.array([same_answer(answer or "", t.partition("\n")[2]) for t in texts], dtype=bool)
    return Group(ranker.features(seen.question.text, texts), right, right & holds)


def loss(weights: Array, groups: Sequence[Group], penalty: float = PENALTY) -> tuple[float, Array]:
    """Mean of -log P(right place) - ½ log P(passage with the answer), softmax over the candidates, and its gradient."""
    value, gradient = 0.0, np.zeros_like(weights)
    for one in groups:
        logits = one.features @ weights
        odds = np.exp(logits - logits.max())
        chance = odds / odds.sum()
        for labels, share in ((one.right, 1.0), (one.answers, 0.5)):
            if labels.any():
                hit = float(chance[labels].sum())
                aim = np.where(labels, chance, 0.0) / hit
                value -= share * np.log(hit)
                gradient -= share * (aim - chance) @ one.features
    count = max(len(groups), 1)
    return value / count + penalty * float(weights @ weights), gradient / count + 2 * penalty * weights


def fit(groups: Sequence[Group], penalty: float = PENALTY) -> Array:
    """Weights by gradient descent with halving of the step whenever the loss would rise. Deterministic."""
    weights = np.zeros(groups[0].features.shape[1])
    value, gradient = loss(weights, groups, penalty)
    rate = _RATE
    for _ in range(_STEPS):
        trial = weights - rate * gradient
        lower, slope = loss(trial, groups, penalty)
        if lower > value:
            rate /= 2
            if rate < 1e-4:
                break
            continue
        done = value - lower < 1e-9
        weights, value, gradient, rate = trial, lower, slope, rate * 1.2
        if done:
            break
    return weights


def fit_bias(groups: Sequence[Group], weights: Array) -> float:
    """The bias at which the scores add up to the number of right candidates (the logistic regression of the bias)."""
    logits = np.concatenate([g.features @ weights for g in groups])
    right = float(sum(g.right.sum() for g in groups))
    low, high = -50.0, 50.0
    for _ in range(80):
        middle = (low + high) / 2
        if (1 / (1 + np.exp(-np.clip(logits + middle, -50, 50)))).sum() < right:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def figures(groups: Sequence[Group], weights: Array) -> dict[str, float]:
    """hit@1, hit@5 by place and the share of questions with an answering passage among the first three."""
    orders = [np.argsort(-(g.features @ weights), kind="stable") for g in groups]
    return {
        "hit@1": round(float(np.mean([g.right[o[:1]].any() for g, o in zip(groups, orders, strict=True)])), 3),
        "hit@5": round(float(np.mean([g.right[o[:5]].any() for g, o in zip(groups, orders, strict=True)])), 3),
        "answer@3": round(float(np.mean([g.answers[o[:3]].any() for g, o in zip(groups, orders, strict=True)])), 3),
        "questions": len(groups),
    }


def cross_validated(groups: Sequence[Group], folds: int = FOLDS) -> dict[str, float]:
    """Figures on questions that the weights were not fitted on."""
    parts = []
    for fold_ in range(folds):
        rest = [g for i, g in enumerate(groups) if i % folds != fold_]
        held = [g for i, g in enumerate(groups) if i % folds == fold_]
        if rest and held:
            parts.append((figures(held, fit(rest)), len(held)))
    total = sum(n for _, n in parts)
    return {
        name: round(sum(p[name] * n for p, n in parts) / total, 3) if name != "questions" else total
        for name in parts[0][0]
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, report, and write ``ranker.json``."""
    parser = argparse.ArgumentParser(prog="rsrag.eval.fitting.reranker", description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument(
        "--out", type=Path, required=True, help="file to write, e.g. rsrag/models/weights/mini/ranker.json"
    )
    options = parser.parse_args(arguments)
    unfitted = Coefficients((1.0,) * len(FEATURES), 0.0)
    ranker = LightReranker(find("mini-ranker"), Settings(), coefficients=unfitted)
    questions = [q for q in read_questions(options.questions) if q.answer is not None]
    by_split: dict[str, list[Group]] = {}
    for seen in observe(options.workspace, questions):
        by_split.setdefault(seen.question.split, []).append(group(ranker, seen))
    weights = fit(by_split["dev"])
    stored = {
        "weights": {name: round(float(w), 3) for name, w in zip(FEATURES, weights, strict=True)},
        "bias": round(fit_bias(by_split["dev"], weights), 3),
        "fitted_on": f"{options.questions.name}, dev half",
        "penalty": PENALTY,
        "figures": {
            "dev, cross-validated": cross_validated(by_split["dev"]),
            "dev": figures(by_split["dev"], weights),
            "test": figures(by_split.get("test", []), weights) if by_split.get("test") else {},
        },
    }
    text = json.dumps(stored, indent=1) + "\n"
    options.out.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
