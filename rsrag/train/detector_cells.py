"""What the object detector learns from: cells with their neighbours, drawn from maps that lie on disk as one grid."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rsrag.models.groundviews import CELL
from rsrag.train import detector_cache as caching
from rsrag.train.detector_cache import Labelled
from rsrag.train.detector_head import Head, targets
from rsrag.train.projecting import together

Indices = npt.NDArray[np.int64]
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A view of a picture, ready to be drawn from.

    Attributes:
        grid: projected maps, float16 [rows, cols, CHANNELS], on disk.
        kind: class of every cell, -1 for none, [rows * cols].
        sides: distances to the sides of its box in pixels, [rows * cols, 4].
        good: cells of things.
        plain: cells that show nothing that is looked for, inside the picture.
    """

    grid: npt.NDArray[np.float16]
    kind: Indices
    sides: npt.NDArray[np.float32]
    good: Indices
    plain: Indices


def grid_of(maps: dict[str, Any]) -> torch.Tensor:
    """Projected levels as one map, float32 [1, CHANNELS, rows, cols]."""
    return together({name: torch.from_numpy(maps[name].astype(np.float32))[None] for name in maps})


@dataclass(eq=False)
class Cells:
    """Views of pictures from a cache of maps, each brought to one grid at its first use."""

    cache: Path
    _views: dict[tuple[str, int], Shown] = field(default_factory=dict)

    def view(self, row: Labelled, view: int = 0) -> Shown:
        """A view of a picture."""
        found = self._views.get((row.key, view))
        if found is None:
            found = self._views[(row.key, view)] = self._read(row, view)
        return found

    def _read(self, row: Labelled, view: int) -> Shown:
        shown = row.turned(caching.turn_of(row.key, view))
        path = self.cache / f"{row.key}_{view}.npy"
        if not path.exists():
            values = grid_of(caching.load(self.cache, row, view)[1])[0].permute(1, 2, 0)
            partial = path.with_name(f".{path.name}.{os.getpid()}.npy")
            np.save(partial, values.numpy().astype(np.float16))
            partial.replace(path)
        grid: npt.NDArray[np.float16] = np.load(path, mmap_mode="r", allow_pickle=False)
        kind, sides, unsure = targets(shown.boxes, shown.labels, *grid.shape[:2])
        plain = (kind < 0) & ~unsure
        plain[-(-shown.height // CELL) :] = False
        plain[:, -(-shown.width // CELL) :] = False
        flat = kind.ravel()
        return Shown(grid, flat, sides.reshape(-1, 4), np.flatnonzero(flat >= 0), np.flatnonzero(plain.ravel()))

    def whole(self, row: Labelled, view: int = 0) -> torch.Tensor:
        """All of a view, float32 [1, CHANNELS, rows, cols]."""
        values = torch.from_numpy(np.asarray(self.view(row, view).grid, dtype=np.float32))
        return values.permute(2, 0, 1)[None].contiguous()

    def draw(self, row: Labelled, view: int, hard: Indices, good: int, bad: int, rng: np.random.Generator) -> Batch:
        """Some cells: patches [N, 9, CHANNELS], class or -1 [N], and sides [N, 4].

        Args:
            row: the picture.
            view: of it.
            hard: background cells that fooled the network; they make up to half of the background.
            good: most cells of things.
            bad: background cells.
            rng: for the choice.
        """
        shown = self.view(row, view)
        things = shown.good
        things = rng.choice(things, good, replace=False) if len(things) > good else things
        fooled = rng.choice(hard, min(len(hard), bad // 2), replace=False)
        plain = rng.choice(shown.plain, min(len(shown.plain), bad - len(fooled)), replace=False)
        cells = np.concatenate([things, fooled, plain])
        return patches_at(shown.grid, cells), torch.from_numpy(shown.kind[cells]), torch.from_numpy(shown.sides[cells])

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def mine(self, head: Head, row: Labelled, view: int, most: int = 120) -> Indices:
        """Background cells with the highest scores."""
        out = head(self.whole(row, view))[0]
        plain = self.view(row, view).plain
        scores = out[: head.classes].amax(dim=0).numpy().ravel()[plain]
        return np.asarray(plain[np.argsort(-scores)[:most]], dtype=np.int64)


def patches_at(grid: npt.NDArray[np.float16], cells: Indices) -> torch.Tensor:
    """Cells of a grid [rows, cols, C] with their eight neighbours, float32 [N, 9, C]; 0 beyond the edge."""
    rows, cols = grid.shape[:2]
    y, x = np.divmod(cells, cols)
    near = np.arange(-1, 2)
    at_y, at_x = np.broadcast_arrays(y[:, None, None] + near[:, None], x[:, None, None] + near[None, :])
    inside = (at_y >= 0) & (at_y < rows) & (at_x >= 0) & (at_x < cols)
    found = np.asarray(grid[at_y.clip(0, rows - 1), at_x.clip(0, cols - 1)], dtype=np.float32)
    found *= inside[..., None]
    return torch.from_numpy(found.reshape(len(cells), 9, -1))
