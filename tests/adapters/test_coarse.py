"""Outlines of masks stay short: larger cells where they would have too many corners."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rsrag.adapters import outlines
from rsrag.adapters.base import Context, Subject
from rsrag.adapters.change import outline
from rsrag.adapters.coarse import FACTORS, coarse, pieces_of
from rsrag.adapters.generalise import is_small
from rsrag.adapters.segment.adapter import SEGMENT
from rsrag.adapters.segment.request import SegmentRequest
from rsrag.config import Settings
from rsrag.export_layers import Affine, Layer, LayerWriter
from rsrag.models.registry import load_profile
from rsrag.types import Window

UTM = (10, 0, 500_000, 0, -10, 5_000_000)


@pytest.fixture(scope="module")
def context() -> Context:
    settings = Settings()
    return Context(load_profile(settings), settings)


def layer(values: np.ndarray, transform: Affine | None = None) -> Layer:
    height, width = values.shape
    with LayerWriter("mask", "mask", width, height, "EPSG:32633" if transform else None, transform) as writer:
        writer.write(Window(0, 0, width, height), values.astype(np.uint8))
    return writer.layer


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((height, width)) < 0.4).astype(np.uint8)


def corners_of(shapes: list[shapely.Geometry]) -> int:
    return sum(len(shapely.get_coordinates(ring)) - 1 for s in shapes for ring in (s.exterior, *s.interiors))


@given(values=arrays.arrays(np.uint8, (9, 7), elements=st.sampled_from([0, 1, 255])))
def test_corners_are_those_of_the_outlines(values: np.ndarray) -> None:
    mask = layer(np.pad(values, 1))  # corners at the edge of a scene are not counted
    whole = coarse(mask, corners=10_000)
    found = corners_of([shape for _, shape in whole.polygons()])
    assert (whole.cell, whole.layer) == (1, mask)
    assert coarse(mask, corners=found).cell == 1
    assert found == 0 or coarse(mask, corners=found - 1).cell > 1


def test_corners_at_the_edges_of_blocks_are_counted_once() -> None:
    mask = layer(np.pad(noise(1100, 1040), 1))
    found = corners_of([shape for _, shape in coarse(mask, corners=10**9).polygons()])
    assert coarse(mask, corners=found).cell == 1
    assert coarse(mask, corners=found - 1).cell > 1


def test_cells_follow_the_greater_part_of_what_is_known_of_them() -> None:
    values = np.zeros((6, 7), np.uint8)
    values[0, 0] = values[0, 2] = values[1, 3] = 1  # a quarter of a cell, and two corners of another
    values[2:4, 0:2] = [[255, 255], [255, 1]]
    values[2:4, 2:4] = 255
    values[4:6, 6] = [1, 0]  # half of a cell that lies half outside
    made = coarse(layer(values, UTM), corners=10)
    assert made.cell == 2 and made.layer.transform == (20, 0, 500_000, 0, -20, 5_000_000)
    assert made.layer.read().tolist() == [[0, 1, 0, 0], [1, 255, 0, 0], [0, 0, 0, 1]]
    found = sorted(shape.bounds for _, shape in made.polygons())
    assert found == [(0, 2, 2, 4), (2, 0, 4, 2), (6, 4, 7, 6)]  # the last one ends where the scene does


@pytest.mark.parametrize(("width", "height"), [(300, 200), (1500, 1030), (5, 5)])
def test_few_enough_corners_and_nothing_beside_the_scene(width: int, height: int) -> None:
    mask = layer(noise(width, height))
    whole = corners_of([shape for _, shape in mask.polygons()])
    made = coarse(mask, corners=whole // 3)
    shapes = [shape for _, shape in made.polygons()]
    at_edge = 4 * (width + height)
    assert made.cell in FACTORS[1:] and corners_of(shapes) <= whole // 3 + at_edge
    assert all(shapely.box(0, 0, width, height).contains(shape) for shape in shapes)
    again = [shape for _, shape in coarse(mask, corners=whole // 3).polygons()]
    assert [s.wkb for s in again] == [s.wkb for s in shapes]


def test_an_area_of_large_pieces_hardly_changes() -> None:
    y, x = np.mgrid[:400, :600]
    values = ((x - 300) ** 2 + (y - 200) ** 2 < 150**2).astype(np.uint8)
    made = coarse(layer(values), corners=100)
    ((_, shape),) = made.polygons()
    assert made.cell >= 4 and abs(shape.area / values.sum() - 1) < 0.02
    assert shapely.Point(300, 200).buffer(150 + made.cell).contains(shape)


def test_the_largest_cells_are_the_end_of_it() -> None:
    assert coarse(layer(noise(500, 500)), corners=0).cell == FACTORS[-1]


@given(values=arrays.arrays(np.uint8, (9, 7), elements=st.sampled_from([0, 1, 255])), smallest=st.integers(1, 4))
def test_pieces_are_those_of_the_outlines(values: np.ndarray, smallest: int) -> None:
    mask = layer(values.repeat(16, axis=0).repeat(16, axis=1))
    shapes = [shape for _, shape in mask.polygons() if shape.area >= smallest * 256]
    assert pieces_of(mask, smallest * 256) == (len(shapes), sum(not is_small(shape) for shape in shapes))


def test_pieces_across_blocks_are_counted_once() -> None:
    values = np.zeros((1100, 1200), np.uint8)
    values[1000:1060, 1000:1060] = values[::20, :900] = values[0:1090, 0] = 1
    values[1092:1095, 1100:1105] = 1
    assert pieces_of(layer(values), 12) == (3, 1)
    assert pieces_of(layer(values), 100) == (2, 1)
    assert pieces_of(layer(np.zeros((5, 5), np.uint8)), 1) == (0, 0)


def test_pieces_that_are_lost_among_cells_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.zeros((200, 200), np.uint8)
    values[:, :20] = values[::4, :100] = 1  # a comb with many corners
    values[2::10, 110::10] = values[3::10, 110::10] = 1
    values[:, 111::10] = values[:, 110::10]
    mask, score, subject = layer(values), layer(values), Subject("x", 200, 200)
    for module in (outlines, outline):
        monkeypatch.setattr(module, "CORNERS", 30)
    found = outlines.outlined(subject, mask, [1], str, score, smallest=4)
    assert found.cell > 1 and found.pieces == 1 + 20 * 9 > len(found.regions)
    changed = outline.regions(subject, mask, score, None, 4, 0.5)
    assert (changed.cell, changed.count) == (found.cell, found.pieces)
    assert changed.dropped == changed.count - len(changed.regions) > 0


def test_a_segmentation_says_that_its_outlines_are_coarse(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    bands = rng.integers(30, 220, (4, 200, 200)).repeat(2, axis=1).repeat(2, axis=2).astype(np.uint8)
    path = tmp_path / "scene.tif"
    place = dict(crs="EPSG:32633", transform=rasterio.Affine(*UTM))
    with rasterio.open(path, "w", driver="GTiff", width=400, height=400, count=4, dtype="uint8", **place) as target:
        target.write(bands)
    request = SegmentRequest(path, "water", bands="red=1,green=2,blue=3,nir=4")
    fine = SEGMENT.run(request, context)
    monkeypatch.setattr(outlines, "CORNERS", 200)
    rough = SEGMENT.run(request, context)
    assert not any("the outlines are long" in warning for warning in fine.warnings)
    assert any("drawn from cells of" in warning for warning in rough.warnings)
    assert rough.share == fine.share and rough.area_m2 == fine.area_m2 and rough.sentences[0].text
    points = [sum(len(ring) for region in found.regions for ring in region.rings) for found in (fine, rough)]
    assert points[1] < 0.5 * points[0]
