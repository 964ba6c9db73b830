"""Figures against values computed by hand, and what must hold for any scores."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsrag.eval.metrics import scores as metrics
from rsrag.eval.metrics.scores import Bin, Relevant


def relevant(*rows: dict[int, float]) -> list[Relevant]:
    return [(np.array(list(row), dtype=np.int64), np.array(list(row.values()), dtype=np.float64)) for row in rows]


# Classification


def test_probabilities_are_a_softmax_over_the_temperature() -> None:
    found = metrics.probabilities(np.array([[0.0, np.log(3.0)], [1000.0, 0.0]]), 1.0)
    assert found == pytest.approx(np.array([[0.25, 0.75], [1.0, 0.0]]))
    assert metrics.probabilities(np.array([[0.0, 0.1]]), 0.1)[0, 1] == pytest.approx(1 / (1 + np.exp(-1)))


def test_top_k_by_hand() -> None:
    scores = np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [1.0, 1.0, 1.0]])
    truth = np.array([0, 1, 2, 0])
    assert metrics.top_k(scores, truth, 1) == pytest.approx(100 * (1 + 1 / 3) / 4)  # the tied row: one of three orders
    assert metrics.top_k(scores, truth, 2) == pytest.approx(100 * (2 + 2 / 3) / 4)
    assert metrics.top_k(scores, truth, 3) == 100


def test_confusion_counts_every_picture_once() -> None:
    counts = metrics.confusion(np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, -1, 0]), 3)
    assert counts.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 1]]


def test_calibration_error_by_hand() -> None:
    confidence = np.array([0.95, 0.95, 0.55, 0.6])
    bins = metrics.reliability(confidence, np.array([True, False, True, True]), bins=10)
    filled = {round(b.high, 1): b for b in bins if b.count}
    assert {high: b.count for high, b in filled.items()} == {0.6: 2, 1.0: 2}
    assert filled[0.6] == Bin(0.5, 0.6, 2, pytest.approx(57.5), 100.0)
    # |50 - 95| and |100 - 57.5|, half of the predictions each.
    assert metrics.ece(bins) == pytest.approx((45 + 42.5) / 2)
    assert metrics.ece([]) == 0


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 15), min_size=1, max_size=40), st.integers(1, 20))
def test_perfectly_calibrated_predictions_have_no_error(tenths: list[int], bins: int) -> None:
    # Of 15 predictions with confidence n/15 exactly n are right.
    confidence = np.repeat([n / 15 for n in tenths], 15)
    correct = np.concatenate([np.arange(15) < n for n in tenths])
    assert metrics.ece(metrics.reliability(confidence, correct, bins)) == pytest.approx(0, abs=1e-9)


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 10_000))
def test_bins_hold_every_prediction_within_their_ends(seed: int) -> None:
    rng = np.random.default_rng(seed)
    confidence = np.concatenate([rng.random(50), [0.0, 1.0, 1 / 15, 1 / 3]])
    bins = metrics.reliability(confidence, rng.random(54) < confidence)
    assert sum(b.count for b in bins) == 54
    for b in bins:
        inside = (confidence > b.low) & (confidence <= b.high) if b.low else confidence <= b.high
        assert b.count == inside.sum()
    assert 0 <= metrics.ece(bins) <= 100


def test_the_temperature_that_made_the_labels_is_found() -> None:
    rng = np.random.default_rng(3)
    scores = rng.normal(0, 0.3, (4000, 6))
    for temperature in (0.02, 0.1, 0.5):
        drawn = rng.gumbel(size=scores.shape) + scores / temperature  # samples of the softmax
        assert metrics.fit_temperature(scores, drawn.argmax(axis=1)) == pytest.approx(temperature, rel=0.15)


def test_coverage_falls_and_says_when_nothing_is_left() -> None:
    rows = metrics.coverage(np.array([0.2, 0.5, 0.9, 0.9]), np.array([False, False, True, True]), [0.0, 0.5, 0.6, 1.0])
    assert rows == [(0.0, 100.0, 50.0), (0.5, 75.0, pytest.approx(200 / 3)), (0.6, 50.0, 100.0), (1.0, 0.0, None)]


# Retrieval


def test_hits_by_hand() -> None:
    scores = np.array([[5.0, 4.0, 3.0, 2.0]] * 3)
    found = metrics.hits(scores, np.ones(4), relevant({0: 1}, {2: 1, 3: 1}, {}), ks=(1, 2, 3))
    assert found.tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 0]]


def test_columns_that_stand_for_several_take_their_places() -> None:
    scores = np.array([[5.0, 4.0, 3.0]])
    found = metrics.hits(scores, np.array([3.0, 1.0, 1.0]), relevant({1: 1}), ks=(1, 3, 4))
    assert found.tolist() == [[0, 0, 1]]


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=6), st.data())
def test_ties_are_the_mean_over_all_orders(scores: list[int], data: st.DataObject) -> None:
    own = data.draw(st.sets(st.integers(0, len(scores) - 1), min_size=1))
    k = data.draw(st.integers(1, 4))
    table = np.array([scores], dtype=np.float64)
    found = metrics.hits(table, np.ones(len(scores)), relevant(dict.fromkeys(own, 1)), ks=(k,))[0, 0]
    outcomes = []
    for order in permutations(range(len(scores))):
        ranked = sorted(order, key=lambda i: -scores[i])  # stable: ties stay in this order
        outcomes.append(any(i in own for i in ranked[:k]))
    assert found == pytest.approx(np.mean(outcomes))


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 10_000))
def test_chunks_and_the_order_of_the_gallery_do_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    queries, gallery = rng.integers(-2, 3, (7, 3)).astype(float), rng.integers(-2, 3, (9, 3)).astype(float)
    weights = rng.integers(1, 4, 9).astype(float)
    own = [np.flatnonzero(rng.random(9) < 0.3) for _ in range(7)]
    whole = metrics.chunked_hits(queries, gallery, weights, lambda row: (own[row], weights[own[row]]))
    small = metrics.chunked_hits(queries, gallery, weights, lambda row: (own[row], weights[own[row]]), cells=10)
    order = rng.permutation(9)
    place = np.argsort(order)
    moved = metrics.chunked_hits(
        queries, gallery[order], weights[order], lambda row: (place[own[row]], weights[own[row]])
    )
    assert whole == pytest.approx(small) and whole == pytest.approx(moved)
    assert ((whole >= 0) & (whole <= 1)).all() and (np.diff(whole, axis=1) >= -1e-12).all()


def test_chunks_report_their_progress() -> None:
    steps: list[int] = []
    one = np.ones((5, 2))
    metrics.chunked_hits(one, one, np.ones(5), lambda row: relevant({row: 1})[0], cells=10, advance=steps.append)
    assert steps == [2, 2, 1]


def test_the_interval_holds_the_figure_and_narrows_with_more_pictures() -> None:
    rng = np.random.default_rng(0)

    def interval(count: int) -> tuple[float, float, float]:
        i2t = (rng.random((count, 1)) < [[0.2, 0.5, 0.8]]).astype(float)
        t2i = rng.binomial(5, 0.4, (count, 3)).astype(float)
        low, high = metrics.mean_recall_interval(i2t, t2i, np.full(count, 5))
        return low, 100 * (i2t.mean() + t2i.mean() / 5) / 2, high

    few, many = interval(40), interval(1000)
    assert few[0] < few[1] < few[2] and many[0] < many[1] < many[2]
    assert many[2] - many[0] < (few[2] - few[0]) / 3


def test_an_interval_without_spread_is_a_point_and_seeds_repeat() -> None:
    ones, counts = np.ones((6, 3)), np.full(6, 2)
    assert metrics.mean_recall_interval(ones, 2 * ones, counts) == (100.0, 100.0)
    mixed = np.arange(18).reshape(6, 3) % 2
    assert metrics.mean_recall_interval(mixed, mixed, counts, 4) == metrics.mean_recall_interval(
        mixed, mixed, counts, 4
    )
