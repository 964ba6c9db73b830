"""Masks whose outlines stay short: beyond a number of corners they are drawn from cells of several pixels.

One outline may be as long as a scene is large: of a mask of 10,000² pixels that covers most of it in one piece, a
million corners, which take half a gigabyte until they are a polygon and are of no use in a map.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import shapely

from rsrag.adapters.generalise import SMALL
from rsrag.export_layers import Layer, LayerWriter
from rsrag.types import Window

COARSE = "the outlines are long: they are drawn from cells of {0} by {0} pixels, as are the areas of the pieces"
"""What a result says then."""
FACTORS = (1, 2, 4, 8, 16, 32)
_BLOCK = 1024  # a multiple of all factors

Mask = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Coarse:
    """A mask to be outlined in place of another.

    Attributes:
        layer: the mask itself, or one of cells.
        cell: pixels along a side of a cell; 1 where nothing was changed.
        width: of the mask itself in pixels.
        height: of the mask itself in pixels.
    """

    layer: Layer
    cell: int
    width: int
    height: int

    def polygons(self, values: Sequence[int] | None = None) -> Iterator[tuple[int, Any]]:
        """As :meth:`Layer.polygons`, in pixels of the mask itself; the last cells end where it ends."""
        for value, shape in self.layer.polygons(values):
            yield value, shape if self.cell == 1 else shapely.transform(shape, self._to_pixels)

    def _to_pixels(self, points: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.asarray(np.minimum(points * self.cell, (self.width, self.height)))


def as_it_is(layer: Layer) -> Coarse:
    """A layer that is outlined pixel by pixel."""
    return Coarse(layer, 1, layer.width, layer.height)


def coarse(mask: Layer, *, corners: int) -> Coarse:
    """A mask whose outlines have at most so many corners, as long as cells of 32 pixels are large enough for that.

    A cell is true where at least half of its known pixels are, and unknown (255) where none is known.

    Args:
        mask: 1 where it is true, 255 where nothing is known.
        corners: of all outlines together, those at the edge of the scene aside.
    """
    counted = np.zeros(len(FACTORS), dtype=np.int64)
    for window in mask.windows(_BLOCK):
        more = FACTORS[-1]  # cells below and to the right, whose corners belong to this block
        right, below = (window.col + window.width + more, window.row + window.height + more)
        wide, high = min(right, mask.width) - window.col, min(below, mask.height) - window.row
        values = mask.read(Window(window.col, window.row, wide, high))
        for place, factor in enumerate(FACTORS):
            rows, cols = -(-window.height // factor), -(-window.width // factor)
            counted[place] += _corners(_cells(values, factor)[: rows + 1, : cols + 1])
    cell = next((f for f, found in zip(FACTORS, counted, strict=True) if found <= corners), FACTORS[-1])
    if cell == 1:
        return as_it_is(mask)
    size = -(-mask.width // cell), -(-mask.height // cell)
    a, b, c, d, e, f = mask.transform
    with LayerWriter(mask.name, "mask", *size, mask.crs, (a * cell, b * cell, c, d * cell, e * cell, f)) as writer:
        for window in mask.windows(_BLOCK):
            cells = _cells(mask.read(window), cell)
            writer.write(Window(window.col // cell, window.row // cell, cells.shape[1], cells.shape[0]), cells)
    return Coarse(writer.layer, cell, mask.width, mask.height)


def pieces_of(mask: Layer, smallest: float) -> tuple[int, int]:
    """How many pieces (4-neighbours) of at least so many pixels a mask has, and how many of these are not small.

    Cells join pieces and lose them, so that the outlines of a coarse mask are not to be counted. Memory grows with the
    number of pieces and of the parts that blocks cut them into, not with the length of their outlines.

    Args:
        mask: 1 where it is true.
        smallest: pixels below which a piece is not counted.
    """
    parents: list[int] = []
    parts = [np.zeros((0, 5), dtype=np.int64)]  # pixels, left, top, right, bottom
    above, left = np.full(mask.width, -1, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for window in mask.windows(_BLOCK):
        true = (mask.read(window) == 1).astype(np.uint8)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(true, connectivity=4)
        x, y, width, height, pixels = stats[1:].T.astype(np.int64)
        x, y = x + window.col, y + window.row
        parts.append(np.column_stack([pixels, x, y, x + width, y + height]))
        numbers = np.where(labels > 0, labels.astype(np.int64) + (len(parents) - 1), -1)
        parents += range(len(parents), len(parents) + len(pixels))
        cols = slice(window.col, window.col + window.width)
        _join(parents, above[cols], numbers[0])
        if window.col:
            _join(parents, left, numbers[:, 0])
        above[cols], left = numbers[-1], numbers[:, -1]
    found, roots = np.concatenate(parts), np.array([_root(parents, n) for n in range(len(parents))], dtype=np.int64)
    whole = np.zeros_like(found)
    whole[:, 1:3] = np.iinfo(np.int64).max
    np.add.at(whole[:, 0], roots, found[:, 0])
    np.minimum.at(whole[:, 1:3], roots, found[:, 1:3])
    np.maximum.at(whole[:, 3:], roots, found[:, 3:])
    whole = whole[np.unique(roots)]
    whole = whole[whole[:, 0] >= smallest]
    return len(whole), int(np.count_nonzero((whole[:, 3:] - whole[:, 1:3]).max(axis=1, initial=0) >= SMALL))


def _join(parents: list[int], one: npt.NDArray[np.int64], two: npt.NDArray[np.int64]) -> None:
    """Parts that touch, pixel by pixel along a cut, become one piece; -1 where nothing is."""
    both = (one >= 0) & (two >= 0)
    for first, second in set(zip(one[both].tolist(), two[both].tolist(), strict=True)):
        parents[_root(parents, first)] = _root(parents, second)


def _root(parents: list[int], part: int) -> int:
    while parents[part] != part:
        parents[part] = parents[parents[part]]
        part = parents[part]
    return part


def _cells(values: Mask, factor: int) -> Mask:
    """Cells of a block: 1, 0 or 255; those at the right and lower edge may be parts of cells."""
    if factor == 1:
        return values
    height, width = values.shape
    rows, cols = -(-height // factor), -(-width // factor)
    padded = np.pad(values, ((0, rows * factor - height), (0, cols * factor - width)), constant_values=255)
    shared = padded.reshape(rows, factor, cols, factor)
    true = np.count_nonzero(shared == 1, axis=(1, 3))
    known = np.count_nonzero(shared <= 1, axis=(1, 3))
    return np.where(known == 0, 255, 2 * true >= known).astype(np.uint8)


def _corners(values: Mask) -> int:
    """Corners of the outlines inside of a block: one where three of four pixels are alike, two where they cross."""
    true = (values == 1).astype(np.uint8)
    one, other = true[:-1, :-1] + true[1:, 1:], true[1:, :-1] + true[:-1, 1:]
    crossed = (one + other == 2) & (one != 1)
    return int(np.count_nonzero((one + other) % 2) + 2 * np.count_nonzero(crossed))
