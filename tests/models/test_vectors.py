"""Unit vectors: cosines as products, zeros as zeros."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rsrag.models.vectors import unit


@given(arrays(np.float32, st.tuples(st.integers(0, 4), st.integers(1, 5)), elements=st.floats(-1e6, 1e6, width=32)))
def test_vectors_have_length_one_or_are_zero(vectors: np.ndarray) -> None:
    found = unit(vectors)
    assert found.shape == vectors.shape and found.dtype == np.float32
    lengths, kept = np.linalg.norm(found, axis=1), np.linalg.norm(vectors, axis=1) > 1e-18
    np.testing.assert_allclose(lengths[kept], 1, atol=1e-5)
    assert not found[~vectors.any(axis=1)].any()


def test_vectors_lie_along_any_axis() -> None:
    maps = np.array([[[3.0, 0.0]], [[4.0, 0.0]]])
    assert unit(maps, axis=0)[:, 0].tolist() == [[pytest.approx(0.6), 0.0], [pytest.approx(0.8), 0.0]]
