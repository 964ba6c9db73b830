"""Masks whose outlines stay few: beyond a number, the smallest pieces are taken out and the smallest holes filled.

A mask of a large scene may have a hundred thousand holes. As one polygon they take gigabytes and are of no use in a
map, so they are chosen on the raster, before any outline exists: memory does not depend on the scene.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import shapely

from rsrag.adapters.sweep import Step, sweep
from rsrag.export_layers import Layer, LayerWriter

CORE, SMALL = 1024, 64
"""Side of the blocks, and what is too narrow and low, in pixels, to be kept in any case."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Generalised:
    """A mask to be outlined in place of another.

    Attributes:
        layer: the mask itself where it has few pieces and holes.
        small: how many pieces under :data:`SMALL` it had; None where nothing was changed.
        holes: a pixel of every hole that was filled, and the pixels it had: column, row, count, int64 [N, 3], by row.
    """

    layer: Layer
    small: int | None
    holes: Ints

    def filled(self, shape: Any) -> int:
        """Pixels of holes that were filled inside a polygon."""
        if not len(self.holes):
            return 0
        left, top, right, bottom = shape.bounds
        rows = self.holes[:, 1]
        near = self.holes[np.searchsorted(rows, top) : np.searchsorted(rows, bottom)]
        near = near[(near[:, 0] >= left) & (near[:, 0] < right)]
        shapely.prepare(shape)
        return int(near[shapely.contains_xy(shape, near[:, 0] + 0.5, near[:, 1] + 0.5), 2].sum())


def is_small(shape: Any) -> bool:
    """Whether a pixel polygon is narrow and low enough to be among the pieces that :attr:`Generalised.small` counts."""
    left, top, right, bottom = shape.bounds
    return bool(max(right - left, bottom - top) < SMALL)


def as_it_is(layer: Layer) -> Generalised:
    """A layer that is outlined unchanged."""
    return Generalised(layer, None, np.zeros((0, 3), dtype=np.int64))


def generalised(mask: Layer, *, pieces: int, holes: int, smallest: float) -> Generalised:
    """A mask with at most so many small pieces and so many small holes; the larger ones are always kept.

    Args:
        mask: 1 where it is true, 255 where nothing is known; what borders on the unknown is never filled.
        pieces: how many pieces narrower and lower than :data:`SMALL` are kept, the largest.
        holes: how many holes of that size stay open, the largest.
        smallest: pixels below which a piece is not counted.
    """
    kept, opened = _Largest(pieces), _Largest(holes)
    small = 0
    for step, values in _blocks(mask):
        for found in _both(values, step, mask):
            here = found.small & found.begins
            (kept if found.true else opened).add(found.ranks[here])
            small += int(np.count_nonzero(found.areas[here] >= smallest)) if found.true else 0
    if not kept.limit and not opened.limit:
        return as_it_is(mask)
    closed = []
    with LayerWriter(mask.name, "mask", mask.width, mask.height, mask.crs, mask.transform) as writer:
        for step, values in _blocks(mask):
            painted = values.copy()
            for found in _both(values, step, mask):
                change = found.small & (found.ranks <= (kept if found.true else opened).limit)
                painted[change[found.labels]] = 0 if found.true else 1
                if not found.true:
                    closed.append(found.places(change & found.begins, step))
            writer.write(step.core, painted[step.inner])
    every = np.concatenate(closed)
    return Generalised(writer.layer, small, every[np.argsort(every[:, 1], kind="stable")])


class _Largest:
    """The largest that is one too many, of numbers that come in parts; 0 where there are no more than so many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._ranks = np.zeros(0, dtype=np.int64)

    def add(self, ranks: Ints) -> None:
        both = np.concatenate([self._ranks, ranks])
        more = self._most + 1
        self._ranks = np.partition(both, len(both) - more)[-more:] if len(both) > more else both

    @property
    def limit(self) -> int:
        return int(self._ranks.min()) if len(self._ranks) > self._most else 0


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """Connected areas of a block, true or false ones.

    Attributes:
        true: pieces, or else holes.
        labels: number of the area of every pixel, [h, w]; 0 is none.
        areas: pixels of every number.
        ranks: order of every number by area and, where that is equal, by place: larger and further up is higher.
        small: whether it is seen whole and under :data:`SMALL`; a hole must be closed and known.
        begins: whether the corner of its box lies in the core: in one block alone.
    """

    true: bool
    labels: npt.NDArray[np.int32]
    areas: Ints
    ranks: Ints
    small: npt.NDArray[np.bool_]
    begins: npt.NDArray[np.bool_]

    def places(self, which: npt.NDArray[np.bool_], step: Step) -> Ints:
        """Column and row in the scene of the first pixel of areas, and how many pixels they have."""
        first = np.zeros(len(self.areas), dtype=np.int64)
        flat = self.labels.ravel()
        first[flat[::-1]] = np.arange(flat.size - 1, -1, -1)  # the last one to be written is the first one
        rows, cols = np.divmod(first[which], self.labels.shape[1])
        return np.column_stack([cols + step.outer.col, rows + step.outer.row, self.areas[which]])


def _blocks(mask: Layer) -> Iterator[tuple[Step, npt.NDArray[np.uint8]]]:
    for step in sweep(mask.width, mask.height, core=CORE, margin=SMALL):
        yield step, mask.read(step.outer)


def _both(values: npt.NDArray[np.uint8], step: Step, mask: Layer) -> Iterator[_Found]:
    """Pieces, which touch by their sides, and what is not, which touches by corners too."""
    yield _found(values == 1, step, mask, true=True, barred=None)
    unknown = (values > 1).astype(np.uint8)
    near = cv2.dilate(unknown, np.ones((3, 3), np.uint8)) if unknown.any() else None
    yield _found(values == 0, step, mask, true=False, barred=near)


def _found(
    where: npt.NDArray[np.bool_], step: Step, mask: Layer, *, true: bool, barred: npt.NDArray[np.uint8] | None
) -> _Found:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(where.astype(np.uint8), connectivity=4 if true else 8)
    left, top, width, height, areas = stats.T.astype(np.int64)
    outer, core = step.outer, step.core
    # Where a block ends and the scene goes on an area may go on too; a hole at the edge of the scene is open.
    inner_left, inner_top = outer.col > 0 or not true, outer.row > 0 or not true
    inner_right = outer.col + outer.width < mask.width or not true
    inner_bottom = outer.row + outer.height < mask.height or not true
    whole = ~(
        ((left == 0) & inner_left)
        | ((top == 0) & inner_top)
        | ((left + width == outer.width) & inner_right)
        | ((top + height == outer.height) & inner_bottom)
    )
    small = whole & (width < SMALL) & (height < SMALL)
    small[0] = False
    if barred is not None:
        small[np.unique(labels[barred > 0])] = False
    x, y = left + outer.col - core.col, top + outer.row - core.row
    begins = (x >= 0) & (x < core.width) & (y >= 0) & (y < core.height)
    pixels = mask.width * mask.height
    ranks = areas * pixels + pixels - 1 - ((top + outer.row) * mask.width + left + outer.col)
    return _Found(true, np.asarray(labels, np.int32), areas, ranks, small, begins)
