"""What the object detector of the default profile sees: maps of one picture at three sizes, on aligned grids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from rsrag.models.base import Picture
from rsrag.models.dense import DenseEncoder

Maps = Mapping[str, npt.NDArray[np.float32]]
CELL = 8
"""Side of a cell of the detector's grid in pixels of the picture."""
ALIGN = 64
"""Sides of the picture are made multiples of this, so that the cells of every size line up."""


@dataclass(frozen=True, slots=True)
class Level:
    """A map of the encoder for the picture enlarged by ``zoom``.

    Attributes:
        name: of the level.
        zoom: size of the picture that the encoder sees, relative to the picture.
        source: map of :class:`rsrag.models.dense.DenseEncoder`.
        channels: of that map.
        stride: side of its cells in pixels of the picture.
        kept: channels after the fixed projection, see :mod:`rsrag.train.detector`.
    """

    name: str
    zoom: float
    source: str
    channels: int
    stride: int
    kept: int


LEVELS = (
    Level("large_fine", 2.0, "fine", 128, 4, 96),
    Level("large_middle", 2.0, "middle", 256, 8, 96),
    Level("same_fine", 1.0, "fine", 128, 8, 48),
    Level("same_middle", 1.0, "middle", 256, 16, 96),
    Level("same_coarse", 1.0, "coarse", 512, 32, 128),
    Level("small_middle", 0.5, "middle", 256, 32, 64),
    Level("small_coarse", 0.5, "coarse", 512, 64, 96),
)
"""Small things are seen in the enlarged picture, sports fields in the reduced one."""


def aligned(picture: Picture) -> Picture:
    """The picture with its last row and column repeated up to sides that are multiples of :data:`ALIGN`."""
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, -height % ALIGN), (0, -width % ALIGN), (0, 0)), mode="edge")


def views(encoder: DenseEncoder, picture: Picture) -> dict[str, npt.NDArray[np.float32]]:
    """The levels of a picture, by name: float32 [channels, H' / stride, W' / stride], H' and W' being aligned.

    Args:
        encoder: of the maps.
        picture: uint8 RGB [H, W, 3].
    """
    whole = aligned(picture)
    found: dict[str, npt.NDArray[np.float32]] = {}
    for zoom in dict.fromkeys(level.zoom for level in LEVELS):
        size = round(whole.shape[1] * zoom), round(whole.shape[0] * zoom)
        how = cv2.INTER_CUBIC if zoom > 1 else cv2.INTER_AREA
        seen = whole if zoom == 1 else np.asarray(cv2.resize(whole, size, interpolation=how), dtype=np.uint8)
        own = [level for level in LEVELS if level.zoom == zoom]
        maps = encoder.maps(seen, [level.source for level in own])
        found |= {level.name: maps[level.source] for level in own}
    return found
