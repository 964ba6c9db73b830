"""Agreement of edges: high on the same ground whatever its brightness, low on other ground or a wrong map."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsrag import edges

from .test_geometric import ground, view

GREY = cv2.COLOR_RGB2GRAY
BY_CHANCE = 6.0


def grey(seed: int, size: int = 400) -> np.ndarray:
    return cv2.cvtColor(ground(seed, size), GREY)


def test_the_same_ground_agrees_when_every_field_changed_its_brightness() -> None:
    still = grey(1)
    harvested = cv2.LUT(still, ((np.arange(256) * 167 + 31) % 256).astype(np.uint8))
    assert edges.agreement(255 - still, still, np.eye(2, 3)) > 20
    assert edges.agreement(harvested, still, np.eye(2, 3)) > 12


@pytest.mark.parametrize(("angle", "zoom"), [(0, 1.0), (33, 1.0), (120, 0.5), (250, 2.0)])
def test_a_laid_picture_agrees_on_whichever_grid_is_coarser(angle: float, zoom: float) -> None:
    whole = ground(2)
    moving = cv2.cvtColor(view(whole, (200.0, 200.0), 160, angle, zoom), GREY)
    there = cv2.getRotationMatrix2D((200.0, 200.0), angle, zoom)
    there[:, 2] += 80 - 200.0
    back = cv2.invertAffineTransform(there)
    assert edges.agreement(moving, cv2.cvtColor(whole, GREY), back) > 9
    off = back + np.array([[0, 0, 30.0], [0, 0, -25.0]])
    assert edges.agreement(moving, cv2.cvtColor(whole, GREY), off) < BY_CHANCE


def test_other_ground_does_not_agree() -> None:
    pictures = [grey(seed, 256) for seed in range(20, 26)]
    found = [edges.agreement(a, b, np.eye(2, 3)) for i, a in enumerate(pictures) for b in pictures[:i]]
    assert max(found) < BY_CHANCE


def test_nothing_in_common_is_no_agreement() -> None:
    picture = grey(3, 200)
    far, squeezed, tiny = np.eye(2, 3), np.eye(2, 3) * 1e-3, np.eye(2, 3) * 0.05
    far[:, 2] = 190
    assert [edges.agreement(picture, picture, m) for m in (far, squeezed, tiny)] == [None, None, None]
    assert edges.agreement(picture[:40, :40], picture[:40, :40], np.eye(2, 3)) is None
    assert edges.agreement(np.full((99, 99), 7, np.uint8), np.full((99, 99), 7, np.uint8), np.eye(2, 3)) == 0


@given(st.integers(48, 90), st.integers(48, 90), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_any_size_gives_a_number(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = (rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((height, width), (width, height)))
    matrix = np.array([[1, 0, 0], [0, 1, 0]]) + rng.normal(0, 0.2, (2, 3))
    found = edges.agreement(first, second, matrix)
    assert found is None or 0 <= found < 40
    assert edges.agreement(first, second, matrix) == (None if found is None else pytest.approx(found, abs=1e-6))
    assert np.abs(edges.directions(first)).max() <= 1.001
