"""Scenes larger than memory: overlapping windows whose middles share out the scene."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rsrag.types import Window


@dataclass(frozen=True, slots=True)
class Step:
    """One window of a sweep.

    Attributes:
        outer: what is read, inside the scene.
        core: what is kept of it; the cores of a sweep share out the scene without gap or overlap.
    """

    outer: Window
    core: Window

    @property
    def inner(self) -> tuple[slice, slice]:
        """Rows and columns of the core within the outer window."""
        top, left = self.core.row - self.outer.row, self.core.col - self.outer.col
        return slice(top, top + self.core.height), slice(left, left + self.core.width)


def sweep(width: int, height: int, *, core: int, margin: int) -> Iterator[Step]:
    """Windows over a scene, row by row.

    What is computed near the edge of a window lacks context, so only the core is kept: it lies ``margin`` pixels
    inside, except at the edge of the scene. Memory depends on ``core`` and ``margin`` alone.

    Args:
        width: of the scene in pixels.
        height: of the scene in pixels.
        core: side of a core in pixels.
        margin: pixels read around it.
    """
    for row in range(0, height, core):
        for col in range(0, width, core):
            kept = Window(col, row, min(core, width - col), min(core, height - row))
            left, top = max(0, col - margin), max(0, row - margin)
            right, bottom = min(width, col + kept.width + margin), min(height, row + kept.height + margin)
            yield Step(Window(left, top, right - left, bottom - top), kept)


def steps(width: int, height: int, *, core: int) -> int:
    """How many windows :func:`sweep` gives."""
    return -(-width // core) * -(-height // core)
