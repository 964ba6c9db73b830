"""The encoder's maps of a picture, projected and brought to one grid: what networks on the frozen maps begin with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from rsrag.models.groundviews import CELL, LEVELS, Level

CHANNELS = sum(level.kept for level in LEVELS)
Projection = Mapping[str, npt.NDArray[np.float32]]


class Projected(nn.Module):  # type: ignore[misc]
    """From the encoder's maps, in the order of the levels, to [N, CHANNELS, H, W].

    Each level is projected where it is coarse, then enlarged to the grid.
    """

    def __init__(self, projection: Projection) -> None:
        super().__init__()
        self.levels = nn.ModuleDict()
        for level in LEVELS:
            weight = torch.from_numpy(projection[f"{level.name}.weight"])
            step = shrink(level)
            conv = nn.Conv2d(level.channels, level.kept, step, stride=step)
            conv.weight.data = weight.reshape(level.kept, level.channels, step, step).contiguous()
            conv.bias.data = -(weight @ torch.from_numpy(projection[f"{level.name}.mean"]))  # type: ignore[union-attr]
            self.levels[level.name] = conv

    def forward(self, *maps: Tensor) -> Tensor:
        return together({level.name: self.levels[level.name](x) for level, x in zip(LEVELS, maps, strict=True)})


def shrink(level: Level) -> int:
    """Cells a side of a level that make one of the grid."""
    return max(1, CELL // level.stride)


def together(maps: Mapping[str, Tensor]) -> Tensor:
    """Projected levels [N, kept, h, w] on the grid of cells, [N, CHANNELS, H, W]."""
    parts = []
    for level in LEVELS:
        x = maps[level.name]
        factor = level.stride // CELL
        if factor > 1:
            x = functional.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)
        parts.append(x)
    return torch.cat(parts, dim=1)
