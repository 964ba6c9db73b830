"""Masks with few outlines: what goes is what a search of the whole raster says, whatever blocks it is read in."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from rsrag.adapters import generalise, outlines
from rsrag.adapters.base import Subject
from rsrag.adapters.generalise import generalised
from rsrag.adapters.outlines import outlined
from rsrag.export_layers import Layer, LayerWriter
from rsrag.types import Window

Mask = npt.NDArray[np.uint8]
UTM = ("EPSG:32633", (0.5, 0.0, 500_000.0, 0.0, -0.5, 5_000_000.0))


def layer_of(values: npt.NDArray[Any], kind: str = "mask") -> Layer:
    height, width = values.shape
    with LayerWriter("mask", kind, width, height, *UTM) as writer:  # type: ignore[arg-type]
        writer.write(Window(0, 0, width, height), values)
    return writer.layer


def whole(values: Mask, small: int, pieces: int, holes: int) -> Mask:
    """The same done on the raster in one go."""
    painted = values.copy()
    height, width = values.shape
    near = cv2.dilate((values > 1).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    for true, most in ((True, pieces), (False, holes)):
        count, labels, stats, _ = cv2.connectedComponentsWithStats(
            (values == int(true)).astype(np.uint8), connectivity=4 if true else 8
        )
        found = []
        for number in range(1, count):
            left, top, wide, high, area = (int(v) for v in stats[number])
            closed = left > 0 and top > 0 and left + wide < width and top + high < height
            if max(wide, high) < small and (true or (closed and not near[labels == number].any())):
                found.append(((area, -top, -left), number))
        limit = sorted((rank for rank, _ in found), reverse=True)[most] if len(found) > most else (0, 0, 0)
        for rank, number in found:
            if rank <= limit:
                painted[labels == number] = 0 if true else 1
    return painted


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    size=st.tuples(st.integers(3, 90), st.integers(3, 90)),
    pieces=st.integers(0, 12),
    holes=st.integers(0, 12),
    blur=st.sampled_from([0.0, 1.0, 2.0]),
    unknown=st.booleans(),
)
def test_blocks_do_not_show(
    seed: int, size: tuple[int, int], pieces: int, holes: int, blur: float, unknown: bool
) -> None:
    rng = np.random.default_rng(seed)
    field = rng.normal(0, 1, size)
    if blur:
        field = cv2.GaussianBlur(field, (0, 0), blur)
    values: Mask = (field > np.quantile(field, rng.uniform(0.1, 0.9))).astype(np.uint8)
    if unknown:
        values[rng.random(size) < 0.02] = 255
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generalise, "CORE", 32)
        patch.setattr(generalise, "SMALL", 8)
        found = generalised(layer_of(values), pieces=pieces, holes=holes, smallest=3)
    expected = whole(values, 8, pieces, holes)
    assert np.array_equal(found.layer.read(), expected)
    if found.small is not None:
        _, _, stats, _ = cv2.connectedComponentsWithStats((values == 1).astype(np.uint8), connectivity=4)
        boxes = stats[1:]
        assert found.small == int(((boxes[:, 2:4].max(axis=1) < 8) & (boxes[:, 4] >= 3)).sum())
        closed = int(((values == 0) & (expected == 1)).sum())
        assert found.filled(shapely.box(0, 0, size[1], size[0])) == closed


def test_a_mask_with_few_pieces_and_holes_is_left_alone() -> None:
    values = np.ones((40, 40), np.uint8)
    values[5:8, 5:8] = 0
    mask = layer_of(values)
    found = generalised(mask, pieces=1, holes=1, smallest=1)
    assert found.layer is mask and found.small is None and found.filled(shapely.box(0, 0, 40, 40)) == 0


def test_areas_leave_out_holes_that_the_outline_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlines, "HOLES", 2)
    monkeypatch.setattr(outlines, "MOST", 3)
    values = np.zeros((120, 160), np.uint8)
    values[10:110, 10:110] = 1
    for place, side in enumerate((2, 3, 4, 5, 6, 7)):
        values[20 + 12 * place : 20 + 12 * place + side, 30 : 30 + side] = 0
    for place in range(5):
        values[10 + 20 * place : 14 + 20 * place, 130 : 134 + place] = 1
    mask, score = layer_of(values), layer_of(values.astype(np.float32), "score")
    subject = Subject("x", 160, 120, *UTM, gsd_m=0.5)
    found = outlined(subject, mask, [1], lambda _: "x", score, smallest=4, simplify=0)
    regions = found.regions
    assert (found.pieces, len(regions), found.closed) == (6, 3, 4)
    assert [len(region.rings) for region in regions] == [3, 1, 1]  # outer ring, and the two largest holes
    holes = 4 + 9 + 16 + 25 + 36 + 49
    areas = [fact.value for region in regions for fact in region.facts if fact.name == "area"]
    assert areas == pytest.approx([(10_000 - holes) * 0.25, 32 * 0.25, 28 * 0.25], rel=2e-3)
