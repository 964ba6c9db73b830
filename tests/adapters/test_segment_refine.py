"""Refinement of heat: limits from histograms, the cut, the guided filter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsrag.adapters.segment.refine import Counts, cut, guided, logit, middle_of, refined, scored, sigmoid


def disc(side: int = 120, radius: int = 30) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """A bright disc on dark ground with noise, and its mask."""
    y, x = np.mgrid[0:side, 0:side]
    mask = (x - side / 2) ** 2 + (y - side / 2) ** 2 < radius**2
    noise = np.random.default_rng(0).integers(-8, 9, (side, side, 3))
    return np.clip(np.where(mask[..., None], 200, 60) + noise, 0, 255).astype(np.uint8), mask


def overlap(found: np.ndarray, truth: np.ndarray) -> float:  # type: ignore[type-arg]
    return float((found & truth).sum() / (found | truth).sum())


def test_a_cut_follows_the_edge_that_the_heat_does_not_know() -> None:
    picture, truth = disc()
    y, x = np.mgrid[0:120, 0:120]
    # A broad hill of heat, off the middle by ten pixels.
    heat = (0.8 * np.exp(-((x - 70) ** 2 + (y - 55) ** 2) / (2 * 28**2))).astype(np.float32)
    middle = 0.4
    before, after = overlap(heat > middle, truth), overlap(refined(picture, heat, middle) >= 0.5, truth)
    assert after > 0.9 > before


def test_nothing_hot_is_nothing_found() -> None:
    picture, _ = disc()
    cold = np.full((120, 120), 0.05, dtype=np.float32)
    assert not cut(picture, cold, 0.4).any()
    assert (refined(picture, cold, 0.4) < 0.5).all()


def test_all_hot_is_all_found() -> None:
    picture, _ = disc()
    assert (refined(picture, np.full((120, 120), 0.9, dtype=np.float32), 0.4) >= 0.5).all()


def test_unknown_stays_unknown() -> None:
    picture, _ = disc()
    heat = np.full((120, 120), 0.5, dtype=np.float32)
    heat[:40] = np.nan
    found = refined(picture, heat, 0.3)
    assert np.isnan(found[:40]).all() and np.isfinite(found[40:]).all()


def test_a_guided_filter_keeps_constants_and_smooths_flat_ground() -> None:
    picture, _ = disc()
    assert guided(picture, np.full((120, 120), 0.25, dtype=np.float32), 4, 0.01) == pytest.approx(0.25, abs=1e-4)
    flat = np.full((60, 60, 3), 100, dtype=np.uint8)
    noisy = np.random.default_rng(0).random((60, 60)).astype(np.float32)
    assert guided(flat, noisy, 4, 0.01).std() < 0.2 * noisy.std()


def test_counts_over_windows_are_those_of_the_whole() -> None:
    values = np.random.default_rng(0).random((50, 60)).astype(np.float32)
    values[0, 0] = np.nan
    whole, parts = Counts(), Counts()
    whole.add(values)
    parts.add(values[:20])
    parts.add(values[20:])
    assert np.array_equal(whole.counts, parts.counts) and whole.counts.sum() == 2999


def test_parting_value_and_hottest_place() -> None:
    counts = Counts(-1.0, 1.0)
    assert counts.hottest == -1.0 and counts.parting() == -1.0
    counts.add(np.concatenate([np.full(900, -0.5), np.full(100, 0.6)]).astype(np.float32))
    assert -0.5 < counts.parting() < 0.6
    assert counts.hottest == pytest.approx(0.6, abs=0.01)


@given(st.floats(0.01, 0.99), st.floats(0.05, 0.6))
def test_scores_are_half_at_the_middle_and_rise_with_the_heat(heat: float, middle: float) -> None:
    values = np.array([heat, middle], dtype=np.float32)
    found = scored(values, middle)
    assert found[1] == pytest.approx(0.5, abs=1e-4)
    assert (found[0] >= 0.5 - 1e-4) == (values[0] >= values[1]) or abs(heat - middle) < 1e-3
    assert sigmoid(logit(values)) == pytest.approx(values, abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(16, 70), st.integers(16, 70), st.integers(0, 10))
def test_scores_stay_within_bounds_whatever_the_picture(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    heat = rng.random((height, width)).astype(np.float32)
    counts = Counts()
    counts.add(heat)
    found = refined(picture, heat, middle_of(counts))
    assert found.shape == heat.shape and found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1
