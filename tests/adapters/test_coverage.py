"""Outlines of classes: simplified, and still side by side."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rsrag.adapters.base import Subject
from rsrag.adapters.coverage import noded, simplified_together
from rsrag.adapters.outlines import outlined
from rsrag.export_layers import Affine, Layer, LayerWriter, LegendEntry
from rsrag.types import Window

UTM = (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0)
NORTH = (0.001, 0.0, 10.0, 0.0, -0.001, 60.1)
LEGEND = tuple(LegendEntry(n, f"class {n}", (n, n, n)) for n in range(4))


def layer_of(values: np.ndarray, crs: str | None = None, transform: Affine | None = None) -> Layer:
    height, width = values.shape
    with LayerWriter("classes", "class", width, height, crs, transform, legend=LEGEND) as writer:
        writer.write(Window(0, 0, width, height), values.astype(np.uint8))
    return writer.layer


def shapes_of(values: np.ndarray) -> list[shapely.Geometry]:
    return [shape for _, shape in layer_of(values).polygons(range(4))]


def patches(size: int = 160) -> np.ndarray:
    """Four classes with curved borders."""
    fields = np.random.default_rng(2).normal(size=(4, size, size))
    return np.argmax([cv2.GaussianBlur(field, (0, 0), 12) for field in fields], axis=0)


@settings(max_examples=40, deadline=None)
@given(values=arrays.arrays(np.uint8, (8, 9), elements=st.sampled_from([0, 1, 2, 255])))
def test_noded_outlines_are_the_same_areas_side_by_side(values: np.ndarray) -> None:
    shapes = shapes_of(values)
    made = list(noded(shapes)) if shapes else []
    assert all(shapely.equals(new, old) for new, old in zip(made, shapes, strict=True))
    assert shapely.coverage_is_valid(made)


@settings(max_examples=40, deadline=None)
@given(values=arrays.arrays(np.uint8, (8, 9), elements=st.sampled_from([0, 1, 2, 255])), metres=st.sampled_from([0, 2]))
def test_simplified_outlines_are_valid_and_do_not_overlap(values: np.ndarray, metres: float) -> None:
    shapes = shapes_of(values)
    made = simplified_together(Subject("x", 9, 8), shapes, metres)
    assert len(made) == len(shapes) and all(shape.is_valid and not shape.is_empty for shape in made)
    assert shapely.coverage_is_valid(made)
    if metres == 0:
        assert all(shapely.equals(new, old) for new, old in zip(made, shapes, strict=True))


@pytest.mark.parametrize("place", [(None, None), ("EPSG:32633", UTM), ("EPSG:4326", NORTH)])
def test_neighbours_keep_their_border(place: tuple[str | None, Affine | None]) -> None:
    values = patches()
    layer, subject = layer_of(values, *place), Subject("x", 160, 160, *place)
    found = outlined(subject, layer, range(4), str, layer_of(values, *place), smallest=1)
    outlines = [shapely.Polygon(region.rings[0], region.rings[1:]) for region in found.regions]
    assert sum(shape.area for shape in outlines) == pytest.approx(160 * 160, rel=1e-6)  # no gap, no overlap
    assert shapely.union_all(outlines).area == pytest.approx(160 * 160, rel=1e-6)
    raw = [shape for _, shape in layer.polygons(range(4))]
    corners = [len(shapely.get_coordinates(shapes)) for shapes in (outlines, raw)]
    assert corners[0] < corners[1] / 3
    by_area = sorted(raw, key=lambda shape: -shape.area)
    assert max(new.hausdorff_distance(old) for new, old in zip(outlines, by_area, strict=True)) < 6
    if place[0] == "EPSG:32633":
        areas = [fact.value for region in found.regions for fact in region.facts if fact.name == "area"]
        assert areas == pytest.approx([100 * shape.area for shape in by_area], rel=2e-3)  # those of the pixels
