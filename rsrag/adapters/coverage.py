"""Outlines of neighbours simplified together: what was a border of both stays one, without gap or overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from rsrag.adapters import measure
from rsrag.adapters.base import Subject

Numbers = npt.NDArray[np.int64]


def simplified_together(subject: Subject, shapes: Sequence[Any], metres: float) -> list[Any]:
    """Pixel polygons that do not overlap, each with fewer corners; about ``metres`` between old and new outline.

    Where three of them meet stays a corner of all. Metres are pixels where the scale is unknown.

    Args:
        subject: the image.
        shapes: polygons along the edges of pixels (column, row).
        metres: see above.
    """
    if not shapes:
        return []
    # Of one pixel for all outlines: a border must lie at one place for both of its neighbours.
    sides = measure.pixel_sides(subject, subject.width / 2, subject.height / 2)
    on_ground = shapely.transform(noded(shapes), lambda points: points * sides)
    simple = shapely.coverage_simplify(on_ground, metres)
    back = shapely.transform(simple, lambda points: np.round(points / sides, 6))
    usable = shapely.is_valid(back) & ~shapely.is_empty(back)
    return [new if good else old for new, old, good in zip(back, shapes, usable, strict=True)]


def noded(shapes: Sequence[Any]) -> npt.NDArray[Any]:
    """Polygons along the edges of pixels with a corner wherever another one has a corner on their outline.

    Without that, a border that one polygon has in one piece and its neighbours in two is not known as the same.
    """
    rings, owners = shapely.get_rings(list(shapes), return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    corners = np.round(points).astype(np.int64)
    ends = np.roll(corners, -1, axis=0)
    last = np.append(ring[1:] != ring[:-1], True)
    ends[last] = corners[last]  # the closing point of a ring begins no edge
    along = np.where(corners[:, 1] == ends[:, 1], 0, 1)  # which coordinate grows or falls along an edge
    placed = [_placed(corners[along == axis], ends[along == axis], corners, axis) for axis in (0, 1)]
    counts = np.zeros(len(corners), dtype=np.int64)
    for axis in (0, 1):
        counts[along == axis] = placed[axis][0]
    owner = np.repeat(np.arange(len(corners)), counts + 1)
    first = np.cumsum(counts + 1) - counts - 1
    found = corners[owner]
    between = np.ones(len(found), dtype=np.bool_)
    between[first] = False
    for axis in (0, 1):
        found[between & (along[owner] == axis), axis] = placed[axis][1]
    lines = shapely.linearrings(found.astype(np.float64), indices=ring[owner])
    return np.asarray(shapely.polygons(lines, indices=owners))


def _placed(starts: Numbers, ends: Numbers, corners: Numbers, axis: int) -> tuple[Numbers, Numbers]:
    """How many corners lie within each edge along an axis, and their places on it, in the order of the edges."""
    span = int(corners[:, axis].max()) + 2
    keys = np.unique(corners[:, 1 - axis] * span + corners[:, axis])
    base = starts[:, 1 - axis] * span
    low, high = np.minimum(starts[:, axis], ends[:, axis]), np.maximum(starts[:, axis], ends[:, axis])
    after, before = np.searchsorted(keys, base + low, side="right"), np.searchsorted(keys, base + high, side="left")
    counts = np.maximum(before - after, 0)
    edge = np.repeat(np.arange(len(starts)), counts)
    step = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    forward = (ends[:, axis] >= starts[:, axis])[edge]
    chosen = np.where(forward, after[edge] + step, before[edge] - 1 - step)
    return counts, keys[chosen] % span
