"""The network of the object detector of the default profile, and what it learns from."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from rsrag.models.groundviews import CELL
from rsrag.train.projecting import CHANNELS, Projected, Projection

UNIT = 16.0
"""Distances to the sides of a box are exp(output) times this many pixels."""


class Head(nn.Module):  # type: ignore[misc]
    """Scores and boxes of every cell from the projected maps, brought to one grid.

    Input [N, CHANNELS, H, W]; output [N, classes + 5, H, W]: logits of the classes, logit of the box's quality, and
    logarithms of the distances from the cell's centre to left, top, right and bottom.
    """

    def __init__(self, classes: int, near: int = 64, width: int = 160) -> None:
        super().__init__()
        self.classes = classes
        # Padded before the first layer, so that the edge is what :meth:`cells` sees: a border of nothing.
        self.near = nn.Conv2d(CHANNELS, near, 1, padding=1)
        self.around = nn.Conv2d(near, width, 3)
        self.here = nn.Conv2d(CHANNELS, width, 1)
        self.mix = nn.Conv2d(width, width, 1)
        self.out = nn.Conv2d(width, classes + 5, 1)
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)
        nn.init.constant_(self.out.bias[:classes], -4.6)

    def forward(self, x: Tensor) -> Tensor:
        seen = functional.relu(self.around(functional.relu(self.near(x))) + self.here(x))
        out: Tensor = self.out(functional.relu(self.mix(seen)) + seen)
        return out

    def cells(self, patches: Tensor, dropout: float = 0.0) -> Tensor:
        """The same for single cells: [N, 9, CHANNELS], each with its eight neighbours, to [N, classes + 5]."""
        if dropout:
            kept = torch.rand(len(patches), 1, patches.shape[2]) >= dropout
            patches = patches * kept / (1 - dropout)
        near = functional.relu(functional.linear(patches, self.near.weight[:, :, 0, 0], self.near.bias))
        around = self.around.weight.permute(0, 2, 3, 1).reshape(len(self.around.weight), -1)
        seen = functional.linear(near.flatten(1), around, self.around.bias)
        seen = functional.relu(seen + functional.linear(patches[:, 4], self.here.weight[:, :, 0, 0], self.here.bias))
        mixed = functional.relu(functional.linear(seen, self.mix.weight[:, :, 0, 0], self.mix.bias)) + seen
        return functional.linear(mixed, self.out.weight[:, :, 0, 0], self.out.bias)


class Whole(nn.Module):  # type: ignore[misc]
    """From the encoder's maps to scores [N, classes, H, W] and boxes [N, 4, H, W]: what is exported."""

    def __init__(self, head: Head, projection: Projection) -> None:
        super().__init__()
        self.head = head
        self.projected = Projected(projection)

    def forward(self, *maps: Tensor) -> tuple[Tensor, Tensor]:
        out = self.head(self.projected(*maps))
        classes = self.head.classes
        quality = torch.sigmoid(out[:, classes : classes + 1])
        scores = torch.sqrt(torch.sigmoid(out[:, :classes]) * quality)
        return scores, torch.exp(out[:, classes + 1 :].clamp(-4, 4.5)) * UNIT


def targets(
    boxes: npt.NDArray[Any], labels: npt.NDArray[Any], rows: int, cols: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """What each cell should say (after FCOS, Tian et al. 2019: centre sampling, the smallest box wins).

    A cell stands for a box when its centre lies in the middle half of the box (but at least the cell nearest to the
    middle and at most 28 pixels from it).

    Args:
        boxes: left, top, right, bottom in pixels, [N, 4].
        labels: class of each, [N].
        rows: of the grid.
        cols: of the grid.

    Returns:
        Class of each cell, -1 for background, [rows, cols]; distances to the four sides in pixels [rows, cols, 4]; and
        cells that are neither: inside a box, away from its middle, [rows, cols].
    """
    y, x = np.mgrid[0:rows, 0:cols] * CELL + CELL / 2
    kind = np.full((rows, cols), -1, dtype=np.int64)
    sides = np.zeros((rows, cols, 4), dtype=np.float32)
    unsure = np.zeros((rows, cols), dtype=np.bool_)
    size = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for number in np.argsort(-size):
        left, top, right, bottom = boxes[number]
        away_x, away_y = np.abs(x - (left + right) / 2), np.abs(y - (top + bottom) / 2)
        wide, high = (right - left) / 2, (bottom - top) / 2
        reach_x, reach_y = (float(np.clip(side / 2, CELL / 2 + 0.01, 28)) for side in (wide, high))
        middle = (away_x < reach_x) & (away_y < reach_y)
        unsure |= (away_x < 0.8 * wide) & (away_y < 0.8 * high)
        kind[middle] = labels[number]
        sides[middle] = np.stack([x - left, y - top, right - x, bottom - y], axis=-1)[middle]
    # The nearest cell of a thin box may have its centre outside of it: a distance is at least two pixels.
    return kind, np.maximum(sides, 2.0), unsure & (kind < 0)


def loss(out: Tensor, kind: Tensor, sides: Tensor, classes: int) -> Tensor:
    """Focal loss of the classes, generalised IoU of the boxes, cross-entropy of their quality with the IoU reached.

    Args:
        out: of :meth:`Head.cells`, [N, classes + 5].
        kind: class or -1, [N].
        sides: distances in pixels, [N, 4].
        classes: how many.
    """
    good = kind >= 0
    goal = functional.one_hot(kind.clamp(min=0), classes).to(out.dtype) * good[:, None]
    logits = out[:, :classes]
    chance = torch.sigmoid(logits)
    focus = (goal - chance).abs() ** 2
    many = good.sum().clamp(min=1)
    sorting = (focus * functional.binary_cross_entropy_with_logits(logits, goal, reduction="none")).sum() / many
    if not bool(good.any()):
        return sorting
    given = torch.exp(out[good, classes + 1 :].clamp(-4, 4.5)) * UNIT
    wanted = sides[good]
    shared = torch.minimum(given, wanted)
    outer = torch.maximum(given, wanted)
    inner = (shared[:, 0] + shared[:, 2]) * (shared[:, 1] + shared[:, 3])
    sizes = [(d[:, 0] + d[:, 2]) * (d[:, 1] + d[:, 3]) for d in (given, wanted, outer)]
    union = sizes[0] + sizes[1] - inner
    overlap = inner / union
    general = overlap - (sizes[2] - union) / sizes[2]
    quality = functional.binary_cross_entropy_with_logits(out[good, classes], overlap.detach())
    return sorting + 2.0 * (1 - general).mean() + 0.5 * quality
