"""Calibrate when to decline: ``python -m rsrag.eval.fitting.abstention WORKSPACE QUESTIONS.jsonl --out FILE``.

Fits, on the ``dev`` half, a logistic regression of "the archive holds the answer" on :func:`rsrag.abstain.features`.
Questions without an answer are the ones written as such and, at half the weight, the others with everything about their
place taken out of the results. The threshold is the largest that declines at most 5 % of the answerable dev questions
when these are cross-validated. Run it again after any change to retrieval, re-ranking or reading.
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

from rsrag.abstain import FEATURES, features, names_factor
from rsrag.alike import WordSpace
from rsrag.config import Settings
from rsrag.eval.fitting.observe import observe, read_questions
from rsrag.words import fold

Array = npt.NDArray[np.float64]

FALSE_ABSTENTION = 0.05
PENALTY = 0.03
FOLDS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Features of one question; ``kind`` is "answerable", "unanswerable" or "removed" (its place taken out).

    ``factor`` is what unknown names take from the probability, see :func:`rsrag.abstain.names_factor`.
    """

    features: Array
    kind: str
    question: int
    split: str
    factor: float = 1.0

    @property
    def weight(self) -> float:
        return 0.5 if self.kind == "removed" else 1.0


def fit(samples: Sequence[Sample], penalty: float = PENALTY) -> tuple[Array, float]:
    """Weights and bias on the raw features: Newton's method on standardised ones, both classes of equal weight."""
    table = np.stack([s.features for s in samples])
    mean, spread = table.mean(axis=0), np.maximum(table.std(axis=0), 1e-6)
    inputs = np.column_stack([(table - mean) / spread, np.ones(len(samples))])
    labels = np.array([s.kind == "answerable" for s in samples], dtype=np.float64)
    weights = np.array([s.weight for s in samples])
    for value in (0.0, 1.0):
        weights[labels == value] /= max(weights[labels == value].sum(), 1e-9)
    ridge = penalty * np.diag([*np.ones(table.shape[1]), 0.0])
    theta = np.zeros(inputs.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-np.clip(inputs @ theta, -30, 30)))
        gradient = inputs.T @ (weights * (chance - labels)) + ridge @ theta
        curvature = (inputs * (weights * chance * (1 - chance))[:, None]).T @ inputs + ridge
        step = np.linalg.solve(curvature + 1e-9 * np.eye(len(theta)), gradient)
        theta -= step
        if float(np.abs(step).max()) < 1e-8:
            break
    raw = theta[:-1] / spread
    return raw, float(theta[-1] - raw @ mean)


def chances(samples: Sequence[Sample], weights: Array, bias: float) -> Array:
    """Confidence in each sample."""
    logits = np.stack([s.features for s in samples]) @ weights + bias
    factors = np.array([s.factor for s in samples])
    return np.asarray(factors / (1 + np.exp(-np.clip(logits, -30, 30))), dtype=np.float64)


def cross_validated(samples: Sequence[Sample], folds: int = FOLDS) -> Array:
    """Probability of each sample from a fit without its question."""
    result = np.zeros(len(samples))
    fold_of = {question: i % folds for i, question in enumerate(sorted({s.question for s in samples}))}
    for fold_ in range(folds):
        held = [i for i, s in enumerate(samples) if fold_of[s.question] == fold_]
        rest = [s for s in samples if fold_of[s.question] != fold_]
        if held:
            result[held] = chances([samples[i] for i in held], *fit(rest))
    return result


def choose_threshold(samples: Sequence[Sample], values: Array, most: float = FALSE_ABSTENTION) -> float:
    """The largest threshold that declines at most this share of the answerable questions."""
    answerable = np.sort(values[[s.kind == "answerable" for s in samples]])
    return float(answerable[int(np.floor(most * len(answerable)))])


def figures(samples: Sequence[Sample], values: Array, threshold: float) -> dict[str, float]:
    """Shares declined, by kind of question."""
    names = {"answerable": "false_abstention", "unanswerable": "abstention_recall", "removed": "recall, place removed"}
    result = {}
    for kind, name in names.items():
        chosen = values[[s.kind == kind for s in samples]]
        if len(chosen):
            result[name] = round(float((chosen < threshold).mean()), 3)
            result[f"{kind} questions"] = len(chosen)
    return result


def collect(workspace: Path, questions: Path, space: WordSpace) -> list[Sample]:
    """Features of every question, and of every answerable one without its place."""
    samples = []
    for number, seen in enumerate(observe(workspace, read_questions(questions))):
        asked, split = seen.question, seen.question.split
        kind = "answerable" if asked.answer is not None else "unanswerable"
        cases = [(kind, list(seen.hits))]
        if asked.answer is not None:
            place = fold(asked.place or "")
            cases.append(("removed", [h for h in seen.hits if h.place is None or fold(h.place.name) != place]))
        for case, hits in cases:
            factor = names_factor(asked.text, hits)
            samples.append(Sample(features(asked.text, hits, space), case, number, split, factor))
    return samples


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, report, and write the calibration."""
    parser = argparse.ArgumentParser(prog="rsrag.eval.fitting.abstention", description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="e.g. rsrag/models/weights/mini/abstention.json")
    options = parser.parse_args(arguments)
    samples = collect(options.workspace, options.questions, WordSpace.shared(Settings()))
    dev = [s for s in samples if s.split == "dev"]
    test = [s for s in samples if s.split == "test"]
    weights, bias = fit(dev)
    held_out = cross_validated(dev)
    threshold = choose_threshold(dev, held_out)
    stored = {
        "weights": {name: round(float(w), 4) for name, w in zip(FEATURES, weights, strict=True)},
        "bias": round(bias, 4),
        "threshold": round(threshold, 3),
        "trade_off": f"largest threshold with false abstention <= {FALSE_ABSTENTION} on dev, cross-validated",
        "fitted_on": f"{options.questions.name}, dev half",
        "figures": {
            "dev, cross-validated": figures(dev, held_out, threshold),
            "test": figures(test, chances(test, weights, bias), threshold) if test else {},
        },
    }
    text = json.dumps(stored, indent=1) + "\n"
    options.out.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
