"""Mask, sums, regions and sentences tell of the same changed areas, however windows and kinds of ground cut them."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from dates import built, ground, relit, write
from rasters import write_tiff

from rsrag.adapters.base import Context
from rsrag.adapters.change import Change, ChangeRequest, ChangeResult, areas, compare
from rsrag.adapters.change.compare import cleaned
from rsrag.config import Settings
from rsrag.errors import UsageError
from rsrag.export_layers import Layer, LayerWriter
from rsrag.models.registry import load_profile
from rsrag.types import Window

Boxes = list[tuple[int, int, int, int]]
WATER, PLANTS = (50, 40, 10, 4), (50, 30, 220, 90)


@pytest.fixture(scope="module")
def context() -> Context:
    settings = Settings()
    return Context(load_profile(settings), settings)


def layer(mask: np.ndarray) -> Layer:
    height, width = mask.shape
    with LayerWriter("change", "mask", width, height, None, None) as writer:
        writer.write(Window(0, 0, width, height), mask)
    return writer.layer


def kept_whole(mask: np.ndarray, least: int) -> np.ndarray:
    """The mask without small areas, looked at in one piece."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((mask == 1).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < least
    small[0] = False
    return np.where(small[labels], 0, mask)


@pytest.mark.parametrize("side", [7, 16, 64])
@pytest.mark.parametrize("least", [1, 5, 40, 400])
def test_small_areas_go_however_windows_cut_them(side: int, least: int) -> None:
    rng = np.random.default_rng(side)
    smooth = cv2.GaussianBlur(rng.normal(0, 1, (45, 60)).astype(np.float32), (0, 0), 1.2)
    mask = (smooth > 0.02).astype(np.uint8)
    mask[20:24, 10:30] = 255
    found = areas.without_small(layer(mask), least, side).read()
    assert np.array_equal(found, kept_whole(mask, least))
    assert (found == 255).sum() == (mask == 255).sum()


def test_an_area_that_winds_through_many_windows_is_one() -> None:
    winding = np.zeros((33, 33), dtype=np.uint8)
    winding[::2] = 1
    winding[1::4, 32] = winding[3::4, 0] = 1
    size = int(winding.sum())
    assert areas.without_small(layer(winding), size, 8).read().sum() == size
    assert areas.without_small(layer(winding), size + 1, 8).read().sum() == 0


def test_only_sides_on_which_the_scene_goes_on_are_open() -> None:
    mask = np.zeros((40, 40), dtype=np.bool_)
    mask[0:3, 10:13] = mask[20:23, 37:40] = True
    assert cleaned(mask, 16, fill=False, open_sides=(False, False, True, False)).sum() == 9
    assert cleaned(mask, 16, fill=False, open_sides=(True, False, False, True)).sum() == 0
    assert cleaned(mask, 9, fill=False).sum() == 18


def test_what_is_unknown_makes_no_area_larger() -> None:
    mask, known = np.zeros((40, 40), dtype=np.bool_), np.ones((40, 40), dtype=np.bool_)
    mask[10:14, 10:15] = True
    known[10:14, 10:12] = False
    assert cleaned(mask, 16, fill=False).sum() == 20
    assert not cleaned(mask, 16, fill=False, known=known).any()


def compared(context: Context, folder: Path, side: int, boxes: Boxes, least: int) -> ChangeResult:
    """Boxes that appear on a square of ten metres a pixel; changes of fewer than ``least`` pixels are left out."""
    picture = ground(side, side)
    first = write(folder / "a_20100101.tif", picture)
    second = write(folder / "b_20200101.tif", built(relit(picture), boxes))
    request = ChangeRequest(
        (first, second), method="cva", min_area_m2=100.0 * least, register=False, kinds=False
    )  # fmt: skip
    return Change().run(request, context)


def agree(result: ChangeResult, least: int) -> None:
    """Mask, sums, regions and sentences tell of the same areas."""
    mask = result.layers[0].read()
    sizes = cv2.connectedComponentsWithStats((mask == 1).astype(np.uint8), connectivity=4)[2][1:, cv2.CC_STAT_AREA]
    assert len(sizes) == result.count == len(result.regions) and (sizes >= least).all()
    assert result.changed == bool(len(sizes)) and result.share == pytest.approx(sizes.sum() / (mask != 255).sum())
    assert result.area_m2 == pytest.approx(100 * sizes.sum(), rel=5e-3)
    assert "no changed areas" not in result.text and result.changed == ("No change" not in result.text)


