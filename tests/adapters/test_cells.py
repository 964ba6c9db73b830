"""Places of a picture by any encoder: the right class is where it lies, for classes and heat alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from colour_encoder import ColourEncoder
from hypothesis import given, settings
from hypothesis import strategies as st

from rsrag.adapters.base import Context
from rsrag.adapters.cells import CellEncoder, spread
from rsrag.adapters.classify import CLASSIFY, ClassifyRequest
from rsrag.adapters.heat import HeatMapper
from rsrag.config import Settings
from rsrag.models.base import ModelRow
from rsrag.models.registry import load_profile

ONE = np.ones((1, 1), dtype=np.float32)


@pytest.fixture(scope="module")
def colours() -> Context:
    """A profile whose image encoder has no feature maps."""
    profile = load_profile(Settings())
    row = ModelRow("colours", "image", "colours", "none")
    return Context(replace(profile, image=ColourEncoder(row, None)), Settings())


def halves(side: int = 96) -> np.ndarray:
    picture = np.full((side, side, 3), 60, dtype=np.uint8)
    picture[:, : side // 2, 0] = 210
    picture[:, side // 2 :, 2] = 210
    return picture


def test_tiles_of_an_encoder_without_maps(colours: Context) -> None:
    encoder = CellEncoder(colours)
    vectors, side = encoder.grid(halves(), ONE)
    assert side == 8 and vectors.shape == (19, 12, 12) and encoder.scale == 1.0
    assert np.linalg.norm(vectors, axis=0) == pytest.approx(1)
    red, blue = encoder.words(["red", "blue"])
    scores = np.tensordot(np.stack([red, blue]), vectors, axes=1)
    assert (scores[0, :, :5] > scores[1, :, :5]).all() and (scores[1, :, 7:] > scores[0, :, 7:]).all()


def test_maps_and_heat_follow_the_tiles(colours: Context) -> None:
    mapped = CLASSIFY.run(ClassifyRequest(halves(), ("red", "blue"), everywhere=True), colours)
    classes = mapped.layers[0].read()
    assert (classes[:, :40] == 0).all() and (classes[:, 56:] == 1).all()
    mapper = HeatMapper(colours, zooms=(1.0,))
    heat = mapper.heat(halves(), mapper.query("red", background=["blue", "green"]))
    assert heat[:, :40].min() > heat[:, 56:].max()


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1.0, 7.5, 32.0]), st.integers(1, 40), st.integers(1, 40))
def test_spread_stays_between_the_cells(rows: int, cols: int, side: float, height: int, width: int) -> None:
    values = np.random.default_rng(rows * 7 + cols).random((rows, cols), dtype=np.float32)
    found = spread(values, side, height, width)
    assert found.shape == (height, width)
    assert values.min() - 1e-5 <= found.min() and found.max() <= values.max() + 1e-5


def test_a_cell_has_its_value_at_its_middle() -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    found = spread(values, 5, 15, 20)
    assert np.allclose(found[2::5, 2::5], values, atol=1e-5)
