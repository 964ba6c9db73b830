"""Vectors of places all over a picture: from the ``mini`` tower's maps, or overlapping tiles of another encoder."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from rsrag.adapters.base import Context
from rsrag.models.base import Picture
from rsrag.models.dense import DenseEncoder, shipped_cells
from rsrag.models.mini import MiniImageEncoder
from rsrag.models.vectors import unit

Grid = npt.NDArray[np.float32]
_LEAD_PX = 9
"""The middle of what a cell of the tower sees lies so many pixels up and left of the cell's own middle, since every
halving of the picture is centred on the first of two pixels. Measured by painting over blocks: 8.5 to 12."""
_TILE = 224
"""Longest side of a tile; encoders without a size of their own get half of it."""


class CellEncoder:
    """The image encoder of a context at every place of a picture.

    Attributes:
        fingerprint: of what gives the vectors.
        words: texts to unit vectors in the space of the cells, float32 [N, dim].
        scale: factor that brings a cell's cosine with words to that of a whole picture with the same content.
    """

    def __init__(self, context: Context) -> None:
        encoder = context.profile.image
        self._encoder = encoder
        self._dense: DenseEncoder | None = None
        if isinstance(encoder, MiniImageEncoder) and encoder.name == "mini-image":
            self._dense = shipped_cells()
            self.fingerprint, self.words = self._dense.fingerprint, encoder.semantic_words
            # Whole pictures' vectors are in part semantic, in part instance; cells are semantic alone.
            self.scale = float(encoder.config["alpha"]) ** 0.5
        else:
            self.fingerprint, self.words, self.scale = encoder.fingerprint, encoder.encode_words, 1.0

    def grid(self, picture: Picture, kernel: Grid, border: int = cv2.BORDER_REPLICATE) -> tuple[Grid, int]:
        """Unit vectors of cells, float32 [dim, rows, cols], and the side of a cell in pixels.

        Args:
            picture: uint8 RGB [H, W, 3].
            kernel: weights of the cells around each, float32 [k, k], k odd; tiles see their surroundings anyway and are
                taken as they are.
            border: how OpenCV goes on beyond the edge.
        """
        if self._dense is not None:
            return dense_grid(self._dense, picture, kernel, border)
        cells, side = self._tiles(picture)
        return unit(cells, axis=0), side

    def _tiles(self, picture: Picture) -> tuple[Grid, int]:
        """Vectors of tiles that overlap by half."""
        tile = min(self._encoder.input_size or _TILE // 2, _TILE)
        step = tile // 2
        height, width = picture.shape[:2]
        rows, cols = -(-height // step), -(-width // step)
        pad = (tile - step) // 2
        below, right = rows * step - height + tile, cols * step - width + tile
        wide = cv2.copyMakeBorder(picture, pad, below, pad, right, cv2.BORDER_REPLICATE)
        places = [(r * step, c * step) for r in range(rows) for c in range(cols)]
        parts = []
        for start in range(0, len(places), 64):
            tiles = [np.ascontiguousarray(wide[y : y + tile, x : x + tile]) for y, x in places[start : start + 64]]
            parts.append(self._encoder.encode_images(tiles))
        return np.ascontiguousarray(np.concatenate(parts).T).reshape(-1, rows, cols), step


def dense_grid(dense: DenseEncoder, picture: Picture, kernel: Grid, border: int) -> tuple[Grid, int]:
    """:meth:`CellEncoder.grid` of a tower's maps, each cell in the middle of what it sees."""
    side = dense.strides["semantic"]
    if min(picture.shape[:2]) > _LEAD_PX:  # else there is one cell to a side, and nothing to move
        picture = np.pad(picture[_LEAD_PX:, _LEAD_PX:], ((0, _LEAD_PX), (0, _LEAD_PX), (0, 0)), mode="symmetric")
    cells = dense.maps(picture, ["semantic"])["semantic"]
    return unit(np.stack([cv2.filter2D(plane, -1, kernel, borderType=border) for plane in cells]), axis=0), side


def spread(values: Grid, side: float, height: int, width: int) -> Grid:
    """Values of cells [rows, cols] at every pixel, float32 [height, width], interpolated between the cells' centres."""
    rows, cols = values.shape
    y = np.clip((np.arange(height, dtype=np.float32) + 0.5) / side - 0.5, 0, rows - 1)
    x = np.clip((np.arange(width, dtype=np.float32) + 0.5) / side - 0.5, 0, cols - 1)
    grid_x, grid_y = np.meshgrid(x, y)
    found = cv2.remap(values, grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, dtype=np.float32)
