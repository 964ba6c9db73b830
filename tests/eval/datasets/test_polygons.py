"""Polygons in COCO's form, and what they enclose."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from rsrag.eval.datasets.polygons import by_picture, fill, rings

SQUARE = [2, 2, 8, 2, 8, 8, 2, 8]
OVERLAPPING = [4, 4, 10, 4, 10, 10, 4, 10]
numbers = st.integers(0, 40)
coordinates = st.integers(-900, 4900).map(lambda number: number / 100)


def filled(*parts: Any, side: int = 40) -> npt.NDArray[np.uint8]:
    mask = np.zeros((side, side), dtype=np.uint8)
    fill(mask, rings(list(parts)))
    return mask


@pytest.mark.parametrize("given", [[SQUARE], SQUARE, json.dumps([SQUARE]), [SQUARE, [1, 1, 5, 5], []]])
def test_every_way_of_writing_one_square(given: Any) -> None:
    (ring,) = rings(given)
    assert ring.dtype == np.float64 and ring.tolist() == [[2, 2], [8, 2], [8, 8], [2, 8]]


def test_nothing_is_no_ring_and_no_number_is_an_error() -> None:
    assert rings([]) == []
    assert rings(None) == rings({"counts": [3, 6], "size": [3, 3]}) == []
    for bad in ([[0, 0, float("nan"), 1, 2, 2]], [[0, 0, 1e12, 1, 2, 2]], [[0, 0, 1]], "{"):
        with pytest.raises(ValueError):
            rings(bad)


def test_rings_by_picture_and_class() -> None:
    rows = [(7, 1, [SQUARE]), (7, 1, [OVERLAPPING]), (7, 2, SQUARE), (8, 1, []), (8, 2, {"counts": [1], "size": [1]})]
    table = {
        "categories": [{"id": 1, "name": "storage_tank"}, {"id": 2, "name": "ship"}],
        "annotations": [{"image_id": i, "category_id": c, "segmentation": value} for i, c, value in rows]
        + [{"image_id": 9, "category_id": 1, "bbox": [0, 0, 1, 1]}],
    }
    found = by_picture(table)
    assert {name: len(own) for name, own in found["7"].items()} == {"storage tank": 2, "ship": 1}
    assert list(found) == ["7"]


@settings(max_examples=40, deadline=None)
@given(numbers, numbers, numbers, numbers)
def test_boxes_between_pixels_enclose_their_area(left: int, right: int, top: int, bottom: int) -> None:
    left, right, top, bottom = *sorted((left, right)), *sorted((top, bottom))
    mask = filled([left, top, right, top, right, bottom, left, bottom])
    if left < right and top < bottom:
        assert mask[top:bottom, left:right].all() and mask.sum() == (right - left) * (bottom - top)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=8), st.booleans())
def test_a_pixel_is_enclosed_where_its_centre_is(corners: list[tuple[float, float]], again: bool) -> None:
    """Wherever the outline runs, in either direction, around the picture's edge too, except on the outline itself."""
    hull = shapely.MultiPoint(corners).convex_hull
    if not isinstance(hull, shapely.Polygon):
        return
    ring = np.array(hull.exterior.coords)[:: -1 if again else 1]
    columns, rows = (np.mgrid[:40, :40] + 0.5)[::-1]
    inside = shapely.contains_xy(hull, columns, rows)
    sure = shapely.distance(hull.exterior, shapely.points(columns, rows)) > 1e-6
    mask = filled(ring.ravel().tolist()) > 0
    assert np.array_equal(mask[sure], inside[sure]) or not inside.any()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(numbers, numbers, st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=4))
def test_parts_are_united(boxes: list[tuple[int, int, int, int]]) -> None:
    parts = [[x, y, x + w, y, x + w, y + h, x, y + h] for x, y, w, h in boxes]
    expected = np.zeros((40, 40), dtype=np.uint8)
    for x, y, w, h in boxes:
        expected[y : y + h, x : x + w] = 1
    assert np.array_equal(filled(*parts), expected)


def test_parts_that_overlap_are_no_holes() -> None:
    mask = filled(SQUARE, OVERLAPPING)
    assert mask[6, 6] == 1 and mask.sum() == 6 * 6 + 6 * 6 - 4 * 4


def test_what_is_filled_stays_filled() -> None:
    mask = np.zeros((12, 12), dtype=np.uint8)
    mask[0, 0] = mask[3, 3] = 1
    fill(mask, rings(SQUARE))
    assert mask[0, 0] == 1 and mask.sum() == 1 + 36


@pytest.mark.parametrize(
    ("ring", "pixels"),
    [
        ([2.6, 3.6, 2.9, 3.6, 2.9, 3.9], [(3, 2)]),  # smaller than a pixel
        ([2, 3.6, 5, 3.6, 5, 3.9, 2, 3.9], [(3, 2), (3, 3), (3, 4)]),  # between two rows of centres
        ([3.5, 1.2, 3.5, 2.8, 3.5, 2.2], [(1, 3), (2, 3)]),  # a line
    ],
)
def test_what_holds_no_centre_is_not_lost(ring: list[float], pixels: list[tuple[int, int]]) -> None:
    assert list(zip(*np.nonzero(filled(ring, side=8)), strict=True)) == pixels


@pytest.mark.parametrize("ring", [[20, 20, 30, 20, 30, 30], [-9, 2, -1, 2, -1, 8], [8, 8, 8, 9, 9, 9]])
def test_what_is_beside_the_picture_is_not_in_it(ring: list[float]) -> None:
    assert not filled(ring, side=8).any()