@pytest.mark.parametrize(
    ("boxes", "least"),
    [
        ([(0, 100, 8, 110)], 300),  # on an edge of the scene
        ([(100, 0, 110, 8)], 300),
        ([(232, 100, 240, 110)], 300),
        ([(100, 232, 110, 240)], 300),
        ([(5, 109, 235, 115)], 2500),  # longer than a window with its margin
        ([(109, 5, 115, 235)], 2500),
    ],
)
def test_changes_below_the_least_area_are_left_out_everywhere(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boxes: Boxes, least: int
) -> None:
    monkeypatch.setattr(compare, "CORE", 64)
    result = compared(context, tmp_path, 240, boxes, least)
    assert not result.changed and result.area_m2 == 0.0
    agree(result, least)


def test_changes_above_the_least_area_stay_across_windows(context: Context, tmp_path: Path) -> None:
    boxes = [(100, 500, 400, 524), (0, 0, 60, 60), (500, 100, 524, 400), (560, 560, 566, 600)]
    result = compared(context, tmp_path, 600, boxes, 2500)
    assert result.count == 3 and "three changed areas" in result.text
    agree(result, 2500)


@pytest.mark.parametrize("least", [1, 20, 60, 400])
def test_windows_show_nowhere_with_a_least_area(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: int
) -> None:
    boxes = [(50, 40, 90, 70), (120, 60, 126, 66), (10, 62, 60, 66), (0, 0, 5, 5), (190, 100, 200, 108)]
    whole = compared(context, tmp_path, 200, boxes, least)
    monkeypatch.setattr(compare, "CORE", 64)
    monkeypatch.setattr(compare, "MOST_MARGIN", 16)
    parts = compared(context, tmp_path, 200, boxes, least)
    assert np.array_equal(parts.layers[0].read(), whole.layers[0].read())
    assert parts.cells == whole.cells and parts.regions == whole.regions and parts.text == whole.text
    agree(parts, least)


def four_bands(path: Path, boxes: list[tuple[tuple[int, int, int, int], tuple[int, ...]]], seed: int) -> Path:
    """Bare ground in green, red, near and short-wave infrared, with boxes of other values."""
    rng = np.random.default_rng(seed)
    texture = np.random.default_rng(5).normal(0, 8, (96, 120))
    data = np.array([60, 90, 110, 120])[:, None, None] + texture + rng.normal(0, 1.0, (4, 96, 120))
    for (left, top, right, bottom), values in boxes:
        data[:, top:bottom, left:right] = np.array(values)[:, None, None]
    return write_tiff(path, np.clip(data, 1, 250).astype(np.uint8), descriptions=["green", "red", "nir", "swir16"])


def test_an_area_whose_kinds_are_all_small_stays_in_one_piece(context: Context, tmp_path: Path) -> None:
    first = four_bands(tmp_path / "s_20000101.tif", [], 1)
    boxes = [((40, 40, 43, 44), WATER), ((43, 40, 46, 44), PLANTS)]
    second = four_bands(tmp_path / "s_20200101.tif", boxes, 2)
    asked = ("What is the largest change?", "How many areas of new water are there?", "How many areas changed?")
    result = Change().run(ChangeRequest((first, second), method="index", questions=asked), context)
    assert {t.after for t in result.transitions} == {"water", "vegetation"}
    assert all(t.count == 0 and t.pixels < compare.MIN_PIXELS for t in result.transitions)
    (region,) = result.regions
    assert region.label == "change" and result.count == 1  # half and half: neither kind speaks for it
    assert result.answers[0].answer.startswith("The largest change covers 2,002 m² in the centre")
    assert result.answers[1].answer == "No area of new water is large enough to count: 1,001 m² in all."
    assert result.answers[2].answer == "One changed area." and "in one changed area" in result.text


def test_a_piece_keeps_its_kind_when_most_of_it_is_of_one(context: Context, tmp_path: Path) -> None:
    first = four_bands(tmp_path / "s_20000101.tif", [], 1)
    boxes = [((40, 40, 43, 45), WATER), ((43, 40, 45, 43), PLANTS), ((80, 40, 90, 50), WATER)]
    second = four_bands(tmp_path / "s_20200101.tif", boxes, 2)
    result = Change().run(ChangeRequest((first, second), method="index", threshold=0.25), context)
    assert [region.label for region in result.regions] == ["bare ground to water", "bare ground to water"]
    water = next(t for t in result.transitions if t.after == "water")
    assert water.count == result.count == 2 and "two changed areas" in result.text


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_a_size_that_is_none_is_refused_by_name(context: Context, value: float) -> None:
    pair = (ground(), relit(ground()))
    with pytest.raises(UsageError, match=f"a least area of {value:g}"):
        Change().run(ChangeRequest(pair, min_area_m2=value), context)
    with pytest.raises(UsageError, match=f"a threshold of {value:g}"):
        Change().run(ChangeRequest(pair, threshold=value), context)


def test_a_least_area_beyond_all_bounds_leaves_nothing(context: Context, tmp_path: Path) -> None:
    result = compared(context, tmp_path, 100, [(20, 20, 60, 60)], 10**300)
    assert not result.changed and result.count == 0
