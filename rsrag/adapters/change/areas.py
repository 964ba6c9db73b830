"""Changed areas of a scene that is looked at in windows: their sizes are counted across the cuts between windows."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from rsrag.export_layers import Layer, LayerWriter

Numbers = npt.NDArray[np.int64]


class _Joined:
    """Parts of areas, their pixels, and which of them belong to one area (Tarjan 1975)."""

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._pixels: list[int] = []

    def __len__(self) -> int:
        return len(self._parents)

    def add(self, pixels: Numbers) -> None:
        """Further parts, each an area of its own so far."""
        self._parents += range(len(self), len(self) + len(pixels))
        self._pixels += pixels.tolist()

    def join(self, one: Numbers, two: Numbers) -> None:
        """Parts that touch, pixel by pixel along a cut; -1 where nothing changed."""
        both = (one >= 0) & (two >= 0)
        for first, second in set(zip(one[both].tolist(), two[both].tolist(), strict=True)):
            self._parents[self._root(first)] = self._root(second)

    def pixels(self) -> Numbers:
        """For each part the pixels of the whole area that it belongs to."""
        roots = np.array([self._root(part) for part in range(len(self))], dtype=np.int64)
        total = np.zeros(len(self), dtype=np.int64)
        np.add.at(total, roots, np.array(self._pixels, dtype=np.int64))
        return total[roots]

    def _root(self, part: int) -> int:
        while self._parents[part] != part:
            self._parents[part] = self._parents[self._parents[part]]
            part = self._parents[part]
        return part


def without_small(mask: Layer, least: int, side: int) -> Layer:
    """A mask without areas (4-neighbours) of fewer than ``least`` pixels, however windows cut them.

    Memory grows with the number of areas, not with the raster.

    Args:
        mask: 1 where something changed.
        least: pixels of the smallest area that stays.
        side: of the windows in pixels.
    """
    parts, starts = _Joined(), list[int]()
    above, left = np.full(mask.width, -1, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for window in mask.windows(side):
        labels, sizes = _labelled(mask.read(window))
        start, cols = len(parts), slice(window.col, window.col + window.width)
        parts.add(sizes)
        numbers = np.where(labels > 0, labels + (start - 1), -1)
        parts.join(above[cols], numbers[0])
        if window.col:
            parts.join(left, numbers[:, 0])
        above[cols], left = numbers[-1], numbers[:, -1]
        starts.append(start)
    small = parts.pixels() < least
    writer = LayerWriter(mask.name, "mask", mask.width, mask.height, mask.crs, mask.transform)
    with writer:
        for window, start in zip(mask.windows(side), starts, strict=True):
            values = mask.read(window)
            labels, sizes = _labelled(values)
            gone = np.concatenate([[False], small[start : start + len(sizes)]])[labels]
            writer.write(window, np.where(gone, 0, values))
    return writer.layer


def _labelled(values: npt.NDArray[Any]) -> tuple[Numbers, Numbers]:
    """Numbers from 1 of the changed areas of a window, 0 elsewhere, [h, w]; and the pixels of each."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((values == 1).astype(np.uint8), connectivity=4)
    return labels.astype(np.int64), stats[1:, cv2.CC_STAT_AREA].astype(np.int64)
