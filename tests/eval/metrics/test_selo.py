"""The indicators of semantic localisation on maps whose answers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rsrag.eval.metrics import selo as m

SIZE, TILE = 128, 32
UNIT = TILE / 2 / m.UNIT
"""The smallest crop is half a tile."""
UNIFORM = 1 - math.exp(-0.707)


def tile(col: int, row: int) -> shapely.Polygon:
    return shapely.box(col * TILE, row * TILE, (col + 1) * TILE, (row + 1) * TILE)


def blob(*middles: tuple[float, float], width: float = TILE / 3) -> m.Map:
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    bells = [np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * width**2)) for cx, cy in middles]
    return np.max(bells, axis=0).astype(np.float32)


def exact(*regions: shapely.Polygon) -> m.Map:
    return m.rasterise(regions, (SIZE, SIZE)).astype(np.float32)


def test_a_perfect_map_gets_full_marks() -> None:
    found = m.evaluate(exact(tile(1, 2)), [tile(1, 2)], UNIT)
    assert (found.rsu, found.rda) == (1.0, 1.0)
    assert found.ras == pytest.approx(0, abs=1e-3)
    assert found.rmi == pytest.approx(1, abs=1e-3)
    assert np.array(found.centres) == pytest.approx(np.array([(1.5 * TILE, 2.5 * TILE)]), abs=1)


def test_a_uniform_map_has_its_centre_in_the_middle() -> None:
    values = np.ones((SIZE, SIZE), np.float32)
    corner = m.evaluate(values, [tile(0, 0)], UNIT)
    assert corner.rsu == pytest.approx(UNIFORM, abs=1e-6)
    assert (corner.rda, corner.ras) == (0.0, 1.0)
    assert corner.rmi == pytest.approx(0.4 * UNIFORM, abs=1e-6)
    middle = m.evaluate(values, [shapely.box(48, 48, 80, 80)], UNIT)
    assert (middle.rda, middle.ras) == (1.0, pytest.approx(0, abs=0.01))


def test_an_inverted_map_gets_nothing() -> None:
    found = m.evaluate(1 - exact(tile(0, 0)), [tile(0, 0)], UNIT)
    assert (found.rsu, found.rda, found.ras, found.rmi) == (0.0, 0.0, 1.0, 0.0)


def test_an_empty_map_gets_nothing() -> None:
    found = m.evaluate(np.zeros((SIZE, SIZE), np.float32), [tile(2, 2)], UNIT)
    assert (found.rsu, found.rda, found.ras, found.rmi, found.centres) == (0.0, 0.0, 1.0, 0.0, ())


@pytest.mark.parametrize("shift", [0, 4, 8, 16, 24])
def test_the_shift_of_a_blob_is_its_distance_over_the_radius(shift: int) -> None:
    region = tile(1, 1)
    radius = 1.5 * math.hypot(TILE / 2, TILE / 2)
    found = m.evaluate(blob((1.5 * TILE + shift, 1.5 * TILE)), [region], UNIT)
    assert m.circle(region) == ((1.5 * TILE, 1.5 * TILE), pytest.approx(radius))
    share = shift / radius
    assert found.ras == pytest.approx((math.exp(3 * share) - 1) / (math.exp(3) - 1), abs=0.03)
    assert found.rda == 1.0


def test_a_blob_beyond_the_radius_is_missed() -> None:
    found = m.evaluate(blob((3.5 * TILE, 3.5 * TILE)), [tile(0, 0)], UNIT)
    assert (found.rda, found.ras) == (0.0, 1.0)
    assert found.rsu < 0.02


def test_two_targets_are_both_needed() -> None:
    regions = [tile(0, 0), tile(3, 3)]
    both = m.evaluate(blob((0.5 * TILE, 0.5 * TILE), (3.5 * TILE, 3.5 * TILE)), regions, UNIT)
    assert len(both.centres) == 2
    assert (both.rda, both.ras) == (1.0, pytest.approx(0, abs=0.05))
    one = m.evaluate(blob((0.5 * TILE, 0.5 * TILE)), regions, UNIT)
    assert one.rda == 0.5
    assert one.ras == pytest.approx((math.exp(1.5) - 1) / (math.exp(3) - 1), abs=0.05)
    assert one.rmi < both.rmi


def test_several_centres_in_a_region_cost() -> None:
    around = ((10.0, 10.0), 4.0)
    assert m.rda([(10, 10)], [around]) == 1.0
    assert m.rda([(8, 10), (12, 10)], [around]) == pytest.approx(0.5 * (1 - 2 / 4) + math.exp(-2))
    assert m.rda([(10, 10)] * 3, [around]) == pytest.approx(0.5 + math.exp(-2.5))
    assert m.ras([(8, 10), (12, 10)], [around]) == pytest.approx((math.exp(1.5) - 1) / (math.exp(3) - 1))


def test_overlapping_regions_add_up_and_holes_stay_out() -> None:
    twice = m.rasterise([shapely.box(0, 0, 6, 6), shapely.box(3, 3, 9, 9)], (12, 12))
    assert twice.sum() == 36 + 36 - 9
    ring = shapely.Polygon(shapely.box(0, 0, 8, 8).exterior.coords, [shapely.box(2, 2, 6, 6).exterior.coords])
    assert m.rasterise([ring], (12, 12)).sum() == 64 - 16
    assert m.rasterise([shapely.box(-9, -9, -1, -1), shapely.box(10, 10, 40, 40)], (12, 12)).sum() == 4


def test_the_measure_does_not_depend_on_the_resolution_of_the_map() -> None:
    fine = blob((40, 44)).repeat(2, axis=0).repeat(2, axis=1)
    region, larger = shapely.box(32, 32, 64, 64), shapely.box(64, 64, 128, 128)
    coarse = m.evaluate(blob((40, 44)), [region], UNIT)
    assert m.evaluate(fine, [larger], 2 * UNIT).figures() == pytest.approx(coarse.figures(), abs=0.02)


def test_normalising() -> None:
    values = np.array([[0.2, 0.4], [np.nan, 0.3]])
    assert m.normalise(values) == pytest.approx(np.array([[0, 1], [np.nan, 0.5]]), nan_ok=True)
    assert (m.normalise(np.full((3, 3), 0.7)) == 1).all()
    assert np.isnan(m.normalise(np.full((2, 2), np.nan))).all()


def test_the_median_removes_specks_and_keeps_gaps() -> None:
    values = np.zeros((64, 64), np.float32)
    values[:32], values[50, 50], values[10, 10] = 1, 1, np.nan
    smooth = m.soften(values, 5 / m.MEDIAN)
    assert smooth[50, 50] == 0 and smooth[5, 5] == 1 and np.isnan(smooth[10, 10])
    assert m.soften(values, 1 / m.MEDIAN) is values


@given(arrays(np.float32, (24, 24), elements=st.floats(0, 1, width=32)))
def test_every_indicator_stays_within_its_range(values: np.ndarray) -> None:
    found = m.evaluate(values, [shapely.box(4, 4, 12, 12), shapely.box(14, 2, 20, 9)], 8 / m.UNIT)
    assert all(0 <= value <= 1 for value in found.figures().values())
    assert found.rmi == pytest.approx(m.rmi(found.rsu, found.rda, found.ras))


@pytest.mark.parametrize("side", [255, 257, 501])
def test_wide_windows_still_give_the_median(side: int) -> None:
    """A step keeps its place and specks go, also where the window is wider than OpenCV's filter takes."""
    values = np.zeros((600, 640), dtype=np.float32)
    values[:, 320:] = 1
    values[300:310, 100:110] = 1
    smooth = m.soften(values, (side - 1) / (m.MEDIAN - 1))
    assert smooth.shape == values.shape and smooth.dtype == np.float32
    assert not smooth[:, :310].any() and (smooth[:, 330:] == 1).all()
