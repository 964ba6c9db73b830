"""Fitting a temperature: it finds the one that made the pictures, and tells error from chance."""

from __future__ import annotations

import numpy as np
import pytest

from rsrag.eval.fitting.temperature import (
    Scored,
    another_acquisition,
    calibration_error,
    if_calibrated,
    likeliest,
)
from rsrag.models.calibration import softmax


def drawn(temperature: float, count: int, seed: int = 0) -> Scored:
    """Cosines of made pictures whose classes are as likely as the temperature says."""
    rng = np.random.default_rng(seed)
    cosines = rng.normal(0, 0.06, (count, 8))
    truth = np.array([rng.choice(8, p=row) for row in softmax(cosines, temperature)], dtype=np.int64)
    return cosines, truth


@pytest.mark.parametrize("temperature", [0.015, 0.03, 0.08])
def test_the_temperature_that_made_the_classes_is_found(temperature: float) -> None:
    assert likeliest([drawn(temperature, 4000)]) == pytest.approx(temperature, rel=0.1)


def test_sets_weigh_the_same_whatever_their_size() -> None:
    small, large = drawn(0.02, 400), drawn(0.06, 8000, seed=1)
    repeated = tuple(np.concatenate([part] * 20) for part in small)
    assert likeliest([small, large]) == likeliest([(repeated[0], repeated[1]), large])


def test_the_error_of_a_calibrated_model_is_within_what_chance_gives_and_another_is_not() -> None:
    cosines, truth = drawn(0.03, 1500)
    honest = calibration_error(cosines, truth, 0.03)["ece_width"]
    vain = calibration_error(cosines, truth, 0.01)["ece_width"]
    assert if_calibrated(cosines, 0.03, honest)["share_above"] > 0.02
    assert if_calibrated(cosines, 0.01, vain)["share_above"] == 0
    assert if_calibrated(cosines[:100], 0.03, 0.0)["mean"] > 2 * if_calibrated(cosines, 0.03, 0.0)["mean"]


def test_another_acquisition_keeps_size_and_kind_and_changes_pixels() -> None:
    picture = np.random.default_rng(3).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    seen = another_acquisition(picture, np.random.default_rng(1))
    assert (seen.shape, seen.dtype) == ((40, 40, 3), np.uint8)
    assert np.array_equal(seen, another_acquisition(picture, np.random.default_rng(1)))
    assert not np.array_equal(seen, another_acquisition(picture, np.random.default_rng(2)))
