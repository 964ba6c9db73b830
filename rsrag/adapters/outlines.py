"""Connected areas of a layer as regions: by falling area, simplified, each with its mean score.

Outlines of a mask are simplified each by itself, those of classes together: neighbours keep the border they share.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from rsrag.adapters import measure
from rsrag.adapters.base import Region, Subject
from rsrag.adapters.coarse import as_it_is as pixel_by_pixel
from rsrag.adapters.coarse import coarse, pieces_of
from rsrag.adapters.coverage import simplified_together
from rsrag.adapters.generalise import as_it_is, generalised, is_small
from rsrag.export_layers import Layer
from rsrag.types import Fact, Window

MOST = 5000
"""Outlines that are handed on; smaller ones beyond are left out, and only counted."""
HOLES = 2000
"""Small holes of a mask that its outlines leave open; smaller ones beyond are closed, and not counted as area."""
CORNERS = 300_000
"""Corners that the outlines of a mask may have before they are drawn from larger cells than pixels."""
_SEEN_PX = 256


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """What was outlined.

    Attributes:
        regions: the largest connected areas, at most :data:`MOST`.
        pieces: how many there are in all.
        closed: how many holes their outlines leave out; their areas do not count them.
        cell: pixels along a side of the cells that were outlined in place of pixels; 1 is none.
    """

    regions: tuple[Region, ...]
    pieces: int
    closed: int = 0
    cell: int = 1


def outlined(
    subject: Subject,
    layer: Layer,
    values: Sequence[int],
    name: Callable[[int], str],
    score: Layer,
    *,
    smallest: float,
    simplify: float | None = None,
) -> Outlines:
    """Connected areas of equal value, the largest first.

    Args:
        subject: the image that both layers belong to.
        layer: of a mask or of classes.
        values: which of its values.
        name: label of a value.
        score: whose mean inside an outline is its score.
        smallest: least area in pixels.
        simplify: metres (pixels without a scale) that an outline may move; two pixels when None.
    """
    side = measure.metres_per_pixel(subject) or 1.0
    moved = 2 * side if simplify is None else simplify
    drawn = generalised(layer, pieces=MOST, holes=HOLES, smallest=smallest) if layer.kind == "mask" else as_it_is(layer)
    shapes = coarse(drawn.layer, corners=CORNERS) if layer.kind == "mask" else pixel_by_pixel(layer)
    pieces = _Counted(pair for pair in shapes.polygons(values) if pair[1].area >= smallest)
    largest = heapq.nlargest(MOST, pieces, key=lambda pair: pair[1].area)
    found = []
    for (value, shape), outline in zip(largest, _simplified(subject, layer, largest, moved), strict=True):
        share = 1 - drawn.filled(shape) / shape.area
        area = measure.area_m2(subject, shape)  # of the outline as found: the sum of the parts is the whole
        facts = [Fact("area", area * share, "m2")] if area is not None else []
        found.append(measure.region(subject, name(value), mean_inside(score, shape), outline, facts=facts))
    every, large = (pieces.count, pieces.large) if shapes.cell == 1 else pieces_of(drawn.layer, smallest)
    count = every if drawn.small is None else drawn.small + large
    return Outlines(tuple(found), count, len(drawn.holes), shapes.cell)


def _simplified(subject: Subject, layer: Layer, pieces: Sequence[tuple[int, Any]], metres: float) -> Iterable[Any]:
    """The outlines of pieces with fewer corners, in their order."""
    if layer.kind == "mask":
        return (measure.simplified(subject, shape, metres) for _, shape in pieces)
    return simplified_together(subject, [shape for _, shape in pieces], metres)


class _Counted:
    """Polygons that say how many they were, and how many large ones among them; none of them is kept."""

    def __init__(self, items: Iterator[tuple[int, Any]]) -> None:
        self._items = items
        self.count = self.large = 0

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        for value, shape in self._items:
            self.count += 1
            self.large += not is_small(shape)
            yield value, shape


def mean_inside(score: Layer, shape: Any) -> float:
    """Mean score inside a pixel polygon, 0 to 1, from a reduced copy of its box; one half where nothing is known."""
    left, top, right, bottom = (int(v) for v in shape.bounds)
    window = Window(left, top, max(1, right - left), max(1, bottom - top))
    values = score.read(window, longest=_SEEN_PX)
    rows, cols = values.shape
    x = left + (np.arange(cols) + 0.5) * window.width / cols
    y = top + (np.arange(rows) + 0.5) * window.height / rows
    grid_x, grid_y = np.meshgrid(x, y)
    inside = shapely.contains_xy(shape, grid_x, grid_y) & np.isfinite(values)
    return float(np.clip(values[inside].mean(), 0, 1)) if inside.any() else 0.5
