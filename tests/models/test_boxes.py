"""Arithmetic of pixel boxes against shapely and plain properties."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from rsrag.models.boxes import areas, as_boxes, clipped, ious, suppressed, voted

BOX = st.tuples(st.floats(0, 90), st.floats(0, 90), st.floats(0.5, 60), st.floats(0.5, 60)).map(
    lambda v: (v[0], v[1], v[0] + v[2], v[1] + v[3])
)
BOXES = st.lists(BOX, min_size=1, max_size=12).map(as_boxes)


@given(BOXES, BOXES)
def test_overlap_is_that_of_the_polygons(one: np.ndarray, two: np.ndarray) -> None:
    found = ious(one, two)
    for i, a in enumerate(one):
        for j, b in enumerate(two):
            p, q = shapely.box(*a), shapely.box(*b)
            assert found[i, j] == pytest.approx(p.intersection(q).area / p.union(q).area, abs=1e-9)


def test_sides_have_no_plus_one() -> None:
    assert ious(as_boxes([0, 0, 2, 2]), as_boxes([1, 0, 3, 2]))[0, 0] == pytest.approx(1 / 3)
    assert areas(as_boxes([[0, 0, 2, 3], [5, 5, 4, 9]])).tolist() == [6, 0]
    assert ious(as_boxes([1, 1, 1, 1]), as_boxes([1, 1, 1, 1]))[0, 0] == 0


@given(BOXES, st.floats(0.1, 0.9), st.integers(0, 2**32 - 1))
def test_suppression_keeps_the_best_and_no_doubles(boxes: np.ndarray, overlap: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, labels = rng.random(len(boxes)), rng.integers(0, 2, len(boxes))
    kept = suppressed(boxes, scores, labels, overlap=overlap)
    assert kept[0] == scores.argmax()
    assert (np.diff(scores[kept]) <= 0).all()
    pairs = ious(boxes[kept], boxes[kept])
    same = labels[kept][:, None] == labels[kept][None]
    assert (pairs[same & ~np.eye(len(kept), dtype=bool)] <= overlap + 1e-12).all()
    for row in set(range(len(boxes))) - set(kept.tolist()):
        better = [k for k in kept if labels[k] == labels[row] and scores[k] >= scores[row]]
        assert max(ious(boxes[row : row + 1], boxes[better])[0]) > overlap


def test_different_labels_do_not_suppress_each_other() -> None:
    boxes = as_boxes([[0, 0, 10, 10], [0, 0, 10, 10]])
    assert len(suppressed(boxes, np.array([0.9, 0.8]), np.array([0, 1]))) == 2
    assert len(suppressed(boxes, np.array([0.9, 0.8]), np.array([1, 1]))) == 1
    assert len(suppressed(as_boxes([]), np.zeros(0), np.zeros(0))) == 0


def test_voting_is_a_weighted_mean_of_one_label() -> None:
    boxes = as_boxes([[0, 0, 10, 10], [2, 0, 12, 10], [50, 50, 60, 60], [0, 0, 10, 10]])
    found = voted(boxes, np.array([3.0, 1, 1, 9]), np.array([0, 0, 0, 1]), np.array([0, 2]), overlap=0.6)
    assert found.tolist() == [[0.5, 0, 10.5, 10], [50, 50, 60, 60]]


@given(BOXES)
def test_clipping_stays_inside(boxes: np.ndarray) -> None:
    inside = clipped(boxes, 50, 40)
    assert (inside[:, [0, 2]] <= 50).all()
    assert (inside[:, [1, 3]] <= 40).all()
    np.testing.assert_array_equal(clipped(inside, 50, 40), inside)
