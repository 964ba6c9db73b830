from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rsrag.errors import UsageError
from rsrag.eval.fitting import abstention as calibration
from rsrag.eval.fitting import reranker as fit_reranker
from rsrag.eval.fitting.observe import read_questions, same_answer


@pytest.mark.parametrize(
    ("answer", "text", "holds"),
    [
        ("72.5 m", "The tower is 72.5 metres high.", True),
        ("1972", "It dried out in 1972.", True),
        ("1972", "It dried out in 1973.", False),
        ("4,068 km2", "An area of 4068 km² is protected.", True),
        ("goats", "They kept goats and sheep.", True),
        ("goat", "They kept goats.", False),
        ("Shô Shin", "King Sho Shin had it cut.", True),
        ("95%", "95 percent is forest", True),
    ],
)
def test_same_answer(answer: str, text: str, holds: bool) -> None:
    assert same_answer(answer, text) is holds


def test_questions_are_read_and_bad_lines_named(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"question": "Q?", "answer": null, "place": null, "split": "dev"}\n')
    (found,) = read_questions(path)
    assert (found.text, found.answer, found.split) == ("Q?", None, "dev")
    path.write_text('{"question": "Q?"}\n')
    with pytest.raises(UsageError, match=":1: not a question"):
        read_questions(path)


def groups(count: int, seed: int) -> list[fit_reranker.Group]:
    """Candidates of which the right one has a larger first feature; the second is noise."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        features = rng.random((6, 2))
        right = np.arange(6) == int(rng.integers(6))
        features[right, 0] += 0.8
        made.append(fit_reranker.Group(features, right, right & False))
    return made


def test_the_ranking_fit_finds_the_feature_that_matters() -> None:
    train, held = groups(60, 1), groups(60, 2)
    weights = fit_reranker.fit(train)
    assert weights[0] > 2 * abs(weights[1])
    assert fit_reranker.figures(held, weights)["hit@1"] > 0.75
    assert fit_reranker.cross_validated(train)["questions"] == 60


def test_the_gradient_is_that_of_the_loss() -> None:
    data = groups(5, 3)
    at = np.array([0.7, -0.2])
    _, gradient = fit_reranker.loss(at, data)
    for i in range(2):
        step = np.eye(2)[i] * 1e-6
        slope = (fit_reranker.loss(at + step, data)[0] - fit_reranker.loss(at - step, data)[0]) / 2e-6
        assert gradient[i] == pytest.approx(slope, abs=1e-6)


def test_the_bias_makes_the_scores_add_up() -> None:
    data = groups(30, 4)
    weights = np.array([3.0, 0.0])
    bias = fit_reranker.fit_bias(data, weights)
    logits = np.concatenate([g.features @ weights for g in data]) + bias
    assert (1 / (1 + np.exp(-logits))).sum() == pytest.approx(30, abs=1e-3)


def samples(count: int, seed: int) -> list[calibration.Sample]:
    rng = np.random.default_rng(seed)
    kinds = ("answerable", "unanswerable", "removed")
    return [
        calibration.Sample(np.array([rng.normal(2.0 if kind == "answerable" else 0.0), rng.normal()]), kind, i, "dev")
        for i in range(count)
        for kind in kinds
    ]


def test_the_calibration_separates_and_the_threshold_keeps_its_promise() -> None:
    data = samples(80, 5)
    weights, bias = calibration.fit(data)
    assert weights[0] > 3 * abs(weights[1])
    values = calibration.cross_validated(data)
    threshold = calibration.choose_threshold(data, values, most=0.1)
    found = calibration.figures(data, values, threshold)
    assert found["false_abstention"] <= 0.1
    assert found["abstention_recall"] > 0.5
    fresh = samples(80, 6)
    assert calibration.figures(fresh, calibration.chances(fresh, weights, bias), threshold)["false_abstention"] < 0.2
