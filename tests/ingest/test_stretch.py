"""From band values to the 8-bit picture."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rsrag.ingest.readers.base import Pixels
from rsrag.ingest.stretch import Channel, Stretch, full_range, identity, percentiles


def _pixels(data: np.ndarray, mask: np.ndarray | None = None) -> Pixels:
    return Pixels(data, np.ones(data.shape[1:], dtype=bool) if mask is None else mask)


def test_percentiles_leave_out_invalid_pixels_and_extremes() -> None:
    data = np.arange(10_000, dtype=np.float32).reshape(1, 100, 100)
    data[0, 0] = 1e9
    mask = np.ones((100, 100), dtype=bool)
    mask[0] = False
    stretch = percentiles([0], ["grey"], [_pixels(data, mask)])
    assert stretch.text == "percentile 2-98: grey 297.98..9801.02"
    picture = stretch.apply(_pixels(data, mask))
    assert not picture[0].any()
    assert (picture[1, 0, 0], picture[-1, -1, 0]) == (0, 255)


def test_channels_pick_their_bands_and_grey_fills_all_three() -> None:
    data = np.stack([np.full((2, 2), v, np.uint8) for v in (10, 20, 30)])
    assert identity([2, 1, 0], ["red", "green", "blue"]).apply(_pixels(data))[0, 0].tolist() == [30, 20, 10]
    assert identity([1], ["grey"]).apply(_pixels(data))[0, 0].tolist() == [20, 20, 20]
    assert full_range([0], ["grey"], 4).apply(_pixels(np.full((1, 1, 1), 15, np.uint8)))[0, 0, 0] == 255


def test_nan_becomes_black_without_warnings() -> None:
    stretch = Stretch((Channel(0, "grey", 0.0, 1.0),), "percentile 2-98")
    data = np.array([[[np.nan, 0.5]]], dtype=np.float32)
    assert stretch.apply(_pixels(data, np.array([[False, True]])))[0, :, 0].tolist() == [0, 128]


@given(hnp.arrays(np.float32, (1, 5, 5), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_any_values_give_a_picture_and_the_record_reproduces_it(data: np.ndarray) -> None:
    stretch = percentiles([0], ["grey"], [_pixels(data)])
    low, high = (float(v) for v in stretch.text.split("grey ")[1].split(".."))
    assert high > low
    written = Stretch((Channel(0, "grey", low, high),), stretch.how)
    np.testing.assert_array_equal(written.apply(_pixels(data)), stretch.apply(_pixels(data)))


def test_no_valid_sample_gives_a_harmless_stretch() -> None:
    data = np.full((1, 4, 4), np.nan, np.float32)
    empty = np.zeros((4, 4), dtype=bool)
    assert not percentiles([0], ["grey"], [_pixels(data, empty)]).apply(_pixels(data, empty)).any()
