"""Coarser scales from finer pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsrag.ingest.readers.base import Pixels
from rsrag.ingest.readers.shrink import inner_scale, read_scaled, shrink
from rsrag.types import Window


def naive(pixels: Pixels, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """The averages square by square, as the definition says."""
    bands, height, width = pixels.data.shape
    size = (-(-height // factor), -(-width // factor))
    data, mask = np.full((bands, *size), np.nan), np.zeros(size, dtype=bool)
    for i in range(size[0]):
        for j in range(size[1]):
            part = (slice(i * factor, (i + 1) * factor), slice(j * factor, (j + 1) * factor))
            mask[i, j] = pixels.mask[part].any()
            for band in range(bands):
                values = pixels.data[band][part][pixels.mask[part]].astype(float)
                values = values[np.isfinite(values)]
                data[band, i, j] = values.mean() if values.size else np.nan
    return data, mask


@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    factor=st.sampled_from([1, 2, 3, 4, 8]),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    valid=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 5),
)
def test_averages_of_what_is_valid(height: int, width: int, factor: int, dtype: str, valid: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 255 if dtype == "uint8" else 60_000, (2, height, width)).astype(dtype)
    mask = rng.random((height, width)) < valid
    if dtype == "float32":
        data[1, ::3] = np.nan
    small = shrink(Pixels(data, mask), factor)
    expected, expected_mask = naive(Pixels(data, mask), factor)
    assert small.data.dtype == data.dtype
    np.testing.assert_array_equal(small.mask, expected_mask)
    tolerance = 0.5 if dtype != "float32" else 1e-2
    got = small.data.astype(float)
    where = expected_mask[None] & np.isfinite(expected)
    np.testing.assert_allclose(got[where], expected[where], atol=tolerance + 1e-6)
    if dtype == "float32" and factor > 1:
        assert np.isnan(got[~np.isfinite(expected)]).all()


@pytest.mark.parametrize(
    ("scale", "stored", "inner"),
    [
        (1, (), 1),
        (2, (), 1),
        (8, (), 1),
        (16, (), 8),
        (64, (), 8),
        (128, (), 64),
        (24, (), 8),
        (7, (), 1),
        (4, (2, 4), 4),
        (8, (2, 4), 4),
        (16, (2, 4), 8),
        (6, (3,), 3),
        (5, (2, 4), 1),
    ],
)
def test_where_a_scale_comes_from(scale: int, stored: tuple[int, ...], inner: int) -> None:
    assert inner_scale(scale, stored) == inner


def test_strips_give_what_one_reading_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.random.default_rng(1).integers(0, 255, (3, 200, 130)).astype(np.uint8)
    mask = np.random.default_rng(2).random((200, 130)) < 0.7
    reads: list[Window] = []

    def read(window: Window, scale: int) -> Pixels:
        assert scale == 1
        reads.append(window)
        rows, cols = slice(window.row, window.row + window.height), slice(window.col, window.col + window.width)
        return Pixels(data[:, rows, cols], mask[rows, cols])

    window = Window(0, 16, 130, 184)
    whole = read_scaled(window, 16, (), read, 3)
    assert len(reads) == 1
    monkeypatch.setattr("rsrag.ingest.readers.shrink.STRIP_VALUES", 3 * 130 * 20)
    strips = read_scaled(window, 16, (), read, 3)
    assert len(reads) > 5 and max(r.height for r in reads[1:]) <= 20
    np.testing.assert_array_equal(strips.data, whole.data)
    np.testing.assert_array_equal(strips.mask, whole.mask)


def test_a_copy_that_does_not_fit_the_start_is_left_alone() -> None:
    asked: list[int] = []

    def read(window: Window, scale: int) -> Pixels:
        asked.append(scale)
        size = (-(-window.height // scale), -(-window.width // scale))
        return Pixels(np.zeros((1, *size), np.uint8), np.ones(size, dtype=bool))

    read_scaled(Window(4, 0, 40, 40), 4, (4,), read, 1)
    read_scaled(Window(2, 0, 40, 40), 4, (4,), read, 1)
    assert asked == [4, 1]
