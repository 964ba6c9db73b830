"""Views of nadir pictures: they depend on the generator alone, keep their shape and do what their strength says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cv2")

from rsrag.train.augment import (
    MILD,
    QUERY,
    TRAINING,
    damage,
    mild_view,
    plain,
    quarter_turn,
    recolour,
    repaint,
    training_view,
    view,
    warp,
    wild_view,
)


def noise(height: int = 50, width: int = 70, seed: int = 0) -> np.ndarray:
    """A picture without structure, uint8 [height, width, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


STEPS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "training": lambda p, rng: training_view(p, 48, rng),
    "wild": lambda p, rng: wild_view(p, 48, rng),
    "mild": lambda p, rng: mild_view(p, 48, rng),
    "query": lambda p, rng: view(p, 48, QUERY, rng),
    "warp": lambda p, rng: warp(p, 48, TRAINING, rng),
    "recolour": lambda p, rng: recolour(p, TRAINING, rng),
    "damage": lambda p, rng: damage(p[:48, :48], replace(TRAINING, damage=4.0), rng),
    "repaint": lambda p, rng: repaint(p, 1.0, rng),
    "quarter turn": quarter_turn,
}


@pytest.mark.parametrize("size", [296, 448])
def test_large_views_are_damaged_too(size: int) -> None:
    picture = noise(size, size)
    for seed in range(20):
        assert damage(picture, replace(TRAINING, damage=4.0), np.random.default_rng(seed)).shape == picture.shape


@pytest.mark.parametrize("name", sorted(STEPS))
def test_a_step_depends_on_the_generator_alone(name: str) -> None:
    picture = noise()
    before = picture.copy()
    one, same, other = (STEPS[name](picture, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert one.dtype == np.uint8
    assert one.flags["C_CONTIGUOUS"]
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert np.array_equal(picture, before)


@pytest.mark.parametrize("make", [training_view, mild_view, wild_view])
@pytest.mark.parametrize("shape", [(8, 8), (33, 33), (400, 400), (20, 300), (300, 20)])
def test_views_have_the_size_asked_for(make: Any, shape: tuple[int, int]) -> None:
    picture = np.full((*shape, 3), 128, dtype=np.uint8)
    assert make(picture, 32, np.random.default_rng(1)).shape == (32, 32, 3)


def test_quarter_turns_move_pixels_and_change_none() -> None:
    picture = noise(6, 6)
    seen = {quarter_turn(picture, np.random.default_rng(seed)).tobytes() for seed in range(200)}
    wanted = {np.rot90(side, k).tobytes() for side in (picture, picture[:, ::-1]) for k in range(4)}
    assert seen == wanted
    assert len(wanted) == 8
    counts = [sum(quarter_turn(picture, np.random.default_rng(s)).tobytes() == w for s in range(800)) for w in wanted]
    assert min(counts) > 60  # all eight about equally often
    assert {quarter_turn(noise(4, 9), np.random.default_rng(s)).shape for s in range(20)} == {(4, 9, 3), (9, 4, 3)}


def test_a_mild_view_of_the_whole_picture_is_one_of_its_eight_positions() -> None:
    picture = noise(32, 32)
    still = replace(MILD, area=(1.0, 1.0), stretch=0.0, colour=0.0, damage=0.0)
    wanted = {np.rot90(side, k).tobytes() for side in (picture, picture[:, ::-1]) for k in range(4)}
    seen = {view(picture, 32, still, np.random.default_rng(seed)).tobytes() for seed in range(100)}
    assert seen == wanted


def test_a_view_without_alterations_is_the_picture() -> None:
    picture = noise(32, 32)
    still = replace(TRAINING, area=(1.0, 1.0), stretch=0.0, colour=0.0, rotate=False, damage=0.0)
    seen = view(picture, 32, still, np.random.default_rng(1))
    assert np.array_equal(seen, picture) or np.array_equal(seen, picture[:, ::-1])


def test_mild_views_stay_nearer_to_the_picture_than_full_and_wild_ones() -> None:
    import cv2

    picture = cv2.resize(noise(5, 5), (64, 64), interpolation=cv2.INTER_CUBIC)
    mean = picture.mean(axis=(0, 1))

    def shift(make: Any) -> float:
        views = (make(picture, 32, np.random.default_rng(seed)) for seed in range(120))
        return float(np.mean([np.abs(v.mean(axis=(0, 1)) - mean).mean() for v in views]))

    assert shift(mild_view) < shift(training_view) < shift(wild_view)


def test_the_mild_crop_keeps_its_share_of_the_area() -> None:
    ramp = np.zeros((200, 200, 3), dtype=np.uint8)
    ramp[..., 0] = np.arange(200)[None, :]
    ramp[..., 1] = np.arange(200)[:, None]
    plainly = replace(MILD, colour=0.0, damage=0.0, stretch=0.0)
    for seed in range(40):
        seen = view(ramp, 64, plainly, np.random.default_rng(seed)).astype(int)
        spans = [np.ptp(seen[..., channel]) / 199 for channel in (0, 1)]
        assert min(spans) > np.sqrt(0.60) - 0.03


def test_plain_resizes_and_nothing_else() -> None:
    assert np.array_equal(plain(noise(32, 32), 32), noise(32, 32))
    assert plain(np.full((90, 60, 3), 77, dtype=np.uint8), 16).tolist() == np.full((16, 16, 3), 77).tolist()
