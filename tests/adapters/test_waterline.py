"""Where water begins on the NDWI of a scene, and that change, segment and caption draw the same line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from rasters import TEN_METRES, write_tiff

from rsrag.adapters.base import Context
from rsrag.adapters.caption.look import indices
from rsrag.adapters.change import Change, ChangeRequest
from rsrag.adapters.change.indices import line_of
from rsrag.adapters.look import opened
from rsrag.adapters.segment import SEGMENT, SegmentRequest
from rsrag.adapters.segment.refine import Counts
from rsrag.adapters.waterline import REACH, dry_or_wet, waterline
from rsrag.config import Settings
from rsrag.models.registry import load_profile

ROLES = ("red", "green", "blue", "nir")
COLOURS = {
    # As 8-bit aerial photographs have them: a bare field is a little greener than it is bright in near infrared.
    "plants": (60, 90, 60, 190),
    "field": (170, 165, 150, 140),
    "water": (50, 80, 70, 25),
}
NAMES = list(COLOURS)


def line(*groups: tuple[int, float, float]) -> float:
    """The line of so many pixels of an NDWI and an NDVI."""
    counts = Counts(-1.0, 1.0)
    for many, ndwi, ndvi in groups:
        counts.add(dry_or_wet(np.full(many, ndwi, dtype=np.float32), np.full(many, ndvi, dtype=np.float32)))
    return waterline(counts)


def test_the_line_lies_between_dry_ground_and_water() -> None:
    assert 0.08 < line((700, 0.08, 0.1), (300, 0.3, -0.3)) < 0.3
    assert -0.2 < line((700, -0.2, 0.1), (300, 0.1, -0.3)) < 0.1
    assert line((100, -0.1, 0.1), (100, 0.95, -0.5)) == pytest.approx(REACH)


def test_plants_do_not_move_it() -> None:
    assert line((9000, -0.7, 0.8), (700, -0.2, 0.1), (300, 0.1, -0.3)) == line((700, -0.2, 0.1), (300, 0.1, -0.3))


@pytest.mark.parametrize(
    "groups",
    [
        pytest.param([(500, -0.3, 0.2), (500, -0.1, 0.2)], id="all dry"),
        pytest.param([(500, 0.2, -0.2), (500, 0.6, -0.5)], id="all water"),
        pytest.param([(500, -0.6, 0.7)], id="all green"),
        pytest.param([(500, 0.3, -0.3)], id="one value"),
        pytest.param([], id="nothing"),
    ],
)
def test_scenes_of_one_kind_keep_the_usual_line(groups: list[tuple[int, float, float]]) -> None:
    assert line(*groups) == 0.0


def picture(kinds: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.uint8]:
    values = np.array(list(COLOURS.values()))[kinds].transpose(2, 0, 1)
    noise = np.random.default_rng(seed).normal(0, 2, values.shape)
    return np.clip(values + noise, 1, 255).astype(np.uint8)


def test_black_pixels_are_no_water() -> None:
    assert line_of(np.zeros((4, 50), dtype=np.float32), ROLES) == 0.0


def test_change_segment_and_caption_tell_of_the_same_water(tmp_path: Path) -> None:
    settings = Settings()
    context = Context(load_profile(settings), settings)
    kinds = np.full((120, 120), NAMES.index("plants"))
    kinds[:, 70:] = NAMES.index("field")
    before = kinds.copy()
    before[:20, :20] = NAMES.index("water")
    after = before.copy()
    after[30:90, 75:105] = NAMES.index("water")  # floods a part of the field
    after[95:115, 20:50] = NAMES.index("field")  # ploughed
    first, second = (
        write_tiff(tmp_path / f"flight_{day}.tif", picture(k, n), transform=TEN_METRES, descriptions=ROLES)
        for n, (day, k) in enumerate((("20090818", before), ("20200831", after)))
    )
    change = Change().run(ChangeRequest((first, second), method="cva"), context)
    told = {(t.before, t.after): t.area_m2 for t in change.transitions}
    assert told["bare ground", "water"] == pytest.approx(60 * 30 * 100, rel=0.1)
    assert told["vegetation", "bare ground"] == pytest.approx(20 * 30 * 100, rel=0.15)
    assert ("vegetation", "water") not in told  # a field is no water, though its NDWI is above 0
    for image, kept in ((first, before), (second, after)):
        found = SEGMENT.run(SegmentRequest(image, "water"), context)
        assert found.area_m2 == pytest.approx(np.count_nonzero(kept == NAMES.index("water")) * 100, rel=0.1)
    with opened(second, context) as view:
        facts = {fact.name: fact.value for fact in indices(view, context)[1]}
    assert facts["share of water"] == pytest.approx((20 * 20 + 60 * 30) / 120**2, rel=0.05)
