"""Polygons in COCO's form."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from rsrag.eval.datasets.polygons import fill, rings

SQUARE = [2, 2, 8, 2, 8, 8, 2, 8]


@pytest.mark.parametrize("given", [[SQUARE], SQUARE, json.dumps([SQUARE]), [SQUARE, [1, 1, 5, 5], []]])
def test_every_way_of_writing_one_square(given: Any) -> None:
    (ring,) = rings(given)
    assert ring.dtype == np.int32 and ring.tolist() == [[2, 2], [8, 2], [8, 8], [2, 8]]


def test_nothing_is_no_ring_and_no_number_is_an_error() -> None:
    assert rings([]) == []
    assert rings(None) == rings({"counts": [3, 6], "size": [3, 3]}) == []
    for bad in ([[0, 0, float("nan"), 1, 2, 2]], [[0, 0, 1]], "{"):
        with pytest.raises(ValueError):
            rings(bad)


def test_parts_that_overlap_are_no_holes() -> None:
    mask = np.zeros((12, 12), dtype=np.uint8)
    fill(mask, rings([SQUARE, [4, 4, 10, 4, 10, 10, 4, 10]]))
    assert mask[6, 6] == 1 and mask.sum() == 2 * 7 * 7 - 5 * 5
