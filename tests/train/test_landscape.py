"""Invented landscapes: the same from the same seed, and alike on two dates in shape, not in colour."""

from __future__ import annotations

import numpy as np
import pytest

from rsrag.train.landscape import Landscapes, ground, noise, parcels, render


@pytest.fixture(scope="module")
def stock() -> Landscapes:
    return Landscapes(places=2, dates=3, size=160, seed=5)


def test_noise_is_standardised() -> None:
    field = noise(96, 4, 3, np.random.default_rng(0))
    assert field.shape == (96, 96)
    assert field.dtype == np.float32
    assert abs(float(field.mean())) < 1e-4
    assert abs(float(field.std()) - 1) < 1e-4


@pytest.mark.parametrize("seed", range(5))
def test_parcels_fill_the_square_with_many_numbers(seed: int) -> None:
    numbers = parcels(128, np.random.default_rng(seed))
    assert numbers.shape == (128, 128)
    assert numbers.min() >= 0
    assert len(np.unique(numbers)) >= 4


def test_equal_seeds_give_equal_stocks(stock: Landscapes) -> None:
    again = Landscapes(places=2, dates=3, size=160, seed=5)
    other = Landscapes(places=2, dates=3, size=160, seed=6)
    for one, two in zip(stock.pictures, again.pictures, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(stock.pictures[0][0], other.pictures[0][0])


def test_edges_stay_while_colours_change() -> None:
    rng = np.random.default_rng(3)
    place, elsewhere = ground(200, rng), ground(200, rng)

    def outline(of: object) -> np.ndarray:
        picture = render(of, rng, trees=1.2, water=1.2).astype(np.float32).mean(axis=2)  # type: ignore[arg-type]
        down, across = np.gradient(picture)
        steep = np.hypot(down, across)
        return steep > np.quantile(steep, 0.9)

    first, second, other = outline(place), outline(place), outline(elsewhere)
    assert (first & second).sum() > 1.5 * (first & other).sum()


def test_a_pair_is_one_spot_on_two_dates(stock: Landscapes) -> None:
    one, two = stock.pair(np.random.default_rng(1), 0, np.random.default_rng(2))
    assert one.shape == two.shape
    assert one.dtype == np.uint8
    assert not np.array_equal(one, two)


def test_cells_of_one_place_are_neighbours(stock: Landscapes) -> None:
    views = [stock.pair(np.random.default_rng(1), cell, np.random.default_rng(2))[0] for cell in range(4)]
    side = views[0].shape[0]
    step = int(0.8 * side)
    assert np.array_equal(views[0][:, step:], views[1][:, : side - step])
    assert np.array_equal(views[0][step:], views[2][: side - step])
