"""Masks whose outlines stay short: beyond a number of corners they are drawn from cells of several pixels.

One outline may be as long as a scene is large: of a mask of 10,000² pixels that covers most of it in one piece, a
million corners, which take half a gigabyte until they are a polygon and are of no use in a map.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

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
