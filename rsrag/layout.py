"""How the edges of a tile lie: a short vector by which a place is known again after years, without its pixels.

Crops, seasons and light change the brightness on either side of an edge, but not where it runs and in which direction.
A picture becomes a grid of 12 x 12 mean doubled edge directions (:func:`rsrag.edges.directions`; light-to-dark and
dark-to-light are the same): 288 numbers, a byte each. Nadir pictures have no upright, and a query seldom lies as a tile
lies. So a query becomes many such vectors, one for every turn and shift of it, and its likeness with a tile is the
largest of their cosines: orientation correlation (Fitch et al. 2002) on a coarse grid, as one product of matrices. A
thousand tiles take a few hundredths of a second, where local features take that long for a single one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from rsrag import edges
from rsrag.models.base import Picture

_GRID, _CELL_PX = 12, 10
_SIDE = _GRID * _CELL_PX
LENGTH = 2 * _GRID * _GRID
"""Numbers in a layout."""
_TURNS = 24
_REACH = _GRID // 2
"""Cells that a query may be shifted each way."""
_AT_ONCE = 1024
SIDE = 0.92
"""A query's side as a share of a tile's, where nothing is known of it; cells of a grid forgive a tenth either way."""

Layout = npt.NDArray[np.int8]
Mask = npt.NDArray[np.bool_]


def layout(picture: Picture, mask: Mask | None = None) -> Layout:
    """The layout of a tile.

    Args:
        picture: uint8 [H, W, 3], RGB; fills the grid by its longer side.
        mask: bool [H, W], where the tile has data; everywhere by default.

    Returns:
        int8 [288]: rows, columns, cosine and sine of the doubled direction, the largest number being 127; all zero
        where there are no edges.
    """
    field = _directions(picture, _SIDE / max(picture.shape[:2]), mask)
    height, width = field.shape
    top, left = (_SIDE - height) // 2, (_SIDE - width) // 2
    square = np.zeros((_SIDE, _SIDE), np.complex64)
    square[top : top + height, left : left + width] = field
    cells = _cells(square).ravel()
    scaled: Layout = np.rint(cells * (127 / max(float(np.abs(cells).max()), 1e-6))).astype(np.int8)
    return scaled


def layout_of_image(encoded: bytes) -> Layout | None:
    """The layout of a tile by its picture as an encoded image; None where it is not one."""
    picture: Any = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB) if encoded else None
    return None if picture is None else layout(picture)


def poses(picture: Picture, sides: Sequence[float] = (SIDE,)) -> npt.NDArray[np.float32]:
    """The layouts of tiles on which a picture would lie, turned and shifted in every way.

    Args:
        picture: uint8 [H, W, 3], RGB.
        sides: sides of a square as large as the picture, as shares of a tile's.

    Returns:
        float32 [P, 288], of the length of what such a tile would show of the picture, all of it being 1.
    """
    field = _directions(picture, _SIDE / math.sqrt(math.prod(picture.shape[:2])), None)
    height, width = field.shape
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    made = [np.zeros((0, LENGTH), np.float32)]
    for side in sides:
        for angle in 2 * math.pi * np.arange(_TURNS) / _TURNS:
            turn = side * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
            matrix = np.column_stack([turn, (_SIDE - 1) / 2 - turn @ middle])
            laid = cv2.warpAffine(field.view(np.float32).reshape(height, width, 2), matrix, (_SIDE, _SIDE))
            turned = laid.view(np.complex64)[..., 0] * np.complex64(np.exp(2j * angle))
            cells = _cells(turned)
            length = float(np.linalg.norm(cells))
            if length > 1e-6:
                made.append(_shifted(cells / np.float32(length)))
    return np.concatenate(made)


def likeness(asked: npt.NDArray[np.float32], layouts: Layout) -> npt.NDArray[np.float32]:
    """How alike tiles are to a query in its best pose.

    Args:
        asked: float32 [P, 288], of :func:`poses`.
        layouts: int8 [N, 288], of :func:`layout`.

    Returns:
        float32 [N], cosines from 0 to 1; 0 for a tile or a query without edges.
    """
    best = np.zeros(len(layouts), np.float32)
    for start in range(0, len(layouts), _AT_ONCE):
        tiles = layouts[start : start + _AT_ONCE].astype(np.float32)
        tiles /= np.maximum(np.linalg.norm(tiles, axis=1, keepdims=True), 1e-6)
        best[start : start + _AT_ONCE] = (tiles @ asked.T).max(axis=1, initial=0)
    return best


def _directions(picture: Picture, scale: float, mask: Mask | None) -> npt.NDArray[np.complex64]:
    """Doubled edge directions of the picture made smaller or larger; none beside pixels without data."""
    height, width = picture.shape[:2]
    size = min(_SIDE * 4, max(1, round(width * scale))), min(_SIDE * 4, max(1, round(height * scale)))
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    field = edges.directions(np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8))
    if mask is not None and not mask.all():
        known = cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA)
        field[cv2.erode(known, np.ones((5, 5), np.uint8), borderValue=255) < 255] = 0
    return field


def _cells(field: npt.NDArray[np.complex64]) -> npt.NDArray[np.float32]:
    """Mean of every cell, float32 [12, 12, 2]."""
    parts = field.view(np.float32).reshape(_SIDE, _SIDE, 2)
    return np.asarray(cv2.resize(parts, (_GRID, _GRID), interpolation=cv2.INTER_AREA), np.float32)


def _shifted(cells: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The cells moved by up to half a tile each way, float32 [S, 288]."""
    wide = np.pad(cells, ((_REACH, _REACH), (_REACH, _REACH), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(wide, (_GRID, _GRID), axis=(0, 1))
    return np.ascontiguousarray(windows.transpose(0, 1, 3, 4, 2)).reshape(-1, LENGTH)
